"""The record behind a table's report: what the table says of one network, and how sure that is."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from typing import Any

from bench.width_curves import WidthCurves, spread
from latency_tables.closure import joined, sound_timings
from latency_tables.context import Coefficients, coefficients, never_timed
from latency_tables.errors import unknown
from latency_tables.family import Family, families
from latency_tables.interpolation import Surface
from latency_tables.measurement import Measurement
from latency_tables.part import Part
from latency_tables.prediction import Prediction, predict
from latency_tables.setting import Setting
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.surfaces import kind_of, kind_stairs, known_points, surfaces
from latency_tables.table import LatencyTable, NetworkMeasurement
from reports.table_record import (
    CellTrace,
    ClosureRow,
    HeatMap,
    LayerTime,
    Staircase,
    TableRecord,
)


def build_record(
    skeleton: Skeleton, table: LatencyTable, *, part: str | None = None, command: str = ""
) -> TableRecord:
    """Collects what a table says of a network.

    Args:
        skeleton: the unpruned network, as `bench.workbench.Subject.outline_for` has it for the table.
        table: of one setting.
        part: the layer whose staircases, heat map and trace are shown; None: the most expensive one that was
            measured over its widths, and the trace of the most expensive part.
        command: the command line that does this again.

    Raises:
        UserError: no layer of that name, a part has no cell, or the unpruned network was never timed.
        LatheError: a part was tried and failed.
    """
    prediction = predict(skeleton, table)
    if not prediction.fit.timed:
        raise never_timed(skeleton, table)
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
    """One row for each distinct pruned network, those that judge the fit first, the least pruned first.

    What spoiled timings say is left out.
    """
    rows, unknown_widths, spoiled = [], 0, 0
    sound = sound_timings(skeleton.digest, table)
    fitted_on = {network.cut for network in table.measured_networks(skeleton, "fit")}
    for role in ("closure", "fit"):
        groups: dict[Cut, list[NetworkMeasurement]] = {}
        for network in sound:
            if network.cut and network.role == role:
                groups.setdefault(network.cut, []).append(network)
        timed = {network.cut for network in table.measured_networks(skeleton, role) if network.cut}
        spoiled += len(timed - groups.keys())
        for cut, found in groups.items():
            if not usual.costs.knows(cut):
                unknown_widths += 1
                continue
            # A network held out is predicted as if it had never been fitted on either. A fit takes a while.
            seen = role == "closure" and cut in fitted_on
            fit = coefficients(skeleton, table, blind_to=cut) if seen else usual
            foreseen = fit.ratio(cut.removed, dict(cut.widths))
            ratios = [network.ratio for network in found]
            rows.append(
                ClosureRow(
                    name=cut.words,
                    blocks=len(cut.removed),
                    groups=len(cut.widths),
                    fitted=role == "fit",
                    predicted=foreseen,
                    measured=joined(ratios),
                    passes=len(found),
                    noise=ratios[-1].value / ratios[-2].value - 1.0 if len(ratios) > 1 else None,
                )
            )
    if unknown_widths:
        notes.append(
            f"{unknown_widths} measured networks are not predicted: the table does not know all their layers at "
            "their widths. `lathe profile --widths` measures them."
        )
    if spoiled:
        notes.append(
            f"{spoiled} measured networks are not shown: a slow minute, others, or cores that lay far apart "
            "spoiled every timing of them. `lathe profile` on a quiet machine makes such timings again, within "
            "bounds."
        )
    if not rows and not spoiled:
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
            disturbance=cell.meanwhile,
            created=cell.created,
        ),
    )


def _chosen(
    skeleton: Skeleton, table: LatencyTable, prediction: Prediction, part: str | None, notes: list[str]
) -> WidthCurves | None:
    """The layer to look at over its widths; None, with a note, where there is none."""
    names = [layer.name for layer in skeleton.layers]
    if part is not None and part not in names:
        raise unknown(f"layer of {skeleton.name}", part, names)
    if not skeleton.sizes:
        why = (
            f"no width of {skeleton.name} may vary."
            if skeleton.groups
            else f"{skeleton.name} was timed at full width alone. `lathe profile --widths` measures what varies."
        )
        notes.append(f"No staircase and no heat map: {why}")
        return None
    every = families(skeleton)
    known = surfaces(skeleton, every, table)
    places = [
        place
        for place, family in enumerate(every)
        if 1 <= len(family.axes) <= 2 and family.pattern in known and spread(known[family.pattern]) > 0
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
        return spread(known[every[place].pattern]), prediction.shares[place].context_s

    if table.tells_reordering(skeleton):
        notes.append(
            "Staircase and heat map leave out what a part alone only lays out anew, as predictions do; other "
            "figures show parts alone as they were timed."
        )
    best = max(places, key=rank)
    family = every[best]
    points = known_points(skeleton, every, table)
    kinds = {one.pattern: kind_of(one) for one in every}
    alike = [line for pattern, line in points.items() if kinds[pattern] == kind_of(family)]
    error = prediction.fit.costs.interpolation_error.get(kind_of(family)[0], math.inf)
    surface = known[family.pattern]
    return WidthCurves(
        layer=names[best],
        family=family,
        surface=surface,
        stairs=kind_stairs(alike, len(family.axes)),
        cells={
            place: (cell := table.latency_s(family.at(place))).scaled(seconds / cell.value)
            for place, seconds in sorted(points[family.pattern].items())
        },
        error=error if math.isfinite(error) else None,
        checks=_count_checks(every, known, kind_of(family)[0]),
    )


def _count_checks(every: Sequence[Family], known: dict[str, Surface], kind: str) -> int:
    patterns = {one.pattern for one in every if one.pattern in known and kind_of(one)[0] == kind}
    return sum(len(known[pattern].checks) for pattern in patterns)
