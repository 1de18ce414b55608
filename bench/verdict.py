"""One latency against another: what may be said of their ratio."""

from __future__ import annotations

from dataclasses import dataclass

from bench.stopping import Rule
from latency_tables.diagnosis import Finding
from latency_tables.estimate import Estimate
from latency_tables.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """One thing's latency against the reference's, measured in turns.

    Attributes:
        ratio: latency over the reference's latency; below 1 is faster.
        verdict: what that allows to say.
        rounds: pairs of blocks behind it.
        findings: what in the rounds' ratios makes their interval claim too much.
    """

    ratio: Estimate
    verdict: Verdict
    rounds: int
    findings: tuple[Finding, ...] = ()


def judge(ratio: Estimate, rule: Rule) -> Verdict:
    """What the interval of a ratio allows to say; "same" goes before "faster" and "slower"."""
    if 1 - rule.same_within <= ratio.low and ratio.high <= 1 + rule.same_within:
        return Verdict.SAME
    if ratio.high < 1:
        return Verdict.FASTER
    if ratio.low > 1:
        return Verdict.SLOWER
    return Verdict.CANNOT_TELL
