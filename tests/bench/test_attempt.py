"""Why the samples of an attempt that does not count are left out."""

from __future__ import annotations

import made_up
import pytest

from bench.attempt import SHARED_GPU, Conditions, Taken, undisturbed
from bench.foreign_load import Load
from bench.gpu_watch import GpuSeen
from bench.near_cores import Patience


class QuietHost:
    """Nobody uses the cores."""

    def start(self, *, afresh: bool = False) -> None:
        pass

    def stop(self) -> Load:
        return Load(0.5, 0.01, 0.0)


class Gpu:
    """Others use it during the first measurement."""

    def __init__(self) -> None:
        self.seen = [GpuSeen(others=2), GpuSeen()]

    def start(self) -> None:
        pass

    def cause(self) -> str | None:
        return None

    def stop(self) -> GpuSeen:
        return self.seen.pop(0)


def test_what_others_on_the_gpu_spoiled_is_not_laid_to_the_cores() -> None:
    conditions = Conditions(
        threads=1,
        repeats=2,
        watch=QuietHost(),  # type: ignore[arg-type]
        sense=None,
        now_s=lambda: 0.0,
        sleep=lambda _: None,
        patience=Patience(),
        gpu=Gpu(),
    )

    def take() -> Taken:
        return (made_up.cell(1e-3),), ()

    (found,), _ = undisturbed(take, conditions)
    assert found.dropped == {SHARED_GPU: 10}
    assert (found.host["attempts"], found.host["disturbance"]) == (2, None)


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
