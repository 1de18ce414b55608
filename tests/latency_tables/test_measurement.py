from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from latency_tables.estimate import Estimate
from latency_tables.measurement import Measurement, Stop, _edge_rank, median_interval


@given(st.integers(1, 3000), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_the_rank_is_the_largest_that_covers(n: int, confidence: float) -> None:
    k = _edge_rank(n, confidence)
    alpha = 1.0 - confidence
    assert k == -1 or 2 * stats.binom.cdf(k, n, 0.5) <= alpha * (1 + 1e-9)
    assert 2 * stats.binom.cdf(k + 1, n, 0.5) > alpha * (1 - 1e-9)


@pytest.mark.parametrize("shape", ["exponential", "lognormal", "normal", "uniform"])
@pytest.mark.parametrize("n", [6, 11, 30])
def test_the_interval_covers_the_true_median_as_often_as_promised(shape: str, n: int) -> None:
    rng = np.random.default_rng(7)
    truth = {"exponential": np.log(2), "lognormal": 1.0, "normal": 0.0, "uniform": 0.5}[shape]
    draws = getattr(
        rng, {"exponential": "standard_exponential", "normal": "standard_normal"}.get(shape, shape)
    )
    covered = 0
    for _ in range(2000):
        interval = median_interval(draws(size=n))
        covered += interval.low <= truth <= interval.high
    assert covered / 2000 >= 0.94


def test_few_samples_bound_nothing() -> None:
    assert median_interval([1.0, 2.0, 3.0]) == Estimate(2.0, -np.inf, np.inf)
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == Estimate(3.5, 1.0, 6.0)


@pytest.mark.parametrize("samples", [[], [1.0, float("nan")], [float("inf")]])
def test_samples_must_be_there_and_finite(samples: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        median_interval(samples)


@pytest.mark.parametrize("samples", [(), (1.0, 0.0), (-1.0,)])
def test_a_latency_is_never_zero(samples: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="positive"):
        Measurement(samples, 0, Stop.TIME, "")


def test_an_estimate_keeps_its_order() -> None:
    with pytest.raises(ValueError, match="must hold"):
        Estimate(1.0, 2.0, 3.0)
    assert Estimate.from_json(Estimate(1.0, -np.inf, 2.0).to_json()) == Estimate(1.0, -np.inf, 2.0)
