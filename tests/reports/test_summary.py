from __future__ import annotations

import made_up_runs as made
import pytest

from latency_tables.estimate import Estimate
from reports.page import render_page
from reports.scenes import Scene, scenes
from reports.summary import budgets, controls, pooled, unpruned, volumes


def scene(*points) -> Scene:
    return scenes([(made.run(), points)])[0]


def seeded(method: str, accuracies: list[float], *, met: bool = True, **changes) -> list:
    return [
        made.point(
            id=f"{method}-{i}", method=method, seed=i, accuracy=made.estimate(a, 0.008), met=met, **changes
        )
        for i, a in enumerate(accuracies)
    ]


def test_pooling_keeps_every_seeds_interval() -> None:
    assert pooled([Estimate(1, 0, 2), Estimate(3, 2, 5)]) == Estimate(2, 0, 5)
    same = Estimate(0.1, 0.1, 0.1)
    assert pooled([same] * 3) == same


def test_the_best_method_is_the_one_with_the_highest_mean_among_points_that_met() -> None:
    points = [
        *seeded("ttmpd", [0.80, 0.82]),
        *seeded("practise", [0.90], met=False),
        *seeded("random", [0.70, 0.71]),
        made.failed(),
    ]
    (outcome,) = budgets(scene(*points))
    assert outcome.best is not None
    assert (outcome.best.method, outcome.best.quality.value) == ("ttmpd", pytest.approx(0.81))
    assert (outcome.best.quality.low, outcome.best.quality.high) == pytest.approx((0.792, 0.828))
    assert (outcome.met, outcome.judged, outcome.failed, outcome.close) == (4, 5, 1, ())
    assert outcome.best.typical.point.seed == 0, "of two the worse"


def test_a_method_that_missed_once_says_so() -> None:
    points = [*seeded("ttmpd", [0.80]), made.point(id="late", seed=1, met=False)]
    (outcome,) = budgets(scene(*points))
    assert outcome.best is not None
    assert (outcome.best.met, outcome.best.judged, len(outcome.best.points)) == (1, 2, 1)


def test_overlapping_intervals_are_too_close_to_call() -> None:
    (outcome,) = budgets(scene(*seeded("ttmpd", [0.80]), *seeded("last", [0.785]), *seeded("random", [0.70])))
    assert [result.method for result in outcome.close] == ["last"]


def test_nobody_met_and_nobody_judged() -> None:
    (missed,) = budgets(scene(*seeded("ttmpd", [0.8], met=False)))
    assert (missed.best, missed.met, missed.judged) == (None, 0, 1)
    (failed,) = budgets(scene(made.failed()))
    assert (failed.best, failed.judged, failed.failed) == (None, 0, 1)
    (unjudged,) = budgets(scene(made.point(met=None), made.point(id="b", seed=1)))
    assert (unjudged.met, unjudged.judged) == (1, 1)
    assert budgets(scene(made.unpruned())) == []


def test_budgets_go_from_loose_to_tight_by_seconds() -> None:
    points = [
        made.point(id="a", budget="0.7x", budget_s=5.6e-3),
        made.point(id="b", budget="8ms", budget_s=8e-3),
        made.point(id="c", budget="10ms", budget_s=10e-3),
    ]
    assert [outcome.budget for outcome in budgets(scene(*points))] == ["10ms", "8ms", "0.7x"]


def test_without_labels_the_agreement_ranks() -> None:
    high = made.point(id="a", method="last", accuracy=None, agreement=made.estimate(0.9, 0.01))
    low = made.point(id="b", accuracy=None, agreement=made.estimate(0.8, 0.01))
    (outcome,) = budgets(scene(low, high))
    assert outcome.best is not None
    assert outcome.best.method == "last"


def test_the_unpruned_network_and_the_controls_are_pooled() -> None:
    again = made.unpruned(id="again", accuracy=made.estimate(0.863, 0.007))
    group = scene(
        made.unpruned(),
        again,
        made.point(),
        made.point(id="b", controls={"other": made.estimate(0.5, 0.1)}),
        made.point(id="c", budget="0.5x", controls={"other": made.estimate(0.3, 0.1)}),
        made.point(id="d", budget="0.5x", method="kd", controls={"other": made.estimate(0.4, 0.1)}),
    )
    spot = unpruned(group)
    assert spot is not None
    assert spot.quality.value == pytest.approx(0.862)
    assert [(name, count) for name, _, count in controls(group)] == [
        ("unpruned, statistics re-estimated", 1),
        ("other (ttmpd, 0.7x)", 1),
        ("other (ttmpd, 0.5x)", 1),
        ("other (kd, 0.5x)", 1),
    ]
    assert unpruned(scene(made.point())) is None


def test_volume_is_a_share_and_more_seeds_do_not_raise_it() -> None:
    one = volumes(scene(made.unpruned(), *seeded("ttmpd", [0.8])))
    three = volumes(scene(made.unpruned(), *seeded("ttmpd", [0.8, 0.7, 0.9])))
    assert one[0].share.value == pytest.approx(0.8 * (1 - 5.6 / 8.1))
    assert three[0].share.value == pytest.approx(one[0].share.value)
    assert (one[0].seeds, three[0].seeds) == (1, 3)
    assert volumes(scene(made.point(unpruned_s=None))) == []
    assert volumes(scene(made.point()))[0].share.value == pytest.approx(one[0].share.value * 0.812 / 0.8)


def test_unbounded_intervals_leave_the_volume_finite() -> None:
    wild = made.point(
        accuracy=Estimate(0.8, float("-inf"), float("inf")), measured_s=Estimate(5e-3, 0.0, float("inf"))
    )
    share = volumes(scene(made.unpruned(), wild))[0].share
    assert (share.low, share.high) == (0.0, pytest.approx(1.0))


def test_a_sparsity_asks_nothing_of_the_latency() -> None:
    masked = made.point(
        id="m", method="epsd", budget="90%", sparsity=0.9, met=None, budget_s=None, removed=()
    )
    lost = made.failed(id="f", method="epsd", budget="98%")
    found = scene(made.point(), masked, lost)
    assert [outcome.budget for outcome in budgets(found)] == ["0.7x"]
    page = render_page([(made.run(), [made.point(), masked, lost])])
    assert "epsd · 90% · seed 0" in page
