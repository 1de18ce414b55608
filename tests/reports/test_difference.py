from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from latency_tables.estimate import Estimate
from reports.difference import Change, apart, change, over, paired


@st.composite
def estimates(draw: st.DrawFn, least: float = -10) -> Estimate:
    low, value, high = sorted(draw(st.tuples(*[st.floats(least, 10)] * 3)))
    return Estimate(
        value, draw(st.sampled_from([low, low, -math.inf])), draw(st.sampled_from([high, math.inf]))
    )


@given(estimates(), estimates())
def test_a_difference_is_wider_than_either_and_no_wider_than_both(one, other) -> None:
    found = apart(one, other)
    widths = [e.high - e.low for e in (one, other)]
    assert found.value == one.value - other.value
    if math.isfinite(sum(widths)):
        assert max(widths) / 2 - 1e-9 <= found.high - found.low <= sum(widths) + 1e-9
    back = apart(other, one)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))


def test_a_difference_covers_the_truth_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        seen = rng.normal([3.0, 2.0], [0.3, 0.7])
        found = apart(
            *(Estimate(v, v - 1.96 * s, v + 1.96 * s) for v, s in zip(seen, (0.3, 0.7), strict=True))
        )
        hits += found.low <= 1.0 <= found.high
    assert 0.93 < hits / 2000 < 0.97


@given(estimates(least=0.01), estimates(least=0.01))
@example(Estimate(5.0, 1.0, 5.0), Estimate(1.0, 1.0, 1.0))  # the logarithm's way back misses 5 by a rounding
def test_a_ratio_and_its_inverse_say_the_same(one, other) -> None:
    found, back = over(one, other), over(other, one)
    assert found.value == pytest.approx(1 / back.value)
    assert found.low == pytest.approx(1 / back.high if back.high < math.inf else 0.0)
    assert found.low <= found.value <= found.high


def test_a_ratio_by_hand() -> None:
    found = over(Estimate(2.0, 2.0, 2.0), Estimate(1.0, 0.9, 1.25))
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2 / 1.25, 2 / 0.9))


# Student's factors from printed tables, for 1, 2, 4 and 30 degrees of freedom.
@pytest.mark.parametrize(("count", "factor"), [(2, 12.706), (3, 4.303), (5, 2.776), (31, 2.042)])
def test_seeds_are_paired_with_students_interval(count: int, factor: float) -> None:
    differences = [0.01 * i for i in range(count)]
    found = paired(differences)
    half = factor * float(np.std(differences, ddof=1)) / math.sqrt(count)
    assert found.value == pytest.approx(0.01 * (count - 1) / 2)
    assert found.high - found.value == pytest.approx(half, rel=1e-3)
    assert found.value - found.low == pytest.approx(half, rel=1e-3)


def test_one_seed_has_no_interval() -> None:
    assert paired([0.02]) == Estimate(0.02, -math.inf, math.inf)


def test_the_interval_over_seeds_covers_the_truth_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    found = [paired(rng.normal(0.02, 0.01, 4).tolist()) for _ in range(1000)]
    assert 0.93 < np.mean([e.low <= 0.02 <= e.high for e in found]) < 0.97


@pytest.mark.parametrize(
    ("low", "high", "options", "expected"),
    [
        (0.1, 0.2, {}, Change.BETTER),
        (-0.2, -0.1, {}, Change.WORSE),
        (-0.1, 0.1, {}, Change.CANNOT_TELL),
        (0.0, 0.1, {}, Change.CANNOT_TELL),
        (1.01, 1.1, {"none": 1.0, "more_is_better": False}, Change.WORSE),
        (0.9, 0.99, {"none": 1.0, "more_is_better": False}, Change.BETTER),
        (0.9, 1.1, {"none": 1.0, "more_is_better": False}, Change.CANNOT_TELL),
    ],
)
def test_what_an_interval_allows_to_say(low, high, options, expected) -> None:
    assert change(Estimate((low + high) / 2, low, high), **options) is expected
