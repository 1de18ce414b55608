from __future__ import annotations

import math

import made_up
import pytest

from latency_tables.closure import Closure, HeldOut, draw_plans
from latency_tables.estimate import Estimate
from latency_tables.skeleton import Plan


def held_out(predicted: Estimate, measured: float, again: float) -> HeldOut:
    return HeldOut(Plan("chain", "", ()), predicted, made_up.exact(measured), made_up.exact(again))


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
    assert closure.excess_error == pytest.approx(math.sqrt((0.04**2 - 0.03**2 + 0.08**2 + 0.2**2) / 3))
    assert [closure.within(share) for share in (0.03, 0.05, 0.1, 0.3)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert closure.interval_coverage == 0.5  # the first is outside, the third is bounded by nothing
    assert Closure(closure.networks[2:]).interval_coverage is None
    assert Closure((held_out(made_up.exact(1.0), 1.0, 1.1),)).excess_error == 0.0


def test_plans_are_seeded_distinct_and_grow() -> None:
    skeleton = made_up.chain([4] * 10)
    plans = draw_plans(skeleton, 20, 3)
    assert plans[:5] == draw_plans(skeleton, 5, 3)
    assert plans != draw_plans(skeleton, 20, 4)
    assert len({plan.removed for plan in plans}) == 20
    sizes = {len(plan.removed) for plan in plans}
    assert min(sizes) >= 1
    assert max(sizes) <= 8
    assert len(sizes) > 4
    for plan in plans:
        assert plan.digest == skeleton.digest
        assert skeleton.check(plan.removed) == set(plan.removed)
        assert list(plan.removed) == sorted(plan.removed)


def test_small_networks_have_few_plans() -> None:
    assert {plan.removed for plan in draw_plans(made_up.chain([4, 5]), 10, 0)} == {("block0",), ("block1",)}
    assert len(draw_plans(made_up.chain([4]), 10, 0)) == 1
    assert draw_plans(made_up.chain([]), 10, 0) == ()
