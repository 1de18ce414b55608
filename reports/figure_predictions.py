"""Predicted against measured latency as a picture, drawn with matplotlib from the records of `charts`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.canvas import FAINT, Shape, arms, canvas, entry, legend, legend_height
from reports.charts import TOLERANCE, Prediction, PredictionChart
from reports.style import Look
from reports.thinning import thin
from reports.units import scale

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

MOST = 600
"""How many predictions a figure shows at most."""

_BAND = "#dfe7ef"
_Kind = tuple[str | None, bool]


def draw_predictions(chart: PredictionChart, title: str, looks: Mapping[str, Look], shape: Shape) -> Figure:
    """Predicted against measured latency, with the band in which a prediction counts as right.

    Args:
        chart: the data, with at least one prediction.
        title: what the predictions have in common.
        looks: how each method is drawn.
        shape: what the figure is made for.
    """
    shown = thin(chart.predictions, MOST, lambda _: 0)
    if len(shown) < len(chart.predictions):
        title += f"\n{len(shown)} of {len(chart.predictions)} predictions are drawn."
    groups: dict[_Kind, list[Prediction]] = {}
    for prediction in shown:
        method = prediction.placed.point.method if prediction.placed else None
        groups.setdefault((method, prediction.fitted), []).append(prediction)
    kinds = sorted(groups, key=lambda kind: (kind[0] is None, kind[0] or "", kind[1]))
    handles = _handles(kinds, looks, shape)
    labels = [handle.get_label() for handle in handles]
    figure, axes = canvas(shape, 0.9 * shape.width + legend_height(shape, labels), title)
    values = [e.value for p in shown for e in (p.predicted_s, p.measured_s)]
    factor, unit = scale(max(values))
    low, high = min(values) * factor * 0.92, max(values) * factor * 1.06
    axes.fill_between(
        [low, high],
        [low * (1 - TOLERANCE), high * (1 - TOLERANCE)],
        [low * (1 + TOLERANCE), high * (1 + TOLERANCE)],
        color=_BAND,
        linewidth=0,
        zorder=1,
    )
    axes.plot([low, high], [low, high], color=FAINT, linewidth=shape.stroke, zorder=2)
    for kind in kinds:
        look, found = _look(kind, looks), groups[kind]
        xs = [p.measured_s.value * factor for p in found]
        ys = [p.predicted_s.value * factor for p in found]
        axes.errorbar(
            xs,
            ys,
            xerr=list(zip(*(arms(p.measured_s, factor, floor=0.0) for p in found), strict=True)),
            yerr=list(zip(*(arms(p.predicted_s, factor, floor=0.0) for p in found), strict=True)),
            fmt="none",
            ecolor=look.colour,
            elinewidth=shape.stroke,
            zorder=3,
        )
        axes.plot(xs, ys, look.marker, linestyle="", zorder=4, **_face(kind, look, shape))
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_xlabel(f"measured latency ({unit})")
    axes.set_ylabel(f"predicted latency ({unit})")
    legend(figure, axes, shape, handles)
    return figure


def _look(kind: _Kind, looks: Mapping[str, Look]) -> Look:
    return looks[kind[0]] if kind[0] is not None else Look(FAINT, "o", "circle")


def _face(kind: _Kind, look: Look, shape: Shape) -> dict[str, Any]:
    return {
        "color": look.colour,
        "markersize": shape.marker,
        "markerfacecolor": "#ffffff" if kind[1] else look.colour,
        "markeredgecolor": look.colour,
        "markeredgewidth": 1.2 * shape.stroke,
    }


def _handles(kinds: list[_Kind], looks: Mapping[str, Look], shape: Shape) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    for method, fitted in kinds:
        look = _look((method, fitted), looks)
        label = (
            entry(method, shape) if method is not None else ("closure, fitted to it" if fitted else "closure")
        )
        face = _face((method, fitted), look, shape)
        handles.append(Line2D([], [], linestyle="", marker=look.marker, label=label, **face))
    return [
        *handles,
        Line2D([], [], color=FAINT, linewidth=shape.stroke, label="95 % interval"),
        Patch(color=_BAND, label=f"within ±{100 * TOLERANCE:.0f} %"),
    ]
