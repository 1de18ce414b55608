from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import made_up
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.context import coefficients
from latency_tables.errors import LatheError, UserError
from latency_tables.estimate import Estimate
from latency_tables.prediction import predict
from latency_tables.skeleton import Cut
from latency_tables.table import Failure, LatencyTable, NetworkMeasurement

SKELETON = made_up.chain([4, 5, 6, 7])
LATENCIES = {part.key: 1e-4 * (1 + index) for index, part in enumerate(SKELETON.parts)}


def raw_s(removed: set[str]) -> float:
    """Blocks and outer layers timed alone, summed."""
    blocks = sum(LATENCIES[b.part.key] for b in SKELETON.blocks if b.name not in removed)
    return blocks + sum(LATENCIES[layer.part.key] for layer in SKELETON.layers if layer.block is None)


def world(a_s: float, b: float, sets: list[set[str]]) -> LatencyTable:
    """A table from a world in which T = a + b * sum holds exactly."""
    whole = a_s + b * raw_s(set())
    measured = [made_up.network(SKELETON, sorted(s), a_s + b * raw_s(s), whole) for s in sets]
    return made_up.table(SKELETON, LATENCIES, measured)


SETS = [set(), {"block0"}, {"block1", "block3"}, {"block0", "block1", "block2"}]


@given(st.floats(0, 1e-3), st.floats(0.5, 2.0), st.sets(st.sampled_from(SKELETON.removable)))
def test_a_world_that_is_a_line_is_predicted_exactly(a_s: float, b: float, removed: set[str]) -> None:
    prediction = predict(SKELETON, world(a_s, b, SETS), removed)
    assert prediction.latency_s.value == pytest.approx(a_s + b * raw_s(removed), rel=1e-9)
    assert prediction.fit.residual < 1e-9


@given(st.sets(st.sampled_from(SKELETON.removable)))
def test_shares_and_search_and_prediction_agree(removed: set[str]) -> None:
    table = world(1e-4, 1.3, SETS)
    prediction = predict(SKELETON, table, removed)
    kept = math.fsum(share.context_s for share in prediction.shares if share.kept)
    assert kept + prediction.constant_s == pytest.approx(prediction.latency_s.value, rel=1e-9)
    assert coefficients(SKELETON, table).latency_s(removed) == pytest.approx(
        prediction.latency_s.value, rel=1e-9
    )


def test_layers_of_a_block_add_up_to_the_block() -> None:
    fit = coefficients(SKELETON, world(0.0, 1.0, [set()]))
    within = math.fsum(
        share for layer, share in zip(SKELETON.layers, fit.layers_s(), strict=True) if layer.block == "block1"
    )
    assert within == pytest.approx(LATENCIES[SKELETON.blocks[1].part.key])


def test_scatter_widens_the_interval_and_one_network_bounds_nothing() -> None:
    whole = raw_s(set())
    noisy = [
        made_up.network(SKELETON, sorted(s), raw_s(s) * factor, whole)
        for s, factor in zip(SETS, [1.0, 1.03, 0.97, 1.05], strict=True)
    ]
    tight = predict(SKELETON, world(0.0, 1.0, SETS), {"block2"}).latency_s
    wide = predict(SKELETON, made_up.table(SKELETON, LATENCIES, noisy), {"block2"}).latency_s
    alone = predict(SKELETON, world(0.0, 1.0, [set()]), {"block2"}).latency_s
    assert wide.high - wide.low > 1.5 * (tight.high - tight.low)
    assert math.isinf(alone.high)


def test_the_line_can_be_led_through_one_measurement() -> None:
    table = world(0.0, 1.0, SETS)
    removed = ("block1", "block2")
    seen = made_up.network(SKELETON, removed, 1.1 * raw_s(set(removed)), raw_s(set()))
    fit = coefficients(SKELETON, table, through=seen)
    assert fit.latency_s(removed) == pytest.approx(seen.latency_s.value, rel=1e-9)


def test_a_network_timed_often_counts_once() -> None:
    whole = raw_s(set())
    lucky = made_up.network(SKELETON, ["block0"], raw_s({"block0"}) * 0.9, whole)
    table = world(0.0, 1.0, SETS[:1] + SETS[2:])
    once = LatencyTable(table.setting, table.cells, (*table.networks, lucky))
    often = LatencyTable(table.setting, table.cells, (*table.networks, *[lucky] * 50))
    assert coefficients(SKELETON, once) == coefficients(SKELETON, often)


def test_the_unpruned_latency_is_the_median_of_the_last_passes_in_the_hull_of_their_intervals() -> None:
    def timed(value_s: float, low_s: float, high_s: float) -> NetworkMeasurement:
        network = made_up.network(SKELETON, [], value_s, value_s)
        return replace(network, unpruned_s=Estimate(value_s, low_s, high_s))

    old = timed(9e-3, 1e-6, 9.0)  # the thirteenth from the end
    passes = [timed(1e-3 * (1 + k), 1e-3 * (1 + k) - 1e-5, 1e-3 * (1 + k) + 2e-5) for k in range(12)]
    table = made_up.table(SKELETON, LATENCIES, [old, *passes])
    found = coefficients(SKELETON, table).unpruned_s
    assert found.to_json() == pytest.approx([6.5e-3, 1e-3 - 1e-5, 12e-3 + 2e-5])


@pytest.mark.parametrize("spoiled", [{"far": True}, {"disturbance": "foreign load"}])
def test_the_cores_two_modes_are_no_interval(spoiled: dict[str, Any]) -> None:
    def table(*values_s: float, **changes: Any) -> LatencyTable:
        passes = [made_up.network(SKELETON, [], value_s, value_s) for value_s in values_s]
        bad = [replace(made_up.network(SKELETON, [], 5e-3, 5e-3), **changes)]
        return made_up.table(SKELETON, LATENCIES, [*passes, *bad])

    assert coefficients(SKELETON, table(1e-3, 2e-3)).unpruned_s.high == 5e-3
    assert coefficients(SKELETON, table(1e-3, 2e-3, **spoiled)).unpruned_s.to_json() == [1.5e-3, 1e-3, 2e-3]
    assert coefficients(SKELETON, table(**spoiled)).unpruned_s.value == 5e-3, "there is nothing else"


@pytest.mark.parametrize("spoiled", [{"far": True}, {"disturbance": "foreign load"}])
def test_a_fit_listens_to_what_was_spoiled_only_where_it_has_nothing_else(spoiled: dict[str, Any]) -> None:
    table = world(0.0, 1.0, SETS)
    wrong = made_up.network(SKELETON, SETS[1], 0.5 * raw_s(set(SETS[1])), raw_s(set()))
    with_it = [
        LatencyTable(table.setting, table.cells, (*table.networks, *[replace(wrong, **changes)] * 5))
        for changes in (spoiled, {})
    ]
    assert coefficients(SKELETON, with_it[0]) == coefficients(SKELETON, table)
    assert coefficients(SKELETON, with_it[1]) != coefficients(SKELETON, table)
    others = tuple(network for network in table.networks if set(network.removed) != set(SETS[1]))
    alone = LatencyTable(table.setting, table.cells, (*others, replace(wrong, **spoiled)))
    assert (
        coefficients(SKELETON, alone).slopes
        == coefficients(SKELETON, LatencyTable(table.setting, table.cells, (*others, wrong))).slopes
    )


def test_a_prediction_can_be_made_blind_to_the_network_itself() -> None:
    table = world(0.0, 1.0, SETS)
    lie = made_up.network(SKELETON, ["block2"], 0.5 * raw_s({"block2"}), raw_s(set()))
    with_lie = LatencyTable(table.setting, table.cells, (*table.networks, lie))
    blind = coefficients(SKELETON, with_lie, blind_to=Cut(("block2",)))
    assert blind == coefficients(SKELETON, table)
    assert blind != coefficients(SKELETON, with_lie)


def test_two_networks_that_differ_in_names_only_are_kept_apart() -> None:
    import dataclasses

    renamed = dataclasses.replace(
        SKELETON, blocks=tuple(dataclasses.replace(b, name=f"x.{b.name}") for b in SKELETON.blocks)
    )
    assert renamed.digest != SKELETON.digest


def test_closure_networks_are_never_fitted_on() -> None:
    lie = made_up.network(SKELETON, ["block0"], 99.0, 100.0, role="closure")
    table = world(0.0, 1.0, SETS)
    with_lie = LatencyTable(table.setting, table.cells, (*table.networks, lie))
    assert coefficients(SKELETON, with_lie) == coefficients(SKELETON, table)


def test_unknown_latencies_are_errors_never_zero() -> None:
    table = world(0.0, 1.0, SETS)
    key = SKELETON.parts[0].key
    without = LatencyTable(table.setting, {k: v for k, v in table.cells.items() if k != key}, table.networks)
    with pytest.raises(UserError, match="no cell"):
        predict(SKELETON, without)
    broken = LatencyTable(
        table.setting, {**table.cells, key: Failure("killed by SIGSEGV", "")}, table.networks
    )
    with pytest.raises(LatheError, match="SIGSEGV"):
        predict(SKELETON, broken)


@given(st.sets(st.sampled_from(SKELETON.removable)))
def test_with_nothing_timed_whole_parts_are_added_up_and_no_budget_is_met(removed: set[str]) -> None:
    table = made_up.table(SKELETON, LATENCIES)
    prediction = predict(SKELETON, table, removed)
    assert prediction.latency_s.value == pytest.approx(raw_s(removed))
    assert (prediction.latency_s.low, prediction.latency_s.high) == (-math.inf, math.inf)
    assert not prediction.fit.timed
    kept = math.fsum(share.context_s for share in prediction.shares if share.kept)
    assert kept == pytest.approx(raw_s(removed))
    assert prediction.constant_s == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(UserError, match="no measurement of the whole network"):
        coefficients(SKELETON, table)


def test_removal_that_frees_nothing_is_said() -> None:
    whole = raw_s(set())
    slower = [made_up.network(SKELETON, ["block0"], whole * 1.1, whole)]
    with pytest.raises(LatheError, match="no faster"):
        predict(SKELETON, made_up.table(SKELETON, LATENCIES, slower))


def test_a_block_that_is_none_is_named_with_its_neighbours() -> None:
    with pytest.raises(UserError, match="Did you mean 'block1'"):
        predict(SKELETON, world(0.0, 1.0, SETS), ["blok1"])
