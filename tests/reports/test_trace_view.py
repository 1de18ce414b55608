from __future__ import annotations

import base64
import math

import made_up_runs as made
import pytest

from latency_tables.estimate import Estimate
from latency_tables.trace import Trace
from reports.trace_view import samples_each, trace_view


def test_samples_are_relative_to_their_own_median() -> None:
    point = made.point(trace=Trace.of([5.6e-3, 5.656e-3], [8.1e-3, 8.019e-3]))
    view = trace_view(point, 80)
    assert view is not None
    pruned, unpruned = view.strips
    assert pruned.samples == pytest.approx((0.0, 0.01))
    assert unpruned.samples == pytest.approx((0.0, -0.01))
    assert (pruned.low, pruned.high) == (pytest.approx(-0.04 / 5.6), pytest.approx(0.04 / 5.6))
    assert pruned.median == "5.60 ms (5.56–5.64)"
    assert (view.low, view.high) == pytest.approx((-0.01, 0.01))


def test_a_few_slow_samples_do_not_flatten_the_others_and_are_counted() -> None:
    times = [5.6e-3 * (1 + 0.001 * (i % 7)) for i in range(98)]
    view = trace_view(made.point(trace=Trace.of([*times, 8e-3, 9e-3], [8.1e-3])), 400)
    assert view is not None
    assert view.high < 0.02
    data = view.data()
    assert [strip["above"] for strip in data["strips"]] == [2, 0]
    steps = base64.b64decode(data["strips"][0]["samples"])
    assert list(steps[-2:]) == [255, 255]
    restored = [view.low + step / 255 * (view.high - view.low) for step in steps[:98]]
    assert restored == pytest.approx([t / 5.6e-3 - 1 for t in times], abs=(view.high - view.low) / 500)


def test_the_page_gets_fewer_samples_and_the_true_count() -> None:
    view = trace_view(made.point(trace=made.trace(5.6e-3, 8.1e-3, count=1000)), 30)
    assert view is not None
    assert [(len(strip.samples), strip.taken) for strip in view.strips] == [(30, 1000), (30, 1000)]


def test_samples_that_are_all_alike_still_have_a_scale() -> None:
    exact = Estimate(5.6e-3, 5.6e-3, 5.6e-3)
    view = trace_view(
        made.point(measured_s=exact, unpruned_s=exact, trace=Trace.of([5.6e-3] * 3, [5.6e-3] * 3)), 80
    )
    assert view is not None
    assert view.low < 0 < view.high


def test_an_unbounded_interval_has_no_end_to_draw() -> None:
    view = trace_view(made.point(measured_s=Estimate(5.6e-3, -math.inf, math.inf)), 80)
    assert view is not None
    assert (view.strips[0].low, view.strips[0].high) == (None, None)
    assert math.isfinite(view.low + view.high)


def test_what_is_not_known_is_not_drawn() -> None:
    assert trace_view(made.point(trace=None), 80) is None
    assert trace_view(made.point(unpruned_s=None), 80) is None


def test_many_points_have_fewer_samples_each() -> None:
    assert samples_each(1) == samples_each(500) == 80
    assert samples_each(2000) == 40
    assert samples_each(100_000) == 0
    assert samples_each(0) > 0
