"""The report on a latency table: one HTML page that opens from disk, its charts as images, and their record."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latency_tables.files import write_together
from reports import table_plots
from reports.plots import prediction_plot
from reports.table_charts import (
    TraceChart,
    closure_chart,
    kind_times,
    network_bar,
    residual_chart,
    trace_chart,
)
from reports.table_record import RECORD, HeatMap, TableRecord, encode_table
from reports.templating import flat, make_environment, own_texts
from reports.units import digits, scale

HTML = "index.html"
"""Name of the page in the folder of a table's report."""

ROWS, COLUMNS = 14, 12
"""How many rows and columns of a heat map the page shows at most."""

_SAMPLES, _KINDS = 400, 12


@dataclass(frozen=True, slots=True)
class TableFiles:
    """What `write_table_report` wrote.

    Attributes:
        html: the page.
        record: what the page was drawn from.
        images: PNG and SVG of each chart.
    """

    html: Path
    record: Path
    images: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class HeatCell:
    """A cell of a heat map on the page.

    Attributes:
        text: its latency in the map's unit.
        share: of the largest latency on the map, 0 to 1.
        measured: whether these very widths were measured.
    """

    text: str
    share: float
    measured: bool


@dataclass(frozen=True, slots=True)
class HeatTable:
    """A heat map as a table, thinned so that a screen holds it.

    Attributes:
        chart: the whole map.
        columns: widths shown.
        rows: (width, cells) from the widest to the narrowest.
        unit: of the cells.
    """

    chart: HeatMap
    columns: tuple[int, ...]
    rows: tuple[tuple[int, tuple[HeatCell, ...]], ...]
    unit: str


def write_table_report(record: TableRecord, out: Path) -> TableFiles:
    """Writes a report on a table.

    Args:
        record: what to show.
        out: the folder for the report; made when missing. Files of the same names are replaced.

    Raises:
        LatheError: a file could not be written; the last report stays as it was.
    """
    from reports.table_figures import draw_table

    images = {out / name: content for name, content in draw_table(record).items()}
    document = json.dumps(encode_table(record), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    files = {out / HTML: render_table(record).encode(), out / RECORD: document.encode()}
    write_together({**files, **images})
    return TableFiles(out / HTML, out / RECORD, tuple(images))


def render_table(record: TableRecord) -> str:
    """The whole page as text."""
    traces = [trace_chart(trace, _SAMPLES) for trace in record.traces]
    residuals = residual_chart(record)
    environment = make_environment()
    return environment.get_template("table.html").render(
        record=record,
        bar=network_bar(record),
        kinds=kind_times(record, _KINDS),
        whole_s=sum(layer.latency_s.value for layer in record.layers),
        residuals=residuals,
        heats=[heat_table(chart) for chart in record.heat_maps],
        traces=traces,
        data={"plots": [_plots(record, traces)], "places": [], "points": {}, "bars": []},
        setting=list(flat(record.setting, skip="format")),
        **own_texts(),
    )


def heat_table(chart: HeatMap) -> HeatTable:
    """A heat map thinned to what a screen holds; measured widths stay first."""
    columns = _thinned(chart.columns, {place.column for place in chart.measured}, COLUMNS)
    rows = _thinned(chart.rows, {place.row for place in chart.measured}, ROWS)
    largest = max(max(line) for line in chart.latency_s)
    factor, unit = scale(largest)
    measured = {(place.column, place.row) for place in chart.measured}

    def cell(column: int, row: int) -> HeatCell:
        latency_s = chart.latency_s[chart.rows.index(row)][chart.columns.index(column)]
        return HeatCell(digits(latency_s * factor), latency_s / largest, (column, row) in measured)

    return HeatTable(
        chart,
        columns,
        tuple((row, tuple(cell(column, row) for column in columns)) for row in rows[::-1]),
        unit,
    )


def _plots(record: TableRecord, traces: list[TraceChart]) -> dict[str, Any]:
    """What the page's script draws, by the name that the template asks for."""
    drawn: dict[str, Any] = {}
    if record.closure:
        drawn["prediction"] = prediction_plot(closure_chart(record), {})
        drawn["residuals"] = table_plots.residual_plot(residual_chart(record))
    for number, staircase in enumerate(record.staircases, start=1):
        drawn[f"staircase-{number}"] = table_plots.staircase_plot(staircase)
    for number, chart in enumerate(traces, start=1):
        drawn[f"trace-{number}"] = table_plots.trace_plot(chart)
    return drawn


def _thinned(widths: tuple[int, ...], first: set[int], most: int) -> tuple[int, ...]:
    """At most so many of the widths, the ends among them, then evenly spaced ones, measured ones before others."""
    if len(widths) <= most:
        return widths
    kept = {widths[0], widths[-1]}
    for wanted in ([w for w in widths if w in first], list(widths)):
        room = most - len(kept)
        left = [width for width in wanted if width not in kept]
        kept |= set(
            left if len(left) <= room else [left[(2 * i + 1) * len(left) // (2 * room)] for i in range(room)]
        )
    return tuple(sorted(kept))
