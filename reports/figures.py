"""The charts as PNG or SVG, drawn with matplotlib from the records of `charts`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reports.canvas import FAINT, INK, arms, canvas, legend, short
from reports.charts import TOLERANCE, Bar, Mark, ParetoChart, PredictionChart, StagesChart
from reports.pareto import Standing
from reports.results import UNPRUNED
from reports.style import STAGES, Look
from reports.units import plain_latency, scale

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KEPT, _REMOVED = "#8fb3d9", "#ffffff"


def draw_pareto(chart: ParetoChart, title: str, looks: Mapping[str, Look]) -> Figure:
    """Quality against measured latency, with intervals, fronts and budgets.

    Args:
        chart: the data, with at least one mark.
        title: what the points have in common.
        looks: colour and marker of each method.
    """
    figure, axes = canvas(8.0, 5.2, title)
    factor, unit = scale(max(mark.latency_s.value for mark in chart.marks))
    for mark in chart.marks:
        look = looks[mark.placed.point.method]
        x, y = mark.latency_s.value * factor, mark.quality.value * 100
        axes.errorbar(
            x,
            y,
            xerr=arms(mark.latency_s, factor, floor=0.0),
            yerr=arms(mark.quality, 100.0, floor=0.0, ceiling=1.0),
            color=look.colour,
            alpha=0.4,
            elinewidth=0.9,
            zorder=2,
        )
        axes.plot(x, y, look.marker, zorder=4, **_face(mark.standing, look, mark.placed.point.method))
    for method, line in chart.lines.items():
        axes.step(
            [x * factor for x, _ in line],
            [100 * y for _, y in line],
            where="post",
            color=looks[method].colour,
            linewidth=1.1,
            alpha=0.75,
            zorder=3,
        )
    _fit(axes, chart.marks, chart.budgets, factor)
    for name, seconds in chart.budgets.items():
        axes.axvline(
            seconds * factor, color=FAINT, linewidth=0.8, alpha=0.45, linestyle=(0, (4, 3)), zorder=1
        )
        axes.annotate(
            short(name),
            (seconds * factor, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            color=FAINT,
            fontsize=8,
        )
    axes.annotate(
        "better",
        (0.015, 0.975),
        xycoords="axes fraction",
        xytext=(0.085, 0.89),
        color=FAINT,
        fontsize=9,
        arrowprops={"arrowstyle": "->", "color": FAINT},
        bbox={"color": "white", "pad": 1.5},
    )
    axes.set_xlabel(f"measured latency ({unit})")
    name = "accuracy" if chart.quality == "accuracy" else "agreement with the unpruned network"
    axes.set_ylabel(f"{name} (%)")
    legend(axes, _pareto_handles(chart.marks, looks))
    return figure


def draw_predictions(chart: PredictionChart, title: str, looks: Mapping[str, Look]) -> Figure:
    """Predicted against measured latency, with the band in which a prediction counts as right.

    Args:
        chart: the data, with at least one prediction.
        title: what the predictions have in common.
        looks: colour and marker of each method.
    """
    figure, axes = canvas(7.4, 5.2, title)
    values = [e.value for p in chart.predictions for e in (p.predicted_s, p.measured_s)]
    factor, unit = scale(max(values))
    low, high = min(values) * factor * 0.92, max(values) * factor * 1.06
    axes.fill_between(
        [low, high],
        [low * (1 - TOLERANCE), high * (1 - TOLERANCE)],
        [low * (1 + TOLERANCE), high * (1 + TOLERANCE)],
        color="#dfe7ef",
        linewidth=0,
        zorder=1,
    )
    axes.plot([low, high], [low, high], color=FAINT, linewidth=0.9, zorder=2)
    for prediction in chart.predictions:
        look = _prediction_look(prediction.placed.point.method if prediction.placed else None, looks)
        x, y = prediction.measured_s.value * factor, prediction.predicted_s.value * factor
        axes.errorbar(
            x,
            y,
            xerr=arms(prediction.measured_s, factor, floor=0.0),
            yerr=arms(prediction.predicted_s, factor, floor=0.0),
            color=look.colour,
            alpha=0.4,
            elinewidth=0.9,
            zorder=3,
        )
        face = "white" if prediction.fitted else look.colour
        axes.plot(
            x, y, look.marker, markersize=6.5, markerfacecolor=face, markeredgecolor=look.colour, zorder=4
        )
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_xlabel(f"measured latency ({unit})")
    axes.set_ylabel(f"predicted latency ({unit})")
    legend(axes, _prediction_handles(chart, looks))
    return figure


def draw_parts(bars: Sequence[Bar], title: str) -> Figure:
    """Where the time goes: for each network a bar before, with what went hatched, and a bar after.

    Args:
        bars: at least one.
        title: what the bars have in common.
    """
    figure, axes = canvas(8.0, 1.5 + 1.2 * len(bars), title)
    totals = [sum(segment.latency_s for segment in bar.segments) for bar in bars]
    factor, unit = scale(max(totals) or 1)
    widest = max(totals) * factor or 1
    for i, bar in enumerate(bars):
        kept = [segment for segment in bar.segments if segment.kept]
        for offset, segments in ((0.0, bar.segments), (0.42, kept)):
            left = 0.0
            for segment in segments:
                width = segment.latency_s * factor
                axes.barh(
                    1.08 * i + offset,
                    width,
                    height=0.36,
                    left=left,
                    color=_KEPT if segment.kept else _REMOVED,
                    hatch="" if segment.kept else "////",
                    edgecolor="white" if segment.kept else FAINT,
                    linewidth=0.7,
                )
                upright = _fits(segment.name, width / widest)
                if upright is not None:
                    axes.annotate(
                        short(segment.name),
                        (left + width / 2, 1.08 * i + offset),
                        ha="center",
                        va="center",
                        fontsize=5.5,
                        rotation=0 if upright else 90,
                        color=INK,
                        bbox=None if segment.kept else {"color": "white", "pad": 0.6},
                    )
                left += width
            word = "before" if segments is bar.segments else "after"
            axes.annotate(
                f"{word} {plain_latency(left / factor)}",
                (left, 1.08 * i + offset),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=FAINT,
            )
    axes.set_yticks([1.08 * i + 0.21 for i in range(len(bars))], [short(bar.title) for bar in bars])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(0, widest * 1.17)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"time of the parts in the network ({unit}); hatched: removed")
    return figure


def draw_stages(chart: StagesChart, title: str) -> Figure:
    """Seconds that each method spends in each stage, mean over its points.

    Args:
        chart: the data, with at least one row.
        title: what the rows have in common.
    """
    figure, axes = canvas(8.0, 1.9 + 0.42 * len(chart.rows), title)
    for row, bar in enumerate(chart.rows):
        left = 0.0
        for i, seconds in enumerate(bar.seconds):
            axes.barh(
                row,
                seconds,
                left=left,
                height=0.62,
                color=STAGES[i % len(STAGES)].colour,
                hatch=STAGES[i % len(STAGES)].hatch,
                edgecolor="white",
                linewidth=0.7,
                label=short(chart.stages[i]) if row == 0 else None,
            )
            left += seconds
    axes.set_yticks(range(len(chart.rows)), [f"{short(row.method)} (n = {row.points})" for row in chart.rows])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("seconds for one point (mean over n points)")
    legend(axes)
    return figure


def _fits(name: str, share: float) -> bool | None:
    """How a segment's name fits: True upright, False turned, None not at all.

    Args:
        name: the text.
        share: the segment's width over the widest bar's.
    """
    # Sizes of letters at this font, from the drawing: 0.9 % of the widest bar wide, 1.3 % high.
    if share > 0.009 * len(name):
        return True
    return False if share > 0.015 and len(name) <= 9 else None


def _face(standing: Standing, look: Look, method: str) -> dict[str, Any]:
    size = 12.0 if method == UNPRUNED else 7.5
    face = {
        Standing.FRONT: look.colour,
        Standing.UNCLEAR: _tint(look.colour),
        Standing.DOMINATED: "#ffffff",
    }[standing]
    return {
        "color": look.colour,
        "markersize": size,
        "markerfacecolor": face,
        "markeredgecolor": look.colour,
        "markeredgewidth": 1.2,
    }


def _tint(colour: str) -> str:
    """The colour at 40 % on white, opaque so that lines do not show through."""
    mixed = (round(255 - 0.4 * (255 - int(colour[i : i + 2], 16))) for i in (1, 3, 5))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _fit(axes: Axes, marks: Sequence[Mark], limits: Mapping[str, float], factor: float) -> None:
    """Bounds the axes by what is known, so that an unbounded interval does not squeeze the points."""
    xs = [e * factor for m in marks for e in (m.latency_s.low, m.latency_s.high) if math.isfinite(e)]
    xs += [m.latency_s.value * factor for m in marks] + [seconds * factor for seconds in limits.values()]
    ys = [100 * e for m in marks for e in (m.quality.low, m.quality.high) if math.isfinite(e)]
    ys += [100 * m.quality.value for m in marks]
    for values, set_limits in ((xs, axes.set_xlim), (ys, axes.set_ylim)):
        margin = 0.06 * (max(values) - min(values)) or 0.05 * abs(max(values)) or 1.0
        set_limits(min(values) - margin, max(values) + margin)


def _prediction_look(method: str | None, looks: Mapping[str, Look]) -> Look:
    return looks[method] if method else Look(FAINT, "o", "circle")


def _pareto_handles(marks: Sequence[Mark], looks: Mapping[str, Look]) -> list[Any]:
    from matplotlib.lines import Line2D

    methods = dict.fromkeys(mark.placed.point.method for mark in marks)
    handles = [
        Line2D(
            [], [], linestyle="", marker=looks[method].marker, color=looks[method].colour, label=short(method)
        )
        for method in sorted(methods, key=lambda name: (name == UNPRUNED, name))
    ]
    words = {Standing.FRONT: "on the front", Standing.UNCLEAR: "cannot tell", Standing.DOMINATED: "dominated"}
    neutral = Look("#55585e", "o", "circle")
    present = [standing for standing in words if any(mark.standing == standing for mark in marks)]
    handles += [
        Line2D([], [], linestyle="", marker="o", label=words[standing], **_face(standing, neutral, ""))
        for standing in present
    ]
    return handles


def _prediction_handles(chart: PredictionChart, looks: Mapping[str, Look]) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    kinds = dict.fromkeys((p.placed.point.method if p.placed else None, p.fitted) for p in chart.predictions)
    handles: list[Any] = []
    for method, fitted in sorted(kinds, key=lambda kind: (kind[0] is None, kind[0] or "", kind[1])):
        look = _prediction_look(method, looks)
        label = short(method) if method else ("closure, table fitted to it" if fitted else "closure")
        face = "white" if fitted else look.colour
        handles.append(
            Line2D(
                [], [], linestyle="", marker=look.marker, color=look.colour, markerfacecolor=face, label=label
            )
        )
    return [*handles, Patch(color="#dfe7ef", label=f"within ±{100 * TOLERANCE:.0f} %")]
