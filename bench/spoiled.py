"""Parts that a later profile times again, since something spoiled them."""

from __future__ import annotations

from collections.abc import Iterable

from bench.near_cores import taken_far
from latency_tables.measurement import Measurement
from latency_tables.part import Part
from latency_tables.table import LatencyTable


def taken_disturbed(parts: Iterable[Part], table: LatencyTable) -> list[Part]:
    """Of some parts those whose cell something disturbed in every attempt."""
    cells = {part: table.cells.get(part.key) for part in parts}
    return [
        part for part, cell in cells.items() if isinstance(cell, Measurement) and cell.disturbance is not None
    ]


def taken_unsettled(parts: Iterable[Part], table: LatencyTable) -> list[Part]:
    """Of some parts those whose cell was timed while the anchor moved."""
    cells = {part: table.cells.get(part.key) for part in parts}
    return [part for part, cell in cells.items() if isinstance(cell, Measurement) and cell.settled is False]


def spoiled_parts(parts: Iterable[Part], table: LatencyTable) -> list[Part]:
    """Of some parts those disturbed, unsettled, or taken with the cores far apart while others had them near.

    Those timed longest ago come first, so that profiles without much time get round to each of them.
    """
    parts = list(parts)
    spoiled = [*taken_far(parts, table), *taken_disturbed(parts, table), *taken_unsettled(parts, table)]
    return sorted(dict.fromkeys(spoiled), key=lambda part: table.cells[part.key].created)
