"""What all figures share: size, axes, error bars, legend, and the way into a file."""

from __future__ import annotations

import io
import math
import textwrap
from typing import TYPE_CHECKING, Any

from latency_tables.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID = "#26282c", "#6b6f76", "#e3e4e7"
SHORT = 36


def render(figure: Figure, kind: str) -> bytes:
    """The figure as a file's content; the same figure gives the same bytes.

    Args:
        figure: made by a function of this module.
        kind: "png" or "svg".
    """
    import matplotlib

    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with matplotlib.rc_context({"svg.hashsalt": "lathe", "hatch.linewidth": 0.6}):
        figure.savefig(buffer, format=kind, dpi=160, metadata=metadata)
    return buffer.getvalue()


def canvas(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    """An empty chart of this size in inches, with the house's axes and a title that wraps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    lines = [line for part in title.splitlines() for line in textwrap.wrap(part, int(10.5 * width))]
    axes.set_title(plain("\n".join(lines)), loc="left", fontsize=10, color=INK, pad=16)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=FAINT, labelcolor=INK, labelsize=9)
    return figure, axes


def plain(text: str) -> str:
    """The text as it is; matplotlib would read $...$ as a formula."""
    return text.replace("$", r"\$")


def short(text: str) -> str:
    """The text for a legend or an axis: cut when it would push the chart out of the figure."""
    return plain(text if len(text) <= SHORT else text[: SHORT - 1] + "…")


def arms(
    estimate: Estimate, factor: float, *, floor: float, ceiling: float | None = None
) -> list[list[float]]:
    """Lengths of both error bars; an end that is not known runs off the chart, rather than look exact."""
    low = estimate.low if math.isfinite(estimate.low) else min(floor, estimate.value)
    beyond = ceiling if ceiling is not None else 10 * estimate.value
    high = estimate.high if math.isfinite(estimate.high) else max(beyond, estimate.value)
    return [[(estimate.value - low) * factor], [(high - estimate.value) * factor]]


def legend(axes: Axes, handles: Sequence[Any] | None = None) -> None:
    """Puts the legend beside the chart; by default of what was drawn with a label."""
    axes.legend(
        **({"handles": handles} if handles else {}),
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
    )
