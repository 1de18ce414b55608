"""Quality against measured latency as a picture, drawn with matplotlib from the records of `charts`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reports.canvas import (
    FAINT,
    INK,
    Shape,
    arms,
    breadth,
    canvas,
    entry,
    legend,
    legend_height,
    short,
)
from reports.charts import Mark, ParetoChart
from reports.pareto import Standing
from reports.results import UNPRUNED
from reports.style import Look
from reports.thinning import thin
from reports.units import scale

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 600
"""How many marks a figure shows at most; of more, dominated ones are left out first."""

_ORDER = (Standing.FRONT, Standing.UNCLEAR, Standing.DOMINATED)
_WORDS = {
    Standing.FRONT: "on the front",
    Standing.UNCLEAR: "maybe on the front",
    Standing.DOMINATED: "dominated",
}
_BUDGET_ROWS = 3


def draw_pareto(chart: ParetoChart, title: str, looks: Mapping[str, Look], shape: Shape) -> Figure:
    """Quality against measured latency, with intervals, fronts and budgets.

    Args:
        chart: the data, with at least one mark.
        title: what the points have in common.
        looks: how each method is drawn.
        shape: what the figure is made for.
    """
    marks = thin(chart.marks, MOST, lambda mark: _ORDER.index(mark.standing))
    if len(marks) < len(chart.marks):
        title += f"\n{len(marks)} of {len(chart.marks)} points are drawn; dominated ones were left out first."
    handles = _handles(marks, looks, shape, budgets=bool(chart.budgets))
    labels = [handle.get_label() for handle in handles]
    figure, axes = canvas(shape, 0.9 * shape.width + legend_height(shape, labels), title)
    factor, unit = scale(max(mark.latency_s.value for mark in marks))
    groups: dict[tuple[str, Standing], list[Mark]] = {}
    for mark in marks:
        groups.setdefault((mark.placed.point.method, mark.standing), []).append(mark)
    for (method, standing), found in groups.items():
        _scatter(axes, found, looks[method], standing, method, factor, shape)
    _rings(axes, [mark for mark in marks if mark.unordered], factor, shape)
    for series, line in chart.lines.items():
        axes.step(
            [x * factor for x, _ in line],
            [100 * y for _, y in line],
            where="post",
            color=looks[series].colour,
            dashes=looks[series].dashes or (None, None),
            linewidth=1.4 * shape.stroke,
            zorder=3,
        )
    _fit(axes, chart.marks, chart.budgets, factor)
    axes.set_xlabel(f"← better   measured latency ({unit})")
    name = "accuracy" if chart.quality == "accuracy" else "agreement with the unpruned network"
    axes.set_ylabel(f"{name} (%)   better →")
    legend(figure, axes, shape, handles)
    # How wide the chart is beside its legend is known once all else has its place.
    figure.draw_without_rendering()
    _budgets(figure, axes, {name: seconds * factor for name, seconds in chart.budgets.items()}, shape)
    tags = {mark.placed.series: mark.placed.tag for mark in marks}
    _letters(
        figure, axes, [(tags[s], line[0]) for s, line in chart.lines.items() if tags.get(s)], factor, shape
    )
    return figure


def _scatter(
    axes: Axes,
    marks: Sequence[Mark],
    look: Look,
    standing: Standing,
    method: str,
    factor: float,
    shape: Shape,
) -> None:
    xs, ys = [m.latency_s.value * factor for m in marks], [m.quality.value * 100 for m in marks]
    # What nothing beats lies on top of what is beaten.
    depth = 0.1 * (len(_ORDER) - _ORDER.index(standing))
    axes.errorbar(
        xs,
        ys,
        xerr=_transposed([arms(m.latency_s, factor, floor=0.0) for m in marks]),
        yerr=_transposed([arms(m.quality, 100.0, floor=0.0, ceiling=1.0) for m in marks]),
        fmt="none",
        ecolor=look.colour,
        elinewidth=shape.stroke,
        zorder=4 + depth,
    )
    axes.plot(xs, ys, look.marker, linestyle="", zorder=5 + depth, **_face(standing, look, method, shape))


def _rings(axes: Axes, marks: Sequence[Mark], factor: float, shape: Shape) -> None:
    """Marks the points that noise alone could order otherwise."""
    if marks:
        xs, ys = [m.latency_s.value * factor for m in marks], [m.quality.value * 100 for m in marks]
        axes.plot(xs, ys, linestyle="", zorder=6, **_ring(shape))


def _ring(shape: Shape) -> dict[str, Any]:
    return {
        "marker": "o",
        "markersize": 1.7 * shape.marker,
        "markerfacecolor": "none",
        "markeredgecolor": FAINT,
        "markeredgewidth": 0.8 * shape.stroke,
    }


def _letters(
    figure: Figure,
    axes: Axes,
    ends: Sequence[tuple[str, tuple[float, float]]],
    factor: float,
    shape: Shape,
) -> None:
    """The letter of the run at the left end of each line, moved up where another one stands."""
    points = figure.dpi / 72
    taken: list[tuple[float, float]] = []
    for tag, (seconds, quality) in ends:
        x, y = axes.transData.transform((seconds * factor, 100 * quality))
        lift = 0.0
        while any(
            abs(x - a) < 1.2 * shape.text * points and abs(y + lift - b) < 1.2 * shape.text * points
            for a, b in taken
        ):
            lift += 0.4 * shape.text * points
        taken.append((x, y + lift))
        axes.annotate(
            tag,
            (seconds * factor, 100 * quality),
            xytext=(-0.7 * shape.marker - 0.2 * shape.text, lift / points),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=shape.text,
            color=INK,
            zorder=7,
        )


def _transposed(pairs: Sequence[tuple[float, float]]) -> list[list[float]]:
    return [[low for low, _ in pairs], [high for _, high in pairs]]


def _face(standing: Standing, look: Look, method: str, shape: Shape) -> dict[str, Any]:
    face = {
        Standing.FRONT: look.colour,
        Standing.UNCLEAR: _tint(look.colour),
        Standing.DOMINATED: "#ffffff",
    }[standing]
    return {
        "color": look.colour,
        "markersize": shape.marker * (1.7 if method == UNPRUNED else 1.0),
        "markerfacecolor": face,
        "markeredgecolor": look.colour,
        "markeredgewidth": 1.2 * shape.stroke,
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


def _budgets(figure: Figure, axes: Axes, limits: Mapping[str, float], shape: Shape) -> None:
    """A line for each budget, named above the chart in rows so that no two names meet."""
    low, high = axes.get_xlim()
    inches = axes.get_window_extent().width / figure.dpi
    ends = [-math.inf] * _BUDGET_ROWS
    for name, x in sorted(limits.items(), key=lambda item: item[1]):
        axes.axvline(x, zorder=1, **_limit(shape))
        text = short(name, 7 * shape.text / 72, shape)
        half = breadth(text, shape.text) / 2 + 0.3 * shape.text / 72
        middle = (x - low) / (high - low) * inches
        row = next((i for i, end in enumerate(ends) if middle - half >= end), None)
        if row is None:
            continue
        ends[row] = middle + half
        axes.annotate(
            text,
            (x, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 0.3 * shape.text + row * 1.2 * shape.text),
            textcoords="offset points",
            ha="center",
            color=FAINT,
            fontsize=shape.text,
        )


def _limit(shape: Shape) -> dict[str, Any]:
    return {"color": FAINT, "linewidth": shape.stroke, "linestyle": (0, (4, 3))}


def _handles(marks: Sequence[Mark], looks: Mapping[str, Look], shape: Shape, *, budgets: bool) -> list[Any]:
    from matplotlib.lines import Line2D

    methods = dict.fromkeys(mark.placed.point.method for mark in marks)
    handles = [
        Line2D(
            [],
            [],
            marker=looks[method].marker,
            color=looks[method].colour,
            dashes=looks[method].dashes or (None, None),
            linewidth=0 if method == UNPRUNED else 1.4 * shape.stroke,
            markersize=shape.marker * (1.7 if method == UNPRUNED else 1.0),
            label=entry(method, shape),
        )
        for method in sorted(methods, key=lambda name: (name == UNPRUNED, name))
    ]
    neutral = Look(INK, "o", "circle")
    handles += [
        Line2D(
            [], [], linestyle="", marker="o", label=_WORDS[standing], **_face(standing, neutral, "", shape)
        )
        for standing in _ORDER
        if any(mark.standing == standing for mark in marks)
    ]
    if any(mark.unordered for mark in marks):
        handles.append(Line2D([], [], linestyle="", label="noise cannot order", **_ring(shape)))
    handles.append(Line2D([], [], color=INK, linewidth=shape.stroke, label="95 % interval"))
    if budgets:
        handles.append(Line2D([], [], label="budget", **_limit(shape)))
    return handles
