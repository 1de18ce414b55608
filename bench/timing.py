"""How long something takes: warm-up, sampling until the median is known well enough, fair comparison."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median
from typing import TypeAlias

from bench.clock import Clock, WallClock
from bench.stopping import Progress, Rule, relative_half_width
from bench.verdict import Comparison, judge
from latency_tables.diagnosis import diagnose
from latency_tables.estimate import Estimate
from latency_tables.measurement import SEQUENTIAL_CONFIDENCE, Measurement, median_interval
from latency_tables.verdict import Verdict

__all__ = [
    "FIRST_OF_BLOCK",
    "Clock",
    "Comparison",
    "Rule",
    "Verdict",
    "WallClock",
    "interleave",
    "judge",
    "measure",
]

#: Why a block's first run is not a sample: the other candidates have just used the caches.
FIRST_OF_BLOCK = "first of its block"

#: Fewer pairs of blocks have no 95 % interval of their median; the time allowed does not end a comparison before.
LEAST_ROUNDS = 6

# Even where the clock sees nothing pass, one sample ends.
_MAX_INNER = 10_000


Spoiled: TypeAlias = Callable[[], str | None]
"""Asked after each sample: why it is not to be trusted; None: nothing is known against it."""


def trusted() -> None:
    """Nothing is known against any sample."""
    return


def measure(run: Callable[[], object], clock: Clock, rule: Rule, spoiled: Spoiled = trusted) -> Measurement:
    """Times one thing: warm-up, then samples until the median is known as well as asked.

    The interval is looked at again and again, which `SEQUENTIAL_CONFIDENCE` pays for. Samples that are not
    independent of each other break its promise whatever the confidence; the measurement's ``findings`` say so.

    Args:
        run: does it once; on an asynchronous device it may return early, if the clock waits.
        clock: where time is read.
        rule: when to stop.
        spoiled: see `Spoiled`; such samples are left out and counted, unless fewer than the rule's least number
            would be left.

    Returns:
        The measurement: at least one sample; which condition ended it.
    """
    warmup, typical_s = _warm_up(run, clock, rule)
    inner = _inner(typical_s, rule)
    progress = Progress(rule, rule.min_samples, rule.max_samples, rule.check_every)
    samples: list[float] = []
    causes: list[str | None] = []
    started = clock.now_s()
    stop = None
    while stop is None:
        samples.append(clock.elapsed_s(run, inner) / inner)
        causes.append(spoiled())
        stop = progress.stop(
            len(samples),
            lambda: relative_half_width(_sequential([samples[i] for i in _sound(causes, rule.min_samples)])),
            clock.now_s() - started,
        )
    sound = _sound(causes, rule.min_samples)
    dropped = Counter(cause for i, cause in enumerate(causes) if cause is not None and i not in sound)
    return Measurement(
        tuple(samples[i] for i in sound),
        warmup=warmup,
        stop=stop,
        created=clock.stamp(),
        dropped=dict(dropped),
        inner=inner,
    )


def interleave(
    runs: Sequence[Callable[[], object]], clock: Clock, rule: Rule, spoiled: Spoiled = trusted
) -> tuple[tuple[Measurement, ...], tuple[Comparison, ...]]:
    """Times several things in turns, so that the machine's drift touches all of them alike.

    Each round gives every one a block of samples, fewer where one takes long, in the given order and in the
    reverse order by turns (A B B A ...). The blocks of one round pair up: the ratio of their medians is one
    observation, and the median of these ratios has a distribution-free interval, as that of `measure`. Sampling
    stops by the widest of these intervals.

    Args:
        runs: at least two; the first is the reference.
        clock: where time is read, for all of them.
        rule: when to stop; ``max_time_s`` counts for each of them.
        spoiled: see `Spoiled`; a round with such a sample is left out, unless fewer than `LEAST_ROUNDS` would be
            left.

    Returns:
        A measurement of each, and a comparison of each but the first with the first.

    Raises:
        ValueError: fewer than two runs.
    """
    if len(runs) < 2:
        raise ValueError(f"a comparison needs at least two runs, got {len(runs)}")
    warm = [_warm_up(run, clock, rule) for run in runs]
    inner = [_inner(typical_s, rule) for _, typical_s in warm]
    sizes = [_block(typical_s * times, rule) for (_, typical_s), times in zip(warm, inner, strict=True)]
    progress = Progress(rule, rule.min_rounds, rule.max_rounds, 1, least=LEAST_ROUNDS)
    blocks: list[list[list[float]]] = [[] for _ in runs]
    causes: list[str | None] = []

    def ratios() -> list[list[float]]:
        medians = [[median(own[i]) for i in _sound(causes, LEAST_ROUNDS)] for own in blocks]
        return [
            [own / reference for own, reference in zip(row, medians[0], strict=True)] for row in medians[1:]
        ]

    started = clock.now_s()
    stop, rounds = None, 0
    for rounds in itertools.count(1):
        causes.append(None)
        for i in range(len(runs)) if rounds % 2 else reversed(range(len(runs))):
            clock.elapsed_s(runs[i], inner[i])
            blocks[i].append([])
            for _ in range(sizes[i]):
                blocks[i][-1].append(clock.elapsed_s(runs[i], inner[i]) / inner[i])
                causes[-1] = spoiled() or causes[-1]
        elapsed_s = (clock.now_s() - started) / len(runs)
        stop = progress.stop(
            rounds, lambda: max(map(relative_half_width, map(_sequential, ratios()))), elapsed_s
        )
        if stop is not None:
            break
    assert stop is not None  # noqa: S101 - the loop has no other way out
    sound = _sound(causes, LEAST_ROUNDS)
    lost = Counter(cause for i, cause in enumerate(causes) if cause is not None and i not in sound)
    measurements = tuple(
        Measurement(
            tuple(sample for i in sound for sample in own[i]),
            warmup=runs_before,
            stop=stop,
            created=clock.stamp(),
            dropped={FIRST_OF_BLOCK: rounds, **{cause: count * size for cause, count in lost.items()}},
            inner=repeats,
        )
        for own, (runs_before, _), size, repeats in zip(blocks, warm, sizes, inner, strict=True)
    )
    return measurements, tuple(_compared(row, rule) for row in ratios())


def _sound(causes: Sequence[str | None], least: int) -> range | list[int]:
    """Which samples, or rounds, count: those with nothing against them, if they are enough, else all."""
    sound = [i for i, cause in enumerate(causes) if cause is None]
    return sound if least <= len(sound) < len(causes) else range(len(causes))


def _compared(ratios: Sequence[float], rule: Rule) -> Comparison:
    ratio = _sequential(ratios)
    return Comparison(ratio, judge(ratio, rule), len(ratios), diagnose(ratios))


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


def _block(sample_s: float, rule: Rule) -> int:
    """How many samples a block has: one of a slow network is long enough to stand for its block."""
    if sample_s * rule.block_samples <= rule.block_time_s:
        return rule.block_samples
    return max(1, math.floor(rule.block_time_s / sample_s))


def _sequential(samples: Sequence[float]) -> Estimate:
    return median_interval(samples, SEQUENTIAL_CONFIDENCE)
