from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.timing import Comparison, Rule, Verdict
from bench.wire import (
    comparison_from_json,
    comparison_to_json,
    measurement_from_json,
    measurement_to_json,
    read_arrays,
    rule_from_json,
    rule_to_json,
    write_arrays,
)
from latency_tables.diagnosis import diagnose
from latency_tables.estimate import Estimate
from latency_tables.measurement import Measurement, Stop


def through_text(data: object) -> dict[str, object]:
    result: dict[str, object] = json.loads(json.dumps(data, allow_nan=False))
    return result


@given(
    samples=st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=30),
    stop=st.sampled_from(Stop),
    dropped=st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=2),
)
def test_measurements_survive(samples: list[float], stop: Stop, dropped: dict[str, int]) -> None:
    sent = Measurement(
        tuple(samples), 4, stop, "2026-01-01T00:00:00+00:00", dropped, 3, {"foreign_cores": None}
    )
    assert measurement_from_json(through_text(measurement_to_json(sent))) == sent


def test_comparisons_survive_with_open_ends() -> None:
    for ratio in (Estimate(0.5, 0.25, 0.75), Estimate(1.0, -math.inf, math.inf)):
        found = diagnose(np.linspace(1, 2, 30))
        assert found
        sent = Comparison(ratio, Verdict.CANNOT_TELL, 9, found)
        assert comparison_from_json(through_text(comparison_to_json(sent))) == sent


def test_rules_survive() -> None:
    sent = Rule(target=0.005, max_rounds=7)
    assert rule_from_json(through_text(rule_to_json(sent))) == sent


def test_arrays_keep_order_and_type(tmp_path: Path) -> None:
    sent = [np.array([index], dtype) for index, dtype in enumerate(["f4", "i8", "?"] * 5)]
    write_arrays(tmp_path / "a.npz", sent)
    received = read_arrays(tmp_path / "a.npz")
    assert [array.dtype for array in received] == [array.dtype for array in sent]
    assert [array.tolist() for array in received] == [array.tolist() for array in sent]
