"""What a slow minute is, and that fits do not listen to it."""

from __future__ import annotations

from dataclasses import replace

import made_up
import pytest

from latency_tables.context import coefficients
from latency_tables.skeleton import Skeleton
from latency_tables.slow_minutes import SLOW_BY, is_slow, quick_latency_s
from latency_tables.table import LatencyTable, NetworkMeasurement

SKELETON = made_up.chain([4, 5, 6, 7])
LATENCIES = {part.key: 1e-4 for part in SKELETON.parts}
WHOLE_S = 1e-4 * (len(SKELETON.blocks) + sum(layer.block is None for layer in SKELETON.layers))


def timed(removed: list[str], unpruned_s: float, skeleton: Skeleton = SKELETON) -> NetworkMeasurement:
    """Slow minutes weigh on the unpruned network alone."""
    return made_up.network(skeleton, removed, WHOLE_S - 1e-4 * len(removed), unpruned_s)


def table(*networks: NetworkMeasurement) -> LatencyTable:
    return made_up.table(SKELETON, LATENCIES, networks)


def test_nothing_is_slow_where_nothing_was_timed() -> None:
    assert quick_latency_s(SKELETON, table()) is None
    assert not is_slow(timed([], 1.0), None)


def test_the_level_is_that_of_the_quickest_timings_of_this_network_whatever_their_role() -> None:
    other = replace(timed([], 1e-9), skeleton="of another network")
    passes = [timed([], 1e-3 * (1 + k / 100)) for k in range(21)]
    level = quick_latency_s(SKELETON, table(other, *(replace(n, role="closure") for n in passes)))
    assert level == pytest.approx(1.02e-3)
    assert not is_slow(timed([], 1e-3 * 1.02 * (1 + SLOW_BY) * 0.999), level)
    assert is_slow(timed([], 1e-3 * 1.02 * (1 + SLOW_BY) * 1.001), level)


def test_old_timings_make_no_level() -> None:
    level = quick_latency_s(SKELETON, table(*[timed([], 1e-3)] * 50, *[timed([], 2e-3)] * 100))
    assert level == pytest.approx(2e-3)


def test_a_fit_listens_to_slow_minutes_only_where_it_has_nothing_else() -> None:
    good = [timed([], WHOLE_S)] * 5 + [timed(["block0"], WHOLE_S), timed(["block1", "block2"], WHOLE_S)]
    bad = [timed(["block0"], 1.3 * WHOLE_S)] * 3
    assert coefficients(SKELETON, table(*good, *bad)).slopes == pytest.approx(
        coefficients(SKELETON, table(*good)).slopes
    )
    alone = [timed([], WHOLE_S)] * 5 + [timed(["block3"], 1.3 * WHOLE_S)] * 3
    assert coefficients(SKELETON, table(*alone)).slope > 1.2
