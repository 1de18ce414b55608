"""How long something takes: warm-up, sampling until the median is known well enough, fair comparison."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from statistics import median
from typing import Protocol

from latency_tables.estimate import Estimate
from latency_tables.measurement import Measurement, Stop, median_interval
from latency_tables.verdict import Verdict as Verdict

#: Why a block's first run is not a sample: the other candidates have just used the caches.
FIRST_OF_BLOCK = "first of its block"

#: Fewer pairs of blocks have no 95 % interval of their median; the time allowed does not end a comparison before.
LEAST_ROUNDS = 6

# Even where the clock sees nothing pass, one sample ends.
_MAX_INNER = 10_000


class Clock(Protocol):
    """What time is read from; a device that runs on its own brings one that waits for it."""

    def now_s(self) -> float:
        """Seconds since a fixed moment, for limits."""

    def elapsed_s(self, run: Callable[[], object], repeats: int) -> float:
        """Seconds that ``repeats`` runs in a row take, from issuing the first to the end of the last."""

    def stamp(self) -> str:
        """The date and time, ISO 8601 with zone."""


class WallClock:
    """The machine's monotonic clock, for runs that are over when they return."""

    def now_s(self) -> float:
        """Seconds since a fixed moment."""
        return time.perf_counter_ns() * 1e-9

    def elapsed_s(self, run: Callable[[], object], repeats: int) -> float:
        """Seconds that ``repeats`` runs in a row take."""
        started = time.perf_counter_ns()
        for _ in range(repeats):
            run()
        return (time.perf_counter_ns() - started) * 1e-9

    def stamp(self) -> str:
        """The date and time, ISO 8601, UTC."""
        return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class Rule:
    """When warm-up is over and when enough samples were taken.

    Attributes:
        target: relative half-width of the 95 % interval (of the median, or of a ratio) that is enough.
        min_samples: fewer are never enough, but for time.
        max_samples: more are never taken.
        max_time_s: seconds of sampling allowed for each thing measured, warm-up not counted.
        check_every: samples between two looks at the interval.
        min_sample_s: a run shorter than this is repeated inside one sample.
        warmup_window: runs in each of the two windows whose medians must agree.
        warmup_agreement: relative difference of these medians that is agreement.
        warmup_max_runs: warm-up ends after so many runs even without agreement.
        warmup_max_time_s: warm-up ends after so many seconds even without agreement.
        stall_ratio: sampling has stalled when the interval is not narrower than this times what it was at a
            quarter of the samples (independent samples would halve it).
        stall_after: samples (rounds, when interleaved) at which this is looked at, and again at each doubling.
        block_samples: samples in a block, when interleaved; one run before them is not counted.
        min_rounds: as min_samples, for rounds of an interleaved comparison.
        max_rounds: as max_samples, for rounds of an interleaved comparison.
        same_within: two latencies are the same when their ratio is surely within 1 plus or minus this.
    """

    target: float = 0.01
    min_samples: int = 10
    max_samples: int = 500
    max_time_s: float = 3.0
    check_every: int = 5
    min_sample_s: float = 20e-6
    warmup_window: int = 5
    warmup_agreement: float = 0.02
    warmup_max_runs: int = 100
    warmup_max_time_s: float = 1.0
    stall_ratio: float = 0.9
    stall_after: int = 100
    block_samples: int = 4
    min_rounds: int = 10
    max_rounds: int = 100
    same_within: float = 0.02

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"{field.name} must be positive, got {getattr(self, field.name)}")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One thing's latency against the reference's, measured in turns.

    Attributes:
        ratio: latency over the reference's latency; below 1 is faster.
        verdict: what that allows to say.
        rounds: pairs of blocks behind it.
    """

    ratio: Estimate
    verdict: Verdict
    rounds: int


def measure(run: Callable[[], object], clock: Clock, rule: Rule) -> Measurement:
    """Times one thing: warm-up, then samples until the median is known as well as asked.

    The interval is looked at again and again, so its true coverage is a little under 95 % (the tests hold it
    above 90 %).

    Args:
        run: does it once; on an asynchronous device it may return early, if the clock waits.
        clock: where time is read.
        rule: when to stop.

    Returns:
        The measurement: at least one sample; which condition ended it.
    """
    warmup, typical_s = _warm_up(run, clock, rule)
    inner = _inner(typical_s, rule)
    progress = _Progress(rule, rule.min_samples, rule.max_samples, rule.check_every)
    samples: list[float] = []
    started = clock.now_s()
    stop = None
    while stop is None:
        samples.append(clock.elapsed_s(run, inner) / inner)
        stop = progress.stop(
            len(samples), lambda: _relative_half_width(median_interval(samples)), clock.now_s() - started
        )
    return Measurement(tuple(samples), warmup=warmup, stop=stop, created=clock.stamp(), inner=inner)


def interleave(
    runs: Sequence[Callable[[], object]], clock: Clock, rule: Rule
) -> tuple[tuple[Measurement, ...], tuple[Comparison, ...]]:
    """Times several things in turns, so that the machine's drift touches all of them alike.

    Each round gives every one a block of samples, in the given order and in the reverse order by turns
    (A B B A ...). The blocks of one round pair up: the ratio of their medians is one observation, and the
    median of these ratios has a distribution-free interval. Sampling stops by the widest of these intervals.

    Args:
        runs: at least two; the first is the reference.
        clock: where time is read, for all of them.
        rule: when to stop; ``max_time_s`` counts for each of them.

    Returns:
        A measurement of each, and a comparison of each but the first with the first.

    Raises:
        ValueError: fewer than two runs.
    """
    if len(runs) < 2:
        raise ValueError(f"a comparison needs at least two runs, got {len(runs)}")
    warm = [_warm_up(run, clock, rule) for run in runs]
    inner = [_inner(typical_s, rule) for _, typical_s in warm]
    progress = _Progress(rule, rule.min_rounds, rule.max_rounds, 1, least=LEAST_ROUNDS)
    samples: list[list[float]] = [[] for _ in runs]
    medians: list[list[float]] = [[] for _ in runs]

    def ratios() -> list[Estimate]:
        return [
            median_interval([own / reference for own, reference in zip(row, medians[0], strict=True)])
            for row in medians[1:]
        ]

    started = clock.now_s()
    stop, rounds = None, 0
    for rounds in itertools.count(1):
        for i in range(len(runs)) if rounds % 2 else reversed(range(len(runs))):
            clock.elapsed_s(runs[i], inner[i])
            block = [clock.elapsed_s(runs[i], inner[i]) / inner[i] for _ in range(rule.block_samples)]
            samples[i] += block
            medians[i].append(median(block))
        elapsed_s = (clock.now_s() - started) / len(runs)
        stop = progress.stop(rounds, lambda: max(map(_relative_half_width, ratios())), elapsed_s)
        if stop is not None:
            break
    assert stop is not None  # noqa: S101 - the loop has no other way out
    measurements = tuple(
        Measurement(
            tuple(samples[i]),
            warmup=warm[i][0],
            stop=stop,
            created=clock.stamp(),
            dropped={FIRST_OF_BLOCK: rounds},
            inner=inner[i],
        )
        for i in range(len(runs))
    )
    return measurements, tuple(Comparison(ratio, judge(ratio, rule), rounds) for ratio in ratios())


def judge(ratio: Estimate, rule: Rule) -> Verdict:
    """What the interval of a ratio allows to say; "same" goes before "faster" and "slower"."""
    if 1 - rule.same_within <= ratio.low and ratio.high <= 1 + rule.same_within:
        return Verdict.SAME
    if ratio.high < 1:
        return Verdict.FASTER
    if ratio.low > 1:
        return Verdict.SLOWER
    return Verdict.CANNOT_TELL


class _Progress:
    """Remembers how wide the interval was, and says when to stop."""

    def __init__(self, rule: Rule, minimum: int, maximum: int, every: int, least: int = 1) -> None:
        self._rule = rule
        self._least = least
        self._minimum = minimum
        self._maximum = maximum
        self._every = every
        self._widths: dict[int, float] = {}
        self._next_stall = rule.stall_after

    def stop(self, n: int, width: Callable[[], float], elapsed_s: float) -> Stop | None:
        if n >= self._minimum and (n - self._minimum) % self._every == 0:
            self._widths[n] = width()
            if self._widths[n] <= self._rule.target:
                return Stop.PRECISION
            if n >= self._next_stall:
                # Few looks: each has a chance of its own to be wrong about independent samples.
                self._next_stall *= 2
                earlier = [seen for count, seen in self._widths.items() if 4 * count <= n]
                if earlier and self._widths[n] > self._rule.stall_ratio * earlier[-1]:
                    return Stop.STALLED
        late = n >= self._least and elapsed_s >= self._rule.max_time_s
        return Stop.TIME if late or n >= self._maximum else None


def _warm_up(run: Callable[[], object], clock: Clock, rule: Rule) -> tuple[int, float]:
    """Runs until two windows agree; how many runs, and the seconds of a typical late one."""
    window = rule.warmup_window
    times: list[float] = []
    started = clock.now_s()
    while len(times) < rule.warmup_max_runs:
        times.append(clock.elapsed_s(run, 1))
        if len(times) >= 2 * window and len(times) % window == 0:
            before, last = median(times[-2 * window : -window]), median(times[-window:])
            if abs(last - before) <= rule.warmup_agreement * last:
                break
        if clock.now_s() - started >= rule.warmup_max_time_s:
            break
    return len(times), median(times[-window:])


def _inner(typical_s: float, rule: Rule) -> int:
    if typical_s >= rule.min_sample_s:
        return 1
    return min(_MAX_INNER, math.ceil(rule.min_sample_s / typical_s)) if typical_s > 0 else _MAX_INNER


def _relative_half_width(estimate: Estimate) -> float:
    return (estimate.high - estimate.low) / 2 / estimate.value
