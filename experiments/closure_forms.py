"""Predictions of held-out networks, in the form in use and in simpler ones, beside what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latency_tables.closure import Closure, HeldOut
from latency_tables.context import coefficients, distinct_networks, fit_slopes
from latency_tables.costs import SUMMED, WAYS, Costs
from latency_tables.estimate import Estimate
from latency_tables.family import families
from latency_tables.skeleton import Cut, Layer, Skeleton
from latency_tables.slow_minutes import is_slow, quick_latency_s
from latency_tables.table import LatencyTable, NetworkMeasurement
from latency_tables.widths import full_widths

IN_USE = "five slopes (in use)"
AS_THEY_ARE = "blocks as they are"
FEWER = {
    "blocks, widths and off the steps apart": ((0,), (1, 2), (3,)),
    "blocks and widths apart": ((0,), (1, 2)),
    "one slope": ((0, 1, 2),),
}
"""By form, which of what a plan frees (`Costs.freed`) has a slope in common."""
KINDS_SPREAD = 0.1
"""Standard deviation around 1 that the weight of a kind of layer is expected to have."""
KNOTS = (0.5, 0.75, 1.0)
"""Shares of a layer's width between which the weight of its kind runs in lines: those of the uniform networks."""


@dataclass(frozen=True)
class Case:
    """What a form may look at.

    Attributes:
        skeleton: the unpruned network.
        costs: its parts timed alone.
        fitted: whole networks to fit on, each once.
        ratios: theirs, of the unpruned network's latency.
        plans: to predict.
        nodes: seconds of each layer inside of the network as the runtime's profiler sees them; None where that
            is not read.
    """

    skeleton: Skeleton
    costs: Costs
    fitted: Sequence[Cut]
    ratios: np.ndarray
    plans: Sequence[Cut]
    nodes: np.ndarray | None

    def freed(self, cuts: Sequence[Cut]) -> np.ndarray:
        """As `Costs.freed`, shape (cuts, ways)."""
        return np.array([self.costs.freed(cut.removed, dict(cut.widths)) for cut in cuts])

    def kept(self, cuts: Sequence[Cut]) -> np.ndarray:
        """Of each layer the share of its latency alone that stays, shape (cuts, layers)."""
        found = []
        for cut in cuts:
            gone = set(cut.removed)
            at = np.array([cost.scaled_s for cost in self.costs.layers_at(dict(cut.widths))])
            stays = np.array([layer.block not in gone for layer in self.skeleton.layers])
            found.append(np.where(stays, at / np.array(self.costs.layers_s), 0.0))
        return np.array(found)


@dataclass(frozen=True)
class Judged:
    """One network in one setting.

    Attributes:
        network: its name.
        closures: by form of the prediction.
        cells: measured cells, of which at full width.
        full_cells: see cells.
        checks: root mean square error of interpolation by kind.
        slopes: fitted.
        freed: by each plan, shape (plans, ways).
        slow: share of the timings that fell into slow minutes each time they were made.
    """

    network: str
    closures: dict[str, Closure]
    cells: int
    full_cells: int
    checks: dict[str, float]
    slopes: tuple[float, ...]
    freed: np.ndarray
    slow: float


def judge(
    network: str, skeleton: Skeleton, table: LatencyTable, plans: Sequence[Cut], nodes: np.ndarray | None
) -> Judged | None:
    """Predicts every held-out plan in each form; None where something was not timed twice yet."""
    timed: dict[Cut, list[NetworkMeasurement]] = {}
    for measured in table.measured_networks(skeleton, "closure"):
        timed.setdefault(measured.cut, []).append(measured)
    if not plans or any(len(timed.get(plan, [])) < 2 for plan in plans):
        return None
    seen = {plan: [measured.ratio for measured in timed[plan]] for plan in plans}
    quick_s = quick_latency_s(skeleton, table)
    slow = float(np.mean([is_slow(measured, quick_s) for plan in plans for measured in timed[plan][:2]]))
    fit = coefficients(skeleton, table)
    usable = [n for n in table.measured_networks(skeleton, "fit") if n.cut and fit.costs.knows(n.cut)]
    fitted = distinct_networks(usable, quick_s)  # what the form in use is fitted on
    ratios = np.array([n.ratio.value for n in fitted])
    case = Case(skeleton, fit.costs, [n.cut for n in fitted], ratios, plans, nodes)
    predicted = {
        IN_USE: [fit.ratio(p.removed, dict(p.widths)) for p in plans],
        **{form: [point(float(ratio)) for ratio in found] for form, found in rivals(case).items()},
    }
    closures = {
        form: Closure(tuple(HeldOut(p, e, *seen[p][:2]) for p, e in zip(plans, estimates, strict=True)))
        for form, estimates in predicted.items()
    }
    keys = {part.key for part in skeleton.parts}
    own = len([key for key in table.cells if key in keys])
    return Judged(
        network,
        closures,
        len(table.cells),
        own,
        fit.costs.interpolation_error,
        fit.slopes,
        case.freed(plans),
        slow,
    )


def rivals(case: Case) -> dict[str, np.ndarray]:
    """What other forms predict for each plan, as ratios; shapes (plans,)."""
    fitted, asked = case.freed(case.fitted), case.freed(case.plans)
    lost = 1.0 - case.ratios
    without = np.array([*[1.0] * (WAYS - 1), 0.0])
    found = {
        "without the term for weights": 1.0
        - asked @ fit_slopes(fitted * without, case.ratios, case.costs.inside).slopes
    }
    for form, ways in FEWER.items():
        few, few_asked = (
            np.array([f[:, list(some)].sum(axis=1) for some in ways]).T for f in (fitted, asked)
        )
        found[form] = 1.0 - few_asked @ np.linalg.lstsq(few, lost, rcond=None)[0]
    found["a weight for each kind of layer"] = by_kind(case)
    found["a line over layers weighted by kind and width"] = by_kind_and_width(case)
    if case.nodes is not None:
        found["layers as the runtime times its nodes"] = by_node(case, case.nodes)
    alone = np.array([cost.alone_s for cost in case.costs.layers_at()])
    layers, layers_asked = (
        (1.0 - case.kept(cuts)) @ alone / alone.sum() for cuts in (case.fitted, case.plans)
    )
    found["one slope, over sums of layers"] = 1.0 - layers_asked * float(layers @ lost / (layers @ layers))
    found[AS_THEY_ARE] = 1.0 - asked[:, :SUMMED].sum(axis=1)
    found["layers as they are"] = 1.0 - layers_asked
    return found


def by_kind(case: Case) -> np.ndarray:
    """The sum of layers with a weight for each kind of layer, by ridge regression towards 1."""
    members = kinds_of(case.skeleton)
    costs = np.array(case.costs.layers_s) / case.costs.whole_s
    fitted, asked = ((1.0 - case.kept(cuts)) * costs @ members.T for cuts in (case.fitted, case.plans))
    design = fitted / case.ratios[:, None]
    rest = (1.0 - case.ratios - fitted.sum(axis=1)) / case.ratios
    return 1.0 - asked @ (1.0 + drawn_to_zero(design, rest))


def by_kind_and_width(case: Case) -> np.ndarray:
    """The form that was planned first: a line over the sum of blocks, layers weighted by their kind at their width.

    A weight is 1 at full width and runs in lines between `KNOTS`. A uniform network tells one number for all kinds at
    its width, so weights are drawn to 1. The line is free, and the unpruned network lies beside it like the others.
    """
    members, costs = kinds_of(case.skeleton), np.array(case.costs.layers_s) / case.costs.whole_s
    every = families(case.skeleton)

    def sums(cuts: Sequence[Cut]) -> tuple[np.ndarray, np.ndarray]:
        """What stays, shape (cuts,), and of it what each weight multiplies, shape (cuts, weights)."""
        shares = np.ones((len(cuts), len(every)))
        for row, cut in enumerate(cuts):
            widths = full_widths(case.skeleton.groups, dict(cut.widths))
            for place, family in enumerate(every):
                if family.axes:
                    shares[row, place] = np.mean(np.divide(family.values(widths), family.full))
        parts = case.kept(cuts) * costs
        near = [np.interp(shares, KNOTS, knot) for knot in np.eye(len(KNOTS))[:-1]]
        return parts.sum(axis=1), np.hstack([(parts * share) @ members.T for share in near])

    (alone, weighted), (asked, asked_weighted) = sums(case.fitted), sums(case.plans)
    uniform = np.array([not cut.removed for cut in case.fitted])
    design = weighted[uniform] / case.ratios[uniform, None]
    weights = drawn_to_zero(design, (case.ratios - alone)[uniform] / case.ratios[uniform])
    slope, constant = np.polyfit([*(alone + weighted @ weights), 1.0], [*case.ratios, 1.0], 1)
    return constant + slope * (asked + asked_weighted @ weights)


def drawn_to_zero(design: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """By how much weights differ from 1, by ridge regression of what 1 leaves unexplained."""
    ridge = np.eye(design.shape[1]) * (0.01 / KINDS_SPREAD) ** 2
    return np.linalg.solve(design.T @ design + ridge, design.T @ rest)


def kinds_of(skeleton: Skeleton) -> np.ndarray:
    """Which layers are of which kind, 0 or 1, shape (kinds, layers)."""
    kinds = [kind_of_layer(layer) for layer in skeleton.layers]
    return np.array([[kind == one for kind in kinds] for one in sorted(set(kinds))], dtype=np.float64)


def kind_of_layer(layer: Layer) -> str:
    """The operator that works, convolutions told apart by what they read."""
    kind = layer.part.kind.split("+")[0]
    if kind != "conv2d":
        return kind
    _, inputs, height, _ = layer.part.graph.weights[0].shape
    return (
        "depthwise convolution" if inputs == 1 else "pointwise convolution" if height == 1 else "convolution"
    )


def by_node(case: Case, nodes: np.ndarray) -> np.ndarray:
    """Slopes as in use, without the term for weights, over layers that cost what the runtime's profiler says."""
    known = nodes[:-1].copy()
    others = np.isnan(known)
    alone = np.array(case.costs.layers_s)
    known[others] = nodes[-1] * alone[others] / alone[others].sum()
    shares = known / known.sum()
    removable = set(case.skeleton.removable)
    inside = np.array([layer.block in removable for layer in case.skeleton.layers])

    def freed(cuts: Sequence[Cut]) -> np.ndarray:
        less = (1.0 - case.kept(cuts)) * shares
        gone = case.kept(cuts) == 0.0
        ways = np.zeros((len(cuts), WAYS))
        for way, some in enumerate((gone, ~gone & inside, ~gone & ~inside)):
            ways[:, way] = np.where(some, less, 0.0).sum(axis=1)
        ways[:, SUMMED] = case.freed(cuts)[:, SUMMED]
        return ways

    slopes = fit_slopes(freed(case.fitted), case.ratios, float(shares[inside].sum())).slopes
    return 1.0 - freed(case.plans) @ slopes


def point(value: float) -> Estimate:
    """A prediction that claims no interval."""
    return Estimate(value, -math.inf, math.inf)
