"""What becomes of a setting's networks in another one."""

from __future__ import annotations

from dataclasses import replace

import made_up_runs as made
import pytest

from latency_tables.estimate import Estimate
from reports.elsewhere import elsewhere
from reports.finding import Kind
from reports.findings import of_scene
from reports.page import render_page
from reports.results import Point
from reports.scenes import Scene, scenes

OTHER = "s2"


def at(name: str, here: float, there: float | None, budget: str = "0.7x", **changes: object) -> Point:
    abroad = {} if there is None else {OTHER: Estimate(there, there - 0.01, there + 0.01)}
    ratio = Estimate(here, here - 0.01, here + 0.01)
    return made.point(id=name, method=name, ratio=ratio, budget=budget, elsewhere=abroad, **changes)


def scene(*points: Point) -> Scene:
    run = made.run()
    settings = {**run.settings, OTHER: {"label": "another runtime"}}
    return scenes([(replace(run, settings=settings), list(points))])[0]


def test_points_that_were_timed_nowhere_else_show_nothing() -> None:
    assert elsewhere(scene(at("a", 0.5, None), made.unpruned())) == []


def test_a_pair_turns_round_only_where_both_orders_are_sure() -> None:
    (other,) = elsewhere(
        scene(at("a", 0.50, 0.60), at("b", 0.60, 0.50), at("c", 0.605, 0.40), at("d", 0.70, 0.595))
    )
    assert other.label == "another runtime"
    assert [row.placed.point.id for row in other.rows] == ["a", "b", "c", "d"]
    assert other.pairs == 5  # b and c cannot be told apart here
    assert {(f.first.point.id, f.second.point.id) for f in other.flips} == {("a", "b"), ("a", "c")}


def test_budgets_are_held_against_the_upper_end_there() -> None:
    (other,) = elsewhere(scene(at("a", 0.5, 0.69), at("b", 0.5, 0.695), at("c", 0.5, 0.5, budget="8ms")))
    assert {row.placed.point.id: row.met for row in other.rows} == {"a": True, "b": False, "c": None}


def test_what_does_not_hold_elsewhere_is_a_finding_and_stands_on_the_page() -> None:
    found = scene(at("a", 0.50, 0.72), at("b", 0.60, 0.50))
    (finding,) = [one for one in of_scene(found) if one.kind is Kind.ELSEWHERE]
    assert "another runtime: 1 of 1 pair turn round" in finding.hazard
    assert "1 of 2 points that met the budget here would miss it" in finding.hazard
    run = found.done[0].run
    page = render_page([(run, [placed.point for placed in found.done])])
    assert "The same networks in another runtime" in page
    calm = scene(at("a", 0.50, 0.52), at("b", 0.60, 0.61))
    assert not [one for one in of_scene(calm) if one.kind is Kind.ELSEWHERE]


def test_a_ratio_elsewhere_is_above_0() -> None:
    with pytest.raises(ValueError, match=r"elsewhere\.s2 must be above 0"):
        made.point(elsewhere={OTHER: Estimate(0.0, 0.0, 0.1)})
