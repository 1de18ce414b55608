"""The charts as specifications in the manner of plotly's, plain JSON that `templates/chart.js` draws.

Colours of axes and text are left out: the script sets them, since it knows whether the reader's screen is dark. The
Pareto figure is put together by the script as a whole, since its reader chooses what the axes show.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from latency_tables.estimate import Estimate
from reports.axes import Axis
from reports.charts import TOLERANCE, PredictionChart, StagesChart
from reports.planes import Plane, Planes
from reports.results import UNPRUNED
from reports.style import Look, stage_looks
from reports.units import duration, latency, scale

_CLOSURE = Look("#77797f", "o", "circle")


def pareto_plot(found: Planes, looks: Mapping[str, Look]) -> dict[str, Any]:
    """What the page's script draws the Pareto figure from, in whichever plane its reader chooses.

    Args:
        found: with at least one plane.
        looks: of each series.

    Returns:
        ``series``: name and look of each; ``keys``, ``of`` and ``budget``: for each point its key and numbers
        that stand for its series and its budget; ``y`` and ``x``: for each axis its words, direction and by point
        [value, low, high] in the unit of the axis (null: not known; a null end: unbounded) and the text;
        ``planes``: by "vertical|horizontal" the standing of each point ("f", "u", "d"; "-": no place), the marked
        ones, and the lines with the budgets of their corners; ``budgets``: places by the name of the horizontal
        axis.
    """
    names = sorted({p.series for p in found.points}, key=lambda name: (_is_unpruned(found, name), name))
    budgets = {p.point.budget: i for i, p in enumerate(found.points)}
    first = {name: next(p for p in found.points if p.series == name) for name in names}
    return {
        "series": [
            {
                "name": escaped(name),
                "colour": looks[name].colour,
                "symbol": looks[name].symbol,
                "dash": looks[name].dash,
                "tag": first[name].tag,
                "large": _is_unpruned(found, name),
            }
            for name in names
        ],
        "keys": [p.key for p in found.points],
        "of": [names.index(p.series) for p in found.points],
        "budget": [budgets[p.point.budget] for p in found.points],
        "y": {axis.name: _axis(axis, found) for axis in found.qualities},
        "x": {axis.name: _axis(axis, found) for axis in found.costs},
        "planes": {
            "|".join(pair): _plane(plane, found, names, budgets) for pair, plane in found.planes.items()
        },
        "budgets": {
            axis.name: [
                [escaped(name), _lean(place * axis.factor)]
                for name, place in found.budgets[axis.name].items()
            ]
            for axis in found.costs
        },
    }


def _axis(axis: Axis, found: Planes) -> dict[str, Any]:
    values = [axis.values.get(p.key) for p in found.points]
    return {
        "label": axis.label,
        "title": axis.title,
        "more": axis.more_is_better,
        "e": [value and [_lean(end * axis.factor) for end in _interval(value)] for value in values],
        "t": [axis.text(value) if value else "" for value in values],
    }


def _plane(plane: Plane, found: Planes, names: Sequence[str], budgets: Mapping[str, int]) -> dict[str, Any]:
    x, y = plane.cost.factor, plane.quality.factor
    return {
        "standing": "".join(
            plane.standings[p.key].value[0] if p.key in plane.standings else "-" for p in found.points
        ),
        "unordered": [i for i, p in enumerate(found.points) if p.key in plane.unordered],
        "lines": [
            [
                names.index(series),
                [_lean(c * x) for c, _ in line],
                [_lean(q * y) for _, q in line],
                # The page may be given fewer points than there are.
                [budgets.get(budget) for budget in plane.corners[series]],
            ]
            for series, line in plane.lines.items()
            if series in names
        ],
    }


def _is_unpruned(found: Planes, series: str) -> bool:
    return any(p.series == series and p.point.method == UNPRUNED for p in found.points)


def _interval(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def _lean(number: float) -> float | None:
    """Five digits are more than a screen shows; hundreds of points are embedded."""
    return float(f"{number:.5g}") if math.isfinite(number) else None


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
        method = prediction.placed.series if prediction.placed else None
        groups.setdefault((method, prediction.fitted), []).append(prediction)
    for (method, fitted), found in sorted(
        groups.items(), key=lambda g: (g[0][0] is None, g[0][0] or "", g[0][1])
    ):
        look = looks[method] if method else _CLOSURE
        name = escaped(method) if method else ("closure, table fitted to it" if fitted else "closure")
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [p.measured_s.value * factor for p in found],
                "y": [p.predicted_s.value * factor for p in found],
                "error_x": bars([p.measured_s for p in found], factor, look),
                "error_y": bars([p.predicted_s for p in found], factor, look),
                "marker": {
                    "symbol": f"{look.symbol}-open" if fitted else look.symbol,
                    "color": look.colour,
                    "size": 9,
                },
                "customdata": [p.placed.key if p.placed else None for p in found],
                "hovertext": [
                    f"<b>{escaped(p.name)}</b><br>predicted {latency(p.predicted_s)}<br>"
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
    names = [escaped(row.method) for row in chart.rows]
    data = []
    looks = stage_looks(chart.stages)
    for i, stage in enumerate(chart.stages):
        look = looks[stage]
        seconds = [row.seconds[i] for row in chart.rows]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": escaped(stage),
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
                "hovertext": [f"{escaped(stage)}: {duration(s)}" for s in seconds],
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


def escaped(text: str) -> str:
    """Texts of charts may hold <b> and <br>; what people named must come out as they wrote it."""
    return html.escape(text, quote=False)


def bars(estimates: list[Estimate], factor: float, look: Look) -> dict[str, Any]:
    """The intervals of markers, all of one look; ``factor`` takes them to the unit of the axis."""
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
