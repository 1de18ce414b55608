from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.estimate import Estimate
from reports.pareto import Spot, Standing, front, hypervolume, steps, unordered


def exact(value: float) -> Estimate:
    return Estimate(value, value, value)


def spot(quality: tuple[float, float, float], latency: tuple[float, float, float]) -> Spot:
    return Spot(Estimate(*quality), Estimate(*latency))


# Few distinct numbers, so that ties and touching intervals are common.
grid = st.integers(0, 6).map(float)


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    low, value, high = sorted(draw(st.tuples(grid, grid, grid)))
    return Estimate(
        value, draw(st.sampled_from([low, low, -math.inf])), draw(st.sampled_from([high, high, math.inf]))
    )


uncertain = st.builds(Spot, estimates(), estimates())
certain = st.builds(Spot, grid.map(exact), grid.map(exact))


def dominates(a: Spot, b: Spot) -> bool:
    """By values, written apart from the code under test."""
    better = (a.quality.value - b.quality.value, b.latency_s.value - a.latency_s.value)
    return min(better) >= 0 and max(better) > 0


def surely(a: Spot, b: Spot) -> bool:
    worst = Spot(exact(a.quality.low), exact(a.latency_s.high)) if _bounded(a, worst=True) else None
    best = Spot(exact(b.quality.high), exact(b.latency_s.low)) if _bounded(b, worst=False) else None
    return worst is not None and best is not None and dominates(worst, best)


def _bounded(a: Spot, *, worst: bool) -> bool:
    ends = (a.quality.low, a.latency_s.high) if worst else (a.quality.high, a.latency_s.low)
    return all(math.isfinite(end) for end in ends)


@given(st.lists(certain, max_size=8))
def test_without_uncertainty_it_is_the_usual_front(spots) -> None:
    expected = [
        Standing.DOMINATED if any(dominates(other, one) for other in spots) else Standing.FRONT
        for one in spots
    ]
    assert front(spots) == expected


@given(st.lists(uncertain, max_size=8))
def test_dominated_means_that_some_other_point_is_surely_better(spots) -> None:
    for i, standing in enumerate(front(spots)):
        others = [other for j, other in enumerate(spots) if j != i]
        assert (standing is Standing.DOMINATED) == any(surely(other, spots[i]) for other in others)


@given(st.lists(uncertain, max_size=8), st.data())
def test_whatever_the_truth_is_the_front_stays_and_the_dominated_go(spots, data) -> None:
    def truth(estimate: Estimate) -> Estimate:
        low, high = max(estimate.low, -9.0), min(estimate.high, 9.0)
        return exact(data.draw(st.sampled_from([low, estimate.value, high])))

    worlds = [Spot(truth(one.quality), truth(one.latency_s)) for one in spots]
    for standing, here in zip(front(spots), worlds, strict=True):
        if standing is Standing.FRONT:
            assert not any(dominates(other, here) for other in worlds)
        if standing is Standing.DOMINATED:
            assert any(dominates(other, here) for other in worlds)


@given(st.lists(uncertain, max_size=7), st.randoms(use_true_random=False))
def test_order_does_not_matter(spots, random) -> None:
    order = list(range(len(spots)))
    random.shuffle(order)
    before = front(spots)
    assert front([spots[i] for i in order]) == [before[i] for i in order]


@given(st.lists(uncertain, max_size=7), uncertain)
def test_adding_a_dominated_point_changes_nothing(spots, new) -> None:
    after = front([*spots, new])
    if after[-1] is Standing.DOMINATED:
        assert after[:-1] == front(spots)


def test_overlap_is_unclear_and_a_gap_is_not() -> None:
    better = spot((0.80, 0.79, 0.81), (1.0, 0.9, 1.1))
    overlapping = spot((0.79, 0.78, 0.80), (1.2, 1.15, 1.25))
    behind = spot((0.70, 0.69, 0.71), (1.2, 1.15, 1.25))
    faster = spot((0.60, 0.59, 0.61), (0.5, 0.45, 0.55))
    assert front([better, overlapping, behind, faster]) == [
        Standing.FRONT,
        Standing.UNCLEAR,
        Standing.DOMINATED,
        Standing.FRONT,
    ]


def could_dominate(a: Spot, b: Spot) -> bool:
    margins = (a.quality.high - b.quality.low, b.latency_s.high - a.latency_s.low)
    return min(margins) >= 0 and max(margins) > 0


@given(st.lists(uncertain, max_size=8), st.data())
def test_unordered_means_that_noise_could_turn_the_order_round(spots, data) -> None:
    standings = front(spots)
    things = data.draw(st.lists(st.integers(0, 3), min_size=len(spots), max_size=len(spots)))
    for repeats_of in (None, things):
        expected = [
            any(
                could_dominate(one, other) and could_dominate(other, one)
                for j, other in enumerate(spots)
                if i != j
                and Standing.DOMINATED not in (standings[i], standings[j])
                and (repeats_of is None or repeats_of[i] != repeats_of[j])
            )
            for i, one in enumerate(spots)
        ]
        assert unordered(spots, standings, repeats_of) == expected


@given(st.lists(uncertain, max_size=8))
def test_what_cannot_be_ordered_is_unclear(spots) -> None:
    standings = front(spots)
    for standing, marked in zip(standings, unordered(spots, standings), strict=True):
        assert not marked or standing is Standing.UNCLEAR


@given(st.lists(certain, max_size=8))
def test_without_uncertainty_all_can_be_ordered(spots) -> None:
    assert not any(unordered(spots, front(spots)))


def test_overlap_on_both_axes_cannot_be_ordered_and_on_one_it_can() -> None:
    one = spot((0.80, 0.79, 0.81), (1.0, 0.9, 1.1))
    beside = spot((0.805, 0.795, 0.815), (1.05, 0.95, 1.15))
    faster = spot((0.795, 0.785, 0.805), (0.8, 0.75, 0.85))
    standings = front([one, beside, faster])
    assert standings[:2] == [Standing.UNCLEAR, Standing.UNCLEAR]
    assert unordered([one, beside, faster], standings) == [True, True, False]
    assert unordered([one, beside, faster], standings, ["a", "a", "b"]) == [False, False, False]


def test_ten_thousand_points_take_no_long_while() -> None:
    values = [(i % 101, (i * 37) % 97) for i in range(10_000)]
    spots = [spot((q, q - 9, q + 9), (s, s - 9, s + 9)) for q, s in values]
    started = time.perf_counter()
    unordered(spots, front(spots))
    assert time.perf_counter() - started < 10


def test_none_one_and_equal_points() -> None:
    assert front([]) == []
    assert front([spot((1, 0, 2), (1, 0, 2))]) == [Standing.FRONT]
    assert front([Spot(exact(1.0), exact(1.0))] * 2) == [Standing.FRONT] * 2


@given(st.lists(certain, max_size=8))
def test_steps_rise_and_pass_all_values(spots) -> None:
    line = [spots[i] for i in steps(spots)]
    expected = {
        (one.latency_s.value, one.quality.value)
        for one in spots
        if not any(dominates(other, one) for other in spots)
    }
    corners = [(one.latency_s.value, one.quality.value) for one in line]
    assert set(corners) == expected
    assert corners == sorted(expected)


def area_by_cells(spots: list[Spot], quality: float, latency: float) -> int:
    """Unit cells of the grid that some spot dominates."""
    return sum(
        any(one.quality.value >= q + 1 and one.latency_s.value <= s for one in spots)
        for q in range(int(quality), 6)
        for s in range(int(latency))
    )


@given(st.lists(certain, min_size=1, max_size=8), st.integers(0, 6), st.integers(0, 6))
def test_hypervolume_counts_the_dominated_cells(spots, quality, latency) -> None:
    area = hypervolume(spots, quality=float(quality), latency_s=float(latency))
    expected = area_by_cells(spots, quality, latency)
    assert (area.low, area.value, area.high) == pytest.approx((expected,) * 3)


@given(st.lists(certain, min_size=1, max_size=6), certain)
def test_a_dominated_point_adds_no_area(spots, new) -> None:
    if any(dominates(one, new) for one in spots):
        assert hypervolume([*spots, new], quality=0, latency_s=9) == hypervolume(
            spots, quality=0, latency_s=9
        )


def test_hypervolume_by_hand() -> None:
    spots = [spot((0.8, 0.7, 0.9), (2.0, 1.5, 3.0)), spot((0.5, 0.5, 0.5), (1.0, 1.0, 1.0))]
    area = hypervolume(spots, quality=0.0, latency_s=4.0)
    assert area.value == pytest.approx(0.8 * 2 + 0.5 * 1)
    assert area.low == pytest.approx(0.7 * 1 + 0.5 * 2)
    assert area.high == pytest.approx(0.9 * 2.5 + 0.5 * 0.5)
    assert hypervolume([], quality=0.0, latency_s=1.0) is None
