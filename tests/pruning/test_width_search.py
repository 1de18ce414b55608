"""The search over widths, against worlds whose best answer is known."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from latency_tables.errors import UserError
from latency_tables.widths import ChannelGroup
from pruning.width_search import (
    WidthSelection,
    choose_smart,
    choose_uniform,
    choose_widths,
    least_chosen_s,
    least_uniform_s,
)


class Steps:
    """Latency grows with the widths in steps of some channels; unknown below a width."""

    def __init__(self, costs: list[float], step: int = 1, unknown_below: int = 0) -> None:
        self._costs, self._step, self._unknown = np.array(costs), step, unknown_below

    def latencies_s(
        self, removed: list[set[str]] | list[frozenset[str]], widths: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        assert not any(removed)
        seconds = np.ceil(widths / self._step) @ self._costs
        return np.where((widths < self._unknown).any(axis=1), np.nan, seconds)


def groups_of(*channels: int) -> list[ChannelGroup]:
    return [ChannelGroup(f"g{place}", count) for place, count in enumerate(channels)]


def scores_of(groups: list[ChannelGroup], seed: int = 0) -> dict[str, NDArray[np.float64]]:
    draw = np.random.default_rng(seed)
    return {group.name: draw.random(group.channels) for group in groups}


def kept(selection: WidthSelection, group: ChannelGroup) -> tuple[int, ...]:
    return selection.channels.get(group.name, tuple(range(group.channels)))


def test_a_network_within_its_budget_stays_as_it_is() -> None:
    groups = groups_of(16, 16)
    selection = choose_widths(groups, scores_of(groups), Steps([1.0, 1.0]), 32.0)
    assert selection == WidthSelection({}, 32.0, 0.0)


def test_the_least_channels_go() -> None:
    groups = groups_of(16)
    scores = {"g0": np.array([3.0, 1.0] * 8)}
    selection = choose_widths(groups, scores, Steps([1.0]), 8.0)
    assert selection.channels == {"g0": tuple(range(0, 16, 2))}
    assert selection.hurt == pytest.approx(8 / 32)
    assert selection.predicted_s == 8.0


def test_a_channel_that_saves_more_time_goes_first() -> None:
    groups = groups_of(16, 16)
    scores = {name: np.ones(16) for name in ("g0", "g1")}
    selection = choose_widths(groups, scores, Steps([1.0, 3.0]), 40.0)
    assert set(selection.channels) == {"g1"}


def test_steps_are_seen_past_flat_stretches() -> None:
    groups = groups_of(64)
    selection = choose_widths(groups, scores_of(groups), Steps([1.0], step=32), 1.0)
    assert len(kept(selection, groups[0])) == 32  # the whole step, and no more than it


def test_channels_that_cost_nothing_are_given_back() -> None:
    groups = groups_of(64, 64)
    scores = {"g0": np.full(64, 1e-6), "g1": np.ones(64)}
    selection = choose_widths(groups, scores, Steps([1.0, 1.0], step=16), 6.0)
    assert [len(kept(selection, group)) % 16 for group in groups] == [0, 0]
    assert selection.predicted_s == 6.0


def test_frozen_groups_stay() -> None:
    groups = [ChannelGroup("g0", 16, "a reason"), ChannelGroup("g1", 16)]
    selection = choose_widths(groups, {"g1": np.ones(16)}, Steps([1.0, 1.0]), 24.0)
    assert set(selection.channels) == {"g1"}


def test_widths_that_the_table_does_not_know_are_not_chosen() -> None:
    groups = groups_of(32, 32)
    selection = choose_widths(groups, scores_of(groups), Steps([1.0, 1.0], unknown_below=16), 34.0)
    assert min(len(kept(selection, group)) for group in groups) >= 16
    with pytest.raises(UserError, match="out of reach by taking channels out"):
        choose_widths(groups, scores_of(groups), Steps([1.0, 1.0], unknown_below=16), 31.0)


def test_a_budget_below_the_least_widths_is_out_of_reach() -> None:
    groups = groups_of(16)
    with pytest.raises(UserError, match=r"budget of 3e\+03 ms.*out of reach.*4e\+03 ms is the least"):
        choose_widths(groups, scores_of(groups), Steps([1.0]), 3.0)


@settings(max_examples=40, deadline=None)
@example(728, 0.5, 1)  # half as many channels take exactly half as long
@given(st.integers(0, 10_000), st.floats(0.5, 0.95), st.sampled_from([1, 4, 8]))
def test_budgets_are_met_and_nothing_could_simply_be_given_back(seed: int, share: float, step: int) -> None:
    draw = np.random.default_rng(seed)
    groups = groups_of(16, 24, 32)
    latency = Steps(list(draw.random(3) + 0.2), step)
    scores = scores_of(groups, seed)
    full = latency.latencies_s([set()], np.array([[16, 24, 32]]))[0]
    selection = choose_widths(groups, scores, latency, share * full)
    widths = np.array([len(kept(selection, group)) for group in groups])
    (now,) = latency.latencies_s([set()], widths[None])
    assert now == pytest.approx(selection.predicted_s)
    assert selection.predicted_s <= share * full
    assert all(width % 4 == 0 for width in widths)
    for place, group in enumerate(groups):
        more = widths.copy()
        more[place] = min(more[place] + 4, group.channels)
        # What lies on the budget to the last bit may be rounded to either side of it.
        beyond_s = share * full * (1 - 1e-12)
        assert more[place] == widths[place] or latency.latencies_s([set()], more[None])[0] > beyond_s
        worth = scores[group.name]
        stays = kept(selection, group)
        gone = sorted(set(range(group.channels)) - set(stays))
        assert not gone or min(worth[list(stays)]) >= max(worth[gone])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.4, 0.9))
def test_the_loss_is_near_the_least_that_is_possible(seed: int, share: float) -> None:
    draw = np.random.default_rng(seed)
    groups = groups_of(16, 16, 16)
    latency = Steps(list(draw.random(3) + 0.2))
    scores = scores_of(groups, seed)
    full = latency.latencies_s([set()], np.array([[16, 16, 16]]))[0]
    selection = choose_widths(groups, scores, latency, share * full)
    ordered = {name: np.sort(worth) for name, worth in scores.items()}
    total = sum(worth.sum() for worth in scores.values())
    best = min(
        sum(ordered[f"g{place}"][: 16 - width].sum() for place, width in enumerate(widths)) / total
        for widths in itertools.product((4, 8, 12, 16), repeat=3)
        if latency.latencies_s([set()], np.array([widths]))[0] <= share * full
    )
    assert selection.hurt <= best + 0.12


def test_the_smart_profile_is_narrower_towards_the_output() -> None:
    groups = [ChannelGroup("first", 400), ChannelGroup("tied", 400, "a reason"), *groups_of(400, 400)]
    selection = choose_smart(groups, Steps([1.0] * 4), 1000.0)
    widths = [len(selection.channels[name]) for name in ("first", "g0", "g1")]
    # A share of sqrt(k^2 + k) each, k = 3, 2, 1: level * (3.46, 2.45, 1.41), the tied 400 beside them.
    assert widths == pytest.approx([284, 201, 116], abs=12)
    assert set(selection.channels) == {"first", "g0", "g1"}
    assert selection.predicted_s == sum(widths) + 400 <= 1000
    assert selection.hurt == pytest.approx(1 - sum(widths) / 1200)


@pytest.mark.parametrize("choose", [choose_uniform, choose_smart])
def test_a_profile_meets_its_budget_with_the_first_channels_or_says_that_it_cannot(choose: Any) -> None:
    groups = groups_of(64, 64, 64)
    whole = choose(groups, Steps([1.0] * 3), 192.0)
    assert whole == WidthSelection({}, 192.0, 0.0)
    for budget_s in (180.0, 100.0, 48.0):
        selection = choose(groups, Steps([1.0] * 3), budget_s)
        assert budget_s - 24 < selection.predicted_s <= budget_s
        for stays in selection.channels.values():
            assert stays == tuple(range(len(stays)))
            assert len(stays) >= 16 and len(stays) % 4 == 0
    with pytest.raises(UserError, match=r"out of reach.*4\.8e\+04 ms is the least"):
        choose(groups, Steps([1.0] * 3), 47.0)
    with pytest.raises(UserError, match="out of reach"):
        choose(groups, Steps([1.0] * 3, unknown_below=40), 100.0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 8, 32]), st.booleans())
def test_the_least_latency_is_where_budgets_end(seed: int, step: int, uniform: bool) -> None:
    groups = [*groups_of(16, 48, 64), ChannelGroup("g3", 32, "a reason")]
    latency = Steps(list(np.random.default_rng(seed).random(4) + 0.2), step)
    scores = scores_of(groups, seed)
    least_s = (least_uniform_s if uniform else least_chosen_s)(groups, latency)

    def choose(budget_s: float) -> WidthSelection:
        if uniform:
            return choose_uniform(groups, latency, budget_s)
        return choose_widths(groups, scores, latency, budget_s)

    assert choose(least_s * (1 + 1e-9)).predicted_s == pytest.approx(least_s)
    with pytest.raises(UserError, match="out of reach"):
        choose(least_s * 0.999)
