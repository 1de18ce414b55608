from __future__ import annotations

import math

import made_up
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.interpolation import MULTIPLE
from latency_tables.random_plans import NARROWEST, draw_plans, uniform_widths

SKELETON = made_up.chain([64, 32, 16, 128, 64], grouped=True)
CHANNELS = {group.name: group.channels for group in SKELETON.groups}


@given(st.integers(1, 40), st.integers(0, 1000))
def test_plans_differ_and_are_possible(count: int, seed: int) -> None:
    plans = draw_plans(SKELETON, count, seed)
    assert len(set(plans)) == len(plans) == count
    for plan in plans:
        assert plan.removed or plan.widths
        SKELETON.check(plan.removed)
        for name, width in plan.widths:
            assert math.ceil(NARROWEST * CHANNELS[name]) <= width < CHANNELS[name]
            assert width % MULTIPLE == 0
        SKELETON.narrowed(dict(plan.widths))


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    assert draw_plans(SKELETON, 9, 1) == draw_plans(SKELETON, 9, 1) != draw_plans(SKELETON, 9, 2)


def test_kinds_come_by_turns_and_only_where_there_is_something() -> None:
    def kind(removed: bool, narrow: bool) -> str:
        return "both" if removed and narrow else "blocks" if removed else "widths"

    plans = draw_plans(SKELETON, 9, 0)
    assert [kind(bool(p.removed), bool(p.widths)) for p in plans] == ["blocks", "widths", "both"] * 3
    assert all(not plan.widths for plan in draw_plans(made_up.chain([4] * 6), 9, 0))
    assert all(not plan.removed for plan in draw_plans(SKELETON, 9, 0, ["widths"]))


@pytest.mark.parametrize(("blocks", "possible"), [(0, 0), (1, 1), (2, 3)])
def test_a_network_with_few_plans_gives_what_it_has(blocks: int, possible: int) -> None:
    assert len(draw_plans(made_up.chain([4] * blocks), 10, 0)) == possible


def test_plans_spread_from_little_to_much() -> None:
    shares = [
        1 - sum(dict(plan.widths).get(name, full) for name, full in CHANNELS.items()) / sum(CHANNELS.values())
        for plan in draw_plans(SKELETON, 60, 0, ["widths"])
    ]
    assert min(shares) < 0.3 and max(shares) > 0.5


@given(st.floats(0.05, 1.0))
def test_a_uniform_plan_is_at_or_a_little_above_the_share_everywhere(share: float) -> None:
    widths = uniform_widths(SKELETON.groups, share)
    for name, channels in CHANNELS.items():
        width = widths.get(name, channels)
        assert share * channels <= width < share * channels + MULTIPLE or width == channels
