from __future__ import annotations

import math

import made_up
import pytest

from latency_tables.closure import Closure, HeldOut
from latency_tables.estimate import Estimate
from latency_tables.skeleton import Cut


def held_out(predicted: Estimate, measured: float, again: float) -> HeldOut:
    return HeldOut(Cut(), predicted, made_up.exact(measured), made_up.exact(again))


def test_the_numbers_of_a_closure() -> None:
    closure = Closure(
        (
            held_out(Estimate(1.04, 1.01, 1.07), 1.0, 1.03),
            held_out(Estimate(0.54, 0.4, 0.7), 0.5, 0.5),
            held_out(Estimate(0.6, -math.inf, math.inf), 0.5, 0.5),
        )
    )
    assert closure.mean_abs_error == pytest.approx((0.04 + 0.08 + 0.2) / 3)
    assert closure.noise_floor == pytest.approx(0.01)
    assert closure.rms_error == pytest.approx(math.sqrt((0.04**2 + 0.08**2 + 0.2**2) / 3))
    assert closure.rms_noise == pytest.approx(math.sqrt(0.03**2 / 3))
    assert closure.excess_error == pytest.approx(math.sqrt((0.04**2 - 0.03**2 + 0.08**2 + 0.2**2) / 3))
    assert [closure.within(share) for share in (0.03, 0.05, 0.1, 0.3)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert closure.interval_coverage == 0.5  # the first is outside, the third is bounded by nothing
    assert Closure(closure.networks[2:]).interval_coverage is None
    assert Closure((held_out(made_up.exact(1.0), 1.0, 1.1),)).excess_error == 0.0
