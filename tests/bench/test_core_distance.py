from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import bench.ping_pong
from bench.core_distance import (
    FAR_FROM_S,
    MOST_CORES,
    NEAR_UP_TO_S,
    CoreDistance,
    CoresAround,
    Mode,
    core_distance,
    ping,
    usable_cpus,
)

TWO = frozenset({0, 1})
NEAR, FAR = CoreDistance(Mode.NEAR, 1.1e-7), CoreDistance(Mode.FAR, 4.2e-7)
UNKNOWN = CoreDistance(Mode.UNKNOWN, None, "the cores were too busy to ask")

needs_two_cores = pytest.mark.skipif(
    len(usable_cpus() or ()) < 2, reason="this machine has one core, or does not let a process choose one"
)


@pytest.mark.parametrize(
    ("answers", "mode", "round_trip_s"),
    [
        (["1.1e-07"], Mode.NEAR, 1.1e-7),
        (["-2.1e-08"], Mode.NEAR, -2.1e-8),
        ([str(NEAR_UP_TO_S)], Mode.NEAR, NEAR_UP_TO_S),
        ([str(FAR_FROM_S)], Mode.FAR, FAR_FROM_S),
        (["3.9e-07"], Mode.FAR, 3.9e-7),
        (["1.1e-07", "3.9e-07", "1.0e-07"], Mode.FAR, 3.9e-7),
        (["2.4e-07"], Mode.UNKNOWN, 2.4e-7),
        (["busy"], Mode.UNKNOWN, None),
        (["1.1e-07", "busy"], Mode.UNKNOWN, None),
        ([], Mode.UNKNOWN, None),
        (["what"], Mode.UNKNOWN, None),
    ],
)
def test_the_farthest_pair_decides(answers: list[str], mode: Mode, round_trip_s: float | None) -> None:
    found = core_distance(TWO, lambda cpus: answers)
    assert (found.mode, found.round_trip_s) == (mode, round_trip_s)
    assert (found.reason is None) == (mode is not Mode.UNKNOWN)


@pytest.mark.parametrize(
    ("cpus", "reason"), [(None, "does not let"), (frozenset({3}), "one core"), (frozenset(), "one core")]
)
def test_where_there_is_nothing_to_ask_the_reason_is_given(cpus: frozenset[int] | None, reason: str) -> None:
    def never(cpus: Sequence[int]) -> list[str]:
        raise AssertionError("nothing is to be run")

    found = core_distance(cpus, never)
    assert found.mode is Mode.UNKNOWN
    assert reason in (found.reason or "")


@pytest.mark.parametrize(
    "error", [OSError("no"), subprocess.TimeoutExpired("x", 1), subprocess.CalledProcessError(1, "x")]
)
def test_what_fails_is_unknown(error: Exception) -> None:
    def failing(cpus: Sequence[int]) -> list[str]:
        raise error

    found = core_distance(TWO, failing)
    assert (found.mode, found.round_trip_s) == (Mode.UNKNOWN, None)
    assert type(error).__name__ in (found.reason or "")


def test_a_process_ended_by_its_own_alarm_was_kept_from_the_cores() -> None:
    def waiting(cpus: Sequence[int]) -> list[str]:
        raise subprocess.CalledProcessError(-signal.SIGALRM, "x")

    assert "busy" in (core_distance(TWO, waiting).reason or "")


def test_only_so_many_cores_are_asked_and_in_order() -> None:
    asked: list[Sequence[int]] = []

    def remember(cpus: Sequence[int]) -> list[str]:
        asked.append(cpus)
        return ["1e-7"] * (len(cpus) - 1)

    assert core_distance(frozenset(range(5, 99)), remember).mode is Mode.NEAR
    assert asked == [list(range(5, 5 + MOST_CORES))]


@pytest.mark.parametrize(("before", "after"), itertools.product([NEAR, FAR, UNKNOWN], repeat=2))
def test_cores_have_moved_only_where_both_modes_are_known(before: CoreDistance, after: CoreDistance) -> None:
    around = CoresAround(before, after)
    known = UNKNOWN not in (before, after)
    assert around.moved is (known and before != after)
    mode = "moved" if around.moved else "far" if FAR in (before, after) else "near" if known else "unknown"
    assert around.to_json() == {
        "mode": mode,
        "before_s": before.round_trip_s,
        "after_s": after.round_trip_s,
        "reason": None if known else UNKNOWN.reason,
    }


@needs_two_cores
def test_two_real_cores_answer_within_reason() -> None:
    found = core_distance(usable_cpus())
    # Where others keep the cores busy it may say so.
    if found.round_trip_s is not None:
        assert -1e-6 < found.round_trip_s < 20e-6
    else:
        assert "busy" in (found.reason or "")


@needs_two_cores
def test_where_this_process_may_run_is_left_alone() -> None:
    before = usable_cpus()
    core_distance(before)
    assert usable_cpus() == before


@needs_two_cores
def test_a_core_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        ping([0, 4000])


def test_the_script_loads_almost_nothing() -> None:
    code = (
        f"import runpy, sys; runpy.run_path({bench.ping_pong.__file__!r}); "
        "print(*sorted({'numpy', 'json', 'subprocess', 'threading', 'dataclasses', 'bench'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, check=True, text=True
    )
    assert done.stdout.strip() == ""
    assert Path(bench.ping_pong.__file__).name == "ping_pong.py"


def test_the_loop_alone_takes_some_nanoseconds() -> None:
    alone = bench.ping_pong.tenth_lowest(bench.ping_pong.alone_s())
    assert 1e-9 < alone < 5e-6


def test_a_tenth_of_the_batches_are_faster() -> None:
    assert bench.ping_pong.tenth_lowest([float(i) for i in range(99, -1, -1)]) == 10
    assert bench.ping_pong.tenth_lowest([7.0]) == 7
