from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.trace import MAX_SAMPLES, Trace, thinned


@given(st.integers(0, 1000), st.integers(2, 60))
def test_thinning_keeps_order_ends_and_even_steps(count: int, most: int) -> None:
    kept = thinned(range(count), most)
    assert len(kept) == min(count, most)
    assert list(kept) == sorted(set(kept))
    if count:
        assert (kept[0], kept[-1]) == (0, count - 1)
    if count > most:
        gaps = {b - a for a, b in itertools.pairwise(kept)}
        assert max(gaps) - min(gaps) <= 1


def test_a_trace_keeps_the_true_counts_and_survives_json() -> None:
    trace = Trace.of([1e-3 + i * 1e-6 for i in range(1000)], [2e-3, 2.1e-3])
    assert (len(trace.pruned_s), trace.pruned_taken, trace.unpruned_s) == (MAX_SAMPLES, 1000, (2e-3, 2.1e-3))
    assert Trace.from_json(json.loads(json.dumps(trace.to_json()))) == trace


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((), (1.0,), 0, 1), "pruned_s must hold 1 to 400 samples, got 0"),
        (((1.0,), (1.0,) * 401, 1, 401), "unpruned_s must hold 1 to 400 samples, got 401"),
        (((1.0, 0.0), (1.0,), 2, 1), "finite times above 0"),
        (((1.0,), (float("inf"),), 1, 1), "finite times above 0"),
        (((1.0, 2.0), (1.0,), 1, 1), "pruned_taken must be at least the 2 kept, got 1"),
    ],
)
def test_a_wrong_trace_is_refused(arguments, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Trace(*arguments)
