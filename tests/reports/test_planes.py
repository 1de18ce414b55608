from __future__ import annotations

import math

import made_up_runs as made
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.estimate import Estimate
from reports.axes import cost_axes, inverse, quality_axes, speed_up
from reports.charts import pareto_chart
from reports.pareto import Standing
from reports.planes import planes
from reports.scenes import Scene, scenes


def scene(*points, **changes) -> Scene:
    return scenes([(made.run(closure=(), **changes), points)])[0]


def axis(found: Scene, name: str):
    return next(axis for axis in (*quality_axes(found), *cost_axes(found)) if axis.name == name)


@given(st.lists(st.floats(1e-6, 1e6), min_size=3, max_size=3).map(sorted), st.booleans())
def test_the_inverse_of_an_interval_holds_the_inverse_of_what_it_holds(values, unbounded) -> None:
    low, value, high = values
    given_ = Estimate(value, low, math.inf if unbounded else high)
    found = inverse(given_)
    assert found.low <= 1 / high <= found.high
    assert found.low <= 1 / low <= found.high
    again = inverse(found)
    assert (again.value, again.low, again.high) == pytest.approx((given_.value, given_.low, given_.high))


def test_an_interval_down_to_nothing_has_an_unbounded_inverse() -> None:
    assert inverse(Estimate(2.0, 0.0, 4.0)) == Estimate(0.5, 0.25, math.inf)
    assert inverse(Estimate(2.0, -math.inf, 4.0)).high == math.inf


def test_speed_up_comes_from_the_paired_ratio_alone() -> None:
    found = speed_up(made.point())
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((8.1 / 5.6, 8.1 / 5.64, 8.1 / 5.56))
    assert speed_up(made.point(ratio=None)) is None, "two latencies of one pass are no paired ratio"
    assert speed_up(made.unpruned()) == Estimate(1.0, 1.0, 1.0)
    assert speed_up(made.unpruned(ratio=made.estimate(1.0, 0.002))) == inverse(made.estimate(1.0, 0.002))


def test_a_point_of_a_slow_minute_is_no_slower_for_it() -> None:
    """All of a pass takes half as long again; the ratio of that pass says what the network costs."""
    quick = made.point(accuracy=made.estimate(0.80, 0.001))
    slow = made.point(
        id="b",
        seed=1,
        accuracy=made.estimate(0.80, 0.001),
        measured_s=made.estimate(1.5 * 5.6e-3, 4e-5),
        unpruned_s=made.estimate(1.5 * 8.1e-3, 5e-5),
    )
    group = scene(made.unpruned(), quick, slow)
    assert group.unpruned_s == pytest.approx(8.1e-3)
    first, second = (group.latency_of(placed) for placed in group.points[1:])
    assert first is not None and second is not None
    assert first.value == pytest.approx(second.value) == pytest.approx(5.6e-3)
    standings = planes(group).planes["accuracy", "latency"].standings
    assert standings[1] is standings[2] is Standing.UNCLEAR
    bare = scene(made.point(ratio=None, measured_s=made.estimate(7e-3, 1e-5)))
    assert bare.latency_of(bare.points[0]) == made.estimate(7e-3, 1e-5)


def test_a_budget_stands_where_the_picture_has_it() -> None:
    """Points are placed by their ratio, so a budget as a share must be too, whatever minute they are from."""
    slow = {"unpruned_s": made.estimate(1.1 * 8.1e-3, 5e-5), "budget_s": 0.7 * 1.1 * 8.1e-3}
    group = scene(
        made.unpruned(), made.unpruned(id="u2"), made.point(ratio=made.estimate(0.75, 0.004), **slow)
    )
    lines = planes(group).budgets
    assert lines["latency"]["0.7x"] == pytest.approx(0.7 * 8.1e-3) == pareto_chart(group).budgets["0.7x"]
    assert lines["rate"]["0.7x"] == pytest.approx(1 / (0.7 * 8.1e-3))
    assert lines["speedup"]["0.7x"] == pytest.approx(1 / 0.7)
    point = group.latency_of(group.points[2])
    assert point is not None and point.value > lines["latency"]["0.7x"], "it missed, and looks so"


def test_images_per_second_need_a_batch() -> None:
    settings = {"s1": {"label": "batch of eight", "batch": 8}}
    found = axis(scene(made.point(), settings=settings), "rate").values[0]
    assert (found.value, found.low, found.high) == pytest.approx((8 / 5.6e-3, 8 / 5.64e-3, 8 / 5.56e-3))
    unknown = scene(made.point(), settings={"s1": {"label": "no batch"}})
    assert [axis.name for axis in cost_axes(unknown)] == ["latency", "speedup"]
    assert planes(unknown).budgets.keys() == {"latency", "speedup"}


def test_only_what_is_known_can_be_chosen() -> None:
    assert [a.name for a in quality_axes(scene(made.point(accuracy=None, kl=None)))] == ["agreement"]
    nothing = planes(scene(made.failed()))
    assert (nothing.points, nothing.planes) == ((), {})


def test_every_plane_orders_by_its_own_directions() -> None:
    """Fewer nats, more speed and more images are better; what is best in one plane may be dominated in another."""
    a = made.point(kl=made.estimate(0.1, 0.01), ratio=made.estimate(0.8, 0.004))
    b = made.point(
        id="b",
        method="last",
        kl=made.estimate(0.9, 0.01),
        ratio=made.estimate(0.5, 0.004),
        accuracy=made.estimate(0.9, 0.001),
    )
    found = planes(scene(a, b)).planes
    assert found["accuracy", "speedup"].standings == {0: Standing.DOMINATED, 1: Standing.FRONT}
    assert found["kl", "speedup"].standings == {0: Standing.FRONT, 1: Standing.FRONT}
    # A latency is the ratio times that of the unpruned network, so that it orders as the speed-up does.
    assert found["kl", "latency"].standings == {0: Standing.FRONT, 1: Standing.FRONT}
    assert found["accuracy", "latency"].standings == {0: Standing.DOMINATED, 1: Standing.FRONT}


def test_other_seeds_are_no_neighbours_but_other_methods_are() -> None:
    seeds = [made.point(), made.point(id="b", seed=1)]
    assert planes(scene(*seeds)).planes["accuracy", "latency"].unordered == frozenset()
    other = made.point(id="c", method="last")
    assert planes(scene(*seeds, other)).planes["accuracy", "latency"].unordered == {0, 1, 2}
    assert [mark.unordered for mark in pareto_chart(scene(*seeds, other)).marks] == [True] * 3


def test_lines_go_from_the_cheapest_front_corner_up() -> None:
    points = [
        made.point(
            id=f"p{i}", budget=f"{r}x", ratio=made.estimate(r, 0.001), accuracy=made.estimate(q, 0.001)
        )
        for i, (r, q) in enumerate([(0.5, 0.6), (0.6, 0.5), (0.8, 0.8)])
    ]
    line = planes(scene(*points)).planes["accuracy", "speedup"].lines["ttmpd"]
    assert line == (pytest.approx((2.0, 0.6)), pytest.approx((1.25, 0.8)))
    assert planes(scene(*points)).planes["accuracy", "speedup"].corners["ttmpd"] == ("0.5x", "0.8x")


def test_one_method_in_two_runs_is_two_series() -> None:
    group = scenes(
        [(made.run(closure=()), [made.point()]), (made.run(name="b", closure=()), [made.point()])]
    )[0]
    found = planes(group)
    assert set(found.planes["accuracy", "latency"].lines) == {"ttmpd · A", "ttmpd · B"}
    assert found.planes["accuracy", "latency"].unordered == {0, 1}
