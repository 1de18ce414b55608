"""The record behind a table's report: what the table says of one network, and how sure that is."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

from latency_tables.context import Coefficients, coefficients
from latency_tables.costs import kind_of, kind_stairs, known_points, surfaces
from latency_tables.errors import unknown
from latency_tables.estimate import Estimate
from latency_tables.family import Family, families
from latency_tables.interpolation import Stairs, Surface
from latency_tables.measurement import Measurement
from latency_tables.part import Part
from latency_tables.prediction import Prediction, predict
from latency_tables.setting import Setting
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.table import LatencyTable, NetworkMeasurement
from latency_tables.widths import shape_slots
from reports.table_record import (
    CellTrace,
    ClosureRow,
    CurvePoint,
    HeatMap,
    LayerTime,
    MeasuredPlace,
    Role,
    Staircase,
    TableRecord,
    WidthPoint,
)

#: A line without steps is written down at so many widths, beside those that were measured.
_MOST_WIDTHS = 96
#: A heat map has at most so many widths along each axis.
_MOST_CELLS = 24


def build_record(
    skeleton: Skeleton, table: LatencyTable, *, part: str | None = None, command: str = ""
) -> TableRecord:
    """Collects what a table says of a network.

    Args:
        skeleton: the unpruned network, with channel groups where it has any.
        table: of one setting.
        part: the layer whose staircases, heat map and trace are shown; None: the most expensive one that was
            measured over its widths, and the trace of the most expensive part.
        command: the command line that does this again.

    Raises:
        UserError: no layer of that name, a part has no cell, or the unpruned network was never timed.
        LatheError: a part was tried and failed.
    """
    prediction = predict(skeleton, table)
    notes: list[str] = []
    chosen = _chosen(skeleton, table, prediction, part, notes)
    staircases: tuple[Staircase, ...] = ()
    heat_maps: tuple[HeatMap, ...] = ()
    if chosen is not None:
        staircases = chosen.staircases(notes)
        heat_maps = chosen.heat_maps(notes)
    return TableRecord(
        network=skeleton.name,
        digest=table.setting.digest,
        label=table.setting.label,
        setting=_described(table.setting),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=command,
        unpruned_s=prediction.latency_s,
        constant_s=prediction.constant_s,
        layers=tuple(
            LayerTime(
                share.name,
                share.kind,
                share.block,
                share.alone_s,
                share.alone_s.scaled(share.context_s / share.alone_s.value),
                "measured",
            )
            for share in prediction.shares
        ),
        closure=_closure(skeleton, table, prediction.fit, notes),
        staircases=staircases,
        heat_maps=heat_maps,
        traces=_traces(skeleton, table, part, notes),
        notes=tuple(notes),
    )


def _described(setting: Setting) -> dict[str, Any]:
    """The setting's fields, with names for keys where it has pairs."""
    return setting.to_json() | {"versions": dict(setting.versions), "options": dict(setting.options)}


def _closure(
    skeleton: Skeleton, table: LatencyTable, usual: Coefficients, notes: list[str]
) -> tuple[ClosureRow, ...]:
    """One row for each distinct pruned network, those that judge the fit first, the least pruned first."""
    rows, unknown_widths = [], 0
    fitted_on = {network.cut for network in table.measured_networks(skeleton, "fit")}
    for role in ("closure", "fit"):
        groups: dict[Cut, list[NetworkMeasurement]] = {}
        for network in table.measured_networks(skeleton, role):
            if network.cut:
                groups.setdefault(network.cut, []).append(network)
        for cut, found in groups.items():
            if not usual.costs.knows(cut):
                unknown_widths += 1
                continue
            # A network held out is predicted as if it had never been fitted on either. A fit takes a while.
            seen = role == "closure" and cut in fitted_on
            fit = coefficients(skeleton, table, blind_to=cut) if seen else usual
            foreseen = fit.interval(cut.removed, dict(cut.widths)).scaled(1.0 / fit.unpruned_s.value)
            ratios = [network.ratio for network in found]
            measured = Estimate(
                median(ratio.value for ratio in ratios),
                min(ratio.low for ratio in ratios),
                max(ratio.high for ratio in ratios),
            )
            rows.append(
                ClosureRow(
                    name=cut.words,
                    blocks=len(cut.removed),
                    groups=len(cut.widths),
                    fitted=role == "fit",
                    predicted=foreseen,
                    measured=measured,
                    passes=len(found),
                )
            )
    if unknown_widths:
        notes.append(
            f"{unknown_widths} measured networks are not predicted: the table does not know all their layers at "
            "their widths. `lathe profile --widths` measures them."
        )
    if not rows:
        notes.append(
            "Nothing is said of how far predictions are off: no pruned network was measured in this setting. "
            "`lathe table check --held-out 10` measures some."
        )
    return tuple(sorted(rows, key=lambda row: (row.fitted, -row.measured.value)))


def _traces(
    skeleton: Skeleton, table: LatencyTable, part: str | None, notes: list[str]
) -> tuple[CellTrace, ...]:
    """Of the chosen layer's measurement, or of the most expensive part's."""
    places: list[tuple[str, Part]] = [(layer.name, layer.part) for layer in skeleton.layers]
    if part is None:
        places += [(block.name, block.part) for block in skeleton.blocks]
    else:
        places = [(name, known) for name, known in places if name == part]
    name, shown = max(places, key=lambda place: table.latency_s(place[1]).value)
    cell = table.cells[shown.key]
    if not isinstance(cell, Measurement):
        notes.append(f"No trace: {name} could not be measured.")
        return ()
    disturbance = cell.host.get("disturbance")
    return (
        CellTrace(
            name=name,
            kind=shown.kind,
            samples_s=cell.samples_s,
            latency_s=cell.latency_s,
            warmup=cell.warmup,
            inner=cell.inner,
            stop=cell.stop.value,
            dropped=dict(cell.dropped),
            findings=tuple(finding.text for finding in cell.findings),
            disturbance=None if disturbance is None else str(disturbance),
            created=cell.created,
        ),
    )


def _chosen(
    skeleton: Skeleton, table: LatencyTable, prediction: Prediction, part: str | None, notes: list[str]
) -> _Widths | None:
    """The layer to look at over its widths; None, with a note, where there is none."""
    names = [layer.name for layer in skeleton.layers]
    if part is not None and part not in names:
        raise unknown(f"layer of {skeleton.name}", part, names)
    if not skeleton.sizes:
        notes.append(f"No staircase and no heat map: no width of {skeleton.name} may vary.")
        return None
    every = families(skeleton)
    known = surfaces(every, table)
    places = [
        place
        for place, family in enumerate(every)
        if 1 <= len(family.axes) <= 2 and family.pattern in known and _spread(known[family.pattern]) > 0
    ]
    if part is not None:
        places = [place for place in places if names[place] == part]
    if not places:
        what = "layer" if part is None else f"the layer {part}"
        notes.append(
            f"No staircase and no heat map: {'no ' if part is None else ''}{what} was "
            f"{'' if part is None else 'not '}measured at several widths along one or two axes. "
            "`lathe profile --widths` measures what varies."
        )
        return None

    def rank(place: int) -> tuple[int, float]:
        return _spread(known[every[place].pattern]), prediction.shares[place].context_s

    best = max(places, key=rank)
    family = every[best]
    points = known_points(every, table)
    kinds = {one.pattern: kind_of(one) for one in every}
    alike = [line for pattern, line in points.items() if kinds[pattern] == kind_of(family)]
    error = prediction.fit.costs.interpolation_error.get(kind_of(family)[0], math.inf)
    surface = known[family.pattern]
    return _Widths(
        layer=names[best],
        family=family,
        surface=surface,
        stairs=kind_stairs(alike, len(family.axes)),
        cells={place: table.latency_s(family.at(place)) for place in sorted(points[family.pattern])},
        error=error if math.isfinite(error) else None,
        checks=_count_checks(every, known, kind_of(family)[0]),
    )


def _spread(surface: Surface) -> int:
    """Along how many axes a surface was measured at more than one width."""
    return sum(len(line) > 1 for line in surface.anchors)


def _count_checks(every: Sequence[Family], known: dict[str, Surface], kind: str) -> int:
    patterns = {one.pattern for one in every if one.pattern in known and kind_of(one)[0] == kind}
    return sum(len(known[pattern].checks) for pattern in patterns)


class _Widths:
    """A layer with all that is known of it at other widths.

    Args:
        layer: its name.
        family: with one or two axes.
        surface: of the family.
        stairs: of each axis.
        cells: what was measured, by the values of the axes.
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
            }
            if len(points) < 2:
                notes.append(f"No staircase of {self._layer} over {name}: measured at one width only.")
                continue
            anchors = [set(line) for line in self._surface.anchors]
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
                        WidthPoint(width, points[width], self._role(axis, width, anchors))
                        for width in sorted(points)
                    ),
                    curve=self._curve(axis, sorted(points)),
                )
            )
        return tuple(found)

    def heat_maps(self, notes: list[str]) -> tuple[HeatMap, ...]:
        """Over both axes; none where one of them was measured at one width only."""
        if len(self._names) != 2:
            notes.append(f"No heat map: {self._layer} has one width that varies, not two.")
            return ()
        if _spread(self._surface) != 2:
            notes.append(f"No heat map: {self._layer} was not measured over both of its widths.")
            return ()
        columns, rows = (
            _few(range(line[0], line[-1] + 1, stairs.grain), line)
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

    def _role(self, axis: int, width: int, anchors: Sequence[set[int]]) -> Role:
        if width % self._stairs[axis].multiple:
            return "other kernel"
        place = self._rounded(self._at(axis, width))
        rests = all(value in line for value, line in zip(place, anchors, strict=True))
        return "anchor" if rests else "check"

    def _curve(self, axis: int, measured: Sequence[int]) -> tuple[CurvePoint, ...]:
        line, step = self._surface.anchors[axis], self._stairs[axis].step
        widths = range(line[0], line[-1] + 1, self._stairs[axis].grain)
        if step == 1:
            stride = max(1, len(widths) // _MOST_WIDTHS)
            multiple = self._stairs[axis].multiple
            inside = {width for width in measured if line[0] <= width <= line[-1] and width % multiple == 0}
            shown = sorted({*widths[::stride], widths[-1], *inside})
        else:
            shown = list(widths)
        values = np.array([self._at(axis, width) for width in shown], dtype=np.int64)
        known = self._surface.measured(values)
        return tuple(
            self._answer(width, place, float(latency), bool(exact))
            for width, place, latency, exact in zip(
                shown, values.tolist(), self._surface.at(values), known, strict=True
            )
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


def _few(widths: range, anchors: Sequence[int]) -> tuple[int, ...]:
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
