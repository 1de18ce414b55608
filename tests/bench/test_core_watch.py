"""What a small computation between samples tells of the core."""

from __future__ import annotations

import itertools

import pytest

from bench.core_watch import MEMORY_S, SLOW_FROM, SLOWED, CoreWatch, matrix_products, share_slowed

QUICK_S = 20e-6
SLOW_S = 28e-6


class Core:
    """A core that computes as quickly as told; looking takes the time that it takes, and nothing else does."""

    def __init__(self) -> None:
        self.now, self.takes_s, self.looks = 0.0, QUICK_S, 0

    def read(self) -> float:
        self.looks += 1
        self.now += self.takes_s
        return self.takes_s

    def watch(self) -> CoreWatch:
        made = CoreWatch(self.read, lambda: self.now)
        made.start()
        return made

    def sample(self, watch: CoreWatch, seconds: float = 0.02) -> str | None:
        self.now += seconds
        return watch.cause()


def test_samples_between_two_quick_looks_alone_are_trusted() -> None:
    core = Core()
    watch = core.watch()
    told = []
    for core.takes_s in (QUICK_S, QUICK_S * 1.03, SLOW_S, SLOW_S, QUICK_S, QUICK_S):
        told.append(core.sample(watch))
    # The first sample after a slow stretch began in it.
    assert told == [None, None, SLOWED, SLOWED, SLOWED, None]
    seen = watch.stop()
    assert (seen.readings, seen.slowed, seen.quick_s, seen.slowest_s) == (7, 2, QUICK_S, SLOW_S)
    assert seen.to_json() == {"readings": 7, "slowed": 2, "quick_s": QUICK_S, "slowest_s": SLOW_S}


@pytest.mark.parametrize(("times", "told"), [(SLOW_FROM - 0.01, None), (SLOW_FROM + 0.01, SLOWED)])
def test_a_little_more_than_in_quick_moments_is_no_slowing(times: float, told: str | None) -> None:
    core = Core()
    watch = core.watch()
    core.takes_s = times * QUICK_S
    assert core.sample(watch) is told


def test_each_measurement_is_told_of_its_own_looks_and_only_the_first_begins_with_a_long_one() -> None:
    core = Core()
    watch = core.watch()
    assert 0.25 <= core.now < 0.26
    core.sample(watch)
    assert watch.stop().readings == 2
    before = core.looks
    watch.start()
    assert core.looks == before + 1
    assert watch.stop().readings == 1


def test_after_a_rest_it_looks_anew_for_how_quick_the_core_is() -> None:
    core = Core()
    watch = core.watch()
    core.now += MEMORY_S + 1
    # The first look after the rest falls into a slow moment, most of the long one does not.
    answers = iter([SLOW_S] * 10)
    core.read = lambda: next(answers, None) or Core.read(core)  # type: ignore[method-assign]
    watch.read = core.read
    watch.start()
    core.takes_s = SLOW_S
    assert core.sample(watch) == SLOWED
    assert watch.stop().quick_s == QUICK_S


def test_another_attempt_is_judged_by_what_was_quick_in_the_first() -> None:
    core = Core()
    watch = core.watch()
    core.takes_s = SLOW_S
    core.now += MEMORY_S + 1
    watch.start(again=True)
    assert core.sample(watch) == SLOWED
    watch.start()
    assert core.sample(watch) is None, "a new measurement finds a core that is as slow as that"


def test_a_burst_of_short_slow_samples_does_not_become_the_norm() -> None:
    core = Core()
    watch = core.watch()
    core.now += MEMORY_S - 1  # what the long look saw is forgotten below
    for _ in range(200):
        core.sample(watch)
    core.takes_s = SLOW_S
    for _ in range(4000):
        core.sample(watch, 1e-4)
    watch.start()
    assert core.sample(watch) == SLOWED


def test_a_core_that_stays_slow_is_as_it_is() -> None:
    core = Core()
    watch = core.watch()
    core.takes_s = SLOW_S
    assert core.sample(watch) == SLOWED
    while core.now < MEMORY_S + 1:
        core.sample(watch)
    watch.start()
    assert core.sample(watch) is None
    assert watch.stop().quick_s == SLOW_S


@pytest.mark.parametrize(("quick", "told"), [(0.3, SLOWED), (0.2, None)])
def test_what_is_seldom_quick_is_not_slowed(quick: float, told: str | None) -> None:
    core = Core()
    watch = core.watch()
    core.now += MEMORY_S
    for i in range(1000):
        core.takes_s = QUICK_S if i % 10 < 10 * quick else SLOW_S
        core.sample(watch)
    watch.start()
    watch.cause()
    core.takes_s = SLOW_S
    assert core.sample(watch) == told


def test_the_share_of_the_time_in_which_a_core_is_slowed() -> None:
    core = Core()
    answers = itertools.cycle([20e-6, 20e-6, 21e-6, 30e-6])

    def read() -> float:
        core.takes_s = next(answers)
        return core.read()

    assert share_slowed(read, lambda: core.now, 1.0) == pytest.approx(30 / 91, abs=1e-4)
    assert share_slowed(lambda: 20e-6, itertools.count().__next__, 5.0) == 0.0


def test_matrix_products_take_microseconds() -> None:
    read = matrix_products()
    assert all(0 < read() < 1e-2 for _ in range(5))
