from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest

from bench.timing import (
    BESIDE_SPOILED,
    FIRST_OF_BLOCK,
    PATIENCE,
    Rule,
    Verdict,
    WallClock,
    interleave,
    judge,
    measure,
)
from latency_tables.diagnosis import Doubt
from latency_tables.estimate import Estimate
from latency_tables.measurement import Stop


class FakeClock:
    """Time passes only while something runs, and by exactly as much as that something says."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def now_s(self) -> float:
        return self.now

    def elapsed_s(self, run: Callable[[], object], repeats: int) -> float:
        started = self.now
        for _ in range(repeats):
            run()
        return self.now - started

    def stamp(self) -> str:
        return "2026-01-01T00:00:00+00:00"

    def taking(self, seconds: Iterable[float], name: str = "run") -> Callable[[], None]:
        durations: Iterator[float] = iter(seconds)

        def run() -> None:
            self.order.append(name)
            self.now += next(durations)

        return run


def quick(**changes: float) -> Rule:
    """Windows of two, looks at every sample, time without end."""
    plain = {
        "warmup_window": 2,
        "warmup_max_runs": 100,
        "warmup_max_time_s": 1e9,
        "max_time_s": 1e9,
        "block_time_s": 1e9,
        "check_every": 1,
    }
    return Rule(**(plain | changes))  # type: ignore[arg-type]


def noisy() -> Iterator[float]:
    """One half, then one, in turns: the interval of the median never closes."""
    return itertools.cycle([0.5, 1.0])


def test_steady_run_needs_two_windows_and_the_fewest_samples() -> None:
    clock = FakeClock()
    found = measure(clock.taking(itertools.repeat(0.25)), clock, quick())
    assert found.warmup == 4
    assert found.samples_s == (0.25,) * 10
    assert found.stop is Stop.PRECISION
    assert found.inner == 1
    assert found.created == "2026-01-01T00:00:00+00:00"
    assert len(clock.order) == 14


def test_warm_up_goes_on_until_two_windows_agree() -> None:
    clock = FakeClock()
    falling = [8.0, 8.0, 4.0, 4.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0]
    found = measure(clock.taking(itertools.chain(falling, itertools.repeat(1.0))), clock, quick())
    assert found.warmup == 10
    assert set(found.samples_s) == {1.0}


@pytest.mark.parametrize(("last", "warmup"), [(1.0, 4), (0.985, 4), (0.97, 6)])
def test_windows_agree_within_two_percent(last: float, warmup: int) -> None:
    clock = FakeClock()
    run = clock.taking(itertools.chain([1.0, 1.0], itertools.repeat(last)))
    assert measure(run, clock, quick()).warmup == warmup


def test_warm_up_is_bounded_by_count() -> None:
    clock = FakeClock()
    ever_faster = (0.5**i for i in itertools.count())
    found = measure(
        clock.taking(ever_faster), clock, quick(warmup_max_runs=7, min_sample_s=1e-9, max_samples=5)
    )
    assert found.warmup == 7


def test_warm_up_is_bounded_by_time() -> None:
    clock = FakeClock()
    found = measure(clock.taking(itertools.cycle([1.0, 3.0, 9.0])), clock, quick(warmup_max_time_s=4.0))
    assert found.warmup == 2


def test_looks_only_every_so_many_samples() -> None:
    clock = FakeClock()
    # Five slow samples of ten leave it wide. From 21 on so many lie above the interval; that is seen at 25.
    run = clock.taking(itertools.chain([1.0] * 4, [1.0, 2.0] * 5, itertools.repeat(1.0)))
    found = measure(run, clock, quick(check_every=5))
    assert (len(found.samples_s), found.stop) == (25, Stop.PRECISION)


def test_stops_when_time_is_over_even_with_too_few_samples() -> None:
    clock = FakeClock()
    found = measure(clock.taking(itertools.repeat(2.0)), clock, quick(max_time_s=5.0))
    assert (len(found.samples_s), found.stop) == (3, Stop.TIME)
    assert found.latency_s == Estimate(2.0, -math.inf, math.inf)


def test_stops_at_the_largest_number_of_samples() -> None:
    clock = FakeClock()
    found = measure(clock.taking(noisy()), clock, quick(max_samples=30))
    assert (len(found.samples_s), found.stop) == (30, Stop.TIME)


def test_stops_when_the_interval_no_longer_narrows() -> None:
    clock = FakeClock()
    found = measure(clock.taking(noisy()), clock, quick(stall_after=60, check_every=2))
    assert (len(found.samples_s), found.stop) == (60, Stop.STALLED)


def test_nothing_is_stalled_without_a_look_at_a_quarter() -> None:
    clock = FakeClock()
    found = measure(clock.taking(noisy()), clock, quick(stall_after=20, check_every=2))
    assert (len(found.samples_s), found.stop) == (40, Stop.STALLED)


def test_short_runs_are_repeated_inside_a_sample() -> None:
    clock = FakeClock()
    found = measure(clock.taking(itertools.repeat(2.0**-18)), clock, quick(min_sample_s=2.0**-16 + 2.0**-20))
    assert found.inner == 5
    assert found.samples_s == (2.0**-18,) * 10
    assert len(clock.order) == 4 + 50


def test_short_runs_are_repeated_inside_interleaved_samples_too() -> None:
    clock = FakeClock()
    runs = [clock.taking(itertools.repeat(seconds)) for seconds in (2.0**-18, 2.0**-16)]
    (short, long), _ = interleave(runs, clock, quick(min_sample_s=2.0**-16, min_rounds=6))
    assert (short.inner, long.inner) == (4, 1)
    assert set(short.samples_s) == {2.0**-18}


def test_a_comparison_tells_of_a_ratio_that_drifts() -> None:
    clock = FakeClock()
    steady = clock.taking(itertools.repeat(1.0))
    # Four warm-up runs, then thirty rounds of three.
    rising = clock.taking([1.0] * 4 + [1 + i // 3 / 100 for i in range(90)])
    _, (comparison,) = interleave([steady, rising], clock, quick(block_samples=2, max_rounds=30))
    assert Doubt.DRIFT in {finding.doubt for finding in comparison.findings}
    _, (same,) = interleave([steady, steady], clock, quick(block_samples=2, max_rounds=30))
    assert same.findings == ()


def test_a_clock_that_sees_nothing_pass_does_not_hang() -> None:
    clock = FakeClock()
    run = clock.taking(itertools.chain([0.0] * 4, itertools.repeat(2.0**-40)))
    assert measure(run, clock, quick()).inner == 10_000


def test_interleaved_blocks_go_there_and_back() -> None:
    clock = FakeClock()
    runs = [clock.taking(itertools.repeat(0.5), name) for name in "ABC"]
    interleave(runs, clock, quick(block_samples=2, min_rounds=6))
    assert "".join(clock.order) == "AAAABBBBCCCC" + 3 * ("AAABBBCCC" + "CCCBBBAAA")


@pytest.mark.parametrize(
    ("seconds", "samples"), [(2.0**-8, 4), (2.0**-4, 4), (2.0**-3, 2), (0.25, 1), (1.0, 1)]
)
def test_slow_runs_have_fewer_samples_in_a_block(seconds: float, samples: int) -> None:
    clock = FakeClock()
    slow, fast = clock.taking(itertools.repeat(seconds)), clock.taking(itertools.repeat(2.0**-8))
    (first, second), _ = interleave([slow, fast], clock, quick(min_rounds=6, block_time_s=0.25))
    assert len(first.samples_s) == 6 * samples
    assert len(second.samples_s) == 24
    assert first.dropped == {FIRST_OF_BLOCK: 6}


def test_interleaved_numbers() -> None:
    clock = FakeClock()
    slow, fast = clock.taking(itertools.repeat(1.0)), clock.taking(itertools.repeat(0.5))
    (first, second), (comparison,) = interleave([slow, fast], clock, quick(block_samples=3, min_rounds=6))
    assert first.samples_s == (1.0,) * 18
    assert second.samples_s == (0.5,) * 18
    assert first.dropped == {FIRST_OF_BLOCK: 6}
    assert comparison.ratio == Estimate(0.5, 0.5, 0.5)
    assert comparison.verdict is Verdict.FASTER
    assert comparison.rounds == 6
    assert first.stop is Stop.PRECISION


def test_first_run_of_a_block_is_no_sample() -> None:
    clock = FakeClock()
    after_switch = itertools.chain([1.0] * 4, itertools.cycle([7.0, 1.0, 1.0]))
    measurements, _ = interleave(
        [clock.taking(after_switch), clock.taking(itertools.repeat(1.0))],
        clock,
        quick(block_samples=2, min_rounds=6),
    )
    assert set(measurements[0].samples_s) == {1.0}


def test_drift_cancels_in_the_ratio() -> None:
    clock = FakeClock()
    moods = [1.0, 3.0, 2.0, 1.0, 4.0, 2.0, 1.0, 3.0, 2.0, 1.0]

    def drifting(factor: float) -> Callable[[], None]:
        warm = [factor] * 4
        return clock.taking(itertools.chain(warm, (factor * mood for mood in moods for _ in range(3))))

    (first, _), (comparison,) = interleave([drifting(1.0), drifting(1.5)], clock, quick(block_samples=2))
    assert comparison.ratio == Estimate(1.5, 1.5, 1.5)
    assert comparison.verdict is Verdict.SLOWER
    assert first.latency_s.high > 2 * first.latency_s.low


def test_interleaving_ends_by_time_for_each() -> None:
    clock = FakeClock()
    runs = [clock.taking(noisy()) for _ in range(2)]
    # A round takes 4 x 0.75 s for each of the two, and 48 s in all allow 24 s for each.
    measurements, comparisons = interleave(runs, clock, quick(block_samples=3, max_time_s=24.0))
    assert comparisons[0].rounds == 8
    assert {measurement.stop for measurement in measurements} == {Stop.TIME}


def test_interleaving_needs_two() -> None:
    with pytest.raises(ValueError, match="at least two"):
        interleave([lambda: None], FakeClock(), Rule())


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.90, 0.97, Verdict.FASTER),
        (0.97, 0.99, Verdict.FASTER),
        (1.03, 1.10, Verdict.SLOWER),
        (0.99, 1.01, Verdict.SAME),
        (0.985, 0.995, Verdict.SAME),
        (0.97, 1.01, Verdict.CANNOT_TELL),
        (0.97, 1.00, Verdict.CANNOT_TELL),
        (1.00, 1.03, Verdict.CANNOT_TELL),
        (-math.inf, math.inf, Verdict.CANNOT_TELL),
    ],
)
def test_verdict(low: float, high: float, verdict: Verdict) -> None:
    middle = (low + high) / 2 if math.isfinite(low) else 1.0
    assert judge(Estimate(middle, low, high), Rule(same_within=0.02)) is verdict


@pytest.mark.parametrize("field", ["target", "min_samples", "max_time_s", "warmup_window", "block_samples"])
@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_rule_refuses_what_is_not_positive(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        Rule(**{field: value})  # type: ignore[arg-type]


def test_a_fixed_number_of_samples_covers_more_than_promised() -> None:
    generator = np.random.default_rng(7)
    rule = quick(target=1e-9, min_samples=50, max_samples=50)
    hits = 0
    for samples in generator.exponential(1.0, (400, 60)):
        clock = FakeClock()
        found = measure(clock.taking([1.0] * 4 + samples.tolist()), clock, rule).latency_s
        hits += found.low <= math.log(2) <= found.high
    assert 0.95 <= hits / 400 < 1


def test_independent_samples_are_seldom_called_stalled() -> None:
    generator = np.random.default_rng(11)
    stalled = 0
    for _ in range(200):
        clock = FakeClock()
        run = clock.taking(iter(np.exp(generator.normal(0, 0.2, 700)).tolist()))
        stalled += measure(run, clock, quick(check_every=5, target=1e-9)).stop is Stop.STALLED
    assert stalled <= 20


def test_equal_runs_are_seldom_told_apart() -> None:
    generator = np.random.default_rng(3)
    wrong = 0
    for _ in range(100):
        clock = FakeClock()
        runs = [clock.taking(iter(np.exp(generator.normal(0, 0.1, 2000)).tolist())) for _ in range(2)]
        _, (comparison,) = interleave(runs, clock, quick(max_rounds=20))
        wrong += comparison.verdict in (Verdict.FASTER, Verdict.SLOWER)
    assert wrong <= 12


def test_wall_clock_counts_seconds() -> None:
    clock = WallClock()
    before = clock.now_s()
    elapsed = clock.elapsed_s(lambda: sum(range(20_000)), 3)
    after = clock.now_s()
    assert 0 < elapsed <= after - before < 60
    assert clock.stamp().endswith("+00:00")


@pytest.mark.parametrize(("spread", "stop"), [(0.0075, Stop.PRECISION), (0.0125, Stop.TIME)])
def test_the_target_is_half_the_interval_over_the_median(spread: float, stop: Stop) -> None:
    clock = FakeClock()
    run = clock.taking(itertools.cycle([1 - spread, 1 + spread]))
    found = measure(run, clock, quick(target=0.01, max_samples=10))
    assert (len(found.samples_s), found.stop) == (10, stop)


def causes(*told: str | None) -> Callable[[], str | None]:
    answers = itertools.cycle(told)
    return lambda: next(answers)


def test_spoiled_samples_are_left_out_and_counted_by_cause() -> None:
    clock = FakeClock()
    run = clock.taking(itertools.chain([1.0] * 4, itertools.cycle([1.0, 1.0, 3.0])))
    found = measure(run, clock, quick(max_samples=30), causes(None, None, "throttled: heat"))
    assert set(found.samples_s) == {1.0}
    assert len(found.samples_s) == 10
    assert found.dropped == {"throttled: heat": 4}
    assert found.stop is Stop.PRECISION


def test_where_too_few_would_be_left_all_are_kept() -> None:
    clock = FakeClock()
    run = clock.taking(itertools.repeat(1.0))
    found = measure(run, clock, quick(), causes("throttled: power cap"))
    assert len(found.samples_s) == PATIENCE * quick().min_samples, "longer nobody waits for others"
    assert found.dropped == {}
    assert found.stop is Stop.PRECISION


def test_sound_samples_are_waited_for() -> None:
    clock = FakeClock()
    told = itertools.chain(["busy"] * 29, itertools.repeat(None))
    found = measure(
        clock.taking(itertools.chain([1.0] * 4, [2.0] * 29, itertools.repeat(1.0))),
        clock,
        quick(),
        lambda: next(told),
    )
    assert set(found.samples_s) == {1.0}
    assert (len(found.samples_s), found.dropped) == (10, {"busy": 29})


def test_a_spoiled_sample_is_taken_again_within_its_block() -> None:
    clock = FakeClock()
    slow, quick_one = (clock.taking(itertools.repeat(seconds)) for seconds in (2.0, 1.0))
    # Of each block of two the second is spoiled at first.
    measurements, (comparison,) = interleave(
        [slow, quick_one], clock, quick(block_samples=2), causes(None, "busy", None)
    )
    for measurement in measurements:
        assert measurement.dropped == {FIRST_OF_BLOCK: 10, "busy": 10}
        assert len(measurement.samples_s) == 20
    assert (comparison.rounds, comparison.ratio.value) == (10, 0.5)


def test_a_round_with_a_block_of_spoiled_samples_does_not_count_for_anybody() -> None:
    clock = FakeClock()
    runs = [clock.taking(itertools.repeat(seconds)) for seconds in (2.0, 1.0)]
    # Two blocks of one sample a round: the second round is A's, and all that is tried for it is spoiled.
    told = itertools.chain([None] * 3, ["busy"] * PATIENCE, itertools.repeat(None))
    measurements, (comparison,) = interleave(runs, clock, quick(block_samples=1), lambda: next(told))
    mine, other = measurements
    assert mine.dropped == {FIRST_OF_BLOCK: 11, "busy": PATIENCE}
    assert other.dropped == {FIRST_OF_BLOCK: 11, BESIDE_SPOILED: 1}
    assert len(mine.samples_s) == len(other.samples_s) == comparison.rounds == 10
    assert comparison.ratio.value == 0.5


def test_where_too_few_rounds_would_be_left_every_sample_counts() -> None:
    clock = FakeClock()
    runs = [clock.taking(itertools.repeat(1.0)) for _ in range(2)]
    # The first five rounds of two blocks are sound; LEAST_SOUND is six.
    told = itertools.chain([None] * 10, itertools.repeat("busy"))
    measurements, (comparison,) = interleave(
        runs, clock, quick(block_samples=1, max_rounds=8), lambda: next(told)
    )
    assert comparison.rounds == 8
    assert [each.dropped for each in measurements] == [{FIRST_OF_BLOCK: 8}] * 2
    # Only the first block that is spoiled as a whole is tried again.
    assert [len(each.samples_s) for each in measurements] == [8, 7 + PATIENCE]


def test_rounds_that_are_all_spoiled_are_kept() -> None:
    clock = FakeClock()
    runs = [clock.taking(itertools.repeat(1.0)) for _ in range(2)]
    measurements, _ = interleave(runs, clock, quick(), causes("throttled: heat"))
    assert measurements[0].dropped == {FIRST_OF_BLOCK: PATIENCE * quick().min_rounds}


def test_a_long_block_is_not_taken_again() -> None:
    clock = FakeClock()
    runs = [clock.taking(itertools.repeat(1.0)) for _ in range(2)]
    told = itertools.chain(["busy"], itertools.repeat(None))
    measurements, _ = interleave(runs, clock, quick(block_time_s=0.5), lambda: next(told))
    assert measurements[0].dropped == {FIRST_OF_BLOCK: 11, "busy": 1}
    assert measurements[1].dropped == {FIRST_OF_BLOCK: 11, BESIDE_SPOILED: 1}


def test_slow_runs_keep_what_is_sound_of_few_samples() -> None:
    clock = FakeClock()
    run = clock.taking(itertools.repeat(0.375))
    told = itertools.chain([None, "busy"], itertools.repeat(None))
    found = measure(run, clock, quick(max_time_s=3.0), lambda: next(told))
    assert (len(found.samples_s), found.dropped, found.stop) == (7, {"busy": 1}, Stop.TIME)


def test_spoiled_samples_beside_sound_ones_stall_nothing() -> None:
    clock = FakeClock()
    # 25 sound ones of which the median is not known well, then spoiled ones, and then as many sound ones again.
    told = itertools.chain([None] * 25, ["busy"] * 100, itertools.repeat(None))
    found = measure(clock.taking(noisy()), clock, quick(max_samples=170), lambda: next(told))
    assert (len(found.samples_s), found.dropped, found.stop) == (70, {"busy": 100}, Stop.TIME)
