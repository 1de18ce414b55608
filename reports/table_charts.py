"""What each figure of a table's report shows, as records: made and tested before anything is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Literal

import numpy as np

from latency_tables.estimate import Estimate
from latency_tables.trace import thinned
from reports.charts import TOLERANCE, Bar, Prediction, PredictionChart, Segment
from reports.table_record import CellTrace, ClosureRow, CurvePoint, LayerTime, Staircase, TableRecord

WIDE = 0.10
"""The wider band that predictions are counted in, beside `reports.charts.TOLERANCE`."""


@dataclass(frozen=True, slots=True)
class Residual:
    """How far one network's prediction is off.

    Attributes:
        name: its number in the chart, and what it lacks in few words.
        error: (predicted - measured) / measured, with the predicted interval seen from the measurement: where it
            holds 0, it holds what was measured.
        row: what it is made from.
    """

    name: str
    error: Estimate
    row: ClosureRow


@dataclass(frozen=True, slots=True)
class ResidualChart:
    """Residuals by network.

    Attributes:
        residuals: networks held out first, each kind from the least pruned to the most.
        judged: how many were held out.
        mean_error: mean absolute error of those; None if there are none.
        within: how many of those lie within ±5 %.
        within_wide: how many of those lie within ±10 %.
        repeated: how many of those were measured again.
        noise_floor: mean absolute difference of these to themselves, measured again; None if there are none.
    """

    residuals: tuple[Residual, ...]
    judged: int
    mean_error: float | None
    within: int
    within_wide: int
    repeated: int
    noise_floor: float | None


@dataclass(frozen=True, slots=True)
class KindTime:
    """All layers of one kind.

    Attributes:
        kind: what they are.
        layers: how many.
        latency_s: what they take together.
        share: of all layers.
    """

    kind: str
    layers: int
    latency_s: float
    share: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of a staircase's line.

    Attributes:
        origin: of all of it.
        widths: along the axis, rising; a tread of a staircase has two.
        latency_s: at each of them.
        low_s: lower end of the error band at each; empty where nobody knows the error.
        high_s: upper end, as above.
    """

    origin: Literal["measured", "interpolated"]
    widths: tuple[float, ...]
    latency_s: tuple[float, ...]
    low_s: tuple[float, ...]
    high_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TraceChart:
    """The samples of one measurement.

    Attributes:
        trace: what it is made from.
        samples: (number from 1 on, seconds) of those drawn.
        low_s: lower end of the scale.
        high_s: upper end; a few samples far above the others are beyond it.
    """

    trace: CellTrace
    samples: tuple[tuple[int, float], ...]
    low_s: float
    high_s: float

    @property
    def beyond(self) -> int:
        """How many of the drawn samples lie above the scale."""
        return sum(seconds > self.high_s for _, seconds in self.samples)


def closure_chart(record: TableRecord) -> PredictionChart:
    """Predicted against measured: ratios, times the unpruned network's latency."""
    unpruned_s = record.unpruned_s.value
    predictions = tuple(
        Prediction(
            row.name, None, row.predicted.scaled(unpruned_s), row.measured.scaled(unpruned_s), row.fitted
        )
        for row in record.closure
    )
    errors = [abs(prediction.error) for prediction in predictions if not prediction.fitted]
    return PredictionChart(
        predictions=predictions,
        judged=len(errors),
        mean_error=math.fsum(errors) / len(errors) if errors else None,
        within=sum(error <= TOLERANCE for error in errors),
    )


def residual_chart(record: TableRecord) -> ResidualChart:
    """How far each network's prediction is off."""
    rows = sorted(record.closure, key=lambda row: (row.fitted, -row.measured.value))
    found = []
    for number, row in enumerate(rows, start=1):
        low, value, high = (
            end / row.measured.value - 1
            for end in (row.predicted.low, row.predicted.value, row.predicted.high)
        )
        found.append(Residual(f"{number} · {_brief(row)}", Estimate(value, low, high), row))
    errors = [abs(one.error.value) for one in found if not one.row.fitted]
    noises = [abs(row.noise) for row in rows if not row.fitted and row.noise is not None]
    return ResidualChart(
        residuals=tuple(found),
        judged=len(errors),
        mean_error=math.fsum(errors) / len(errors) if errors else None,
        within=sum(error <= TOLERANCE for error in errors),
        within_wide=sum(error <= WIDE for error in errors),
        repeated=len(noises),
        noise_floor=math.fsum(noises) / len(noises) if noises else None,
    )


def network_bar(record: TableRecord) -> Bar:
    """The network as a bar: neighbouring layers of one block are one segment."""
    segments: list[Segment] = []
    last: str | None = None
    for layer in record.layers:
        if layer.block is not None and layer.block == last:
            joined = segments[-1].latency_s + layer.latency_s.value
            segments[-1] = Segment(segments[-1].name, joined, True)
        else:
            segments.append(Segment(layer.block or layer.name, layer.latency_s.value, True))
        last = layer.block
    return Bar(record.network, tuple(segments))


def kind_times(record: TableRecord, most: int) -> tuple[KindTime, ...]:
    """What each kind of layer takes, the most expensive first; beyond ``most`` rows all are joined in the last."""
    kinds: dict[str, list[LayerTime]] = {}
    for layer in record.layers:
        kinds.setdefault(layer.kind, []).append(layer)
    ordered = sorted(kinds.items(), key=lambda entry: -_sum(entry[1]))
    if len(ordered) > most:
        rest = [layer for _, layers in ordered[most - 1 :] for layer in layers]
        ordered = [*ordered[: most - 1], (f"{len(kinds) - most + 1} other kinds", rest)]
    whole = _sum(record.layers) or 1.0
    return tuple(KindTime(kind, len(layers), _sum(layers), _sum(layers) / whole) for kind, layers in ordered)


def stretches(staircase: Staircase) -> tuple[Stretch, ...]:
    """The line of a staircase in pieces of one origin: treads beyond the first step, runs of widths up to its end.

    Where there are no steps all are runs.
    """
    low = [place for place in staircase.curve if staircase.step == 1 or place.width <= staircase.step]
    if low and len(staircase.curve) == 1:
        (place,) = low
        return (_stretch(place.origin, (place.width - 0.5, place.width + 0.5), (place.latency_s,) * 2),)
    found = _runs(low)
    # A tread reaches from above the last one's end to its own.
    starts = {after.width: before.width for before, after in pairwise(staircase.curve)}
    first = staircase.curve[0].width
    starts[first] = max(staircase.step, first - staircase.step)
    for origin, places in groupby(staircase.curve[len(low) :], key=lambda place: place.origin):
        treads = list(places)
        ends = [float(end) for tread in treads for end in (starts[tread.width], tread.width)]
        found.append(_stretch(origin, tuple(ends), tuple(t.latency_s for t in treads for _ in range(2))))
    return tuple(found)


def trace_chart(trace: CellTrace, most: int) -> TraceChart:
    """Places the samples on a scale that a few slow ones do not flatten.

    Args:
        trace: any.
        most: samples to draw at most, evenly spaced, at least 2.
    """
    numbers = [round(number) for number in thinned(range(1, len(trace.samples_s) + 1), most)]
    values = np.array(trace.samples_s)
    usual = float(np.quantile(values, 0.95)) - trace.latency_s.value
    ends = [end for end in (trace.latency_s.low, trace.latency_s.high) if math.isfinite(end)]
    low = min(float(values.min()), *ends, trace.latency_s.value)
    high = max(min(float(values.max()), trace.latency_s.value + 2 * usual), *ends, trace.latency_s.value)
    margin = 0.08 * (high - low) or 0.01 * high
    return TraceChart(
        trace, tuple((number, trace.samples_s[number - 1]) for number in numbers), low - margin, high + margin
    )


def _runs(places: list[CurvePoint]) -> list[Stretch]:
    """Lines from one measured width to the next."""
    found = []
    run = places[:1]
    for place in places[1:]:
        run.append(place)
        if place.origin == "measured":
            found.append(_run(run))
            run = [place]
    if len(run) > 1:
        found.append(_run(run))
    return found


def _run(places: list[CurvePoint]) -> Stretch:
    # Between two neighbours that were both measured nothing is interpolated.
    whole = all(place.origin == "measured" for place in places)
    return _stretch(
        "measured" if whole else "interpolated",
        tuple(float(place.width) for place in places),
        tuple(p.latency_s for p in places),
    )


def _stretch(
    origin: Literal["measured", "interpolated"], widths: tuple[float, ...], latencies: tuple[Estimate, ...]
) -> Stretch:
    known = all(math.isfinite(one.low) and math.isfinite(one.high) for one in latencies)
    return Stretch(
        origin,
        widths,
        tuple(one.value for one in latencies),
        tuple(one.low for one in latencies) if known else (),
        tuple(one.high for one in latencies) if known else (),
    )


def _brief(row: ClosureRow) -> str:
    blocks = f"{row.blocks} block{'s' if row.blocks != 1 else ''} out" if row.blocks else ""
    if not row.groups:
        return blocks or row.name
    groups = f"{row.groups} group{'s' if row.groups != 1 else ''} narrower"
    return f"{blocks}, {row.groups} narrower" if blocks else groups


def _sum(layers: list[LayerTime] | tuple[LayerTime, ...]) -> float:
    return math.fsum(layer.latency_s.value for layer in layers)
