"""The charts of a table's page as specifications in the manner of `plots`, which `templates/chart.js` draws."""

from __future__ import annotations

from typing import Any

from latency_tables.estimate import Estimate
from reports.charts import TOLERANCE
from reports.plots import bars, escaped
from reports.style import Look
from reports.table_charts import Residual, ResidualChart, TraceChart, stretches
from reports.table_record import Staircase, WidthPoint
from reports.units import latency, plain_latency, scale

HELD_OUT = Look("#2f7fd1", "o", "circle")
"""A network that the prediction has not seen."""
FITTED = Look("#77797f", "D", "diamond")
"""A network that the prediction rests on; drawn hollow."""
ANCHOR = Look("#2f7fd1", "o", "circle")
"""A measured width that interpolation rests on."""
CHECK = Look("#e0650a", "^", "triangle-up")
"""A measured width that tells how far interpolation is off; drawn hollow."""
OTHER = Look("#7b5bc4", "s", "square")
ROLES = (("anchor", ANCHOR), ("check", CHECK), ("other kernel", OTHER))
"""What a measured width is to the staircase."""
LINE = "#77797f"

_BAND = "rgba(120,150,180,0.25)"
_NONE = {"width": 0}


def residual_plot(chart: ResidualChart) -> dict[str, Any]:
    """One row for each network: how far its prediction is off, with the predicted interval."""
    count = len(chart.residuals)
    rows = [-0.5, count - 0.5]
    reach = residual_reach(chart)
    band = 100 * TOLERANCE
    edge = {"type": "scatter", "mode": "lines", "y": rows, "hoverinfo": "skip"}
    data: list[dict[str, Any]] = [
        {**edge, "x": [-band, -band], "line": _NONE, "showlegend": False},
        {
            **edge,
            "x": [band, band],
            "line": _NONE,
            "fill": "tonexty",
            "fillcolor": _BAND,
            "name": f"within ±{band:.0f} %",
        },
        {**edge, "x": [0, 0], "line": {"width": 1, "color": LINE}, "showlegend": False},
    ]
    for name, look, fitted in (("held out", HELD_OUT, False), ("fitted to it", FITTED, True)):
        found = [(i, one) for i, one in enumerate(chart.residuals) if one.row.fitted is fitted]
        if found:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": [100 * one.error.value for _, one in found],
                    "y": [i for i, _ in found],
                    "error_x": bars([one.error for _, one in found], 100, look),
                    "marker": _marker(look, hollow=fitted),
                    "hovertext": [_residual_words(one) for _, one in found],
                    "hoverinfo": "text",
                }
            )
    layout = {
        "xaxis": {"title": {"text": "prediction error (% of measured)"}, "range": [-reach, reach]},
        "yaxis": {"names": [escaped(one.name) for one in chart.residuals]},
        "height": 80 + 24 * count,
    }
    return {"data": data, "layout": layout}


def residual_reach(chart: ResidualChart) -> float:
    """Half the width of the residuals' axis, in per cent: all errors, and the intervals as far as there is room."""
    errors = [abs(one.error.value) for one in chart.residuals]
    ends = [abs(end) for one in chart.residuals for end in (one.error.low, one.error.high)]
    most = max(*errors, TOLERANCE)
    return 115 * max(most, min(max(ends, default=0.0), 2.5 * most))


def staircase_plot(staircase: Staircase) -> dict[str, Any]:
    """Measured widths, what the table answers between them, and how sure that is."""
    factor, unit = scale(max(place.latency_s.value for place in staircase.curve))
    data: list[dict[str, Any]] = []
    named: set[str] = set()
    for piece in stretches(staircase):
        if piece.low_s and piece.origin == "interpolated":
            edge = {"type": "scatter", "mode": "lines", "x": list(piece.widths), "line": _NONE}
            words = "95 % of interpolation"
            data.append(
                {**edge, "y": _scaled(piece.low_s, factor), "showlegend": False, "legendgroup": words}
            )
            data.append(
                {
                    **edge,
                    "y": _scaled(piece.high_s, factor),
                    "fill": "tonexty",
                    "fillcolor": _BAND,
                    "name": words,
                    "legendgroup": words,
                    "showlegend": words not in named,
                }
            )
            named.add(words)
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": list(piece.widths),
                "y": _scaled(piece.latency_s, factor),
                "line": {
                    "width": 2,
                    "color": LINE,
                    **({"dash": "dot"} if piece.origin == "interpolated" else {}),
                },
                "name": f"answer, {piece.origin}",
                "legendgroup": f"answer, {piece.origin}",
                "showlegend": piece.origin not in named,
            }
        )
        named.add(piece.origin)
    for role, look in ROLES:
        found = [point for point in staircase.points if point.role == role]
        if found:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": f"measured, {role}",
                    "x": [point.width for point in found],
                    "y": [point.latency_s.value * factor for point in found],
                    "error_y": bars([point.latency_s for point in found], factor, look),
                    "marker": _marker(look, hollow=role != "anchor"),
                    "hovertext": [_width_words(staircase, point) for point in found],
                    "hoverinfo": "text",
                }
            )
    low, high = staircase_span(staircase)
    layout = {
        "xaxis": {"title": {"text": escaped(staircase.axis)}, "range": list(width_span(staircase))},
        "yaxis": {"title": {"text": f"latency alone ({unit})"}, "range": [low * factor, high * factor]},
    }
    return {"data": data, "layout": layout}


def staircase_span(staircase: Staircase) -> tuple[float, float]:
    """The ends of the axis of latencies, seconds: 0, and what is above every interval that is known."""
    tops = [one.high_s for one in stretches(staircase)]
    most = max(point.latency_s.value for point in staircase.points)
    highest = max([most, *(min(end, 2 * most) for top in tops for end in top)])
    return 0.0, 1.06 * highest


def width_span(staircase: Staircase) -> tuple[float, float]:
    """The ends of the axis of widths: all that was measured, and the tread that it lies on."""
    widths = [w for piece in stretches(staircase) for w in piece.widths]
    widths += [float(point.width) for point in staircase.points]
    margin = 0.03 * (max(widths) - min(widths)) or 1.0
    return min(widths) - margin, max(widths) + margin


def trace_plot(chart: TraceChart) -> dict[str, Any]:
    """Samples in the order taken, the median and its interval."""
    trace = chart.trace
    factor, unit = scale(trace.latency_s.value)
    ends = [0.0, len(trace.samples_s) + 1.0]
    line = {"type": "scatter", "mode": "lines", "x": ends}
    data: list[dict[str, Any]] = []
    low, high = max(trace.latency_s.low, chart.low_s), min(trace.latency_s.high, chart.high_s)
    for end, shown in ((low, {"showlegend": False}), (high, {"fill": "tonexty", "name": "95 % interval"})):
        data.append({**line, "y": [end * factor] * 2, "line": _NONE, "fillcolor": _BAND, **shown})
    value = trace.latency_s.value * factor
    data.append(
        {
            **line,
            "y": [value] * 2,
            "line": {"width": 2, "color": LINE},
            "name": "median",
            "legendgroup": "median",
        }
    )
    top = chart.high_s - 0.03 * (chart.high_s - chart.low_s)
    groups = (
        ("sample", HELD_OUT, [(i, s, s) for i, s in chart.samples if s <= chart.high_s]),
        (
            "slower than the scale",
            CHECK,
            [(i, s, top) for i, s in chart.samples if s > chart.high_s],
        ),
    )
    for name, look, found in groups:
        if found:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": [number for number, _, _ in found],
                    "y": [place * factor for _, _, place in found],
                    "marker": {**_marker(look, hollow=look is CHECK), "size": 6 if look is HELD_OUT else 9},
                    "hovertext": [f"<b>{plain_latency(s)}</b><br>sample {number}" for number, s, _ in found],
                    "hoverinfo": "text",
                }
            )
    layout = {
        "xaxis": {"title": {"text": "sample, in the order taken"}, "range": ends},
        "yaxis": {
            "title": {"text": f"latency ({unit})"},
            "range": [chart.low_s * factor, chart.high_s * factor],
        },
        "height": 300,
    }
    return {"data": data, "layout": layout}


def _scaled(values: tuple[float, ...], factor: float) -> list[float]:
    return [value * factor for value in values]


def _marker(look: Look, *, hollow: bool) -> dict[str, Any]:
    return {"symbol": f"{look.symbol}-open" if hollow else look.symbol, "color": look.colour, "size": 9}


def _residual_words(one: Residual) -> str:
    row = one.row
    return (
        f"<b>{escaped(one.name)}</b><br>{escaped(row.name)}<br>off by {_signed(one.error)}<br>"
        f"predicted {_ratio(row.predicted)}<br>"
        f"measured {_ratio(row.measured)}"
    )


def _signed(error: Estimate) -> str:
    return f"{100 * error.value:+.1f} %"


def _ratio(ratio: Estimate) -> str:
    return f"{ratio.value:.3f} of the unpruned network"


def _width_words(staircase: Staircase, point: WidthPoint) -> str:
    where = f"{escaped(staircase.axis)}: {point.width}"
    return f"<b>{where}</b><br>{latency(point.latency_s)}<br>measured, {point.role}"
