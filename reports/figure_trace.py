"""The trace of one measurement as a picture, drawn with matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.canvas import FAINT, Shape, canvas, legend, legend_height
from reports.figure_residuals import BAND, face
from reports.table_charts import TraceChart
from reports.table_plots import CHECK, HELD_OUT
from reports.units import latency, scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_trace(chart: TraceChart, title: str, shape: Shape) -> Figure:
    """Samples in the order taken, the median and its interval.

    Args:
        chart: the data.
        title: the network and the setting; the part, what was dropped and what is doubtful are added.
        shape: what the figure is made for.
    """
    trace = chart.trace
    title += f"\n{trace.name} ({trace.kind}): {latency(trace.latency_s)}, {trace_words(chart)}"
    handles = _handles(chart, shape)
    labels = [handle.get_label() for handle in handles]
    figure, axes = canvas(shape, 0.6 * shape.width + legend_height(shape, labels), title)
    factor, unit = scale(trace.latency_s.value)
    low, high = max(trace.latency_s.low, chart.low_s), min(trace.latency_s.high, chart.high_s)
    axes.axhspan(low * factor, high * factor, color=BAND, linewidth=0, zorder=1)
    axes.axhline(trace.latency_s.value * factor, color=FAINT, linewidth=2 * shape.stroke, zorder=2)
    usual = [(number, s) for number, s in chart.samples if s <= chart.high_s]
    small = face(HELD_OUT.colour, shape, hollow=False) | {"markersize": 0.6 * shape.marker}
    axes.plot([n for n, _ in usual], [s * factor for _, s in usual], HELD_OUT.marker, zorder=3, **small)
    beyond = [number for number, s in chart.samples if s > chart.high_s]
    if beyond:
        places = [chart.high_s * factor] * len(beyond)
        axes.plot(
            beyond, places, CHECK.marker, zorder=4, clip_on=False, **face(CHECK.colour, shape, hollow=True)
        )
    axes.set_xlim(0, len(trace.samples_s) + 1)
    axes.set_ylim(chart.low_s * factor, chart.high_s * factor)
    axes.set_xlabel("sample, in the order taken")
    axes.set_ylabel(f"latency ({unit})")
    legend(figure, axes, shape, handles)
    return figure


def trace_words(chart: TraceChart) -> str:
    """How many samples there are, how many are drawn, and what was dropped."""
    trace = chart.trace
    taken = len(trace.samples_s)
    words = [f"{taken} samples" if taken != 1 else "1 sample"]
    if len(chart.samples) < taken:
        words.append(f"{len(chart.samples)} drawn")
    dropped = ", ".join(f"{count} for {cause}" for cause, count in trace.dropped.items() if count)
    words.append(f"dropped: {dropped}" if dropped else "none dropped")
    return ", ".join(words)


def _handles(chart: TraceChart, shape: Shape) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    small = face(HELD_OUT.colour, shape, hollow=False) | {"markersize": 0.6 * shape.marker}
    found: list[Any] = [Line2D([], [], marker=HELD_OUT.marker, label="sample", **small)]
    if chart.beyond:
        rim = face(CHECK.colour, shape, hollow=True)
        found.append(Line2D([], [], marker=CHECK.marker, label="slower than the scale", **rim))
    return [
        *found,
        Line2D([], [], color=FAINT, linewidth=2 * shape.stroke, label="median"),
        Patch(color=BAND, label="95 % interval"),
    ]
