"""What all figures share: shape, axes, error bars, legend, and the way into a file."""

from __future__ import annotations

import functools
import io
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latency_tables.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
INK, FAINT, GRID = "#26282c", "#5f636a", "#e3e4e7"
_TITLE = 6
"""How many lines a title has at most."""
BACKING = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
"""Behind a text that stands on grid lines."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a figure is made for.

    Attributes:
        name: as it stands in the file's name.
        width: in inches.
        height: in inches; None where the content decides.
        text: size of all text, in points.
        stroke: width of a thin line, in points.
        marker: diameter of a marker, in points.
        dpi: of the PNG.
    """

    name: str
    width: float
    height: float | None
    text: float
    stroke: float
    marker: float
    dpi: int


COLUMN = Shape("column", width=85 / 25.4, height=None, text=8.0, stroke=0.7, marker=4.5, dpi=300)
"""One column of a paper, 85 mm wide."""
SLIDE = Shape("slide", width=40 / 3, height=7.5, text=20.0, stroke=1.6, marker=12.0, dpi=144)
"""A slide of 16:9; the PNG has 1920 x 1080 pixels."""


def render(figure: Figure, kind: str, dpi: int) -> bytes:
    """The figure as a file's content; the same figure gives the same bytes.

    Args:
        figure: made by one of the drawing functions.
        kind: "png" or "svg"; the texts of an SVG stay texts.
        dpi: of a PNG.
    """
    import matplotlib

    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    fixed: dict[Any, Any] = {
        "svg.hashsalt": "lathe",
        "svg.fonttype": "none",
        "hatch.linewidth": 0.15 * figure.get_figwidth(),
    }
    with matplotlib.rc_context(fixed):
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def canvas(shape: Shape, height: float, title: str) -> tuple[Figure, Axes]:
    """An empty chart with the house's axes and a title that wraps.

    Args:
        shape: what the figure is made for.
        height: of the whole figure in inches, where the shape leaves it open.
        title: what the content has in common; its lines are kept and wrapped.
    """
    from matplotlib.figure import Figure

    pad = shape.text / 72 * 0.6
    lines = [line for part in title.splitlines() for line in wrapped(part, shape.width - 3 * pad, shape)]
    if len(lines) > _TITLE:
        lines = [*lines[: _TITLE - 1], "…"]
    # Two lines are in the heights that the figures ask for.
    height += 1.3 * shape.text / 72 * max(0, len(lines) - 2)
    figure = Figure(figsize=(shape.width, shape.height or height), layout="constrained")
    figure.get_layout_engine().set(w_pad=pad, h_pad=pad)  # type: ignore[union-attr, call-arg]
    axes = figure.add_subplot()
    figure.suptitle("\n".join(lines), x=pad / shape.width, ha="left", fontsize=shape.text, color=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
        axes.spines[side].set_linewidth(shape.stroke)
    axes.grid(color=GRID, linewidth=shape.stroke)
    axes.set_axisbelow(True)
    axes.tick_params(
        colors=FAINT, labelcolor=INK, labelsize=shape.text, width=shape.stroke, length=shape.text / 3
    )
    axes.xaxis.label.set(color=INK, fontsize=shape.text)
    axes.yaxis.label.set(color=INK, fontsize=shape.text)
    return figure, axes


def plain(text: str) -> str:
    """The text on one line; matplotlib would read $...$ as a formula, and SVG has no control characters."""
    return _CONTROL.sub(" ", text).replace("$", r"\$")


def short(text: str, width: float, shape: Shape) -> str:
    """The text, cut where it would be wider than this many inches."""
    if breadth(text, shape.text) <= width:
        return plain(text)
    most = next(n for n in range(len(text), -1, -1) if breadth(f"{text[:n]}…", shape.text) <= width or not n)
    return plain(f"{text[:most]}…")


@functools.cache
def breadth(text: str, size: float) -> float:
    """Width of a line of text in inches, at a size in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    line = _CONTROL.sub(" ", text)
    width, _, _ = TextToPath().get_text_width_height_descent(line, FontProperties(size=size), ismath=False)
    return float(width) / 72


def wrapped(text: str, width: float, shape: Shape) -> list[str]:
    """Breaks a text into lines that are no wider than this many inches, inside words only where it must."""
    lines = [""]
    for word in text.split():
        if lines[-1] and breadth(f"{lines[-1]} {word}", shape.text) <= width:
            lines[-1] += f" {word}"
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and breadth(lines[-1] + letter, shape.text) > width:
                lines.append("")
            lines[-1] += letter
    return [plain(line) for line in lines if line]


def arms(
    estimate: Estimate, factor: float, *, floor: float, ceiling: float | None = None
) -> tuple[float, float]:
    """Lengths of both error bars; an end that is not known runs off the chart, rather than look exact."""
    low = estimate.low if math.isfinite(estimate.low) else min(floor, estimate.value)
    beyond = ceiling if ceiling is not None else 10 * estimate.value
    high = estimate.high if math.isfinite(estimate.high) else max(beyond, estimate.value)
    return (estimate.value - low) * factor, (high - estimate.value) * factor


def entry(text: str, shape: Shape) -> str:
    """The text for a legend."""
    return short(text, 3.2 if shape.height else shape.width - 4.5 * shape.text / 72, shape)


def legend(figure: Figure, axes: Axes, shape: Shape, handles: Sequence[Any]) -> None:
    """Puts the legend where the shape has room: under a column's chart, beside a slide's."""
    place = {
        "handles": handles,
        "ncols": legend_columns(shape, [str(handle.get_label()) for handle in handles]),
        "frameon": False,
        "fontsize": shape.text,
        "labelcolor": INK,
        "labelspacing": 0.4,
        "handlelength": 2.2,
        "columnspacing": 1.2,
        "handletextpad": 0.5,
    }
    if shape.height:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, **place)
    else:
        figure.legend(loc="outside lower left", borderaxespad=0.2, **place)


def legend_columns(shape: Shape, labels: Sequence[str]) -> int:
    """How many entries of a legend stand side by side."""
    if shape.height:
        return math.ceil(len(labels) / 13)
    widest = max(breadth(label, shape.text) for label in labels) + 3.9 * shape.text / 72
    return max(1, min(len(labels), int((shape.width - 0.15) / widest)))


def legend_height(shape: Shape, labels: Sequence[str]) -> float:
    """Height in inches that a legend takes away from the chart above it."""
    rows = math.ceil(len(labels) / legend_columns(shape, labels))
    return 0 if shape.height else rows * 1.5 * shape.text / 72 + 0.1
