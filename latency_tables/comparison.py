"""Two tables held against each other, part by part; see `latency_tables.verdict` for what a verdict means."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from latency_tables.estimate import Estimate
from latency_tables.measurement import Measurement
from latency_tables.table import Failure, LatencyTable
from latency_tables.verdict import Verdict, judge, ratio


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
        """Geometric mean of the ratios, each part counted once; None where no part can be compared."""
        logs = [math.log(part.ratio.value) for part in self.parts if part.ratio is not None]
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
    reason = "; ".join(f"{place}: {why}" for place, cell in cells.items() if (why := _against(cell)))
    if one is None or other is None:
        return PartDifference(key, one, other, None, None, reason)
    verdict = Verdict.CANNOT_TELL if reason else judge(one, other)
    return PartDifference(key, one, other, ratio(one, other), verdict, reason)


def _against(cell: Measurement | Failure | None) -> str:
    """Why a cell is not held against another; "" where it is."""
    if cell is None:
        return "not measured"
    if isinstance(cell, Failure):
        return f"failed: {cell.reason}"
    if cell.disturbance is not None:
        return f"disturbed by {cell.disturbance}"
    return "timed while the cores lay far apart" if cell.far else ""
