"""Where the time goes as a picture, before and after, drawn with matplotlib from the records of `charts`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports.canvas import BACKING, FAINT, INK, Shape, breadth, canvas, plain, short, wrapped
from reports.charts import Bar, Segment
from reports.units import plain_latency, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = {"column": 6, "slide": 3}
"""How many networks a figure of each shape shows at most."""

_KEPT, _REMOVED = "#5f92c7", "#ffffff"
# Heights in lines of text.
_BAR, _GAP, _LINE = 1.5, 0.25, 1.25


def draw_parts(bars: Sequence[Bar], title: str, shape: Shape) -> Figure:
    """For each network a bar before, with what went hatched, a bar after, and the names of what went.

    Args:
        bars: at least one.
        title: what the bars have in common.
        shape: what the figure is made for.
    """
    shown = bars[: MOST[shape.name]]
    if len(shown) < len(bars):
        title += f"\nThe first {len(shown)} of {len(bars)} networks."
    unit_in = shape.text / 72
    names = [_names(bar, shape) for bar in shown]
    lines = sum(_LINE * (1 + len(words)) + 2 * _BAR + 3 * _GAP + 0.5 for words in names)
    figure, axes = canvas(shape, lines * unit_in + 1.15, title)
    factor, unit = scale(max(_total(bar.segments) for bar in shown) or 1)
    widest = max(_total(bar.segments) for bar in shown) * factor or 1
    top = 0.0
    for bar, words in zip(shown, names, strict=True):
        kept = [segment for segment in bar.segments if segment.kept]
        before, after = plain_latency(_total(bar.segments)), plain_latency(_total(kept))
        rest = f": {before} → {after}"
        room = 0.94 * shape.width - breadth(rest, shape.text)
        _write(axes, short(bar.title, room, shape) + rest, top, shape, INK)
        top += _LINE + _GAP
        for segments in (bar.segments, kept):
            _draw(axes, segments, top + _BAR / 2, factor, widest, shape)
            top += _BAR + _GAP
        for line in words:
            _write(axes, line, top, shape, FAINT)
            top += _LINE
        top += 0.5 + _GAP
    axes.set_ylim(top, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlim(0, widest * 1.005)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"time of the parts ({unit}), hatched: removed")
    return figure


def _total(segments: Sequence[Segment]) -> float:
    return sum(segment.latency_s for segment in segments)


def _names(bar: Bar, shape: Shape) -> list[str]:
    """What went, in at most two lines for what went as a whole and two for what got narrower."""
    lines = []
    for word, gone in (("removed", bar.removed), ("narrower", bar.narrowed)):
        lines += _listed(word, gone, shape) if gone else []
    return lines or ["nothing removed"]


def _listed(word: str, gone: Sequence[str], shape: Shape) -> list[str]:
    lines = wrapped(f"{word}: {', '.join(gone)}", 0.9 * shape.width, shape)
    shown = len(gone)
    while shown > 1 and len(lines) > 2:
        shown -= 1
        text = f"{word}: {', '.join(gone[:shown])} and {len(gone) - shown} more"
        lines = wrapped(text, 0.9 * shape.width, shape)
    return lines[:2]


def _write(axes: Axes, text: str, top: float, shape: Shape, colour: str) -> None:
    axes.annotate(text, (0, top), va="top", fontsize=shape.text, color=colour, bbox=BACKING, in_layout=False)


def _draw(
    axes: Axes, segments: Sequence[Segment], middle: float, factor: float, widest: float, shape: Shape
) -> None:
    left = 0.0
    for segment in segments:
        width = segment.latency_s * factor
        axes.barh(
            middle,
            width,
            height=_BAR,
            left=left,
            color=_KEPT if segment.kept else _REMOVED,
            hatch="" if segment.kept else "////",
            edgecolor="white" if segment.kept else FAINT,
            linewidth=0.6 * shape.stroke,
            # The border of what went must not vanish under its neighbour's.
            zorder=2 if segment.kept else 3,
        )
        if segment.kept and breadth(segment.name, shape.text) < 0.85 * shape.width * width / widest:
            axes.annotate(
                plain(segment.name),
                (left + width / 2, middle),
                ha="center",
                va="center",
                fontsize=shape.text,
                color=INK,
            )
        left += width
