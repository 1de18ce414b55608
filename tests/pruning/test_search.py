from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.errors import LatheError, UserError
from pruning.criteria.criterion import Remembering
from pruning.criteria.order import OrderCriterion
from pruning.search import Selection, Step, greedy


class Hurt:
    """Harm by a table of sets; sets that are not in it add up over blocks."""

    name = "table"
    needs_images = True

    def __init__(self, table: dict[str, float]) -> None:
        self.table = {frozenset(blocks): value for blocks, value in table.items()}
        self.calls: list[frozenset[str]] = []
        self.expected: list[frozenset[str]] = []

    def expect(self, removed: frozenset[str]) -> None:
        self.expected.append(removed)

    def hurt(self, removed: frozenset[str]) -> float:
        self.calls.append(removed)
        if removed in self.table:
            return self.table[removed]
        return sum(self.table[frozenset(block)] for block in removed)


class Latency:
    """A whole less what each block saves, in seconds; the savings of blocks add up."""

    def __init__(self, whole_s: float, **saving_s: float) -> None:
        self.whole_s = whole_s
        self.saving_s = saving_s

    def latency_s(self, removed: frozenset[str]) -> float:
        return self.whole_s - sum(self.saving_s[block] for block in removed)


def select(hurt: Hurt, latency: Latency, budget_s: float, per_saving: bool = True) -> Selection:
    return greedy(list(latency.saving_s), Remembering(hurt), latency, budget_s, per_saving=per_saving)


def test_hurt_is_weighed_by_what_it_saves() -> None:
    """a: 2 for 4 s, 0.5 a second; b: 1 for 1 s; c: 3 for 5 s, 0.6 a second. Then 6 of 10 s are left, 3 s to go:
    b: 1 a second; c: a saving of 5 counts as 3, 1 a second too; b stands first. Then 2 s to go, c. That is 3 s
    more than was asked for: b, worth 1 s, may return, a and c may not."""
    chosen = select(Hurt({"a": 2.0, "b": 1.0, "c": 3.0}), Latency(10.0, a=4.0, b=1.0, c=5.0), 3.0)
    assert chosen.removed == ("a", "c")
    assert chosen.steps == (Step("a", 2.0, 6.0), Step("b", 3.0, 5.0), Step("c", 6.0, 0.0))
    assert chosen.predicted_s == 1.0 and chosen.hurt == 5.0


def test_a_saving_beyond_the_gap_is_worth_nothing() -> None:
    """1 s to go: a costs 3 for 10 s (0.3 a second), b 1 for 1 s; both close the gap, b at less harm."""
    assert select(Hurt({"a": 3.0, "b": 1.0}), Latency(20.0, a=10.0, b=1.0), 19.0).removed == ("b",)


def test_without_the_latency_term_hurt_alone_decides_and_latency_only_stops() -> None:
    latency = Latency(10.0, a=4.0, b=1.0, c=5.0)
    chosen = select(Hurt({"a": 2.0, "b": 1.0, "c": 3.0}), latency, 6.0, per_saving=False)
    assert [step.block for step in chosen.steps] == ["b", "a"]
    assert chosen.removed == ("a",)  # which alone frees enough, so that b returns
    assert chosen.predicted_s == 6.0


def test_only_what_lowers_the_hurt_is_given_back_and_the_worst_first() -> None:
    """c closes the gap of 5 s by itself. Of a and b, each 1 s, only the return of b helps; that of a would hurt."""
    hurt = Hurt({"a": 0.1, "b": 0.2, "c": 9.0, "ab": 0.3, "abc": 9.0, "bc": 9.5, "ac": 8.0})
    chosen = select(hurt, Latency(10.0, a=1.0, b=1.0, c=5.0), 5.0)
    assert [step.block for step in chosen.steps] == ["a", "b", "c"]
    assert chosen.removed == ("a", "c")
    assert chosen.hurt == 8.0


def test_orders_give_nothing_back() -> None:
    latency = Latency(10.0, a=1.0, b=5.0)
    chosen = greedy(
        ["a", "b"], Remembering(OrderCriterion("order", ["a", "b"])), latency, 5.0, per_saving=False
    )
    assert chosen.removed == ("a", "b")


def test_scores_are_taken_anew_after_each_removal() -> None:
    """Neighbours are harmless alone and harmful together: after a, b costs 9 more and c only 3."""
    hurt = Hurt({"a": 1.0, "b": 2.0, "c": 3.0, "ab": 10.0})
    assert select(hurt, Latency(3.0, a=1.0, b=1.0, c=1.0), 1.0).removed == ("a", "c")


def test_the_criterion_hears_what_the_next_sets_share() -> None:
    hurt = Hurt({"a": 1.0, "b": 2.0, "c": 3.0})
    select(hurt, Latency(3.0, a=1.0, b=1.0, c=1.0), 1.0)
    assert hurt.expected == [frozenset(), frozenset("a")]


def test_the_rise_counts_and_not_the_whole() -> None:
    """After a (hurt 10), b raises by 1 for 1 s, c by 4 for 5 s: by the whole, 11 a second against 2.8, c would
    win by far as well; with 10 s to go c has 0.8 a second. With c saving 3 s, 1.33 a second, b goes first."""
    hurt = Hurt({"a": 0.1, "b": 50.0, "c": 50.0, "ab": 1.1, "ac": 4.1, "abc": 5.1})
    assert select(hurt, Latency(20.0, a=1.0, b=1.0, c=3.0), 15.5).removed == ("a", "b", "c")


def test_free_blocks_go_first_the_largest_gain_before_the_smaller() -> None:
    hurt = Hurt({"a": 0.001, "b": -1.0, "c": -1.0, "ab": 5.0, "bc": -1.0, "ac": 5.0})
    assert select(hurt, Latency(10.0, a=5.0, b=1.0, c=2.0), 7.0).removed == ("c", "b")


def test_a_block_that_saves_nothing_goes_last() -> None:
    hurt = Hurt({"a": 0.0, "b": 100.0})
    latency = Latency(10.0, a=-1.0, b=2.0)
    assert select(hurt, latency, 8.0).removed == ("b",)
    with pytest.raises(UserError, match=r"within reach is 9e\+03 ms as predicted, a ratio of 0.90"):
        select(hurt, latency, 8.0, per_saving=False)  # takes a first, and then all is not enough


def test_ties_go_to_the_first_candidate() -> None:
    for names in (("a", "b", "c"), ("c", "b", "a")):
        hurt = Hurt(dict.fromkeys(names, 1.0))
        latency = Latency(3.0, **dict.fromkeys(names, 1.0))
        assert select(hurt, latency, 1.0).removed == names[:2]
        assert select(hurt, latency, 1.0, per_saving=False).removed == names[:2]


def test_a_network_that_meets_the_budget_keeps_all_its_blocks() -> None:
    hurt = Hurt({"a": 1.0})
    assert select(hurt, Latency(3.0, a=1.0), 3.0) == Selection((), 3.0, 0.0, ())
    assert not hurt.calls
    nothing_to_remove = greedy([], Remembering(hurt), Latency(3.0), 3.0, per_saving=True)
    assert nothing_to_remove.removed == ()


def test_an_order_is_followed_and_measures_nothing() -> None:
    criterion = Remembering(OrderCriterion("mine", ["c", "a", "b"]))
    chosen = greedy("abc", criterion, Latency(4.0, a=1.0, b=1.0, c=1.0), 1.5, per_saving=False)
    assert chosen.removed == ("c", "a", "b")
    assert chosen.hurt is None and all(step.hurt is None for step in chosen.steps)


def test_a_second_search_with_another_latency_scores_only_new_sets() -> None:
    hurt = Hurt({"a": 1.0, "b": 2.0, "c": 3.0})
    criterion = Remembering(hurt)
    latency = Latency(9.0, a=1.0, b=1.0, c=1.0)
    greedy("abc", criterion, latency, 7.0, per_saving=True)
    before = list(hurt.calls)
    assert len(before) == len(set(before)) == 5
    greedy("abc", criterion, latency, 7.0, per_saving=True)
    assert hurt.calls == before
    greedy("abc", criterion, latency, 6.0, per_saving=True)
    assert hurt.calls == [*before, frozenset("abc")]


def test_progress_counts_the_candidates_of_each_removal() -> None:
    told: list[tuple[int, int, str]] = []
    latency = Latency(3.0, a=1.0, b=1.0)
    criterion = Remembering(Hurt({"a": 1.0, "b": 2.0}))
    greedy("ab", criterion, latency, 1.0, per_saving=True, progress=lambda *said: told.append(said))
    assert told == [(1, 2, "removal 1"), (2, 2, "removal 1"), (1, 1, "removal 2")]


def test_a_budget_out_of_reach_names_the_lowest_latency() -> None:
    hurt = Hurt({"a": 1.0, "b": 1.0})
    with pytest.raises(UserError, match=r"of 1 ms \(0.25 .* reach is 2 ms as predicted, a ratio of 0.50"):
        select(hurt, Latency(4e-3, a=1e-3, b=1e-3), 1e-3)
    assert not hurt.calls


def test_no_candidates_is_an_error_where_some_are_needed() -> None:
    with pytest.raises(UserError, match=r"takes 4 ms, the budget is 3 ms, and there is no block"):
        select(Hurt({}), Latency(4e-3), 3e-3)


def test_hurt_that_is_no_number_stops_the_search_and_names_the_block() -> None:
    with pytest.raises(LatheError, match="without b, which is no finite number"):
        select(Hurt({"a": 1.0, "b": math.nan}), Latency(4.0, a=1.0, b=1.0), 3.0)


BLOCKS = st.dictionaries(
    st.sampled_from("abcdef"), st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=6
)


@given(BLOCKS, st.floats(0.0, 1.0))
def test_where_hurt_adds_up_and_savings_are_equal_greedy_is_optimal(
    blocks: dict[str, tuple[int, int]], share: float
) -> None:
    latency = Latency(len(blocks) + 1.0, **dict.fromkeys(blocks, 1.0))
    budget_s = 1.0 + share * len(blocks)
    chosen = select(Hurt({name: float(hurt) for name, (hurt, _) in blocks.items()}), latency, budget_s)
    enough = [
        sum(blocks[name][0] for name in names)
        for count in range(len(blocks) + 1)
        for names in itertools.combinations(blocks, count)
        if latency.latency_s(frozenset(names)) <= budget_s
    ]
    assert chosen.hurt == min(enough)


@given(BLOCKS, st.floats(0.0, 1.0), st.booleans())
def test_the_budget_is_met_and_every_removal_is_needed(
    blocks: dict[str, tuple[int, int]], share: float, per_saving: bool
) -> None:
    savings = {name: float(saving) for name, (_, saving) in blocks.items()}
    latency = Latency(1.0 + sum(savings.values()), **savings)
    budget_s = 1.0 + share * sum(savings.values())
    hurts = {name: float(hurt) for name, (hurt, _) in blocks.items()}
    chosen = select(Hurt(hurts), latency, budget_s, per_saving)
    assert chosen.predicted_s == latency.latency_s(frozenset(chosen.removed)) <= budget_s
    for block in chosen.removed:
        # Whatever could return, and would do good there, has returned.
        assert hurts[block] == 0 or latency.latency_s(frozenset(chosen.removed) - {block}) > budget_s
    if per_saving and len(chosen.steps) > 1:
        first = chosen.steps[0].block
        gap_s = latency.whole_s - budget_s
        assert hurts[first] / min(savings[first], gap_s) == min(
            hurts[name] / min(savings[name], gap_s) for name in blocks
        )
