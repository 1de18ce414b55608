"""Why the samples of an attempt that does not count are left out."""

from __future__ import annotations

import made_up

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
