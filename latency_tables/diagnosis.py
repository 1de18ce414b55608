"""What makes an interval from repeated timings doubtful: a trend, samples that follow each other, two modes.

The interval of a median assumes independent samples of one distribution. Each test here asks whether samples, in
the order taken, look as if they were not. All of them work on ranks or on the shape of the distribution function,
so that long tails, which timings have, alarm nobody; for independent samples the three together raise a false alarm
in at most two of a hundred cases (the tests hold that for four shapes).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Fewer samples tell nothing about their order or their shape.
LEAST_SAMPLES = 10

#: Two modes nearer to each other than this, as a share of the lower one, make no difference that matters; a clock
#: with coarse ticks makes such modes.
LEAST_MODE_GAP = 0.02

# A standard normal variable is beyond this, to either side, in 5 of 1000 cases.
_BEYOND = 2.807

# The depth of the dip times the root of the number of samples is beyond this in 5 of 1000 cases, for samples of
# the uniform distribution, which of all distributions with one mode is the easiest to take for one with two.
# Simulated for 50 to 500 samples; with fewer it is rarer still.
_DEEP = 0.48

_Floats = NDArray[np.float64]


class Doubt(enum.Enum):
    """What is wrong with samples."""

    DRIFT = "drift"  #: they rise or fall from the first to the last
    DEPENDENCE = "dependence"  #: a sample resembles (or avoids) the one before it
    TWO_MODES = "two modes"  #: they gather around two values, with few between


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found in samples that their interval does not allow for.

    Attributes:
        doubt: what it is.
        text: a sentence for people, with the numbers.
        numbers: by name. Drift: "change" (last third's median over the first third's, less 1), "correlation" (of
            rank and time). Dependence: "correlation" (of a sample's rank with the next one's). Two modes: "low" and
            "high" (the medians of both, in the samples' unit), "share_high" (of the samples).
    """

    doubt: Doubt
    text: str
    numbers: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"doubt": self.doubt.value, "text": self.text, "numbers": dict(self.numbers)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Finding:
        """Reads what `to_json` wrote."""
        return cls(Doubt(data["doubt"]), data["text"], dict(data["numbers"]))


def diagnose(samples: Sequence[float] | _Floats) -> tuple[Finding, ...]:
    """Looks for everything that would make the interval of the samples' median claim too much.

    Args:
        samples: shape (n,), positive, in the order taken.

    Returns:
        What was found, at most one of each kind; nothing for fewer than `LEAST_SAMPLES` samples.
    """
    values = np.asarray(samples, dtype=np.float64)
    if values.size < LEAST_SAMPLES or values.min() == values.max():
        return ()
    found = (_drift(values), _dependence(values), _two_modes(values))
    return tuple(finding for finding in found if finding is not None)


def _drift(values: _Floats) -> Finding | None:
    """Spearman's correlation of the samples with their place; under independence its variance is 1/(n - 1)."""
    ranks = _centred_ranks(values)
    places = np.arange(values.size) - (values.size - 1) / 2
    correlation = float(ranks @ places / math.sqrt((ranks @ ranks) * (places @ places)))
    if abs(correlation) * math.sqrt(values.size - 1) <= _BEYOND:
        return None
    third = values.size // 3
    change = float(np.median(values[-third:]) / np.median(values[:third])) - 1
    text = (
        f"the samples drift: the last third's median is {change:+.1%} from the first third's "
        f"(rank correlation with time {correlation:+.2f}, {values.size} samples)"
    )
    return Finding(Doubt.DRIFT, text, {"change": change, "correlation": correlation})


def _dependence(values: _Floats) -> Finding | None:
    """The correlation of each rank with the next (Bartels 1982); mean -1/n and variance 1/n under independence."""
    ranks = _centred_ranks(values)
    correlation = float(ranks[:-1] @ ranks[1:] / (ranks @ ranks))
    if abs(correlation + 1 / values.size) * math.sqrt(values.size) <= _BEYOND:
        return None
    text = (
        f"the samples depend on each other: a sample's rank and the next one's correlate by {correlation:+.2f} "
        f"({values.size} samples)"
    )
    return Finding(Doubt.DEPENDENCE, text, {"correlation": correlation})


def _two_modes(values: _Floats) -> Finding | None:
    """As the dip test of Hartigan and Hartigan (1985): how far the samples are from every shape with one mode."""
    if dip(values) * math.sqrt(values.size) <= _DEEP:
        return None
    ordered = np.sort(values)
    cut = _best_cut(ordered)
    low, high = float(np.median(ordered[:cut])), float(np.median(ordered[cut:]))
    if high - low < LEAST_MODE_GAP * low:
        return None
    share = 1 - cut / values.size
    text = (
        f"the samples have two modes: {1 - share:.0%} of them around {low:.4g}, {share:.0%} around {high:.4g} "
        f"({high / low - 1:+.1%}, {values.size} samples)"
    )
    return Finding(Doubt.TWO_MODES, text, {"low": low, "high": high, "share_high": share})


def dip(samples: Sequence[float] | _Floats) -> float:
    """How far the distribution function of samples is from those with a single mode.

    Such a function is convex up to its mode and concave after it. For each place of the mode, the distance is that
    of the part before from its greatest convex minorant, or of the part after from its least concave majorant,
    whichever is larger; the smallest over all places counts, halved, since a function may run midway. Both parts
    are fitted apart, so it is at most Hartigan and Hartigan's dip, and its limits are its own.

    Args:
        samples: shape (n,), at least one.

    Returns:
        A distance from 0 to 1/4; 0 for samples that are spread evenly.
    """
    places, counts = np.unique(np.asarray(samples, dtype=np.float64), return_counts=True)
    # The middle of each step: values that repeat are ticks of a clock, and evenly filled ticks are no modes.
    heights = np.cumsum(counts) - counts / 2
    before: tuple[list[float], list[float]] = (places.tolist(), heights.tolist())
    after: tuple[list[float], list[float]] = ((-places[::-1]).tolist(), (-heights[::-1]).tolist())

    def left(mode: int) -> float:
        return _above_hull(before[0][: mode + 1], before[1][: mode + 1])

    def right(mode: int) -> float:
        return _above_hull(after[0][: places.size - mode], after[1][: places.size - mode])

    # The further right the mode, the worse the left part fits and the better the right part.
    crossing = _first(lambda mode: left(mode) >= right(mode), places.size)
    best = left(crossing)
    if crossing > 0:
        best = min(best, right(crossing - 1))
    return best / 2 / float(counts.sum())


def _above_hull(x: list[float], y: list[float]) -> float:
    """The largest distance of points above their greatest convex minorant; x ascending."""
    hull: list[int] = []
    for i in range(len(x)):
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            if (y[b] - y[a]) * (x[i] - x[b]) < (y[i] - y[b]) * (x[b] - x[a]):
                break
            hull.pop()
        hull.append(i)
    bottom = np.interp(x, [x[i] for i in hull], [y[i] for i in hull])
    return float(np.max(np.asarray(y) - bottom))


def _first(holds: Callable[[int], bool], n: int) -> int:
    """The first of 0 to n - 1 for which it holds, where it holds for all after; n - 1 is taken to hold."""
    low, high = 0, n - 1
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _best_cut(ordered: _Floats) -> int:
    """Where to cut sorted samples so that both parts lie closest to their own medians, in sum of distances."""
    n = ordered.size
    sums = np.concatenate([[0.0], np.cumsum(ordered)])

    def spread(start: NDArray[np.int64], end: NDArray[np.int64]) -> _Floats:
        half = (end - start) // 2
        return np.asarray(sums[end] - sums[end - half] - sums[start + half] + sums[start])

    cuts = np.arange(1, n)
    return int(cuts[np.argmin(spread(np.zeros_like(cuts), cuts) + spread(cuts, np.full_like(cuts, n)))])


def _centred_ranks(values: _Floats) -> _Floats:
    """Ranks less their mean; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean_ranks = ends - (counts + 1) / 2
    return np.asarray(mean_ranks[inverse] - (values.size - 1) / 2)
