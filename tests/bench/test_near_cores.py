"""Cores that the host moves apart for a while, by a clock that is wound by hand."""

from __future__ import annotations

from collections.abc import Callable

import made_up
import pytest

from bench.core_distance import CoreDistance, Mode
from bench.near_cores import PATIENCE_S, Patience, taken_far
from latency_tables.measurement import Measurement, Stop
from latency_tables.setting import Device, Setting
from latency_tables.table import Failure, LatencyTable

PARTS = made_up.chain([4] * 3).parts
SETTING = Setting(Device("cpu", "x", 2, 2**30), "ideal", (), "fp32", 1, 2)


class Machine:
    """Each question takes a tenth of a second; ``mode`` says how the cores lie at a moment."""

    def __init__(self, mode: Callable[[float], Mode]) -> None:
        self.mode = mode
        self.now = 0.0
        self.asked = 0
        self.patience = Patience(lambda: self.now, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def sense(self) -> CoreDistance:
        self.asked += 1
        self.now += 0.1
        return CoreDistance(self.mode(self.now), 1e-7)

    def near(self) -> Mode:
        return self.patience.near(self.sense).mode


@pytest.mark.parametrize("mode", [Mode.NEAR, Mode.UNKNOWN])
def test_what_is_not_known_to_be_far_is_asked_for_once(mode: Mode) -> None:
    machine = Machine(lambda now: mode)
    assert machine.near() is mode
    assert machine.asked == 1


def test_it_waits_until_the_cores_are_near() -> None:
    machine = Machine(lambda now: Mode.FAR if now < 30 else Mode.NEAR)
    assert machine.near() is Mode.NEAR
    assert 30 <= machine.now < 32


def test_cores_that_stay_apart_are_taken_as_they_are_until_they_come_near() -> None:
    machine = Machine(lambda now: Mode.NEAR if 1000 < now < 1001 else Mode.FAR)
    assert machine.near() is Mode.FAR
    assert PATIENCE_S <= machine.now < PATIENCE_S + 2
    asked = machine.asked
    assert machine.near() is Mode.FAR
    assert machine.asked == asked + 1, "no more waiting"
    machine.now = 1000.1
    assert machine.near() is Mode.NEAR
    machine.now = 2000.0
    machine.near()
    assert machine.now > 2000 + PATIENCE_S, "patient again"


def test_nobody_waits_beyond_the_end_of_a_time_budget() -> None:
    machine = Machine(lambda now: Mode.FAR)
    machine.patience = Patience(lambda: machine.now, machine.sleep, until_s=10.0)
    assert machine.near() is Mode.FAR
    assert 10 <= machine.now < 12
    asked = machine.asked
    assert machine.near() is Mode.FAR
    assert machine.asked == asked + 1


def test_only_a_table_that_knows_both_modes_mixes_them() -> None:
    def cell(mode: str | None) -> Measurement:
        host = {} if mode is None else {"cores": {"mode": mode}}
        return Measurement((1e-3,) * 6, 2, Stop.PRECISION, "then", host=host)

    def table(*modes: str | None) -> LatencyTable:
        return LatencyTable(SETTING, {part.key: cell(m) for part, m in zip(PARTS, modes, strict=False)})

    assert taken_far(PARTS, table("near", "far", "near", "moved")) == [PARTS[1], PARTS[3]]
    assert taken_far(PARTS, table("far", "far", "far")) == []
    assert taken_far(PARTS, table("near", None)) == []
    assert taken_far(PARTS, table("far", "far", "unknown")) == [], "on a machine where they are always far"
    assert taken_far(PARTS, table("far", None)) == []
    failed = LatencyTable(SETTING, {PARTS[0].key: Failure("crash", "then"), PARTS[1].key: cell("far")})
    assert taken_far(PARTS, failed) == []
