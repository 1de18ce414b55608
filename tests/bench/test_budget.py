from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.budget import parse_budget
from latency_tables.errors import UserError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0.7x", 0.7e-2), ("8ms", 8e-3), ("850us", 850e-6), ("0.01s", 0.01), (" 8 MS ", 8e-3), (".5x", 0.5e-2)],
)
def test_budgets_are_read_as_written(text: str, seconds: float) -> None:
    assert parse_budget(text).seconds(1e-2) == pytest.approx(seconds)


@given(st.floats(0.01, 0.99))
def test_a_share_follows_the_unpruned_latency_and_a_time_does_not(share: float) -> None:
    assert parse_budget(f"{share:.4f}x").seconds(2.0) == pytest.approx(2 * float(f"{share:.4f}"))
    assert parse_budget("5ms").seconds(2.0) == 5e-3


@pytest.mark.parametrize(
    "text", ["", "fast", "0.7", "8 minutes", "-3ms", "nanms", "1e400ms", "0x", "1.5x", "0ms"]
)
def test_what_is_no_budget_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(UserError, match=re.escape(repr(text))):
        parse_budget(text)
