from __future__ import annotations

import json
import math

import made_up_runs as made
import pytest

from latency_tables.estimate import Estimate
from reports.charts import pareto_chart, prediction_chart, stages_chart
from reports.plots import pareto_plot, prediction_plot, stages_plot
from reports.scenes import Scene, scenes
from reports.style import looks


def scene(*points) -> Scene:
    return scenes([(made.run(), points)])[0]


def pareto(*points):
    return pareto_plot(pareto_chart(scene(*points)), looks(point.method for point in points))


def markers(plot) -> list[dict]:
    return [trace for trace in plot["data"] if "customdata" in trace]


def test_a_marker_carries_its_key_place_and_standing() -> None:
    trace, whole = markers(pareto(made.point(), made.unpruned()))
    assert (trace["x"], trace["y"]) == ([pytest.approx(5.6)], [pytest.approx(81.2)])
    assert (trace["customdata"], whole["customdata"]) == ([0], [1])
    assert trace["meta"]["standings"] == ["front"]
    assert trace["error_x"]["array"] == [pytest.approx(0.04)]
    assert "81.2 % (80.4–82.0)" in trace["hovertext"][0]


def test_axes_budgets_and_direction() -> None:
    layout = pareto(made.point())["layout"]
    assert layout["xaxis"]["title"]["text"] == "measured latency (ms)"
    assert layout["shapes"][0]["x0"] == pytest.approx(5.67)
    assert [note["text"] for note in layout["annotations"]] == ["0.7x", "better"]
    low, high = layout["xaxis"]["range"]
    assert low < 5.56
    assert high > 5.67


def test_plotly_reads_no_markup_in_what_people_named() -> None:
    method = '<b>bold</b><a href="https://example.org">&amp;'
    escaped = '&lt;b&gt;bold&lt;/b&gt;&lt;a href="https://example.org"&gt;&amp;amp;'
    group = scene(made.point(method=method, budget="<i>", stages_s={"<u>": 1.0}))
    table = looks([method])
    for plot in (
        pareto_plot(pareto_chart(group), table),
        prediction_plot(prediction_chart(group), table),
        stages_plot(stages_chart(group)),
    ):
        text = json.dumps(plot, ensure_ascii=False)
        assert json.dumps(escaped)[1:-1] in text
        assert not any(tag in text for tag in ("<b>bold", "<a ", "<i>", "<u>"))


def test_an_unbounded_interval_is_finite_json_and_leaves_the_range_alone() -> None:
    wild = made.point(accuracy=Estimate(0.8, -math.inf, math.inf), measured_s=Estimate(5e-3, 4e-3, math.inf))
    plot = pareto(wild)
    json.dumps(plot, allow_nan=False)
    (trace,) = markers(plot)
    assert trace["error_x"]["array"][0] > 100
    assert plot["layout"]["xaxis"]["range"][1] < 7


def test_predictions_are_told_apart_by_what_they_prove() -> None:
    plot = prediction_plot(prediction_chart(scene(made.point())), looks(["ttmpd"]))
    named = {trace["name"]: trace for trace in markers(plot)}
    assert set(named) == {"ttmpd", "closure", "closure, table fitted to it"}
    assert named["closure, table fitted to it"]["marker"]["symbol"].endswith("-open")
    assert named["closure"]["customdata"] == [None]
    assert plot["layout"]["xaxis"]["range"] == plot["layout"]["yaxis"]["range"]


def test_stages_stack_by_method() -> None:
    points = [made.point(), made.point(id="b", method="random", stages_s={"measure": 5.0})]
    plot = stages_plot(stages_chart(scene(*points)))
    assert [(trace["name"], trace["x"]) for trace in plot["data"]][-1] == ("measure", [24.0, 5.0])
    assert {tuple(trace["y"]) for trace in plot["data"]} == {("ttmpd", "random")}
    assert len({trace["marker"]["pattern"]["shape"] for trace in plot["data"]}) == 4
