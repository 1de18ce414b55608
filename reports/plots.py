"""The charts as plotly specifications, plain JSON that the page's script hands to plotly.js.

Colours of axes and text are left out: the script sets them, since it knows whether the reader's screen is
dark. It also fills the markers by the standings that a trace carries under "meta": full, pale or hollow.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import Any

from latency_tables.estimate import Estimate
from reports.charts import TOLERANCE, ParetoChart, PredictionChart, StagesChart
from reports.pareto import Standing
from reports.results import UNPRUNED
from reports.style import STAGES, Look
from reports.units import duration, latency, percent, scale

_WORDS = {
    Standing.FRONT: "on the front",
    Standing.UNCLEAR: "cannot tell whether on the front",
    Standing.DOMINATED: "dominated",
}
_CLOSURE = Look("#77797f", "o", "circle")


def pareto_plot(chart: ParetoChart, looks: Mapping[str, Look]) -> dict[str, Any]:
    """Quality against measured latency; the custom data of a marker is the point's key."""
    factor, unit = scale(max(mark.latency_s.value for mark in chart.marks))
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [x * factor for x, _ in line],
            "y": [100 * y for _, y in line],
            "line": {"shape": "hv", "color": looks[method].colour, "width": 1.5},
            "opacity": 0.7,
            "hoverinfo": "skip",
            "showlegend": False,
            "legendgroup": _text(method),
        }
        for method, line in chart.lines.items()
    ]
    methods = {mark.placed.point.method for mark in chart.marks}
    for method in sorted(methods, key=lambda name: (name == UNPRUNED, name)):
        look = looks[method]
        marks = [mark for mark in chart.marks if mark.placed.point.method == method]
        shared = {"type": "scatter", "mode": "markers", "name": _text(method), "legendgroup": _text(method)}
        # The legend shows a trace's first marker: an empty trace keeps it filled and of one size.
        data.append({**shared, "x": [None], "y": [None], "marker": _marker(look, 10), "hoverinfo": "skip"})
        data.append(
            {
                **shared,
                "showlegend": False,
                "x": [mark.latency_s.value * factor for mark in marks],
                "y": [mark.quality.value * 100 for mark in marks],
                "error_x": _bars([mark.latency_s for mark in marks], factor, look),
                "error_y": _bars([mark.quality for mark in marks], 100, look),
                "marker": _marker(look, 15 if method == UNPRUNED else 11),
                "meta": {"colour": look.colour, "standings": [mark.standing.value for mark in marks]},
                "customdata": [mark.placed.key for mark in marks],
                "hovertext": [
                    f"<b>{_text(mark.placed.title)}</b><br>{percent(mark.quality)} {chart.quality}"
                    f"<br>{latency(mark.latency_s)}<br>{_WORDS[mark.standing]}"
                    for mark in marks
                ],
                "hoverinfo": "text",
            }
        )
    name = "accuracy" if chart.quality == "accuracy" else "agreement with the unpruned network"
    xs = [e * factor for m in chart.marks for e in _ends(m.latency_s)]
    ys = [e * 100 for m in chart.marks for e in _ends(m.quality)]
    limits = {budget: seconds * factor for budget, seconds in chart.budgets.items()}
    layout = {
        "xaxis": {"title": {"text": f"measured latency ({unit})"}, "range": _range([*xs, *limits.values()])},
        "yaxis": {"title": {"text": f"{name} (%)"}, "range": _range(ys)},
        "shapes": [
            {
                "type": "line",
                "x0": x,
                "x1": x,
                "y0": 0,
                "y1": 1,
                "yref": "paper",
                "layer": "below",
                "name": "budget",
            }
            for x in limits.values()
        ],
        "annotations": [
            *(
                {
                    "x": x,
                    "y": 1,
                    "yref": "paper",
                    "yanchor": "bottom",
                    "text": _text(budget),
                    "showarrow": False,
                }
                for budget, x in limits.items()
            ),
            {
                **{"xref": "paper", "yref": "paper", "x": 0.012, "y": 0.98, "ax": 52, "ay": 34},
                **{"text": "better", "showarrow": True, "arrowhead": 2, "arrowwidth": 1.2},
            },
        ],
    }
    return {"data": data, "layout": layout}


def prediction_plot(chart: PredictionChart, looks: Mapping[str, Look]) -> dict[str, Any]:
    """Predicted against measured latency with the band around equality."""
    values = [e.value for p in chart.predictions for e in (p.predicted_s, p.measured_s)]
    factor, unit = scale(max(values))
    low, high = min(values) * factor * 0.92, max(values) * factor * 1.06
    band = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "x": [low, high]}
    data: list[dict[str, Any]] = [
        {
            **band,
            "y": [end * (1 - TOLERANCE) for end in (low, high)],
            "line": {"width": 0},
            "showlegend": False,
        },
        {
            **band,
            "y": [end * (1 + TOLERANCE) for end in (low, high)],
            "line": {"width": 0},
            "fill": "tonexty",
            "fillcolor": "rgba(120,150,180,0.2)",
            "name": f"within ±{100 * TOLERANCE:.0f} %",
        },
        {**band, "y": [low, high], "line": {"width": 1, "color": _CLOSURE.colour}, "showlegend": False},
    ]
    groups: dict[tuple[str | None, bool], list[Any]] = {}
    for prediction in chart.predictions:
        method = prediction.placed.point.method if prediction.placed else None
        groups.setdefault((method, prediction.fitted), []).append(prediction)
    for (method, fitted), found in sorted(
        groups.items(), key=lambda g: (g[0][0] is None, g[0][0] or "", g[0][1])
    ):
        look = looks[method] if method else _CLOSURE
        name = _text(method) if method else ("closure, table fitted to it" if fitted else "closure")
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [p.measured_s.value * factor for p in found],
                "y": [p.predicted_s.value * factor for p in found],
                "error_x": _bars([p.measured_s for p in found], factor, look),
                "error_y": _bars([p.predicted_s for p in found], factor, look),
                "marker": {
                    "symbol": f"{look.symbol}-open" if fitted else look.symbol,
                    "color": look.colour,
                    "size": 9,
                },
                "customdata": [p.placed.key if p.placed else None for p in found],
                "hovertext": [
                    f"<b>{_text(p.name)}</b><br>predicted {latency(p.predicted_s)}<br>"
                    f"measured {latency(p.measured_s)}<br>off by {100 * p.error:+.1f} %"
                    for p in found
                ],
                "hoverinfo": "text",
            }
        )
    axis = {"range": [low, high]}
    layout = {
        "xaxis": {"title": {"text": f"measured latency ({unit})"}, **axis},
        "yaxis": {"title": {"text": f"predicted latency ({unit})"}, **axis},
    }
    return {"data": data, "layout": layout}


def stages_plot(chart: StagesChart) -> dict[str, Any]:
    """Mean seconds per stage, one stacked bar for each method."""
    names = [_text(row.method) for row in chart.rows]
    data = []
    for i, stage in enumerate(chart.stages):
        look = STAGES[i % len(STAGES)]
        seconds = [row.seconds[i] for row in chart.rows]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": _text(stage),
                "y": names,
                "x": seconds,
                "marker": {
                    "color": look.colour,
                    "pattern": {
                        "shape": look.pattern,
                        "size": 7,
                        "solidity": 0.2,
                        "fillmode": "overlay",
                        "fgcolor": "#ffffff",
                    },
                },
                "hovertext": [f"{_text(stage)}: {duration(s)}" for s in seconds],
                "hoverinfo": "text",
                "textposition": "none",
            }
        )
    layout = {
        "barmode": "stack",
        "height": 150 + 40 * len(chart.rows),
        "xaxis": {"title": {"text": "seconds for one point (mean)"}, "rangemode": "tozero"},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
        "margin": {"l": 56, "r": 12, "t": 48, "b": 48},
        "yaxis": {"autorange": "reversed", "automargin": True, "type": "category"},
    }
    return {"data": data, "layout": layout}


def _text(text: str) -> str:
    """Plotly reads a subset of HTML in its texts; what people named must come out as they wrote it."""
    return html.escape(text, quote=False)


def _marker(look: Look, size: int) -> dict[str, Any]:
    return {
        "symbol": look.symbol,
        "color": look.colour,
        "size": size,
        "line": {"width": 1.5, "color": look.colour},
    }


def _bars(estimates: list[Estimate], factor: float, look: Look) -> dict[str, Any]:
    # An end that is not known runs off the chart, rather than look exact.
    off = 10 * max(abs(estimate.value) for estimate in estimates) + 1

    def arm(length: float) -> float:
        return (length if math.isfinite(length) else off) * factor

    return {
        "type": "data",
        "symmetric": False,
        "array": [arm(estimate.high - estimate.value) for estimate in estimates],
        "arrayminus": [arm(estimate.value - estimate.low) for estimate in estimates],
        "color": look.colour,
        "thickness": 1,
        "width": 0,
    }


def _ends(estimate: Estimate) -> list[float]:
    return [end for end in (estimate.low, estimate.value, estimate.high) if math.isfinite(end)]


def _range(values: list[float]) -> list[float]:
    margin = 0.06 * (max(values) - min(values)) or 0.05 * abs(max(values)) or 1.0
    return [min(values) - margin, max(values) + margin]
