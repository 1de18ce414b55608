from __future__ import annotations

import json
import math

import made_up_runs as made
import pytest

from latency_tables.estimate import Estimate
from reports.charts import prediction_chart, stages_chart
from reports.planes import planes
from reports.plots import pareto_plot, prediction_plot, stages_plot
from reports.scenes import Scene, scenes
from reports.style import looks


def scene(*points) -> Scene:
    return scenes([(made.run(), points)])[0]


def pareto(*points):
    return pareto_plot(planes(scene(*points)), looks(point.method for point in points))


def markers(plot) -> list[dict]:
    return [trace for trace in plot["data"] if "customdata" in trace]


def test_points_carry_key_series_place_and_standing() -> None:
    plot = pareto(made.point(), made.unpruned(), made.failed())
    assert plot["keys"] == [0, 1]
    assert [plot["series"][i]["name"] for i in plot["of"]] == ["ttmpd", "unpruned"]
    assert [series["large"] for series in plot["series"]] == [False, True]
    assert plot["y"]["accuracy"]["e"][0] == pytest.approx([81.2, 80.4, 82.0])
    assert plot["y"]["accuracy"]["t"][0] == "81.2 % (80.4–82.0)"
    assert plot["x"]["latency"]["e"][0] == pytest.approx([5.6, 5.56, 5.64])
    assert plot["planes"]["accuracy|latency"]["standing"] == "ff"
    assert plot["planes"]["kl|latency"]["standing"] == "f-", "the unpruned network has no divergence"


def test_axes_and_budgets_are_in_the_unit_of_the_title() -> None:
    plot = pareto(made.point())
    assert {name: axis["title"] for name, axis in plot["x"].items()} == {
        "latency": "measured latency (ms)",
        "speedup": "speed-up over the unpruned network (×)",
        "rate": "images per second",
    }
    assert plot["budgets"]["latency"] == [["0.7x", pytest.approx(5.67)]]
    assert plot["budgets"]["speedup"] == [["0.7x", pytest.approx(8.1 / 5.67, rel=1e-4)]]
    assert plot["budgets"]["rate"] == [["0.7x", pytest.approx(1 / 5.67e-3, rel=1e-4)]]
    assert [plot[axis][name]["more"] for axis, name in (("y", "kl"), ("x", "latency"), ("x", "rate"))] == [
        False,
        False,
        True,
    ]


def test_charts_read_no_markup_in_what_people_named() -> None:
    method = '<b>bold</b><a href="https://example.org">&amp;'
    escaped = '&lt;b&gt;bold&lt;/b&gt;&lt;a href="https://example.org"&gt;&amp;amp;'
    group = scene(made.point(method=method, budget="<i>", stages_s={"<u>": 1.0}))
    table = looks([method])
    for plot in (
        pareto_plot(planes(group), table),
        prediction_plot(prediction_chart(group), table),
        stages_plot(stages_chart(group)),
    ):
        text = json.dumps(plot, ensure_ascii=False)
        assert json.dumps(escaped)[1:-1] in text
        assert not any(tag in text for tag in ("<b>bold", "<a ", "<i>", "<u>"))


def test_an_unbounded_end_is_null() -> None:
    wild = made.point(accuracy=Estimate(0.8, -math.inf, math.inf), measured_s=Estimate(5e-3, 4e-3, math.inf))
    plot = pareto(wild)
    json.dumps(plot, allow_nan=False)
    assert plot["y"]["accuracy"]["e"] == [[80.0, None, None]]
    assert plot["x"]["latency"]["e"] == [[5.0, 4.0, None]]
    assert plot["x"]["rate"]["e"] == [[200.0, 0.0, 250.0]]


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
