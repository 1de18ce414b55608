"""What the experiment on closure makes of a table: held-out plans, and what each form predicts of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import made_up
import numpy as np
import pytest
import test_costs as over_widths
from closure import held_out
from closure_forms import AS_THEY_ARE, IN_USE, Case, judge, rivals

from latency_tables.closure import Closure
from latency_tables.costs import Costs
from latency_tables.skeleton import Cut
from latency_tables.table import LatencyTable

SKELETON = made_up.chain([4, 5, 6, 7])
LATENCIES = {part.key: 1e-4 * (1 + index) for index, part in enumerate(SKELETON.parts)}
FITTED = [set(), {"block0"}, {"block1", "block3"}, {"block0", "block1", "block2"}]
PLANS = [Cut(("block2",)), Cut(("block0", "block3"))]
A_LINE = "a line over layers weighted by kind and width"
NODES = "layers as the runtime times its nodes"
NO_WEIGHTS = "without the term for weights"


def latency_s(removed: Sequence[str] | set[str]) -> float:
    """A world in which a constant stands beside the parts, so that these are not all there is."""
    blocks = sum(LATENCIES[b.part.key] for b in SKELETON.blocks if b.name not in removed)
    return 1e-3 + blocks + sum(LATENCIES[x.part.key] for x in SKELETON.layers if x.block is None)


def table(passes: int = 2, unpruned: Sequence[float] = ()) -> LatencyTable:
    """Fitted networks, and the held-out ones so often.

    Args:
        passes: over the held-out plans.
        unpruned: by how much the unpruned network was slower beside each of their timings; none: not at all.
    """
    whole = latency_s(set())
    known = [made_up.network(SKELETON, sorted(some), latency_s(some), whole) for some in FITTED]
    timed = [plan for _ in range(passes) for plan in PLANS]
    for plan, slower in zip(timed, unpruned or [1.0] * len(timed), strict=True):
        taken = latency_s(plan.removed) * slower, whole * slower
        known.append(made_up.network(SKELETON, plan.removed, *taken, role="closure"))
    return made_up.table(SKELETON, LATENCIES, known)


@pytest.mark.parametrize("plans", [[], PLANS, [*PLANS, Cut(("block1",))]])
def test_what_was_not_timed_twice_is_not_judged(plans: list[Cut]) -> None:
    passes = 1 if plans == PLANS else 2
    assert judge("chain", SKELETON, table(passes), plans, None) is None


def test_a_world_that_is_a_line_is_told_by_every_form_with_a_slope() -> None:
    known = table()
    other = made_up.chain([9])
    cells = {**known.cells, other.parts[0].key: made_up.cell(1.0)}
    judged = judge("chain", SKELETON, LatencyTable(known.setting, cells, known.networks), PLANS, None)
    assert judged is not None
    for form in (IN_USE, NO_WEIGHTS, "one slope", "blocks and widths apart", A_LINE):
        assert judged.closures[form].rms_error < 1e-9, form
    assert judged.closures[AS_THEY_ARE].mean_abs_error > 0.05
    assert NODES not in judged.closures
    assert judged.closures[IN_USE].rms_noise == 0.0
    assert [network.cut for network in judged.closures[IN_USE].networks] == PLANS
    assert (judged.full_cells, judged.cells) == (len(SKELETON.parts), len(SKELETON.parts) + 1)
    assert judged.freed.shape == (len(PLANS), len(judged.slopes))
    assert judged.slow == 0.0


def test_timings_of_slow_minutes_are_counted_and_third_ones_left_out() -> None:
    judged = judge("chain", SKELETON, table(3, [1.0, 1.1, 1.0, 1.0, 1.2, 1.2]), PLANS, None)
    assert judged is not None
    assert judged.slow == 0.25


def test_every_form_is_fitted_on_one_ratio_of_each_network_however_often_it_was_timed() -> None:
    whole_s, alone_s = latency_s(set()), latency_s({"block0"})

    def judged(*factors: float) -> dict[str, Closure]:
        known = table()
        others = [network for network in known.networks if network.removed != ("block0",)]
        passes = [made_up.network(SKELETON, ["block0"], alone_s * factor, whole_s) for factor in factors]
        found = judge("chain", SKELETON, replace(known, networks=(*others, *passes)), PLANS, None)
        assert found is not None
        return found.closures

    once, thrice = judged(1.02), judged(0.9, 1.02, 1.05)
    for form, closure in once.items():
        predicted = [network.predicted.value for network in closure.networks]
        again = [network.predicted.value for network in thrice[form].networks]
        assert again == pytest.approx(predicted), form


def case(nodes: np.ndarray | None = None) -> Case:
    costs = Costs(SKELETON, table())
    fitted = [Cut.of(some) for some in FITTED if some]
    ratios = np.array([latency_s(cut.removed) / latency_s(()) for cut in fitted])
    return Case(SKELETON, costs, fitted, ratios, PLANS, nodes)


def test_nodes_that_say_what_the_parts_say_change_nothing() -> None:
    seconds = np.array(case().costs.layers_s)
    every = rivals(case(np.append(seconds, 0.0)))
    hidden = np.arange(len(seconds)) % 3 == 2
    some = rivals(case(np.append(np.where(hidden, np.nan, seconds), seconds[hidden].sum())))
    np.testing.assert_allclose(every[NODES], every[NO_WEIGHTS])
    np.testing.assert_allclose(some[NODES], every[NO_WEIGHTS])


def test_a_runtime_that_sees_its_nodes_elsewhere_is_listened_to() -> None:
    seconds = np.array(case().costs.layers_s)
    block2 = np.array([layer.block == "block2" for layer in SKELETON.layers])
    found = rivals(case(np.append(np.where(block2, 2 * seconds, seconds), 0.0)))
    assert found[NODES][0] < found[NO_WEIGHTS][0] - 0.05


def test_layers_that_weigh_more_where_they_are_narrow_are_learnt_from_uniform_networks() -> None:
    heavier = {1.0: 1.0, 0.75: 1.1, 0.5: 1.2}

    def sum_s(removed: set[str], share: float) -> float:
        layers_s = {
            name: heavier[share] * over_widths.layer_s(int(share * full))
            for name, full in over_widths.FULL.items()
            if name not in removed
        }
        return over_widths.layer_s(over_widths.HEAD) + sum(
            1.5 * (2e-5 + 2 * own) for own in layers_s.values()
        )

    def cut(removed: set[str], share: float) -> Cut:
        return Cut.of(removed, {name: int(share * full) for name, full in over_widths.FULL.items()})

    networks = [(set[str](), 0.75), (set[str](), 0.5), ({"block0"}, 1.0)]
    cuts = [cut(*network) for network in networks]
    ratios = np.array([sum_s(*network) for network in networks]) / sum_s(set(), 1.0)
    costs = Costs(over_widths.SKELETON, over_widths.table())
    asked = Case(over_widths.SKELETON, costs, cuts, ratios, [cut({"block1"}, 0.5)], None)
    found, truth = rivals(asked), sum_s({"block1"}, 0.5) / sum_s(set(), 1.0)
    assert found[A_LINE][0] == pytest.approx(truth, rel=0.015)
    assert abs(found[AS_THEY_ARE][0] / truth - 1) > 0.08


def fitted_on(plans: Sequence[Cut], role: str = "fit") -> LatencyTable:
    return made_up.table(
        SKELETON, LATENCIES, [made_up.network(SKELETON, plan.removed, 1.0, 2.0, role) for plan in plans]
    )


def test_plans_are_held_out_of_the_fit_and_always_the_same() -> None:
    plans = held_out(SKELETON, fitted_on([]), 6)
    assert len(set(plans)) == 6
    assert held_out(SKELETON, fitted_on(plans, "closure"), 6) == plans
    left = [plan for plan in plans if plan not in (plans[0], plans[3])]
    others = held_out(SKELETON, fitted_on([plans[0], plans[3]]), 6)
    assert others[:4] == left
    assert len(set(others)) == 6
    assert not {plans[0], plans[3]} & set(others)


def test_a_network_with_few_plans_has_fewer() -> None:
    small = made_up.chain([4])
    assert held_out(small, LatencyTable(made_up.setting(), {}), 5) == [Cut(("block0",))]
