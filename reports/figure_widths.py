"""A layer over its widths as pictures: the staircase and the heat map, drawn with matplotlib."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reports.canvas import BACKING, FAINT, INK, Shape, arms, canvas, legend, legend_height
from reports.figure_residuals import BAND, face
from reports.table_charts import stretches
from reports.table_plots import ROLES, staircase_span, width_span
from reports.table_record import HeatMap, Staircase
from reports.units import digits, scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PALE, _DEEP = "#f4f7fa", "#7fa9d6"
_NUMBERS = {"column": 4, "slide": 6}

_STYLES: dict[str, Literal["-", ":"]] = {"measured": "-", "interpolated": ":"}


def draw_staircase(staircase: Staircase, title: str, shape: Shape) -> Figure:
    """Measured widths, what the table answers at every width, and the band of its error.

    Args:
        staircase: the data.
        title: the network and the setting; the layer is added.
        shape: what the figure is made for.
    """
    title += f"\n{layer_words(staircase)}{f', {staircase.fixed}' if staircase.fixed else ''}"
    handles = _handles(staircase, shape)
    labels = [handle.get_label() for handle in handles]
    figure, axes = canvas(shape, 0.72 * shape.width + legend_height(shape, labels), title)
    low, high = staircase_span(staircase)
    factor, unit = scale(max(place.latency_s.value for place in staircase.curve))
    for piece in stretches(staircase):
        line = np.array(piece.latency_s) * factor
        if piece.low_s and piece.origin == "interpolated":
            ends = (np.array(piece.low_s) * factor, np.array(piece.high_s) * factor)
            axes.fill_between(piece.widths, *ends, color=BAND, linewidth=0, zorder=1)
        style = _STYLES[piece.origin]
        axes.plot(piece.widths, line, color=FAINT, linewidth=2 * shape.stroke, linestyle=style, zorder=2)
    for role, look in ROLES:
        found = [point for point in staircase.points if point.role == role]
        xs = [point.width for point in found]
        ys = [point.latency_s.value * factor for point in found]
        if not found:
            continue
        rods = list(
            zip(*(arms(p.latency_s, factor, floor=0.0, ceiling=2 * high) for p in found), strict=True)
        )
        axes.errorbar(
            xs, ys, yerr=rods, fmt="none", ecolor=look.colour, elinewidth=1.5 * shape.stroke, zorder=3
        )
        axes.plot(xs, ys, look.marker, zorder=4, **face(look.colour, shape, hollow=role != "anchor"))
    axes.set_xlim(*width_span(staircase))
    axes.set_ylim(low * factor, high * factor)
    axes.set_xlabel(staircase.axis)
    axes.set_ylabel(f"latency alone ({unit})")
    legend(figure, axes, shape, handles)
    return figure


def draw_heat_map(chart: HeatMap, title: str, shape: Shape) -> Figure:
    """Latency over both widths: darker is slower, some cells hold their number, rings are what was measured.

    Args:
        chart: the data.
        title: the network and the setting; the layer is added.
        shape: what the figure is made for.
    """
    from matplotlib.colors import LinearSegmentedColormap

    title += f"\n{layer_words(chart)}; rings: measured"
    figure, axes = canvas(shape, 0.86 * shape.width, title)
    latencies = np.array(chart.latency_s)
    factor, unit = scale(float(latencies.max()))
    colours = LinearSegmentedColormap.from_list("latency", [_PALE, _DEEP])
    across, up = edges(chart.columns), edges(chart.rows)
    mesh = axes.pcolormesh(across, up, latencies * factor, cmap=colours, vmin=0.0, zorder=0)
    bar = figure.colorbar(mesh, ax=axes, pad=0.02)
    bar.set_label(f"latency alone ({unit})", color=INK, size=shape.text)
    bar.ax.tick_params(labelsize=shape.text, labelcolor=INK, color=FAINT, width=shape.stroke)
    bar.outline.set_visible(False)
    # What was measured outside of the map has no place on it.
    inside = [
        place
        for place in chart.measured
        if across[0] <= place.column <= across[-1] and up[0] <= place.row <= up[-1]
    ]
    axes.plot(
        [place.column for place in inside],
        [place.row for place in inside],
        "o",
        zorder=2,
        **face(INK, shape, hollow=True) | {"markersize": 0.7 * shape.marker},
    )
    most = _NUMBERS[shape.name]
    coarse = len(chart.columns) <= most and len(chart.rows) <= most + 1
    for column in _spaced(len(chart.columns), most):
        for row in _spaced(len(chart.rows), most + 1):
            x, y = (across[column] + across[column + 1]) / 2, (up[row] + up[row + 1]) / 2
            # About the room that a number takes, as a share of the map.
            wide, high = (across[-1] - across[0]) / 15, (up[-1] - up[0]) / 25
            taken = any(abs(place.column - x) < wide and abs(place.row - y) < high for place in inside)
            if taken and not coarse:
                continue
            axes.annotate(
                digits(float(latencies[row, column]) * factor),
                (x, y),
                # Large cells have room for both.
                xytext=(0, 1.1 * shape.text if taken else 0),
                textcoords="offset points",
                ha="center",
                va="center",
                fontsize=shape.text,
                color=INK,
                zorder=3,
                bbox={**BACKING, "alpha": 0.75},
            )
    axes.grid(visible=False)
    axes.set_xlim(across[0], across[-1])
    axes.set_ylim(up[0], up[-1])
    # Cells reach a little beyond the widths that they stand for: only those have a number.
    axes.set_xticks([chart.columns[i] for i in _ends_and_between(len(chart.columns), most + 1)])
    axes.set_yticks([chart.rows[i] for i in _ends_and_between(len(chart.rows), most + 1)])
    axes.set_xlabel(chart.across)
    axes.set_ylabel(chart.up)
    return figure


def layer_words(chart: Staircase | HeatMap) -> str:
    """Which layer a chart shows."""
    return f"{chart.layer} ({chart.kind})"


def edges(widths: Sequence[int]) -> list[float]:
    """Borders between widths, halfway; the first and the last as far out as the next one is in."""
    if len(widths) == 1:
        return [widths[0] - 0.5, widths[0] + 0.5]
    middles = [(a + b) / 2 for a, b in itertools.pairwise(widths)]
    return [widths[0] - (middles[0] - widths[0]), *middles, widths[-1] + (widths[-1] - middles[-1])]


def _spaced(count: int, most: int) -> list[int]:
    """Evenly spaced ones of so many places, none at the border where there are more than are taken."""
    if count <= most:
        return list(range(count))
    return sorted({round((i + 0.5) * count / most - 0.5) for i in range(most)})


def _ends_and_between(count: int, most: int) -> list[int]:
    """Evenly spaced ones of so many places, both ends among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def _handles(staircase: Staircase, shape: Shape) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    found: list[Any] = [
        Line2D(
            [],
            [],
            marker=look.marker,
            label=f"measured, {role}",
            **face(look.colour, shape, hollow=role != "anchor"),
        )
        for role, look in ROLES
        if any(point.role == role for point in staircase.points)
    ]
    pieces = stretches(staircase)
    for origin, style in _STYLES.items():
        if any(piece.origin == origin for piece in pieces):
            label = f"answer, {origin}"
            found.append(
                Line2D([], [], color=FAINT, linewidth=2 * shape.stroke, linestyle=style, label=label)
            )
    if any(piece.low_s and piece.origin == "interpolated" for piece in pieces):
        found.append(Patch(color=BAND, label="95 % of interpolation"))
    return found
