"""A network as a bar of its parts' time, and by kind of layer, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports.canvas import BACKING, FAINT, INK, Shape, breadth, canvas, plain, short
from reports.charts import Bar
from reports.table_charts import KindTime
from reports.units import plain_latency, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = 7
"""How many kinds of layers a figure shows at most."""

# Two of them in turns, so that neighbours are told apart.
_SEGMENT, _NEXT, _KIND = "#5f92c7", "#86aed6", "#9aa3ad"
# Heights in lines of text.
_BAR, _GAP, _LINE = 1.5, 0.3, 1.25


def draw_network(bar: Bar, kinds: Sequence[KindTime], title: str, shape: Shape) -> Figure:
    """The network's blocks and layers in the order of execution, and below what each kind of layer takes.

    Args:
        bar: the network.
        kinds: the most expensive first.
        title: the network and the setting.
        shape: what the figure is made for.
    """
    unit_in = shape.text / 72
    lines = _LINE + _BAR + 4 * _GAP + len(kinds) * (_LINE + 0.9 + _GAP)
    figure, axes = canvas(shape, lines * unit_in + 1.15, title)
    whole = sum(segment.latency_s for segment in bar.segments)
    factor, unit = scale(whole)
    _write(axes, f"all layers: {plain_latency(whole)}", 0.0, shape)
    top = _LINE + _GAP
    left = 0.0
    for number, segment in enumerate(bar.segments):
        width = segment.latency_s * factor
        colour = _NEXT if number % 2 else _SEGMENT
        axes.barh(top + _BAR / 2, width, height=_BAR, left=left, color=colour, edgecolor="white", linewidth=0)
        if breadth(segment.name, shape.text) < 0.85 * shape.width * segment.latency_s / whole:
            axes.annotate(
                plain(segment.name),
                (left + width / 2, top + _BAR / 2),
                ha="center",
                va="center",
                fontsize=shape.text,
                color=INK,
            )
        left += width
    top += _BAR + 2 * _GAP
    for kind in kinds:
        layers = f"{kind.layers} layer{'s' if kind.layers != 1 else ''}"
        rest = f": {layers}, {plain_latency(kind.latency_s)}, {100 * kind.share:.1f} %"
        room = 0.92 * shape.width - breadth(rest, shape.text)
        _write(axes, short(kind.kind, room, shape) + rest, top, shape)
        top += _LINE
        axes.barh(top + 0.45, kind.latency_s * factor, height=0.9, color=_KIND, edgecolor=FAINT, linewidth=0)
        top += 0.9 + _GAP
    axes.set_ylim(top, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlim(0, whole * factor * 1.005)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"time in the network ({unit})")
    return figure


def _write(axes: Axes, text: str, top: float, shape: Shape) -> None:
    axes.annotate(text, (0, top), va="top", fontsize=shape.text, color=INK, bbox=BACKING, in_layout=False)
