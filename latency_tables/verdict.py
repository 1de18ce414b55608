"""Two latencies held against each other: faster, slower, same, or cannot tell.

All that is used is the two medians' 95 % intervals. Where they do not overlap, one is surely smaller; where they
lie so near each other that any difference is too small to matter, they are the same. Two measurements made apart
also differ by what changes from process to process, see `BETWEEN_PROCESSES`; a comparison in turns
(`bench.timing.interleave`) does not have this weakness.
"""

from __future__ import annotations

import enum
import math

from latency_tables.estimate import Estimate

BETWEEN_PROCESSES = 0.05
"""Timings of one part in two processes differ by a few percent, which neither's interval holds: only what surely
differs by more than this share has changed, and what surely does not is the same."""


class Verdict(enum.Enum):
    """What a comparison may answer."""

    FASTER = "faster"  #: surely less time than the reference
    SLOWER = "slower"  #: surely more
    SAME = "same"  #: so near that any difference is too small to matter
    CANNOT_TELL = "cannot tell"  #: none of these


def judge(
    reference: Estimate,
    other: Estimate,
    same_within: float = BETWEEN_PROCESSES,
    beyond: float = BETWEEN_PROCESSES,
) -> Verdict:
    """What the intervals of two latencies allow to say of the second.

    "Same" goes before "faster" and "slower". Exchanging the two exchanges "faster" with "slower" and leaves the
    others; what is faster than something faster is faster, too. "Same" is not passed on: small differences add up.

    Args:
        reference: in any unit; an end that is not finite bounds nothing.
        other: in the same unit.
        same_within: the same when neither can be more than this share above the other.
        beyond: "faster" and "slower" are said of differences that surely exceed this share only; 0: of all.
    """
    if other.high <= (1 + same_within) * reference.low and reference.high <= (1 + same_within) * other.low:
        return Verdict.SAME
    if (1 + beyond) * other.high < reference.low:
        return Verdict.FASTER
    if other.low > (1 + beyond) * reference.high:
        return Verdict.SLOWER
    return Verdict.CANNOT_TELL


def ratio(reference: Estimate, other: Estimate) -> Estimate:
    """The second latency over the first, with the widest interval that the two intervals allow.

    Args:
        reference: above 0; an end that is not finite bounds nothing.
        other: above 0, in the same unit.
    """
    low = max(other.low, 0.0) / reference.high
    high = other.high / reference.low if reference.low > 0 else math.inf
    return Estimate(other.value / reference.value, low, high)
