"""What a table knows of layers over their widths: cells of a family, the steps of its kind, the surface between."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from latency_tables.family import Family, families, form
from latency_tables.interpolation import Box, Stairs, Surface, find_stairs
from latency_tables.part import Part
from latency_tables.random_plans import NARROWEST
from latency_tables.skeleton import Skeleton
from latency_tables.table import Failure, LatencyTable

SWEPT = 64
"""Widths up to this tell the staircase: a step rises most where there are few."""
SWEPT_WIDER = 192
"""Widths up to this tell it where those find no step: three of 64."""
_SWEPT_THROUGH = 0.8
"""A line tells it that has this share of the widths of the fullest one; others stand on the ends of steps alone."""


def surfaces(skeleton: Skeleton, every: Collection[Family], table: LatencyTable) -> dict[str, Surface]:
    """The surface of each family with axes, by its pattern, from all cells of the table that belong to it.

    Arguments as for `known_points`.
    """
    points = known_points(skeleton, every, table)
    kinds = {family.pattern: kind_of(family) for family in every}
    stairs = {
        kind: kind_stairs([known for pattern, known in points.items() if kinds[pattern] == kind], kind[1])
        for kind in dict.fromkeys(kinds[pattern] for pattern in points)
    }
    fulls: dict[str, list[tuple[int, ...]]] = {}
    for family in every:
        fulls.setdefault(family.pattern, []).append(family.full)
    return {
        pattern: Surface(known, stairs[kinds[pattern]], reach(fulls[pattern]))
        for pattern, known in points.items()
        if known
    }


def reach(fulls: Sequence[tuple[int, ...]]) -> Box:
    """Between which values of its axes a table is measured, for parts that share their cells.

    Args:
        fulls: of each of them, where it lies at full width.
    """
    axes = list(zip(*fulls, strict=True))
    return (
        tuple(math.ceil(NARROWEST * min(values)) for values in axes),
        tuple(max(values) for values in axes),
    )


def known_points(
    skeleton: Skeleton, every: Collection[Family], table: LatencyTable
) -> dict[str, dict[tuple[int, ...], float]]:
    """What a table knows of families with axes: seconds by pattern and values of the axes.

    What a part alone only lays out anew hides the steps of what is computed. Where the table tells it of every part
    of the network, it is left out; a cell at another width that does not tell it, as one of earlier days, is taken
    to have as large a share as at full width.

    Args:
        skeleton: the network.
        every: families of its layers.
        table: that knows them.
    """
    left_out = table.tells_reordering(skeleton)
    points: dict[str, dict[tuple[int, ...], float]] = {}
    parts = {family.pattern: family.part for family in every}
    for pattern, keys in _keys(every, table).items():
        found = {place: table.estimate(key) for place, key in keys.items()}
        points[pattern] = {place: known.value for place, known in found.items() if known is not None}
        if not left_out:
            continue
        at_full = table.reordering(parts[pattern].key) or 0.0
        for place in points[pattern]:
            share = table.reordering(keys[place])
            points[pattern][place] *= 1.0 - (at_full if share is None else share)
    return points


def failed_points(every: Collection[Family], table: LatencyTable) -> dict[str, dict[tuple[int, ...], str]]:
    """Where parts of families with axes could not be timed: the reasons by pattern and values of the axes."""
    points: dict[str, dict[tuple[int, ...], str]] = {}
    for pattern, keys in _keys(every, table).items():
        cells = {place: table.cells[key] for place, key in keys.items() if table.estimate(key) is None}
        points[pattern] = {place: cell.reason for place, cell in cells.items() if isinstance(cell, Failure)}
    return points


def _keys(every: Collection[Family], table: LatencyTable) -> dict[str, dict[tuple[int, ...], str]]:
    """The table's cells of families with axes: keys by pattern and values of the axes."""
    by_form: dict[str, list[str]] = {}
    for key in table.cells:
        by_form.setdefault(form(key), []).append(key)
    found: dict[str, dict[tuple[int, ...], str]] = {}
    for family in every:
        if family.axes and family.pattern not in found:
            found[family.pattern] = family.points(by_form.get(form(family.part.key), ()))
    return found


def timed_parts(skeleton: Skeleton, table: LatencyTable) -> list[Part]:
    """A network's parts that the table has cells of, at full width and at others."""
    every = families(skeleton) if skeleton.sizes else ()
    points = known_points(skeleton, every, table)
    narrower = [family.at(place) for family in every for place in points.get(family.pattern, ())]
    return [part for part in dict.fromkeys([*skeleton.parts, *narrower]) if part.key in table.cells]


def kind_of(family: Family) -> tuple[str, int]:
    """What families share their steps: the operator that works, and how many axes there are."""
    return family.part.kind.split("+")[0], len(family.axes)


def kind_stairs(points: Sequence[Mapping[tuple[int, ...], float]], axes: int) -> tuple[Stairs, ...]:
    """The stairs along each axis, as most lines of points that differ in it alone show them.

    A neighbour on the processor may slow a stretch of a line down, which hides its steps and makes none: of a tie
    the wider step counts.

    Args:
        points: of each family of a kind: seconds by the values of its axes.
        axes: how many.
    """
    stairs = []
    for axis in range(axes):
        near, wider = (_along(points, axis, most) for most in (SWEPT, SWEPT_WIDER))
        # A step shows by three of them.
        stairs.append(wider if near.step == 1 and wider.step > SWEPT // 3 else near)
    return tuple(stairs)


def _along(points: Sequence[Mapping[tuple[int, ...], float]], axis: int, most: int) -> Stairs:
    """The stairs along one axis by widths up to ``most``."""
    lines: dict[object, dict[int, float]] = {}
    for number, known in enumerate(points):
        for place, latency_s in known.items():
            if place[axis] <= most:
                other = (number, place[:axis] + place[axis + 1 :])
                lines.setdefault(other, {})[place[axis]] = latency_s
    least = _SWEPT_THROUGH * max(map(len, lines.values()), default=0)
    return _most_common([find_stairs(line) for line in lines.values() if len(line) >= least])


def _most_common(found: Sequence[Stairs]) -> Stairs:
    """The step that most of them have, and the multiple that most of these have; of a tie the larger one."""
    if not found:
        return Stairs()
    steps = Counter(one.step for one in found)
    step = max(steps, key=lambda one: (steps[one], one))
    multiples = Counter(one.multiple for one in found if one.step == step)
    return Stairs(step, max(multiples, key=lambda one: (multiples[one], one)))
