"""What a report says of results that stand beside no control."""

from __future__ import annotations

import made_up_runs as made

from reports.finding import Finding, Kind, Level
from reports.findings import of_scene
from reports.results import Point
from reports.scenes import scenes

SHUFFLED, ANEW = "same mask shuffled within each layer", "same mask, first weights drawn anew"


def found(*points: Point) -> list[Finding]:
    (scene,) = scenes([(made.run(), points)])
    return [one for one in of_scene(scene) if one.kind is Kind.CONTROL]


def early(seed: int = 0, budget: str = "90%", **changes: object) -> Point:
    fields = {"method": "epsd", "removed": (), "sparsity": 0.9, "met": None, "budget_s": None, "controls": {}}
    return made.point(**{"id": f"epsd-{seed}", "seed": seed, "budget": budget, **fields, **changes})


def test_controls_that_were_left_out_are_missed_in_words() -> None:
    (finding,) = found(early(0), early(1), made.point(controls={}))
    assert finding.level is Level.HAZARD
    assert finding.hazard == "epsd at 90% and ttmpd at 0.7x stand beside no control: none was made."
    assert finding.meaning == "Nothing says what explains the results; chance may do as well."
    assert "without --no-controls" in finding.remedy


def test_controls_that_could_not_be_made_are_named_with_the_reason_they_share() -> None:
    (finding,) = found(early(uncontrolled=dict.fromkeys((SHUFFLED, ANEW), "there are no labels")))
    assert finding.hazard == (
        "epsd at 90% stands beside no control: 2 controls could not be made, since there are no labels."
    )
    assert f"Nothing is known of “{SHUFFLED}” and “{ANEW}”, so nothing says what explains the result" in (
        finding.meaning
    )
    (finding,) = found(early(uncontrolled={SHUFFLED: "no memory", ANEW: "diverged"}))
    assert "2 controls could not be made." in finding.hazard


def test_what_has_a_control_with_one_seed_is_not_alone() -> None:
    beside = early(1, controls={SHUFFLED: made.estimate(0.7, 0.01)})
    assert all("no control" not in finding.hazard for finding in found(early(0), beside))


def test_blocks_at_random_and_the_unpruned_network_need_none() -> None:
    assert found(made.unpruned(), made.point(method="random", controls={})) == []
