"""Differences between estimates, with their doubt: what may be called better, worse, or neither."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

from latency_tables.estimate import Estimate


class Change(StrEnum):
    """What a difference allows to say."""

    BETTER = "better"
    WORSE = "worse"
    CANNOT_TELL = "cannot tell"


def apart(one: Estimate, other: Estimate) -> Estimate:
    """One minus the other, as if the two were independent.

    The ends come from the two intervals by the method of variance estimates recovery (Zou and Donner, 2008). Of
    networks judged on the same images the errors rise and fall together, so that the interval is rather too wide.
    """
    return Estimate(
        one.value - other.value,
        one.value - other.value - math.hypot(one.value - one.low, other.high - other.value),
        one.value - other.value + math.hypot(one.high - one.value, other.value - other.low),
    )


def over(one: Estimate, other: Estimate) -> Estimate:
    """One over the other, both above 0, as if the two were independent; `apart` of their logarithms."""
    logarithm = apart(_log(one), _log(other))
    value = one.value / other.value
    # Rounding may put an end that equals the value on its wrong side.
    return Estimate(value, min(_exp(logarithm.low), value), max(_exp(logarithm.high), value))


def paired(differences: Sequence[float]) -> Estimate:
    """The mean of differences that were taken seed by seed, with Student's interval.

    Args:
        differences: one for each seed, at least one.

    Returns:
        The mean; with a single seed its ends are infinite, since nothing is known of other seeds.
    """
    from scipy.special import stdtrit

    count = len(differences)
    mean = math.fsum(differences) / count
    if count == 1:
        return Estimate(mean, -math.inf, math.inf)
    variance = math.fsum((d - mean) ** 2 for d in differences) / (count - 1)
    half = float(stdtrit(count - 1, 0.975)) * math.sqrt(variance / count)
    return Estimate(mean, mean - half, mean + half)


def change(difference: Estimate, *, none: float = 0.0, more_is_better: bool = True) -> Change:
    """What an interval allows to say.

    Args:
        difference: of the new from the old.
        none: the number that stands for no difference: 0, or 1 for a ratio.
        more_is_better: whether a larger number is the better one.
    """
    if difference.low > none:
        return Change.BETTER if more_is_better else Change.WORSE
    if difference.high < none:
        return Change.WORSE if more_is_better else Change.BETTER
    return Change.CANNOT_TELL


def _log(estimate: Estimate) -> Estimate:
    low = math.log(estimate.low) if estimate.low > 0 else -math.inf
    return Estimate(
        math.log(estimate.value), low, math.log(estimate.high) if estimate.high < math.inf else math.inf
    )


def _exp(end: float) -> float:
    return math.exp(end) if end < math.inf else math.inf
