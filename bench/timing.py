"""How long something takes: warm-up, sampling until the median is known well enough, fair comparison."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypeAlias

from bench.clock import Clock, WallClock
from bench.stopping import Progress, Rule, relative_half_width
from bench.verdict import Comparison, judge
from latency_tables.diagnosis import diagnose
from latency_tables.estimate import Estimate
from latency_tables.measurement import SEQUENTIAL_CONFIDENCE, Measurement, Stop, median_interval
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

#: Why samples with nothing against them are left out.
BESIDE_SPOILED = "beside a block that was spoiled"

#: Fewer samples, or pairs of blocks, have no 95 % interval of their median; the time allowed does not end a
#: comparison before.
LEAST_SOUND = 6

#: Where samples are spoiled, up to so many times what would do otherwise are taken to get enough sound ones.
PATIENCE = 4

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
        spoiled: see `Spoiled`; such samples are left out and counted, unless fewer than `LEAST_SOUND` others are
            left. Others are waited for, up to `PATIENCE` times the rule's least number in all.

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
        elapsed_s = clock.now_s() - started
        stop = progress.stop(
            _counted(causes, rule.min_samples),
            lambda: relative_half_width(_sequential([samples[i] for i in _sound(causes)])),
            elapsed_s,
        )
        if len(samples) >= rule.max_samples or elapsed_s >= rule.max_time_s:
            stop = stop or Stop.TIME
    sound = _sound(causes)
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
        spoiled: see `Spoiled`; such samples are taken again within their block, up to `PATIENCE` times as many and
            while it is not long, and a round with a block that has no sound one is left out; where fewer than
            `LEAST_SOUND` rounds would be left, all samples count.

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
    progress = Progress(rule, rule.min_rounds, rule.max_rounds, 1, least=LEAST_SOUND)
    blocks: list[list[_Block]] = [[] for _ in runs]

    def ratios() -> list[list[float]]:
        medians = [[median(samples) for samples in _kept(own, _trusted_rounds(blocks))] for own in blocks]
        return [
            [own / reference for own, reference in zip(row, medians[0], strict=True)] for row in medians[1:]
        ]

    started = clock.now_s()
    stop, rounds, hopeful = None, 0, True
    for rounds in itertools.count(1):
        for i in range(len(runs)) if rounds % 2 else reversed(range(len(runs))):
            clock.elapsed_s(runs[i], inner[i])
            block, begun = _Block(), clock.now_s()
            while block.lacks(sizes[i], hopeful and clock.now_s() - begun < rule.block_time_s):
                block.samples.append(clock.elapsed_s(runs[i], inner[i]) / inner[i])
                block.causes.append(spoiled())
            # Nothing is taken again after a block that was spoiled as a whole, so what lasts costs no more time.
            hopeful = bool(block.sound)
            blocks[i].append(block)
        elapsed_s = (clock.now_s() - started) / len(runs)
        found = _trusted_rounds(blocks)
        waiting = found is None and rounds < PATIENCE * rule.min_rounds
        stop = progress.stop(
            0 if waiting else rounds if found is None else len(found),
            lambda: max(map(relative_half_width, map(_sequential, ratios()))),
            elapsed_s,
        )
        if rounds >= rule.max_rounds or (rounds >= LEAST_SOUND and elapsed_s >= rule.max_time_s):
            stop = stop or Stop.TIME
        if stop is not None:
            break
    assert stop is not None  # noqa: S101 - the loop has no other way out
    trusted_rounds = _trusted_rounds(blocks)
    measurements = tuple(
        Measurement(
            tuple(itertools.chain.from_iterable(_kept(own, trusted_rounds))),
            warmup=runs_before,
            stop=stop,
            created=clock.stamp(),
            dropped={FIRST_OF_BLOCK: rounds, **_lost(own, trusted_rounds)},
            inner=repeats,
        )
        for own, (runs_before, _), repeats in zip(blocks, warm, inner, strict=True)
    )
    return measurements, tuple(_compared(row, rule) for row in ratios())


@dataclass(frozen=True, slots=True)
class _Block:
    """Samples of one thing in one round, and why each is not to be trusted."""

    samples: list[float] = field(default_factory=list)
    causes: list[str | None] = field(default_factory=list)

    def lacks(self, size: int, again: bool) -> bool:
        """Whether more samples are to be taken for it: sound ones, where spoiled ones are taken again."""
        if again:
            return len(self.sound) < size and len(self.samples) < PATIENCE * size
        return len(self.samples) < size

    @property
    def sound(self) -> list[float]:
        return [sample for sample, cause in zip(self.samples, self.causes, strict=True) if cause is None]


def _trusted_rounds(blocks: Sequence[Sequence[_Block]]) -> list[int] | None:
    """The rounds in which every block has a sound sample; None: too few, so that all samples count."""
    rounds = [i for i, row in enumerate(zip(*blocks, strict=True)) if all(block.sound for block in row)]
    return rounds if len(rounds) >= LEAST_SOUND else None


def _kept(own: Sequence[_Block], rounds: list[int] | None) -> list[list[float]]:
    """The samples that count, by round."""
    return [block.samples for block in own] if rounds is None else [own[i].sound for i in rounds]


def _lost(own: Sequence[_Block], rounds: list[int] | None) -> Counter[str]:
    """How many samples do not count, by cause: their own, or that they lie beside a block that was spoiled."""
    if rounds is None:
        return Counter()
    lost = Counter(cause for block in own for cause in block.causes if cause is not None)
    beside = sum(len(block.sound) for i, block in enumerate(own) if i not in rounds)
    return lost + Counter({BESIDE_SPOILED: beside})


def _sound(causes: Sequence[str | None]) -> range | list[int]:
    """Which samples count: those with nothing against them, if they are enough, else all."""
    sound = [i for i, cause in enumerate(causes) if cause is None]
    return sound if LEAST_SOUND <= len(sound) < len(causes) else range(len(causes))


def _counted(causes: Sequence[str | None], least: int) -> int:
    """How many samples the stopping rule goes by: sound ones, as long as these may still become enough."""
    sound = causes.count(None)
    return sound if sound >= LEAST_SOUND or len(causes) < PATIENCE * least else len(causes)


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
