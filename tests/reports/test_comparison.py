from __future__ import annotations

import made_up_runs as made
import pytest

from reports.comparison import comparisons
from reports.difference import Change
from reports.scenes import scenes


def compared(*runs):
    named = [(made.run(name=f"run {i}", closure=()), points) for i, points in enumerate(runs)]
    return comparisons(scenes(named)[0])


def test_one_run_has_nothing_beside_it() -> None:
    assert compared([made.point()]) == []
    assert compared([made.point()], [made.failed()]) == []


def test_equal_method_budget_and_seed_are_held_against_each_other() -> None:
    before = [
        made.point(),
        made.point(id="b", seed=1),
        made.point(id="c", method="last"),
        made.failed(id="f"),
    ]
    after = [
        made.point(accuracy=made.estimate(0.84, 0.008), ratio=made.estimate(0.72, 0.004)),
        made.point(id="b", seed=1, accuracy=made.estimate(0.815, 0.008), ratio=made.estimate(0.66, 0.004)),
        made.point(id="d", budget="0.5x"),
    ]
    (comparison,) = compared(before, after)
    assert (comparison.first, comparison.second) == ("A", "B")
    assert (comparison.only_first, comparison.only_second) == (1, 1)
    one, two = comparison.rows
    assert (one.faster, one.more_accurate) == (Change.WORSE, Change.BETTER)
    assert (two.faster, two.more_accurate) == (Change.BETTER, Change.CANNOT_TELL)
    assert one.latency.value == pytest.approx(0.72 / (5.6 / 8.1))
    assert one.quality is not None
    assert (one.quality.value, one.quality.high) == pytest.approx((0.028, 0.028 + 0.008 * 2**0.5))


def test_a_slower_day_changes_nothing() -> None:
    """Twice as slow, the unpruned network beside it too: the ratio of the same pass decides."""
    slow = made.point(measured_s=made.estimate(11.2e-3, 8e-5), unpruned_s=made.estimate(16.2e-3, 1e-4))
    ((row,),) = [comparison.rows for comparison in compared([made.point()], [slow])]
    assert row.latency.value == pytest.approx(1.0)
    assert row.faster is Change.CANNOT_TELL


def test_without_ratios_the_latencies_decide_and_so_for_the_unpruned_network() -> None:
    slow = made.estimate(11.2e-3, 8e-5)
    ((row,),) = [
        c.rows for c in compared([made.point(ratio=None)], [made.point(ratio=None, measured_s=slow)])
    ]
    assert (row.latency.value, row.faster) == (pytest.approx(2.0), Change.WORSE)
    one = made.estimate(1.0, 0.001)
    ((row,),) = [
        c.rows for c in compared([made.unpruned(ratio=one)], [made.unpruned(ratio=one, measured_s=slow)])
    ]
    assert row.latency.value == pytest.approx(11.2 / 8.1)


def test_an_unknown_quality_is_not_compared() -> None:
    ((row,),) = [
        c.rows for c in compared([made.point()], [made.point(accuracy=None), made.point(id="b", seed=1)])
    ]
    assert (row.quality, row.more_accurate) == (None, None)


def test_each_later_run_is_held_against_the_first() -> None:
    found = compared([made.point()], [made.point()], [made.point(id="x", seed=5)])
    assert [(c.first, c.second, len(c.rows)) for c in found] == [("A", "B", 1), ("A", "C", 0)]
