"""Two tables held against each other, part by part; see `latency_tables.verdict` for what a verdict means."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from latency_tables.estimate import Estimate
from latency_tables.measurement import Measurement
from latency_tables.table import Failure, LatencyTable
from latency_tables.verdict import BETWEEN_PROCESSES, Verdict, judge, ratio


@dataclass(frozen=True, slots=True)
class PartDifference:
    """A part in two tables.

    Attributes:
        key: the part's key.
        before_s: its latency in the first table; None where there is none.
        after_s: its latency in the second.
        ratio: second over first; None where one is missing.
        verdict: of the second against the first; None where one of them has no latency.
        reason: why not, or why nothing can be told; else "".
    """

    key: str
    before_s: Estimate | None
    after_s: Estimate | None
    ratio: Estimate | None
    verdict: Verdict | None
    reason: str


@dataclass(frozen=True, slots=True)
class TableDifference:
    """Two tables, part by part.

    Attributes:
        fields: where the settings differ: name of the field, its value in the first, in the second.
        parts: every part that one of them has, in the first table's order, then the second's.
    """

    fields: tuple[tuple[str, object, object], ...]
    parts: tuple[PartDifference, ...]

    def counts(self) -> dict[str, int]:
        """How many parts have each verdict; "not compared" for those without."""
        counted = Counter(
            "not compared" if part.verdict is None else part.verdict.value for part in self.parts
        )
        return {name: counted[name] for name in (*(verdict.value for verdict in Verdict), "not compared")}

    def typical_ratio(self) -> float | None:
        """Geometric mean over parts that nothing speaks against, each counted once; None where there are none."""
        logs = [
            math.log(part.ratio.value) for part in self.parts if part.ratio is not None and not part.reason
        ]
        return math.exp(math.fsum(logs) / len(logs)) if logs else None


def compare_tables(before: LatencyTable, after: LatencyTable) -> TableDifference:
    """Compares two tables part by part.

    The only place where latencies of two settings meet: the difference of the settings is what is asked for.
    Nothing is added up across them.

    Args:
        before: the reference.
        after: the other.
    """
    keys = dict.fromkeys([*before.cells, *after.cells])
    return TableDifference(
        before.setting.differences(after.setting),
        tuple(_compare_part(key, before, after) for key in keys),
    )


def _compare_part(key: str, before: LatencyTable, after: LatencyTable) -> PartDifference:
    cells = {"first": before.cells.get(key), "second": after.cells.get(key)}
    one, other = (cell.latency_s if isinstance(cell, Measurement) else None for cell in cells.values())
    reasons = [f"{place}: {why}" for place, cell in cells.items() if (why := objection(cell))]
    far = [place for place, cell in cells.items() if isinstance(cell, Measurement) and cell.far]
    if len(far) == 1:  # two that were are alike
        reasons.append(f"{far[0]}: timed while the cores lay far apart")
    reason = "; ".join(reasons)
    if one is None or other is None:
        return PartDifference(key, one, other, None, None, reason)
    verdict = Verdict.CANNOT_TELL if reason else judge(one, other)
    return PartDifference(key, one, other, ratio(one, other), verdict, reason)


def objection(cell: Measurement | Failure | None) -> str:
    """Why a cell is not held against another; "" where it is.

    What is found in its samples speaks against it where the middle half of them is wider than what verdicts allow
    for in any case.
    """
    if cell is None:
        return "not measured"
    if isinstance(cell, Failure):
        return f"failed: {cell.reason}"
    if cell.disturbance is not None:
        return f"disturbed by {cell.disturbance}"
    if cell.settled is False:
        return "timed while the anchor moved"
    low, high = np.quantile(cell.samples_s, [0.25, 0.75])
    if cell.findings and high > (1 + BETWEEN_PROCESSES) * low:
        return f"{' and '.join(finding.doubt.value for finding in cell.findings)} in its samples"
    return ""
