"""Seconds per stage and method as a picture, drawn with matplotlib from the records of `charts`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.canvas import BACKING, INK, Shape, breadth, canvas, entry, legend, legend_height, short
from reports.charts import StageRow, StagesChart
from reports.style import stage_looks
from reports.units import duration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = {"column": 16, "slide": 7}
"""How many methods a figure of each shape shows at most."""

_BAR, _NAME = 0.46, 0.4


def draw_stages(chart: StagesChart, title: str, shape: Shape) -> Figure:
    """Seconds that each method spends in each stage, mean over its points.

    Args:
        chart: the data, with at least one row.
        title: what the rows have in common.
        shape: what the figure is made for.
    """
    from matplotlib.patches import Patch

    shown = chart.rows[: MOST[shape.name]]
    if len(shown) < len(chart.rows):
        title += f"\nThe first {len(shown)} of {len(chart.rows)} methods."
    looks = stage_looks(chart.stages)
    labels = [entry(stage, shape) for stage in chart.stages]
    rows = 2.9 * shape.text / 72 * len(shown)
    figure, axes = canvas(shape, rows + 1.1 + legend_height(shape, labels), title)
    widest = max(sum(row.seconds) for row in shown) or 1.0
    for place, row in enumerate(shown):
        left = 0.0
        for stage, seconds in zip(chart.stages, row.seconds, strict=True):
            axes.barh(
                place,
                seconds,
                left=left,
                height=_BAR,
                color=looks[stage].colour,
                hatch=looks[stage].hatch,
                edgecolor="white",
                linewidth=shape.stroke,
            )
            left += seconds
        # Names above the bars, since beside them they would take half of a column's width.
        axes.annotate(
            _words(row, left, shape),
            (0, place - _BAR / 2),
            xytext=(0, 0.25 * shape.text),
            textcoords="offset points",
            va="bottom",
            fontsize=shape.text,
            color=INK,
            bbox=BACKING,
            # Else a long name would push the bars together.
            in_layout=False,
        )
    axes.set_ylim(len(shown) - 1 + _BAR, -_BAR / 2 - _NAME)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlim(0, 1.03 * widest)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("seconds for one point")
    handles = [
        Patch(facecolor=looks[stage].colour, hatch=looks[stage].hatch, edgecolor="white", label=label)
        for stage, label in zip(chart.stages, labels, strict=True)
    ]
    legend(figure, axes, shape, handles)
    return figure


def _words(row: StageRow, seconds: float, shape: Shape) -> str:
    rest = f": {duration(seconds)}, {'one point' if row.points == 1 else f'mean of {row.points} points'}"
    room = (0.66 if shape.height else 0.94) * shape.width - breadth(rest, shape.text)
    return short(row.method, room, shape) + rest
