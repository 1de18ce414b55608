"""When warm-up is over and when enough samples were taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from latency_tables.estimate import Estimate
from latency_tables.measurement import Stop


@dataclass(frozen=True, slots=True)
class Rule:
    """When warm-up is over and when enough samples were taken.

    Attributes:
        target: relative half-width of the 95 % interval (of the median, or of a ratio) that is enough.
        min_samples: fewer are never enough, but for time.
        max_samples: more are never taken.
        max_time_s: seconds of sampling allowed for each thing measured, warm-up not counted.
        check_every: samples between two looks at the interval.
        min_sample_s: a run shorter than this is repeated inside one sample, since what is looked at between samples
            makes the first run after it take about a microsecond longer.
        warmup_window: runs in each of the two windows whose medians must agree.
        warmup_agreement: relative difference of these medians that is agreement.
        warmup_max_runs: warm-up ends after so many runs even without agreement.
        warmup_max_time_s: warm-up ends after so many seconds even without agreement.
        stall_ratio: sampling has stalled when the interval is not narrower than this times what it was at a
            quarter of the samples (independent samples would halve it).
        stall_after: samples (rounds, when interleaved) at which this is looked at, and again at each doubling.
        block_samples: samples in a block, when interleaved; one run before them is not counted.
        block_time_s: seconds that the samples of a block take together, where there is more than one.
        min_rounds: as min_samples, for rounds of an interleaved comparison.
        max_rounds: as max_samples, for rounds of an interleaved comparison.
        same_within: two latencies are the same when their ratio is surely within 1 plus or minus this.
    """

    target: float = 0.01
    min_samples: int = 10
    max_samples: int = 500
    max_time_s: float = 3.0
    check_every: int = 5
    min_sample_s: float = 200e-6
    warmup_window: int = 5
    warmup_agreement: float = 0.02
    warmup_max_runs: int = 100
    warmup_max_time_s: float = 1.0
    stall_ratio: float = 0.9
    stall_after: int = 100
    block_samples: int = 4
    block_time_s: float = 0.25
    min_rounds: int = 10
    max_rounds: int = 100
    same_within: float = 0.02

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"{field.name} must be positive, got {getattr(self, field.name)}")


class Progress:
    """Remembers how wide the interval was, and says when to stop.

    Args:
        rule: the targets and limits.
        minimum: samples (or rounds) before the first look at the interval.
        maximum: samples (or rounds) at which the time is over.
        every: samples (or rounds) between two looks.
        least: samples (or rounds) that time alone does not cut short.
    """

    def __init__(self, rule: Rule, minimum: int, maximum: int, every: int, least: int = 1) -> None:
        self._rule = rule
        self._least = least
        self._minimum = minimum
        self._maximum = maximum
        self._every = every
        self._widths: dict[int, float] = {}
        self._next_stall = rule.stall_after

    def stop(self, n: int, width: Callable[[], float], elapsed_s: float) -> Stop | None:
        """Whether it is enough.

        Args:
            n: samples (or rounds) that count so far; to be called at each, and once for each number is enough.
            width: gives the relative half-width of the interval, asked only when it is time to look.
            elapsed_s: seconds of sampling so far.

        Returns:
            The reason to stop; None: go on.
        """
        if n >= self._minimum and (n - self._minimum) % self._every == 0 and n not in self._widths:
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


def relative_half_width(estimate: Estimate) -> float:
    """Half the interval's width over the value; infinite where the interval is."""
    return (estimate.high - estimate.low) / 2 / estimate.value
