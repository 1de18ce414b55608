"""What a layer costs over its widths, for a report: staircases and heat maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from latency_tables.estimate import Estimate
from latency_tables.family import Family
from latency_tables.interpolation import Stairs, Surface
from latency_tables.widths import shape_slots
from reports.table_record import CurvePoint, HeatMap, MeasuredPlace, Role, Staircase, WidthPoint

#: A line without steps is written down at so many widths, beside those that were measured.
_MOST_WIDTHS = 96
#: A heat map has at most so many widths along each axis.
_MOST_CELLS = 24


class WidthCurves:
    """A layer with all that is known of it at other widths.

    Args:
        layer: its name.
        family: with one or two axes.
        surface: of the family.
        stairs: of each axis.
        cells: what was measured, by the values of the axes, less what the runtime tells that a part alone only lays
            out anew.
        error: relative standard deviation of interpolation; None where unknown.
        checks: measurements behind it.
    """

    def __init__(
        self,
        *,
        layer: str,
        family: Family,
        surface: Surface,
        stairs: tuple[Stairs, ...],
        cells: dict[tuple[int, ...], Estimate],
        error: float | None,
        checks: int,
    ) -> None:
        self._layer, self._family, self._surface = layer, family, surface
        self._stairs, self._cells = stairs, cells
        self._error, self._checks = error, checks
        self._names = axis_names(family)

    def staircases(self, notes: list[str]) -> tuple[Staircase, ...]:
        """One along each axis that was measured at several widths."""
        found = []
        for axis, name in enumerate(self._names):
            others = [(i, full) for i, full in enumerate(self._family.full) if i != axis]
            points = {
                place[axis]: latency
                for place, latency in self._cells.items()
                if all(place[i] == full for i, full in others)
                and self._surface.anchors[axis][0] <= place[axis] <= self._surface.anchors[axis][-1]
            }
            if len(points) < 2:
                notes.append(f"No staircase of {self._layer} over {name}: measured at one width only.")
                continue
            curve = self._curve(axis, sorted(points))
            if not curve:
                notes.append(f"No staircase of {self._layer} over {name}: the other width follows no steps.")
                continue
            found.append(
                Staircase(
                    layer=self._layer,
                    kind=self._family.part.kind,
                    axis=name,
                    fixed=", ".join(f"{self._names[i]}: {full}" for i, full in others),
                    step=self._stairs[axis].step,
                    multiple=self._stairs[axis].multiple,
                    error=self._error,
                    checks=self._checks,
                    points=tuple(
                        WidthPoint(width, points[width], self._role(axis, width)) for width in sorted(points)
                    ),
                    curve=curve,
                )
            )
        return tuple(found)

    def heat_maps(self, notes: list[str]) -> tuple[HeatMap, ...]:
        """Over both axes; none where one of them was measured at one width only."""
        if len(self._names) != 2:
            notes.append(f"No heat map: {self._layer} has one width that varies, not two.")
            return ()
        if spread(self._surface) != 2:
            notes.append(f"No heat map: {self._layer} was not measured over both of its widths.")
            return ()
        columns, rows = (
            _few(_widths(line, stairs), line)
            for line, stairs in zip(self._surface.anchors, self._stairs, strict=True)
        )
        values = np.array([(column, row) for row in rows for column in columns], dtype=np.int64)
        latencies = self._surface.at(values).reshape(len(rows), len(columns))
        return (
            HeatMap(
                layer=self._layer,
                kind=self._family.part.kind,
                across=self._names[0],
                up=self._names[1],
                columns=columns,
                rows=rows,
                latency_s=tuple(tuple(line) for line in latencies.tolist()),
                measured=tuple(MeasuredPlace(column, row) for column, row in self._cells),
            ),
        )

    def _role(self, axis: int, width: int) -> Role:
        if width % self._stairs[axis].multiple:
            return "other kernel"
        rests = self._surface.rests_on(np.array([self._at(axis, width)], dtype=np.int64))[0]
        return "anchor" if rests else "check"

    def _curve(self, axis: int, measured: Sequence[int]) -> tuple[CurvePoint, ...]:
        line, stairs = self._surface.anchors[axis], self._stairs[axis]
        widths, multiple = _widths(line, stairs), stairs.multiple
        if stairs.step == 1:
            stride = max(1, len(widths) // _MOST_WIDTHS)
            inside = {width for width in measured if line[0] <= width <= line[-1] and width % multiple == 0}
            shown = sorted({*widths[::stride], widths[-1], *inside})
        else:
            # Below the first step no width stands for others.
            low = range(-(-line[0] // multiple) * multiple, min(stairs.step, line[-1] + 1), multiple)
            shown = sorted({*widths, *low})
        values = np.array([self._at(axis, width) for width in shown], dtype=np.int64)
        known = self._surface.measured(values)
        return tuple(
            self._answer(width, place, float(latency), bool(exact))
            for width, place, latency, exact in zip(
                shown, values.tolist(), self._surface.at(values), known, strict=True
            )
            if math.isfinite(
                latency
            )  # where the other width follows no steps, only what was measured is known
        )

    def _answer(self, width: int, place: list[int], latency_s: float, measured: bool) -> CurvePoint:
        if measured:
            tread = [
                cell for known, cell in self._cells.items() if self._rounded(known) == self._rounded(place)
            ]
            low, high = min(one.low for one in tread), max(one.high for one in tread)
            return CurvePoint(
                width, Estimate(latency_s, min(low, latency_s), max(high, latency_s)), "measured"
            )
        if self._error is None:
            return CurvePoint(width, Estimate(latency_s, -math.inf, math.inf), "interpolated")
        reach = 1.96 * self._error * latency_s
        return CurvePoint(width, Estimate(latency_s, latency_s - reach, latency_s + reach), "interpolated")

    def _at(self, axis: int, width: int) -> tuple[int, ...]:
        return tuple(width if i == axis else full for i, full in enumerate(self._family.full))

    def _rounded(self, place: Sequence[int]) -> tuple[int, ...]:
        (at,) = self._surface.places(np.array([place], dtype=np.int64)).tolist()
        return tuple(at)


def _widths(line: Sequence[int], stairs: Stairs) -> list[int]:
    """Widths along a line that stand for all of them: ends of steps, and what was measured below the first."""
    grain = stairs.grain
    ends = range(-(-max(line[0], stairs.step) // grain) * grain, line[-1] + 1, grain)
    return sorted({*(width for width in line if width < stairs.step), *ends, line[-1]})


def _few(widths: Sequence[int], anchors: Sequence[int]) -> tuple[int, ...]:
    """Evenly spaced ones of some widths, both ends and the anchors among them."""
    stride = max(1, math.ceil(len(widths) / _MOST_CELLS))
    return tuple(sorted({*widths[::-1][::stride], *anchors}))


def axis_names(family: Family) -> tuple[str, ...]:
    """What a family's axes are, in words: where they stand in what goes into the part and what comes out."""
    graph = family.part.graph
    slots = shape_slots(graph)
    entering = {slot for value in range(len(graph.inputs)) for slot in slots[value]}
    leaving = {slot for value in graph.outputs for slot in slots.get(value, ())}
    names: list[str] = []
    for axis in range(len(family.axes)):
        follows = {slot.place for slot in family.slots if axis in {number for number, _ in slot.terms}}
        enters, leaves = bool(follows & entering), bool(follows & leaving)
        if len(family.axes) == 1 and enters and leaves:
            name = "channels"
        elif leaves:
            name = "channels out"
        else:
            name = "channels in" if enters else "channels inside"
        same = sum(known.split(" (")[0] == name for known in names)
        names.append(f"{name} ({same + 1})" if same else name)
    return tuple(names)


def spread(surface: Surface) -> int:
    """Along how many axes a surface was measured at more than one width."""
    return sum(len(line) > 1 for line in surface.anchors)
