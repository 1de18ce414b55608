"""The tables of the page on closure."""

from __future__ import annotations

import made_up
import numpy as np
import pytest
from closure_forms import IN_USE, Judged
from closure_page import within

from latency_tables.closure import Closure, HeldOut
from latency_tables.skeleton import Cut


def judged(*errors: float) -> Judged:
    networks = tuple(
        HeldOut(Cut(), made_up.exact(1 + error), made_up.exact(1.0), made_up.exact(1.0)) for error in errors
    )
    return Judged("network", {IN_USE: Closure(networks)}, 0, 0, {}, np.zeros(0), np.zeros((0, 0)), 0.0)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_two_networks_and_ones_alike_have_no_interval(count: int) -> None:
    assert within([judged(0.01, 0.06)] * count, 0.05, 0.9) == "50% (wanted: 90%)"


def test_two_networks_that_differ_have_none_either() -> None:
    assert within([judged(0.01), judged(0.06)], 0.05, 0.9) == "50% (wanted: 90%)"


def test_an_interval_spans_what_networks_differ_by() -> None:
    assert within([judged(0.01), judged(0.06), judged(0.06)], 0.05, 0.9) == "33% (0% to 100%; wanted: 90%)"
