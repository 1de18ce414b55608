"""Every chart of a table's report as PNG and SVG, for a column of a paper and for a slide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from reports.canvas import Shape
from reports.figure_network import KINDS, draw_network
from reports.figure_predictions import draw_predictions
from reports.figure_residuals import draw_residuals
from reports.figure_trace import draw_trace
from reports.figure_widths import draw_heat_map, draw_staircase
from reports.figures import draw_files
from reports.table_charts import closure_chart, kind_times, network_bar, residual_chart, trace_chart
from reports.table_record import TableRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLES = 400
"""How many samples of a trace are drawn at most."""


def draw_table(record: TableRecord) -> dict[str, bytes]:
    """Draws every chart of the record that has something to show.

    Returns:
        The content of each file by its path in the report's folder, as in "figures/staircase-1-column.svg". The
        same record gives the same bytes.
    """
    return draw_files(_drawings(record))


def _drawings(record: TableRecord) -> Iterator[tuple[str, Callable[[Shape], Figure]]]:
    title = f"{record.network}\n{record.label}"
    bar, kinds = network_bar(record), kind_times(record, KINDS)
    yield "network", lambda shape: draw_network(bar, kinds, title, shape)
    if record.closure:
        predictions, residuals = closure_chart(record), residual_chart(record)
        yield "predicted", lambda shape: draw_predictions(predictions, title, {}, shape)
        yield "residuals", lambda shape: draw_residuals(residuals, title, shape)
    for number, staircase in enumerate(record.staircases, start=1):
        yield f"staircase-{number}", lambda shape, one=staircase: draw_staircase(one, title, shape)  # type: ignore[misc]
    for number, heat in enumerate(record.heat_maps, start=1):
        yield f"heat-{number}", lambda shape, one=heat: draw_heat_map(one, title, shape)  # type: ignore[misc]
    for number, trace in enumerate(record.traces, start=1):
        chart = trace_chart(trace, SAMPLES)
        yield f"trace-{number}", lambda shape, one=chart: draw_trace(one, title, shape)  # type: ignore[misc]
