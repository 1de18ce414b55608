"""Residuals by network as a picture, drawn with matplotlib from the records of `table_charts`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.canvas import FAINT, Shape, arms, canvas, legend, legend_height, short
from reports.charts import TOLERANCE
from reports.table_charts import ResidualChart
from reports.table_plots import FITTED, HELD_OUT, residual_reach
from reports.thinning import thin

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = {"column": 30, "slide": 14}
"""How many networks a figure of each shape shows at most."""

BAND = "#dfe7ef"


def draw_residuals(chart: ResidualChart, title: str, shape: Shape) -> Figure:
    """One row for each network: how far its prediction is off, with the predicted interval and the ±5 % band.

    Args:
        chart: with at least one network.
        title: what the networks have in common.
        shape: what the figure is made for.
    """
    shown = thin(chart.residuals, MOST[shape.name], lambda one: abs(one.error.value) <= TOLERANCE)
    if len(shown) < len(chart.residuals):
        title += (
            f"\n{len(shown)} of {len(chart.residuals)} networks, those beyond ±{100 * TOLERANCE:.0f} % first."
        )
    handles = _handles(chart, shape)
    labels = [handle.get_label() for handle in handles]
    line = 1.5 * shape.text / 72
    figure, axes = canvas(shape, len(shown) * line + 1.15 + legend_height(shape, labels), title)
    reach = residual_reach(chart)
    axes.axvspan(-100 * TOLERANCE, 100 * TOLERANCE, color=BAND, linewidth=0, zorder=0)
    axes.axvline(0, color=FAINT, linewidth=shape.stroke, zorder=1)
    for row, one in enumerate(shown):
        look = FITTED if one.row.fitted else HELD_OUT
        value = 100 * one.error.value
        low, high = arms(one.error, 100, floor=-2 * reach / 100, ceiling=2 * reach / 100)
        axes.errorbar(
            [value],
            [row],
            xerr=[[low], [high]],
            fmt="none",
            ecolor=look.colour,
            elinewidth=1.5 * shape.stroke,
            zorder=2,
        )
        axes.plot([value], [row], look.marker, zorder=3, **face(look.colour, shape, hollow=one.row.fitted))
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(-reach, reach)
    axes.set_yticks(range(len(shown)), [short(one.name, 0.5 * shape.width, shape) for one in shown])
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("prediction error (% of measured)", x=1.0, ha="right")
    legend(figure, axes, shape, handles)
    return figure


def face(colour: str, shape: Shape, *, hollow: bool) -> dict[str, Any]:
    """How matplotlib draws a marker, filled or not."""
    return {
        "color": colour,
        "linestyle": "",
        "markersize": shape.marker,
        "markerfacecolor": "#ffffff" if hollow else colour,
        "markeredgecolor": colour,
        "markeredgewidth": 1.2 * shape.stroke,
    }


def _handles(chart: ResidualChart, shape: Shape) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    found: list[Any] = [
        Line2D([], [], marker=look.marker, label=label, **face(look.colour, shape, hollow=fitted))
        for label, look, fitted in (("held out", HELD_OUT, False), ("fitted to it", FITTED, True))
        if any(one.row.fitted is fitted for one in chart.residuals)
    ]
    return [
        *found,
        Line2D([], [], color=FAINT, linewidth=1.5 * shape.stroke, label="predicted 95 % interval"),
        Patch(color=BAND, label=f"within ±{100 * TOLERANCE:.0f} %"),
    ]
