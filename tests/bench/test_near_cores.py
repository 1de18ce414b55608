"""Cores that the host moves apart for a while, by a clock that is wound by hand."""

from __future__ import annotations

from collections.abc import Callable

import made_up
import pytest

from bench.anchor import Cell
from bench.near_cores import FAR, PATIENCE_S, NearCores, is_far, taken_far
from latency_tables.measurement import Measurement, Stop
from latency_tables.part import Part
from latency_tables.setting import Device, Setting
from latency_tables.table import Failure, LatencyTable

PARTS = made_up.chain([4] * 3).parts
SETTING = Setting(Device("cpu", "x", 2, 2**30), "ideal", (), "fp32", 1, 2)


def cell(mode: str | None, samples: int = 6) -> Measurement:
    host = {} if mode is None else {"cores": {"mode": mode}}
    return Measurement((1e-3,) * samples, 2, Stop.PRECISION, "then", {"first": 1}, host=host)


class Machine:
    """Each timing takes half a second; ``mode`` says how the cores lie at a moment."""

    def __init__(self, mode: Callable[[float], str | None]) -> None:
        self.mode = mode
        self.now = 0.0
        self.timed = 0
        self.fails_from = float("inf")
        self.near = NearCores(self.measure, lambda: self.now, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def measure(self, part: Part) -> Cell:
        self.timed += 1
        self.now += 0.5
        return Failure("crash", "then") if self.timed >= self.fails_from else cell(self.mode(self.now))


@pytest.mark.parametrize("mode", ["near", "unknown", None])
def test_what_is_not_known_to_be_far_is_timed_once(mode: str | None) -> None:
    machine = Machine(lambda now: mode)
    assert machine.near(PARTS[0]) == cell(mode)
    assert machine.timed == 1


@pytest.mark.parametrize("mode", ["far", "moved"])
def test_it_waits_until_the_cores_are_near_and_counts_what_was_lost(mode: str) -> None:
    machine = Machine(lambda now: mode if now < 10 else "near")
    found = machine.near(PARTS[0])
    assert isinstance(found, Measurement)
    assert not is_far(found)
    assert found.dropped == {"first": 1, FAR: 7 * (machine.timed - 1)}
    assert machine.now < 12


def test_cores_that_stay_apart_are_taken_as_they_are_until_they_come_near() -> None:
    machine = Machine(lambda now: "near" if 1000 < now < 1001 else "far")
    assert is_far(machine.near(PARTS[0]))
    assert PATIENCE_S <= machine.now < PATIENCE_S + 3
    timed = machine.timed
    machine.near(PARTS[1])
    assert machine.timed == timed + 1, "no more waiting"
    machine.now = 1000.1
    assert not is_far(machine.near(PARTS[2]))
    machine.now = 2000.0
    machine.near(PARTS[3])
    assert machine.now > 2000 + PATIENCE_S, "patient again"


def test_a_failure_leaves_the_cell_that_there_is() -> None:
    machine = Machine(lambda now: "far")
    machine.fails_from = 2
    assert machine.near(PARTS[0]) == cell("far")
    assert isinstance(machine.near(PARTS[0]), Failure)


def test_only_a_table_that_knows_both_modes_mixes_them() -> None:
    def table(*modes: str | None) -> LatencyTable:
        cells = {part.key: cell(mode) for part, mode in zip(PARTS, modes, strict=False)}
        return LatencyTable(SETTING, cells)

    assert taken_far(PARTS, table("near", "far", "near", "moved")) == [PARTS[1], PARTS[3]]
    assert taken_far(PARTS, table("far", "far", "far")) == []
    assert taken_far(PARTS, table("near", None)) == []
    failed = LatencyTable(SETTING, {PARTS[0].key: Failure("crash", "then"), PARTS[1].key: cell("far")})
    assert taken_far(PARTS, failed) == []
