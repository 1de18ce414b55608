"""A made-up network whose layers cost what a formula says: sums, interpolation and predictions over widths."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import made_up
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.context import Coefficients, coefficients, fit_slopes
from latency_tables.costs import SUMMED, WAYS, Costs, Origin
from latency_tables.errors import LatheError, UserError
from latency_tables.estimate import Estimate
from latency_tables.measurement import FACTS, REORDERING, Measurement
from latency_tables.prediction import predict
from latency_tables.table import Failure, LatencyTable, NetworkMeasurement

SKELETON = made_up.chain([64, 64, 128], grouped=True)
ANCHORS = (16, 48, 64, 96, 128)
HEAD = 3
FULL = {"block0": 64, "block1": 64, "block2": 128}


def layer_s(width: int) -> float:
    """One linear layer with a hidden width."""
    return 1e-5 + 1e-7 * width


def table(
    networks: tuple[NetworkMeasurement, ...] = (),
    anchors: tuple[int, ...] = ANCHORS,
    layer_s: Callable[[int], float] = layer_s,
) -> LatencyTable:
    """Cells of the three layers of a block at each anchor; blocks cost 1.5 times their layers."""
    latencies: dict[str, float] = {}
    for width in anchors:
        widths = {name: min(full, width) for name, full in FULL.items()}
        for layer in SKELETON.narrowed(widths).layers:
            hidden = 0 if layer.block is None else widths[layer.block]
            # The head is a linear layer of the same family as the first of each block.
            latencies[layer.part.key] = 2e-5 if layer.name.endswith("c") else layer_s(hidden or HEAD)
    for block in SKELETON.blocks:
        latencies[block.part.key] = 1.5 * (2e-5 + 2 * layer_s(FULL[block.name]))
    cells = {key: made_up.cell(latency_s) for key, latency_s in latencies.items()}
    return LatencyTable(made_up.setting(), cells, networks)


def sum_s(removed: set[str], widths: dict[str, int]) -> float:
    """By hand."""
    every = FULL | widths
    return layer_s(HEAD) + sum(
        1.5 * (2e-5 + 2 * layer_s(width)) for name, width in every.items() if name not in removed
    )


plans = st.tuples(
    st.sets(st.sampled_from(sorted(FULL))),
    st.fixed_dictionaries({}, optional={n: st.integers(16, full) for n, full in FULL.items()}),
)


@given(plans)
def test_sums_are_those_made_by_hand(plan: tuple[set[str], dict[str, int]]) -> None:
    assert Costs(SKELETON, table()).total_s(*plan) == pytest.approx(sum_s(*plan))


@given(st.lists(plans, min_size=1, max_size=5))
def test_many_plans_at_once_are_the_same(several: list[tuple[set[str], dict[str, int]]]) -> None:
    costs = Costs(SKELETON, table())
    widths = np.array([list((FULL | chosen).values()) for _, chosen in several])
    many = costs.freed_by_many([removed for removed, _ in several], widths)
    np.testing.assert_allclose(many, [costs.freed(*plan) for plan in several], rtol=1e-12)


def telling(shares: Mapping[str, object]) -> LatencyTable:
    """The same table, each of these cells with the share of its time that only lays tensors out anew."""
    found = table()
    cells = {
        key: replace(cell, host={FACTS: {REORDERING: shares[key]}}) if key in shares else cell
        for key, cell in found.cells.items()
        if isinstance(cell, Measurement)
    }
    return replace(found, cells=cells)


@given(plans)
def test_what_a_part_only_lays_out_anew_alone_is_left_out(plan: tuple[set[str], dict[str, int]]) -> None:
    removed, widths = plan
    blocks = {block.part.key for block in SKELETON.blocks}
    shares = {part.key: 0.2 if part.key in blocks else 0.5 for part in SKELETON.parts}
    told, plain = Costs(SKELETON, telling(shares)), Costs(SKELETON, table())
    head = layer_s(HEAD)
    expected = 0.5 * head + 0.8 * (sum_s(removed, widths) - head)
    assert told.total_s(removed, widths) == pytest.approx(expected)
    assert told.blocks_s == pytest.approx({name: 0.8 * own_s for name, own_s in plain.blocks_s.items()})
    # What is shown of a layer alone stays as it was measured; at widths whose cells do not tell, the share at full
    # width is left out.
    for place, (one, other) in enumerate(zip(told.layers_at(widths), plain.layers_at(widths), strict=True)):
        narrower = SKELETON.narrowed(widths).layers[place].part != SKELETON.layers[place].part
        assert one.alone_s == pytest.approx(other.alone_s * (0.5 if narrower else 1.0))
    del shares[SKELETON.layers[0].part.key]
    assert Costs(SKELETON, telling(shares)).total_s(removed, widths) == plain.total_s(removed, widths)


@pytest.mark.parametrize("share", [-0.1, 1.0, math.nan, math.inf, "half", [0.5]])
def test_a_share_that_is_none_is_refused(share: object) -> None:
    shares = dict.fromkeys((part.key for part in SKELETON.parts), 0.1) | {SKELETON.parts[0].key: share}
    with pytest.raises(LatheError, match=r"laying out tensors; expected a number from 0 to below 1"):
        Costs(SKELETON, telling(shares))


def test_each_width_leaves_out_its_own_share() -> None:
    narrower = SKELETON.narrowed({"block2": 96}).layers[6].part
    assert narrower != SKELETON.layers[6].part
    shares = dict.fromkeys((part.key for part in SKELETON.parts), 0.5)
    block_s, within_s = 1.5 * 2 * layer_s(128), 2 * layer_s(128)
    for own in (0.1, 0.7):
        costs = Costs(SKELETON, telling({**shares, narrower.key: own}))
        cost = {cost.name: cost for cost in costs.layers_at({"block2": 96})}[SKELETON.layers[6].name]
        assert cost.origin is Origin.MEASURED
        assert cost.scaled_s == pytest.approx((1 - own) * layer_s(96) * block_s / within_s)
    # Where a part at full width does not tell, no share is left out anywhere.
    untold = {key: share for key, share in shares.items() if key != SKELETON.parts[0].key}
    plain = Costs(SKELETON, telling({**untold, narrower.key: 0.7}))
    assert plain.total_s((), {"block2": 96}) == Costs(SKELETON, table()).total_s((), {"block2": 96})


def test_what_was_not_measured_is_refused_by_name() -> None:
    costs = Costs(SKELETON, table())
    with pytest.raises(
        UserError, match=r"2 layers of chain .*\(block1.a, block1.b\).*lathe profile --widths"
    ):
        costs.total_s((), {"block1": 15})
    assert costs.total_s({"block1"}, {"block1": 15}) == pytest.approx(sum_s({"block1"}, {}))
    with pytest.raises(UserError, match="channel group"):
        costs.total_s((), {"block9": 4})
    origins = {cost.name: cost.origin for cost in costs.layers_at({"block0": 30, "block1": 15, "block2": 96})}
    assert origins["block0.a"] is Origin.INTERPOLATED
    assert origins["block1.b"] is Origin.MISSING
    assert origins["block2.a"] is origins["head"] is Origin.MEASURED


def measured(removed: set[str], widths: dict[str, int], slope: float) -> NetworkMeasurement:
    """In a world where the network loses ``slope`` of what its parts lose."""
    ratio = 1 - slope * (1 - sum_s(removed, widths) / sum_s(set(), {}))
    known = made_up.network(SKELETON, sorted(removed), ratio * 1e-3, 1e-3)
    return replace(known, widths=tuple(sorted(widths.items())))


WORLD = [({"block0"}, {}), (set(), {"block2": 40}), ({"block1"}, {"block0": 16, "block2": 100})]


@given(plans, st.floats(0.4, 1.3))
def test_a_world_that_is_a_line_is_predicted_over_widths(
    plan: tuple[set[str], dict[str, int]], slope: float
) -> None:
    known = (measured(set(), {}, slope), *(measured(*some, slope) for some in WORLD))
    prediction = predict(SKELETON, table(known), *plan)
    expected = measured(*plan, slope)
    assert prediction.latency_s.value == pytest.approx(expected.latency_s.value, rel=1e-9)
    kept = math.fsum(share.context_s for share in prediction.shares if share.kept)
    assert kept + prediction.constant_s == pytest.approx(prediction.latency_s.value, rel=1e-9)
    assert prediction.fit.latency_s(*plan) == pytest.approx(prediction.latency_s.value, rel=1e-12)


def test_interpolation_is_charged_to_the_interval() -> None:
    known = (measured(set(), {}, 1.0), *(measured(*some, 1.0) for some in WORLD))
    with_probes = table(known, (16, 64, 128))
    wrong = SKELETON.narrowed({"block2": 30}).layers[6].part
    cells = {**with_probes.cells, wrong.key: made_up.cell(layer_s(30) * 1.2)}
    fit = coefficients(SKELETON, replace(with_probes, cells=cells))
    # Left out in turn: of the first layers 16, 30 and 64 between their neighbours, of the second ones 64 alone.
    assert 0.01 < fit.costs.interpolation_error["linear"] < 1 - 1 / 1.2
    narrow, wide = fit.interval((), {"block2": 128}), fit.interval((), {"block2": 90})
    assert wide.high - wide.low > narrow.high - narrow.low


def test_a_width_on_a_measured_step_has_that_steps_spread() -> None:
    def on_stairs_s(width: int) -> float:
        return (1e-5 + 1e-7 * 16 * math.ceil(width / 16)) * (1.01 if width % 8 else 0.99)

    known = (measured(set(), {}, 1.0), *(measured(*some, 1.0) for some in WORLD))
    stepped = table(known, (*range(16, 65, 4), 128), on_stairs_s)
    fit = coefficients(SKELETON, stepped)
    assert fit.costs.step_error["linear"] == pytest.approx(0.01, rel=0.2)
    itself, beside = (
        {cost.name: cost for cost in fit.costs.layers_at({"block2": width})}["block2.a"] for width in (60, 58)
    )
    assert itself.origin is beside.origin is Origin.MEASURED
    assert (itself.error, beside.error) == (0.0, fit.costs.step_error["linear"])
    narrow, wide = fit.interval((), {"block2": 60}), fit.interval((), {"block2": 58})
    assert wide.high - wide.low > narrow.high - narrow.low


def test_errors_of_one_family_add_up_and_those_of_two_are_independent() -> None:
    exact = SKELETON.narrowed({"block1": 40}).layers[4].part  # block1.b is measured there, block1.a is not
    known = table()
    costs = Costs(SKELETON, replace(known, cells={**known.cells, exact.key: made_up.cell(layer_s(40))}))
    costs.interpolation_error = {"linear": 0.1}
    widths = {"block0": 30, "block1": 40}
    of_first = 0.1 * 1.5 * (layer_s(30) + layer_s(40))  # block0.a and block1.a
    of_second = 0.1 * 1.5 * layer_s(30)  # block0.b
    assert costs.interpolation_spread_s(set(), widths) == pytest.approx(math.hypot(of_first, of_second))
    assert costs.interpolation_spread_s({"block0"}, widths) == pytest.approx(0.1 * 1.5 * layer_s(40))
    whole_s = sum_s(set(), {})
    fit = Coefficients(
        unpruned_s=Estimate(2e-3, 1.9e-3, 2.2e-3),
        costs=costs,
        slopes=(1.1, 0.9, 1.0, 0.0, 0.0),
        residual=0.0,
        scatter=0.01,
        spread=np.diag([0.0, 4.0, 0.0, 0.0, 0.0]),
        freedom=4.0,
    )
    freed = 1.5 * 2 * (2 * layer_s(64) - layer_s(30) - layer_s(40)) / whole_s
    value = 1 - 0.9 * freed
    of_fit = 2.7764451 * 0.01 * math.hypot(value, 2 * freed)  # Student's t for four degrees of freedom
    reach = math.hypot(of_fit, 1.96 * 1.1 * math.hypot(of_first, of_second) / whole_s)
    ratio = fit.ratio(set(), widths)
    assert ratio.to_json() == pytest.approx([value, value - reach, value + reach])
    # Below and above, the unpruned network's own interval joins it.
    low, high = (math.hypot(2e-3 * reach, value * own_s) for own_s in (0.1e-3, 0.2e-3))
    latency = fit.interval(set(), widths)
    assert latency.to_json() == pytest.approx([2e-3 * value, 2e-3 * value - low, 2e-3 * value + high])


def test_measured_widths_mean_nothing_to_a_skeleton_without_groups() -> None:
    known = (measured(set(), {}, 1.0), *(measured(*some, 1.0) for some in WORLD))
    plain = made_up.chain([64, 64, 128])
    assert coefficients(plain, table(known)).freedom == 0


@given(plans)
def test_what_a_plan_frees_is_parted_by_how_it_does_so(plan: tuple[set[str], dict[str, int]]) -> None:
    removed, widths = plan
    costs = Costs(SKELETON, table())
    freed = costs.freed(removed, widths)
    assert freed[0] * costs.whole_s == pytest.approx(sum_s(set(), {}) - sum_s(removed, {}))
    assert freed[:SUMMED].sum() * costs.whole_s == pytest.approx(sum_s(set(), {}) - sum_s(removed, widths))
    narrow = SKELETON.narrowed(widths)
    every = sum(layer.part.graph.weight_count for layer in SKELETON.layers)
    stay = sum(layer.part.graph.weight_count for layer in narrow.layers if layer.block not in removed)
    assert freed[4] == pytest.approx(1 - stay / every - freed[:SUMMED].sum())


def test_what_stands_between_two_steps_is_told_apart() -> None:
    swept = tuple(range(16, 65, 4))
    stepped = {w: 1e-5 + 1e-7 * 16 * math.ceil(w / 16) for w in (*swept, 96, 128)}
    cells = dict(table().cells)
    for width in (*swept, 96, 128):
        widths = {name: min(full, width) for name, full in FULL.items()}
        for layer in SKELETON.narrowed(widths).layers:
            if layer.block is not None and not layer.name.endswith("c"):
                cells[layer.part.key] = made_up.cell(stepped[widths[layer.block]])
    costs = Costs(SKELETON, replace(table(), cells=cells))
    on, off = costs.freed((), {"block2": 48}), costs.freed((), {"block2": 40})
    assert on[:3] == pytest.approx(off[:3])
    assert on[3] == 0.0 > off[3]
    assert costs.total_s((), {"block2": 40}) == pytest.approx(costs.total_s((), {"block2": 48}))


def seen(costs: Costs, removed: set[str], widths: dict[str, int], truth: np.ndarray) -> NetworkMeasurement:
    """A network as it would be measured if these were the slopes."""
    value = 1 - float(costs.freed(removed, widths) @ truth)
    return replace(measured(removed, widths, 1.0), ratio=Estimate(value, value, value))


UNIFORM = [{name: int(share * full) for name, full in FULL.items()} for share in (0.75, 0.5, 0.25)]


def test_that_widths_free_less_in_context_than_blocks_do_is_learnt_from_uniform_networks() -> None:
    truth = np.array([0.9, 0.7, 0.8, 0.0, 0.0])
    costs = Costs(SKELETON, table())
    known = [
        seen(costs, set(), {}, truth),
        seen(costs, {"block0"}, {}, truth),
        seen(costs, {"block1", "block2"}, {}, truth),
        *(seen(costs, set(), widths, truth) for widths in UNIFORM),
    ]
    fit = coefficients(SKELETON, table(tuple(known)))
    one = coefficients(SKELETON, table(tuple(known[:3])))
    for plan in [(set(), {"block2": 40}), ({"block0"}, {"block1": 20, "block2": 100}), (set(), UNIFORM[1])]:
        value = 1 - float(costs.freed(*plan) @ truth)
        errors = [abs(f.latency_s(*plan) / f.unpruned_s.value / value - 1) for f in (fit, one)]
        assert errors[0] < 0.01 and errors[0] < 0.5 * errors[1]
    assert fit.slope == pytest.approx(0.9, abs=0.005)


FIRST = np.eye(WAYS)[0]


@given(st.floats(0.7, 1.3), st.floats(0.2, 0.75))
def test_what_no_network_tells_of_widths_is_as_if_parts_in_context_added_up(
    slope: float, inside: float
) -> None:
    freed = np.outer([0.1, 0.2, 0.15], FIRST)
    slopes = fit_slopes(freed, 1 - slope * freed[:, 0], inside).slopes
    assert slopes[:2] == pytest.approx(slope)
    assert slopes[0] * inside + slopes[2] * (1 - inside) == pytest.approx(1.0)
    assert slopes[3:] == pytest.approx([0.0, 0.0])


def test_what_weights_cost_beyond_their_layers_is_learnt_and_shared_out() -> None:
    truth = np.array([0.95, 0.95, 0.95, 0.0, 0.06])
    costs = Costs(SKELETON, table())
    plans = [({"block0"}, {}), ({"block1"}, {}), ({"block2"}, {}), ({"block0", "block1"}, UNIFORM[1])]
    known = [seen(costs, set(), {}, truth), *(seen(costs, *plan, truth) for plan in plans)]
    fit = coefficients(SKELETON, table(tuple(known)))
    assert 0.01 < fit.slopes[-1] < 0.07
    # What a block frees beyond its latency, having many weights, is shared out, and the layers still add up.
    whole_s = fit.unpruned_s.value
    for name, saved_s in fit.saving_s.items():
        assert saved_s == pytest.approx(whole_s - fit.latency_s({name}), rel=1e-9)
        inside = [s for s, layer in zip(fit.layers_s(), SKELETON.layers, strict=True) if layer.block == name]
        assert sum(inside) == pytest.approx(saved_s, rel=1e-9)
    kept = sum(fit.layers_s({"block2": 40})) + fit.constant_s
    assert kept == pytest.approx(fit.latency_s((), {"block2": 40}), rel=1e-9)


def test_weights_are_never_said_to_save() -> None:
    freed = np.array([[0.1, 0.0, 0.0, 0.0, 0.2], [0.2, 0.0, 0.0, 0.0, -0.1], [0.3, 0.0, 0.0, 0.0, 0.2]])
    slopes = fit_slopes(freed, 1 - freed @ np.array([1.0, 1.0, 1.0, 0.0, -0.05]), 0.5).slopes
    assert slopes[-1] == 0.0
    alone = freed * [1.0, 1.0, 1.0, 1.0, 0.0]
    assert slopes == pytest.approx(
        fit_slopes(alone, 1 - freed @ np.array([1.0, 1.0, 1.0, 0.0, -0.05]), 0.5).slopes
    )


def test_networks_that_lack_no_block_say_little_of_what_a_block_saves() -> None:
    narrower = np.array([[0.0, 0.1, 0.2, 0.0, 0.0], [0.0, 0.15, 0.3, 0.0, 0.0], [0.0, 0.05, 0.12, 0.0, 0.0]])
    ratios = np.array([0.73, 0.6, 0.86])  # an unclear picture, off by a percent or two
    assert fit_slopes(narrower, ratios, 0.3).slopes[0] == pytest.approx(1.0, abs=0.1)
    # One that lacks a block decides.
    told = fit_slopes(np.vstack([narrower, 0.3 * FIRST]), np.append(ratios, 0.64), 0.3)
    assert told.slopes[0] == pytest.approx(1.2, abs=0.02)


def test_a_network_without_removable_blocks_is_fitted_by_its_widths_alone() -> None:
    freed = np.array([[0.0, 0.0, 0.3, 0.0, 0.0], [0.0, 0.0, 0.6, 0.0, 0.0]])
    slopes = fit_slopes(freed, 1 - 0.9 * freed[:, 2], 0.0).slopes
    assert slopes == pytest.approx([1.0, 1.0, 0.9, 0.0, 0.0], abs=0.005)


def test_where_next_to_nothing_is_outside_of_blocks_it_does_not_answer_for_them() -> None:
    freed = np.outer([0.5, 0.25], FIRST)
    for inside in (0.99, 1.0):
        slopes = fit_slopes(freed, 1 - 1.1 * freed[:, 0], inside).slopes
        assert slopes[0] == pytest.approx(1.1, abs=0.002)
        assert 0.5 < slopes[2] < 1.0


def test_what_was_tried_and_failed_is_told_with_its_reason() -> None:
    narrow = SKELETON.narrowed({"block1": 15})
    (first, second) = (layer.part for layer in narrow.layers if layer.name in ("block1.a", "block1.b"))
    cells = {**table().cells, first.key: Failure("the worker ended with signal SIGSEGV.", "")}
    costs = Costs(SKELETON, replace(table(), cells=cells))
    with pytest.raises(LatheError, match=r"failed: linear at 15: .* SIGSEGV\. .*--retry-failed") as caught:
        costs.total_s((), {"block1": 15})
    assert not isinstance(caught.value, UserError)
    assert "Run `lathe profile --widths` for it" not in str(caught.value)
    # What failed at another width may be why nothing is known here; this width was not tried.
    with pytest.raises(UserError, match=r"failed: linear at 15: .*--retry-failed"):
        costs.total_s((), {"block1": 14})
    assert first.key != second.key
