"""The arithmetic behind the pages of results."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paired import paired
from rank_statistics import Ranking, interval, resampled, tau
from scipy.stats import kendalltau

values = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=12)


def ranking(pairs: list[tuple[int, int]]) -> Ranking:
    signal, truth = np.array(pairs, dtype=np.float64).T
    return Ranking(signal, truth)


@given(values)
def test_tau_is_scipys_and_none_where_a_side_is_constant(pairs: list[tuple[int, int]]) -> None:
    given_ = ranking(pairs)
    expected = kendalltau(given_.signal, given_.truth).statistic
    assert tau(given_) == pytest.approx(0.0 if np.isnan(expected) else expected)


@given(values, st.integers(0, 1000))
def test_tau_of_drawn_items_is_that_of_the_items(pairs: list[tuple[int, int]], seed: int) -> None:
    index = np.random.default_rng(seed).integers(0, len(pairs), len(pairs))
    assert tau(ranking(pairs), index) == pytest.approx(tau(ranking([pairs[place] for place in index])))


def test_a_network_that_diverged_is_worse_than_all() -> None:
    assert tau(Ranking(np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.6, np.inf]))) == pytest.approx(1.0)


def test_resampling_draws_alike_for_all_signals_and_keeps_cells_apart() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=20)
    good, bad = Ranking(truth + 0.1 * rng.normal(size=20), truth), Ranking(rng.normal(size=20), truth)
    draws = resampled([[good, good], [good, good], [bad, bad]])
    assert np.array_equal(draws[0], draws[1])
    assert draws[0, 0] == pytest.approx(tau(good)) and draws[2, 0] == pytest.approx(tau(bad))
    value, low, high = interval(draws[0])
    assert low < value < high and high - low < 0.5
    assert interval(draws[0] - draws[2])[1] > 0  # surely better


def test_cells_share_their_removals_so_that_repeating_one_narrows_nothing() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=12)
    cell = Ranking(truth + rng.normal(size=12), truth)
    once, often = resampled([[cell]])[0], resampled([[cell] * 6])[0]
    assert often == pytest.approx(once)
    assert interval(often) == pytest.approx(interval(once))


def test_cells_of_another_count_have_draws_of_their_own() -> None:
    rng = np.random.default_rng(0)
    few, many = (Ranking(rng.normal(size=size), rng.normal(size=size)) for size in (5, 30))
    one, two, three = (resampled([cells])[0] for cells in ([few], [few, many], [few, many, few]))
    assert two[0] == pytest.approx((tau(few) + tau(many)) / 2)
    assert three == pytest.approx((2 * one + (2 * two - one)) / 3)


def test_paired_differences_count_each_cell_once() -> None:
    first, second = np.array([0.5, 0.7, 0.6, 0.8]), np.array([0.4, 0.6, 0.6, 0.8])
    value, low, high = paired(first, second, 2)  # one cell is 0.1 ahead, the other not at all
    # Student's quantile with one degree of freedom is the tangent of 0.475 pi; the standard error is 0.05.
    reach = 0.05 * np.tan(0.475 * np.pi)
    assert (value, low, high) == pytest.approx((0.05, 0.05 - reach, 0.05 + reach))
    assert paired(first, second, 1) == pytest.approx((0.05, -np.inf, np.inf))
