from __future__ import annotations

import math
from dataclasses import replace

import made_up_table as made
import pytest

from latency_tables.estimate import Estimate
from reports.table_charts import (
    closure_chart,
    kind_times,
    network_bar,
    residual_chart,
    stretches,
    trace_chart,
)
from reports.table_page import COLUMNS, ROWS, heat_table
from reports.table_plots import residual_plot, staircase_plot, trace_plot
from reports.table_record import ClosureRow, CurvePoint, MeasuredPlace, Origin


def row(predicted: float, measured: float, *, fitted: bool = False) -> ClosureRow:
    return ClosureRow(
        name="less 2 blocks",
        blocks=2,
        groups=0,
        fitted=fitted,
        predicted=Estimate(predicted, predicted - 0.1, predicted + 0.1),
        measured=made.estimate(measured),
        passes=1,
    )


def test_residuals_are_relative_to_what_was_measured_and_held_out_ones_alone_judge() -> None:
    rows = (
        replace(row(0.9, 0.5, fitted=True), noise=0.5),
        replace(row(0.54, 0.5), noise=-0.02),
        row(0.82, 0.8),
        replace(row(0.327, 0.3), noise=0.04),
    )
    chart = residual_chart(made.record(closure=rows))
    assert [one.row.measured.value for one in chart.residuals] == [0.8, 0.5, 0.3, 0.5]
    assert [one.name for one in chart.residuals][:2] == ["1 · 2 blocks out", "2 · 2 blocks out"]
    second = chart.residuals[1].error
    assert (second.value, second.low, second.high) == pytest.approx((0.08, -0.12, 0.28))
    assert (chart.judged, chart.within, chart.within_wide) == (3, 1, 3)
    assert chart.mean_error == pytest.approx((0.08 + 0.025 + 0.09) / 3)
    assert (chart.repeated, chart.noise_floor) == (2, pytest.approx(0.03))
    closure = closure_chart(made.record(closure=rows))
    assert [p.measured_s.value for p in closure.predictions] == pytest.approx([2.5e-3, 2.5e-3, 4e-3, 1.5e-3])
    assert (closure.judged, closure.within) == (3, 1)
    assert closure.mean_error == pytest.approx(chart.mean_error)


def test_without_networks_nothing_is_judged() -> None:
    chart = residual_chart(made.record(closure=()))
    assert (chart.judged, chart.mean_error, chart.noise_floor, chart.residuals) == (0, None, None, ())


def test_the_bar_joins_neighbours_of_one_block_and_adds_up() -> None:
    record = made.record()
    bar = network_bar(record)
    assert [segment.name for segment in bar.segments][:3] == ["stem", "layer1.0", "layer1.1"]
    assert len(bar.segments) == 8 + 3
    assert sum(s.latency_s for s in bar.segments) == pytest.approx(
        sum(layer.latency_s.value for layer in record.layers)
    )


def test_kinds_beyond_the_room_are_joined() -> None:
    record = made.record()
    kinds = kind_times(record, 3)
    assert [(kind.kind, kind.layers) for kind in kinds] == [
        ("conv2d+relu", 9),
        ("conv2d+add+relu", 8),
        ("2 other kinds", 2),
    ]
    assert sum(kind.share for kind in kinds) == pytest.approx(1.0)
    assert len(kind_times(record, 4)) == 4


def test_a_tread_reaches_from_the_last_step_to_its_own_end() -> None:
    pieces = stretches(made.staircase())
    assert [piece.origin[0] for piece in pieces] == list("mimim")
    first = pieces[0]
    assert (first.widths, first.latency_s[0]) == ((16.0, 24.0), first.latency_s[1])
    assert [w for piece in pieces for w in (piece.widths[0], piece.widths[-1])] == [
        16.0, 24.0, 24.0, 40.0, 40.0, 48.0, 48.0, 56.0, 56.0, 64.0,
    ]  # fmt: skip


def test_the_first_step_is_a_line_through_what_was_measured_and_treads_begin_behind_it() -> None:
    widths: dict[int, Origin] = dict.fromkeys((4, 6, 8, 12, 16, 32), "measured")
    widths[6] = "interpolated"
    curve = tuple(CurvePoint(w, made.estimate(1e-5 * w), origin) for w, origin in widths.items())
    pieces = stretches(made.staircase(step=16, curve=curve))
    assert [(piece.origin, piece.widths) for piece in pieces] == [
        ("interpolated", (4.0, 6.0, 8.0)),
        ("measured", (8.0, 12.0)),
        ("measured", (12.0, 16.0)),
        ("measured", (16.0, 32.0)),
    ]
    assert pieces[-2].latency_s == pytest.approx([12e-5, 16e-5])
    assert pieces[-1].latency_s == pytest.approx([32e-5, 32e-5])
    (alone,) = stretches(made.staircase(step=16, curve=curve[:1]))
    assert (alone.widths, alone.latency_s[0]) == ((3.5, 4.5), alone.latency_s[1])
    (tread,) = stretches(made.staircase(step=16, curve=(curve[-2], curve[-1])))
    assert tread.widths == (16.0, 32.0)


def test_without_steps_runs_between_measured_widths_and_no_band_where_nobody_knows() -> None:
    def at(width: int, origin: str, *, known: bool = True) -> CurvePoint:
        value = made.estimate(1e-4 * width)
        return CurvePoint(width, value if known else Estimate(value.value, -math.inf, math.inf), origin)  # type: ignore[arg-type]

    curve = (at(2, "measured"), at(3, "interpolated"), at(4, "measured"), at(5, "measured"))
    pieces = stretches(made.staircase(step=1, curve=curve))
    assert [(p.origin, p.widths) for p in pieces] == [
        ("interpolated", (2.0, 3.0, 4.0)),
        ("measured", (4.0, 5.0)),
    ]
    assert len(pieces[0].low_s) == 3
    unknown = stretches(
        made.staircase(step=1, curve=(curve[0], at(3, "interpolated", known=False), curve[2]))
    )
    assert unknown[0].low_s == unknown[0].high_s == ()
    names = {trace.get("name") for trace in staircase_plot(made.staircase(step=1, curve=curve[:1]))["data"]}
    assert "95 % of interpolation" not in names


def test_a_slow_sample_does_not_flatten_the_others() -> None:
    chart = trace_chart(made.trace(120), 400)
    assert chart.beyond == 1
    assert chart.high_s < 1.2 * chart.trace.latency_s.value
    names = [trace.get("name") for trace in trace_plot(chart)["data"]]
    assert names[-2:] == ["sample", "slower than the scale"]
    thinned = trace_chart(made.trace(5000), 400)
    assert len(thinned.samples) == 400
    assert (thinned.samples[0][0], thinned.samples[-1][0]) == (1, 5000)
    one = trace_chart(made.trace(1), 400)
    assert one.low_s < one.samples[0][1] < one.high_s


def test_every_residual_is_on_the_axis_even_with_an_unbounded_interval() -> None:
    wild = row(0.9, 0.3)
    endless = ClosureRow("as it is", 0, 0, True, Estimate(0.3, -math.inf, math.inf), made.estimate(0.3), 1)
    spec = residual_plot(residual_chart(made.record(closure=(wild, endless))))
    low, high = spec["layout"]["xaxis"]["range"]
    assert low < -200 < 200 < high < 1000
    assert spec["layout"]["yaxis"]["names"] == ["1 · 2 blocks out", "2 · as it is"]


def test_a_heat_map_is_thinned_to_a_screen_with_its_ends_and_measured_widths() -> None:
    columns, rows = tuple(range(4, 260, 4)), tuple(range(8, 64, 8))
    chart = made.heat_map(
        columns=columns,
        rows=rows,
        latency_s=tuple(tuple(1e-6 * c * r for c in columns) for r in rows),
        measured=(MeasuredPlace(100, 8), MeasuredPlace(999, 8)),
    )
    table = heat_table(chart)
    assert len(table.columns) == COLUMNS and {4, 100, 256} <= set(table.columns)
    assert [width for width, _ in table.rows] == list(rows[::-1]) and len(rows) <= ROWS
    cells = dict(table.rows)[8]
    assert [cell.measured for cell in cells] == [width == 100 for width in table.columns]
    assert cells[0].text == "0.0320" and dict(table.rows)[56][-1].share == 1.0 and table.unit == "ms"
