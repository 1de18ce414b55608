from __future__ import annotations

import math

import pytest

from latency_tables.estimate import Estimate
from reports import units


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(5.62e-3, 5.58e-3, 5.66e-3), "5.62 ms (5.58–5.66)"),
        (Estimate(1.2, 1.1, 1.3), "1.20 s (1.10–1.30)"),
        (Estimate(42e-6, 41e-6, 43e-6), "42.0 µs (41.0–43.0)"),
        (Estimate(9.99e-4, 9.9e-4, 1.01e-3), "999 µs (990–1010)"),
        (Estimate(2e-3, 2e-3, 2e-3), "2.00 ms"),
        (Estimate(2e-3, -math.inf, 3e-3), "2.00 ms (up to 3.00)"),
        (Estimate(2e-3, 1e-3, math.inf), "2.00 ms (from 1.00)"),
        (Estimate(2e-3, -math.inf, math.inf), "2.00 ms (no interval)"),
        (None, "–"),
    ],
)
def test_latency(estimate, text) -> None:
    assert units.latency(estimate) == text


def test_percent_and_number() -> None:
    assert units.percent(Estimate(0.812, 0.803, 0.82)) == "81.2 % (80.3–82.0)"
    assert units.percent(None) == "–"
    assert units.number(Estimate(0.691, 0.687, 0.695)) == "0.691 (0.687–0.695)"
    assert units.number(None) == "–"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.042, "0.0420 s"),
        (9.5, "9.50 s"),
        (59.4, "59 s"),
        (59.7, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_duration(seconds, text) -> None:
    assert units.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.00123, "0.00123"), (99.95, "100"), (1234.5, "1234"), (-5.617, "-5.62")]
)
def test_three_digits(value, text) -> None:
    assert units.digits(value) == text
