"""Which widths of which parts to measure, the most valuable first.

Nothing here measures. Points are asked for in the order in which they are worth most, so that whoever runs out of
time has the best table for it:

1. sweeps over small widths, from which the staircase is read, two for each kind of part and axis; where these find
   no step, over wider ones, since three steps are needed;
2. a coarse grid for every family: the narrowest width, the middle and the full width of each axis;
3. lines along each axis, the other one at full width, at every step where there are not too many;
4. probes between the nodes of the grid, or, where one axis varies, in some of the gaps on its line; where one
   disagrees with the interpolation, the grid gets its lines along both axes, or the gaps beside it are probed. Of
   parts of which the sum of all axes alone counts, other compositions of some sums, for the error that this leaves.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from latency_tables.family import Family
from latency_tables.interpolation import MULTIPLE, Stairs, Surface
from latency_tables.random_plans import NARROWEST
from latency_tables.surfaces import SWEPT, SWEPT_WIDER, kind_of, kind_stairs, reach

SWEEP = (*range(16, SWEPT + 1, 4), 22, 33, 34, 50, 51)
"""Widths of a sweep: small ones, where a step rises most, and some that are no multiples of four."""

WIDER_SWEEP = (68, 96, 128, 132, SWEPT_WIDER)
"""Widths that show a step of 32 or 64: both ends of the second and third one."""

SWEEPS = 2
"""Families of a kind that are swept along each axis, the most expensive ones."""

TOLERANCE = 0.03
"""A probe that is further than this from the interpolated latency, relative, makes the grid finer."""

MOST_ON_A_LINE = 32
"""Widths on a line; where an axis has more steps, every third, fifth, ... of them."""

GAPS_A_PROBE = 4
"""Of the gaps on the line of a family with one axis, one in so many is probed at first."""

Point = tuple[int, ...]


@dataclass(frozen=True)
class Kin:
    """Layers of a network whose parts differ in widths only, and so share their cells.

    Attributes:
        family: of the most expensive of them.
        full: where each of them lies at full width, distinct.
        worth_s: what all of them cost in the network, seconds.
    """

    family: Family
    full: tuple[Point, ...]
    worth_s: float


@dataclass(frozen=True)
class Wanted:
    """A point to measure.

    Attributes:
        family: of the part.
        values: of its axes.
        why: "sweep", "anchor", "line" or "probe".
    """

    family: Family
    values: Point
    why: str


class WidthPlan:
    """Says what to measure next, given what is known.

    Args:
        kin: everything that varies.
        known: seconds by family pattern and point; the caller adds what it measures, and what it measures again.
        tolerance: see `TOLERANCE`.
        most_on_a_line: see `MOST_ON_A_LINE`.
    """

    def __init__(
        self,
        kin: Sequence[Kin],
        known: dict[str, dict[Point, float]],
        *,
        tolerance: float = TOLERANCE,
        most_on_a_line: int = MOST_ON_A_LINE,
    ) -> None:
        self._kin = sorted(kin, key=lambda entry: -entry.worth_s)
        self._known = known
        self._tolerance, self._most_on_a_line = tolerance, most_on_a_line
        self._lines: dict[str, list[list[int]]] = {}

    def points(self) -> Iterator[Wanted]:
        """Everything worth measuring, in order; the next depends on what the last one turned out to be."""
        return itertools.chain.from_iterable(self.stages())

    def stages(self) -> Iterator[Iterator[Wanted]]:
        """The same, apart by stages: each is decided on by what is known when its first point is asked for."""
        stages = (self._sweeps(), self._wider_sweeps(), self._anchors(), self._along_axes(), self._probes())
        for stage in stages:
            yield self._unknown(stage)

    def _unknown(self, stage: Iterator[Wanted]) -> Iterator[Wanted]:
        return (wanted for wanted in stage if wanted.values not in self._known[wanted.family.pattern])

    def stairs(self, family: Family) -> tuple[Stairs, ...]:
        """The stairs of each axis, as far as they are known."""
        kind = kind_of(family)
        alike = [self._known[kin.family.pattern] for kin in self._kin if kind_of(kin.family) == kind]
        return kind_stairs(alike, len(family.axes))

    def _sweeps(self) -> Iterator[Wanted]:
        for family, axis in self._swept():
            for width in SWEEP:
                yield Wanted(family, _replaced(family.full, axis, width), "sweep")

    def _wider_sweeps(self) -> Iterator[Wanted]:
        wide = [(family, axis) for family, axis in self._swept() if family.full[axis] >= SWEPT_WIDER]
        for family, axis in [each for each in wide if self.stairs(each[0])[each[1]].step == 1]:
            for width in WIDER_SWEEP:
                yield Wanted(family, _replaced(family.full, axis, width), "sweep")

    def _swept(self) -> list[tuple[Family, int]]:
        """What is swept, `SWEEPS` families of each kind along each axis that is wide enough, with that axis."""
        swept: dict[tuple[object, int], list[Family]] = {}
        for kin in self._kin:
            for axis, full in enumerate(kin.family.full):
                if full >= SWEPT and len(kin.family.axes) <= 2:
                    swept.setdefault((kind_of(kin.family), axis), []).append(kin.family)
        # The second ones after all first ones, so that what disturbs a sweep is over when its like is swept.
        return [
            (family, axis)
            for turn in range(SWEEPS)
            for (_, axis), alike in swept.items()
            for family in alike[turn : turn + 1]
        ]

    def _anchors(self) -> Iterator[Wanted]:
        for kin in self._kin:
            self._lines[kin.family.pattern] = [
                _line([full[axis] for full in kin.full], stairs.grain)
                for axis, stairs in enumerate(self.stairs(kin.family))
            ]
            for values in self._grid(kin.family):
                yield Wanted(kin.family, values, "anchor")

    def _grid(self, family: Family) -> list[Point]:
        lines = self._lines[family.pattern]
        if len(lines) > 2:  # only their sum counts
            return [tuple(line[place] for line in lines) for place in range(min(map(len, lines)))]
        return list(itertools.product(*lines))

    def _along_axes(self) -> Iterator[Wanted]:
        for kin in self._kin:
            family, lines = kin.family, self._lines[kin.family.pattern]
            if len(lines) > 2:
                continue
            far = [line[-1] for line in lines]
            for axis, stairs in enumerate(self.stairs(family)):
                for width in _dense(lines[axis], stairs.grain, self._most_on_a_line):
                    yield Wanted(family, _replaced(far, axis, width), "line")

    def _probes(self) -> Iterator[Wanted]:
        for kin in self._kin:
            family = kin.family
            if len(family.axes) == 1:
                yield from self._gap_probes(kin)
            if len(family.axes) > 2:
                yield from self._composition_probes(family)
            if len(family.axes) != 2:
                continue
            stairs, lines = self.stairs(family), self._lines[family.pattern]
            middles = [
                [
                    middle
                    for left, right in itertools.pairwise(line)
                    if (middle := _halfway(left, right, one.grain))
                ]
                for line, one in zip(lines, stairs, strict=True)
            ]
            wrong = []
            for values in itertools.product(*middles):
                yield Wanted(family, values, "probe")
                if self._disagrees(kin, values, stairs, middles):
                    wrong.append(values)
            if wrong:
                self._lines[family.pattern] = [
                    sorted({*line, *through})
                    for line, through in zip(lines, zip(*wrong, strict=True), strict=True)
                ]
                for values in self._grid(family):
                    yield Wanted(family, values, "anchor")

    def _gap_probes(self, kin: Kin) -> Iterator[Wanted]:
        """In one gap of `GAPS_A_PROBE` on the line; where one disagrees, in both its halves and the gaps beside it.

        So many at most as a line has widths: noise must not have every width measured.
        """
        family = kin.family
        (stairs,), (line,) = self.stairs(family), self._lines[family.pattern]
        unit = max(stairs.grain, MULTIPLE)
        asked = sorted({*line, *_dense(line, stairs.grain, self._most_on_a_line)})
        gaps = [gap for gap in itertools.pairwise(asked) if _halfway(*gap, unit)]
        todo, seen = gaps[::GAPS_A_PROBE], set[tuple[int, int]]()
        while todo and len(seen) < self._most_on_a_line:
            gap = todo.pop(0)
            middle = _halfway(*gap, unit)
            if middle is None or gap in seen:
                continue
            seen.add(gap)
            yield Wanted(family, (middle,), "probe")
            if self._disagrees(kin, (middle,), (stairs,)):
                # A gap further on each side as well, since a bend turns: there interpolation agrees by chance.
                low, high = 2 * gap[0] - gap[1], 2 * gap[1] - gap[0]
                todo += [other for other in gaps if low <= other[1] and other[0] <= high]
                todo += [(gap[0], middle), (middle, gap[1])]

    def _composition_probes(self, family: Family) -> Iterator[Wanted]:
        lines = self._lines[family.pattern]
        for node in self._grid(family)[1:-1]:  # at the ends hardly anything can be exchanged
            # Both extremes, so that the median at this sum is still that of widths in proportion.
            for order in (1, -1):
                other = _recomposed(node[::order], lines[::order])[::order]
                if other != node:
                    yield Wanted(family, other, "probe")

    def _disagrees(
        self, kin: Kin, values: Point, stairs: Sequence[Stairs], middles: Sequence[Sequence[int]] = ()
    ) -> bool:
        """Whether a probe lies off what is interpolated between all others.

        With two axes only the grid that it probes has a say, and not the lines that probes added: a plan that was
        stopped, or is made again, decides as it did at first.
        """
        known = self._known[kin.family.pattern]
        if values not in known:  # it failed
            return False
        far = [line[-1] for line in self._lines[kin.family.pattern]]
        others = {
            place: latency_s
            for place, latency_s in known.items()
            if place != values and not (middles and _is_added(place, far, middles))
        }
        expected = float(Surface(others, stairs, reach(kin.full)).at(np.array([values]))[0])
        return not abs(expected / known[values] - 1.0) <= self._tolerance


def _is_added(place: Point, far: Sequence[int], middles: Sequence[Sequence[int]]) -> bool:
    """Whether a place of two axes lies on a line between the first grid's, away from where all are measured."""
    (x, y), (across, along) = place, middles
    return (x in across and y != far[1]) or (y in along and x != far[0])


def _recomposed(node: Point, lines: Sequence[Sequence[int]]) -> Point:
    """The same sum otherwise: as much as there may be on the first axes, as little as there must on the others."""
    least = [line[0] for line in lines]
    left, values = sum(node) - sum(least), []
    for line in lines:
        more = min(left, line[-1] - line[0])
        values.append(line[0] + more)
        left -= more
    return tuple(values)


def _replaced(values: Sequence[int], axis: int, width: int) -> Point:
    return tuple(width if place == axis else value for place, value in enumerate(values))


def _line(full: Sequence[int], grain: int) -> list[int]:
    """The first anchors of an axis, ascending: every full width, the narrowest, and the middle."""
    most, least = max(full), NARROWEST * min(full)
    between = [least, (least + most) / 2]
    if least < grain < most:
        between.append(grain)
    return sorted({*full, *(min(most, _rounded_up(width, grain)) for width in between)})


def _rounded_up(width: float, grain: int) -> int:
    """To the end of its step; below the first one, which is not flat, to a multiple of four."""
    unit = grain if width > grain else min(grain, MULTIPLE)
    return max(1, math.ceil(width / unit) * unit)


def _dense(line: Sequence[int], grain: int, most: int) -> list[int]:
    """Widths between the ends of a line, an odd number of steps apart, since every fourth step is cheaper.

    Below the first step, which is not flat, all multiples of four.
    """
    unit = max(grain, MULTIPLE)
    first = -(-line[0] // unit)
    stride = -(-(line[-1] // unit - first) // most) | 1
    small = range(-(-line[0] // MULTIPLE) * MULTIPLE, min(unit, line[-1] + 1), MULTIPLE)
    return [*small, *(step * unit for step in range(first, line[-1] // unit + 1, stride))]


def _halfway(left: int, right: int, grain: int) -> int | None:
    """The end of the step in the middle of a span; None where there is none between its ends."""
    middle = -(-((left + right) // 2) // grain) * grain
    return middle if left < middle < right else None
