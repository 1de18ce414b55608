from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import made_up
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.comparison import compare_tables
from latency_tables.estimate import Estimate
from latency_tables.measurement import Measurement
from latency_tables.table import Failure, LatencyTable
from latency_tables.verdict import Verdict, judge, ratio

SHARES = st.floats(0, 0.2)
ESTIMATES = st.builds(
    lambda value, below, above, open_: (
        Estimate(value, -math.inf, math.inf)
        if open_
        else Estimate(value, value * (1 - below), value * (1 + above))
    ),
    st.floats(0.8, 1.25),
    SHARES,
    SHARES,
    st.sampled_from([False] * 6 + [True]),
)
OPPOSITE = {Verdict.FASTER: Verdict.SLOWER, Verdict.SLOWER: Verdict.FASTER}


BEYOND = st.sampled_from([0.0, 0.02, 0.05])


@given(ESTIMATES, ESTIMATES, BEYOND)
def test_exchanging_two_exchanges_the_verdict(one: Estimate, other: Estimate, beyond: float) -> None:
    there, back = judge(one, other, beyond=beyond), judge(other, one, beyond=beyond)
    assert back == OPPOSITE.get(there, there)


@given(st.lists(ESTIMATES, min_size=3, max_size=3), BEYOND)
def test_faster_than_faster_is_faster(three: list[Estimate], beyond: float) -> None:
    a, b, c = sorted(three, key=lambda estimate: -estimate.value)
    if judge(a, b, beyond=beyond) is judge(b, c, beyond=beyond) is Verdict.FASTER:
        assert judge(a, c, beyond=beyond) is Verdict.FASTER


def test_a_difference_may_have_to_be_large_enough() -> None:
    reference, other = Estimate(1.0, 0.99, 1.01), Estimate(0.96, 0.95, 0.97)
    assert judge(reference, other, 0.05, 0.0) is Verdict.FASTER
    assert judge(reference, other, 0.05, 0.05) is Verdict.CANNOT_TELL
    assert judge(reference, other.scaled(0.9), 0.05, 0.05) is Verdict.FASTER
    assert judge(reference, other.scaled(1.15), 0.05, 0.05) is Verdict.SLOWER


@given(ESTIMATES, ESTIMATES)
def test_a_verdict_is_what_every_pair_of_true_values_would_say(one: Estimate, other: Estimate) -> None:
    verdict, found = judge(one, other), ratio(one, other)
    assert found.low <= found.value <= found.high
    if verdict is Verdict.FASTER:
        assert found.high < 1
    if verdict is Verdict.SLOWER:
        assert found.low > 1
    if verdict is Verdict.SAME:
        assert found.low > 1 / 1.050001
        assert found.high < 1.050001


def test_the_four_verdicts() -> None:
    reference = Estimate(1.0, 0.99, 1.01)
    for value, verdict in ((0.9, "faster"), (1.2, "slower"), (1.0, "same"), (1.015, "cannot tell")):
        other = Estimate(value, value - 0.009, value + 0.009)
        assert judge(reference, other, same_within=0.02, beyond=0.0).value == verdict, value
    unknown = Estimate(1.0, -math.inf, math.inf)
    assert judge(reference, unknown) is Verdict.CANNOT_TELL
    assert judge(unknown, reference) is Verdict.CANNOT_TELL


def test_tables_are_compared_part_by_part() -> None:
    skeleton = made_up.chain([4, 5, 6])
    first, second, third, fourth, fifth = (part.key for part in skeleton.parts[:5])
    before = LatencyTable(
        made_up.setting(),
        {
            first: made_up.cell(1e-3),
            second: made_up.cell(2e-3),
            third: made_up.cell(1.0),
            fourth: made_up.cell(1.0),
        },
    )
    after = LatencyTable(
        made_up.setting(versions=(("torch", "2.14.0"),), threads=2),
        {
            first: made_up.cell(5e-4),
            second: made_up.cell(4e-3),
            fourth: Failure("hung", ""),
            fifth: made_up.cell(1.0),
        },
    )
    found = compare_tables(before, after)
    assert found.fields == (("versions.torch", "2.13.0", "2.14.0"), ("threads", 1, 2))
    assert [(part.key, part.verdict and part.verdict.value, part.reason) for part in found.parts] == [
        (first, "faster", ""),
        (second, "slower", ""),
        (third, None, "second: not measured"),
        (fourth, None, "second: failed: hung"),
        (fifth, None, "first: not measured"),
    ]
    assert found.counts() == {"faster": 1, "slower": 1, "same": 0, "cannot tell": 0, "not compared": 3}
    assert found.typical_ratio() == 1.0


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ({"disturbance": "0.4 of a core in foreign hands"}, "second: disturbed by 0.4 of a core"),
        ({"cores": {"mode": "far"}}, "second: timed while the cores lay far apart"),
        ({"cores": {"mode": "near"}, "disturbance": None}, ""),
    ],
)
def test_what_was_disturbed_tells_nothing(host: dict[str, Any], said: str) -> None:
    key = made_up.chain([4]).parts[0].key
    before = LatencyTable(made_up.setting(), {key: made_up.cell(1e-3)})
    after = LatencyTable(made_up.setting(), {key: replace(made_up.cell(2e-3), host=host)})
    (part,) = compare_tables(before, after).parts
    assert part.ratio is not None
    assert part.verdict is (Verdict.CANNOT_TELL if said else Verdict.SLOWER)
    assert part.reason.startswith(said) and bool(part.reason) is bool(said)


def rising(latency_s: float, change: float) -> Measurement:
    samples_s = np.linspace(latency_s, latency_s * (1 + change), 30)
    return replace(made_up.cell(1.0), samples_s=tuple(samples_s.tolist()))


@pytest.mark.parametrize(("change", "reason"), [(0.2, "drift and dependence in its samples"), (0.02, "")])
def test_samples_that_move_by_more_than_verdicts_allow_for_tell_nothing(change: float, reason: str) -> None:
    key = made_up.chain([4]).parts[0].key
    before = LatencyTable(made_up.setting(), {key: rising(1e-3, change)})
    after = LatencyTable(made_up.setting(), {key: made_up.cell(2e-3)})
    found = compare_tables(before, after)
    (part,) = found.parts
    assert part.reason == (f"first: {reason}" if reason else "")
    assert part.verdict is (Verdict.CANNOT_TELL if reason else Verdict.SLOWER)
    assert found.typical_ratio() == (None if reason else pytest.approx(2 / (1 + change / 2)))


def test_parts_timed_with_the_cores_far_apart_in_both_tables_are_alike() -> None:
    key = made_up.chain([4]).parts[0].key
    before, after = (
        LatencyTable(made_up.setting(), {key: replace(made_up.cell(s), host={"cores": {"mode": "far"}})})
        for s in (1e-3, 2e-3)
    )
    (part,) = compare_tables(before, after).parts
    assert (part.verdict, part.reason) == (Verdict.SLOWER, "")


def test_what_was_timed_while_the_anchor_moved_tells_nothing() -> None:
    key = made_up.chain([4]).parts[0].key
    for settled, reason in ((False, "first: timed while the anchor moved"), (True, "")):
        cell = replace(made_up.cell(1e-3), host={"anchor": {"settled": settled}})
        before = LatencyTable(made_up.setting(), {key: cell})
        found = compare_tables(before, LatencyTable(made_up.setting(), {key: made_up.cell(2e-3)}))
        assert found.parts[0].reason == reason
        assert found.parts[0].verdict is (Verdict.CANNOT_TELL if reason else Verdict.SLOWER)
        assert (found.typical_ratio() is None) is bool(reason)


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.04, "same"), (0.97, "same"), (1.2, "slower"), (0.8, "faster")]
)
def test_a_few_percent_between_two_processes_are_no_difference(factor: float, verdict: str) -> None:
    key = made_up.chain([4]).parts[0].key
    before, after = (LatencyTable(made_up.setting(), {key: made_up.cell(s)}) for s in (1e-3, factor * 1e-3))
    (part,) = compare_tables(before, after).parts
    assert part.verdict is not None and part.verdict.value == verdict


def test_tables_without_a_common_part() -> None:
    before = LatencyTable(made_up.setting(), {made_up.chain([4]).parts[0].key: made_up.cell(1e-3)})
    after = LatencyTable(made_up.setting(), {})
    assert compare_tables(before, before).fields == ()
    assert compare_tables(LatencyTable(made_up.setting(), {}), after).typical_ratio() is None
