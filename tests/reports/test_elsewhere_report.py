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
    settings = {**run.settings, OTHER: {**run.settings[OTHER], "label": "another runtime"}}
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
    words = " ".join(page.split())
    assert (
        "Of 1 pairs whose latency intervals do not overlap here, 1 are in the other order there, without overlap: a"
        in words
    )
    calm = scene(at("a", 0.50, 0.52), at("b", 0.60, 0.61))
    assert not [one for one in of_scene(calm) if one.kind is Kind.ELSEWHERE]


def test_a_point_falls_off_the_front_only_where_both_are_sure() -> None:
    sharp = Estimate(0.9, 0.9, 0.9)
    better, worse = Estimate(0.95, 0.95, 0.95), Estimate(0.8, 0.8, 0.8)
    (other,) = elsewhere(
        scene(
            at("a", 0.50, 0.70, accuracy=sharp),  # fastest here; slower and less accurate than b there
            at("b", 0.60, 0.60, accuracy=better),
            at("c", 0.40, 0.595, accuracy=worse),  # perhaps faster than b there
            at("d", 0.70, 0.65, accuracy=worse),  # behind b here already
        )
    )
    assert [placed.point.id for placed in other.fallen] == ["a"]


def test_fronts_are_compared_over_the_same_recipes() -> None:
    def point(name: str, ratio: float, setting: str, there: dict[str, float], accuracy: float) -> Point:
        sure = Estimate(accuracy, accuracy, accuracy)
        return made.point(
            id=f"{setting}-{name}",
            method=name,
            setting=setting,
            ratio=Estimate(ratio, ratio, ratio),
            elsewhere={key: Estimate(value, value, value) for key, value in there.items()},
            accuracy=sure,
        )

    run = made.run()
    here = next(iter(run.settings))
    settings = {here: run.settings[here], OTHER: {**run.settings[here], "label": "another runtime"}}
    points = [
        point("a", 0.5, here, {OTHER: 0.8}, 0.9),
        point("b", 0.4, here, {OTHER: 0.7}, 0.5),
        point("alone", 0.1, here, {OTHER: 0.1}, 1.0),
        point("a", 0.6, OTHER, {here: 0.6}, 0.8),
        point("b", 0.5, OTHER, {here: 0.9}, 0.6),
    ]
    found = scenes([(replace(run, settings=settings), points)])
    assert [one.setting for one in found] == [here, OTHER]
    (abroad,) = elsewhere(found[0], found)
    assert abroad.fronts is not None
    assert abroad.fronts.points == 2
    assert abroad.fronts.here.value == pytest.approx(0.5 * 0.9 + 0.1 * 0.5)
    assert abroad.fronts.there.value == pytest.approx(0.2 * 0.9 + 0.1 * 0.5)
    assert abroad.fronts.native.value == pytest.approx(0.4 * 0.8 + 0.1 * 0.6)
    assert elsewhere(found[0])[0].fronts is None
    page = render_page([(found[0].done[0].run, points)])
    assert "that of the networks chosen for" in page


def test_in_other_precisions_accuracies_of_two_runtimes_do_not_meet() -> None:
    sharp, better = Estimate(0.9, 0.9, 0.9), Estimate(0.95, 0.95, 0.95)
    found = scene(at("a", 0.50, 0.70, accuracy=sharp), at("b", 0.60, 0.60, accuracy=better))
    assert elsewhere(found)[0].fallen
    found.description["precision"] = "fp16"
    assert not elsewhere(found)[0].fallen


def test_an_accuracy_in_fp32_says_nothing_of_a_setting_in_int8() -> None:
    sharp, better = Estimate(0.9, 0.9, 0.9), Estimate(0.95, 0.95, 0.95)
    run = made.run()
    integers = {**run.settings[OTHER], "label": "the same runtime, int8", "precision": "int8"}
    both = replace(run, settings={**run.settings, OTHER: integers})
    points = [at("a", 0.50, 0.70, accuracy=sharp), at("b", 0.60, 0.60, accuracy=better)]
    there = at("a", 0.55, None, setting=OTHER, accuracy=better)
    found = scenes([(both, [*points, replace(there, id="int8-a")])])
    (other,) = elsewhere(found[0], found)
    assert other.label == "the same runtime, int8"
    assert (other.fallen, other.fronts) == ((), None)
    assert [row.met for row in other.rows] == [False, True]


def test_a_ratio_elsewhere_is_above_0() -> None:
    with pytest.raises(ValueError, match=r"elsewhere\.s2 must be above 0"):
        made.point(elsewhere={OTHER: Estimate(0.0, 0.0, 0.1)})
