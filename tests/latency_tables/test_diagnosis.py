"""What speaks against an interval is found where it is, and seldom where it is not."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from latency_tables.diagnosis import LEAST_SAMPLES, Doubt, Finding, diagnose, dip
from latency_tables.measurement import Measurement, Stop

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]

INDEPENDENT: dict[str, Draw] = {
    "normal": lambda rng, n: 1 + 0.05 * rng.standard_normal(n),
    "lognormal": lambda rng, n: np.exp(0.1 * rng.standard_normal(n)),
    "shifted exponential": lambda rng, n: 1 + 0.1 * rng.standard_exponential(n),
    "heavy tail": lambda rng, n: (
        1 + 0.03 * np.where(rng.random(n) < 0.1, 3 + 8 * rng.standard_exponential(n), rng.standard_normal(n))
    ),
}

timings = st.lists(st.integers(1, 10**6), min_size=1, max_size=60)


def kinds(samples: NDArray[np.float64]) -> set[Doubt]:
    return {finding.doubt for finding in diagnose(samples)}


def share(doubt: Doubt, draw: Callable[[np.random.Generator], NDArray[np.float64]], runs: int = 60) -> float:
    rng = np.random.default_rng(5)
    return sum(doubt in kinds(draw(rng)) for _ in range(runs)) / runs


def autoregressive(rng: np.random.Generator, n: int, phi: float) -> NDArray[np.float64]:
    state, found = rng.standard_normal(), []
    for noise in rng.standard_normal(n):
        found.append(state)
        state = phi * state + np.sqrt(1 - phi**2) * noise
    return np.exp(0.03 * np.array(found))


@pytest.mark.parametrize("shape", INDEPENDENT)
def test_independent_samples_seldom_alarm(shape: str) -> None:
    rng = np.random.default_rng(17)
    runs = 800
    alarms = sum(bool(diagnose(INDEPENDENT[shape](rng, 60))) for _ in range(runs))
    # Two of a hundred, and what chance adds to that in a thousandth of such tests.
    assert alarms <= stats.binom.ppf(0.999, runs, 0.02)


def test_few_independent_samples_are_seldom_called_dependent() -> None:
    # The correlation of neighbours is a little below 0 by itself, which shows where there are few.
    rng = np.random.default_rng(19)
    alarms = sum(Doubt.DEPENDENCE in kinds(1 + rng.random(20)) for _ in range(1500))
    assert alarms <= stats.binom.ppf(0.999, 1500, 0.005)


@pytest.mark.parametrize("shape", INDEPENDENT)
@pytest.mark.parametrize("sign", [1, -1])
def test_drift_is_found(shape: str, sign: int) -> None:
    def drifting(rng: np.random.Generator) -> NDArray[np.float64]:
        return INDEPENDENT[shape](rng, 100) * (1 + sign * np.linspace(0, 0.25, 100))

    assert share(Doubt.DRIFT, drifting) >= 0.9


@pytest.mark.parametrize(("phi", "least"), [(0.5, 0.9), (0.9, 1.0), (-0.5, 0.9)])
def test_dependence_is_found(phi: float, least: float) -> None:
    assert share(Doubt.DEPENDENCE, lambda rng: autoregressive(rng, 100, phi)) >= least


@pytest.mark.parametrize(("far", "least"), [(0.5, 0.99), (0.25, 0.9)])
def test_two_modes_are_found(far: float, least: float) -> None:
    def near_and_far(rng: np.random.Generator) -> NDArray[np.float64]:
        return np.where(rng.random(100) < far, 2.8, 1.9) * (1 + 0.03 * rng.standard_normal(100))

    assert share(Doubt.TWO_MODES, near_and_far) >= least


def test_a_change_in_the_midst_is_found_as_drift_and_as_two_modes() -> None:
    rng = np.random.default_rng(2)
    samples = np.r_[1.9 + 0.05 * rng.standard_normal(60), 2.8 + 0.05 * rng.standard_normal(40)]
    assert kinds(samples) == set(Doubt)


def test_findings_say_how_much() -> None:
    rng = np.random.default_rng(3)
    by_doubt = {finding.doubt: finding for finding in diagnose(np.linspace(1.0, 1.3, 30))}
    drift = by_doubt[Doubt.DRIFT]
    assert drift.numbers["change"] == pytest.approx(1.25345 / 1.0465 - 1, abs=0.005)
    assert drift.numbers["correlation"] == pytest.approx(1)
    assert "+19.8%" in drift.text
    modes = np.where(np.arange(200) % 4 == 0, 3.0, 2.0) * (1 + 0.01 * rng.standard_normal(200))
    [two] = [finding for finding in diagnose(rng.permutation(modes)) if finding.doubt is Doubt.TWO_MODES]
    assert two.numbers["low"] == pytest.approx(2, rel=0.01)
    assert two.numbers["high"] == pytest.approx(3, rel=0.01)
    assert two.numbers["share_high"] == 0.25
    assert "75%" in two.text
    assert Finding.from_json(json.loads(json.dumps(two.to_json()))) == two


def test_modes_too_near_to_matter_are_none() -> None:
    rng = np.random.default_rng(4)
    for gap, found in ((1.015, False), (1.03, True)):
        samples = np.where(rng.random(200) < 0.5, gap, 1.0) + 1e-4 * rng.standard_normal(200)
        assert (Doubt.TWO_MODES in kinds(samples)) is found


def test_ticks_of_a_coarse_clock_are_no_modes() -> None:
    rng = np.random.default_rng(6)
    for _ in range(20):
        samples = np.round((20 + rng.standard_normal(200)) * 2) / 2
        assert Doubt.TWO_MODES not in kinds(samples)


@pytest.mark.parametrize("samples", [[1.0] * 50, [1.0, 2.0, 3.0], list(range(1, LEAST_SAMPLES))])
def test_what_tells_nothing_is_not_accused(samples: list[float]) -> None:
    assert diagnose(samples) == ()


def test_ten_samples_in_order_are_enough_for_a_drift() -> None:
    assert Doubt.DRIFT in kinds(np.arange(1.0, 1.0 + LEAST_SAMPLES))


@given(timings)
def test_the_unit_does_not_matter(samples: list[int]) -> None:
    plain, scaled = diagnose(samples), diagnose(np.array(samples) * 2.0**-20)
    assert [found.doubt for found in plain] == [found.doubt for found in scaled]


@given(timings)
def test_backwards_a_rise_is_a_fall(samples: list[int]) -> None:
    forth, back = kinds(np.array(samples, float)), kinds(np.array(samples[::-1], float))
    assert forth == back


@given(timings, st.randoms(use_true_random=False))
def test_the_dip_is_bounded_and_knows_no_order_side_or_unit(samples: list[int], random: object) -> None:
    values = np.array(samples, float)
    deep = dip(values)
    assert 0 <= deep <= 0.25
    shuffled = samples.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert dip(shuffled) == deep
    assert dip(-values) == pytest.approx(deep, abs=1e-12)
    assert dip(values * 4 + 8) == pytest.approx(deep, abs=1e-9)


def test_the_dip_of_known_shapes() -> None:
    assert dip(np.arange(50.0)) == pytest.approx(0, abs=1e-12)
    assert dip(np.r_[np.linspace(0, 1, 500), np.linspace(100, 101, 500)]) == pytest.approx(0.25, abs=0.01)
    # Dense, sparse, dense. Up to the middle a line rises by a quarter for each unit of length; where the dense part
    # ends, the distribution function is a third, so it is a twelfth above the line.
    heavy_ends = np.r_[np.linspace(0, 1, 1000), np.linspace(1, 3, 1000), np.linspace(3, 4, 1000)]
    assert dip(heavy_ends) == pytest.approx(1 / 24, abs=0.001)


def test_a_measurement_knows_what_speaks_against_it() -> None:
    rising = Measurement(tuple(np.linspace(1, 2, 20).tolist()), 4, Stop.TIME, "")
    assert {finding.doubt for finding in rising.findings} >= {Doubt.DRIFT, Doubt.DEPENDENCE}
    assert Measurement((1.0,) * 20, 4, Stop.TIME, "").findings == ()
