"""Why the samples of an attempt that does not count are left out."""

from __future__ import annotations

import made_up
import pytest

from bench.attempt import Conditions, undisturbed
from bench.foreign_load import Load
from bench.near_cores import Patience
from latency_tables.measurement import Measurement


class BusyHost:
    """Others use the cores during every attempt, in ways of their own."""

    def __init__(self, *loads: Load) -> None:
        self.loads = list(loads)

    def start(self, *, afresh: bool = False) -> None:
        pass

    def stop(self) -> Load:
        return self.loads.pop(0)


@pytest.mark.parametrize(
    ("loads", "kept"),
    [
        ([Load(0.5, 0.00, 0.9), Load(0.5, 0.05, 0.3)], 1),
        ([Load(0.5, 0.30, 0.0), Load(0.5, 0.90, 0.0)], 0),
        ([Load(0.5, None, 0.9), Load(0.5, None, 0.5)], 1),
    ],
)
def test_of_spoiled_attempts_the_least_spoiled_counts(loads: list[Load], kept: int) -> None:
    taken = iter([made_up.cell(1e-3), made_up.cell(2e-3)])
    conditions = Conditions(
        threads=1,
        repeats=1,
        watch=BusyHost(*loads),  # type: ignore[arg-type]
        sense=None,
        now_s=lambda: 0.0,
        sleep=lambda _: None,
        patience=Patience(),
    )
    (found,), _ = undisturbed(lambda: ((next(taken),), ()), conditions)
    assert found.latency_s.value == [1e-3, 2e-3][kept]


@pytest.mark.parametrize(("until_s", "attempts"), [(25.0, 3), (15.0, 2), (5.0, 1)])
def test_what_is_spoiled_is_not_taken_again_when_time_is_over(until_s: float, attempts: int) -> None:
    now = [0.0]

    def take() -> tuple[tuple[Measurement, ...], tuple[()]]:
        now[0] += 10.0
        return (made_up.cell(1e-3),), ()

    def sleep(seconds: float) -> None:
        now[0] += seconds

    conditions = Conditions(
        threads=1,
        repeats=2,
        watch=BusyHost(*[Load(0.5, 0.9, 0.9)] * 3),  # type: ignore[arg-type]
        sense=None,
        now_s=lambda: now[0],
        sleep=sleep,
        patience=Patience(),
        until_s=until_s,
    )
    (found,), _ = undisturbed(take, conditions)
    assert found.host["attempts"] == attempts
    assert found.host["disturbance"]
