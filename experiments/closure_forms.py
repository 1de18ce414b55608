"""Predictions of held-out networks, in the form in use and in simpler ones, beside what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latency_tables.closure import Closure, HeldOut
from latency_tables.context import coefficients
from latency_tables.costs import Costs
from latency_tables.estimate import Estimate
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.slow_minutes import is_slow, quick_latency_s
from latency_tables.table import LatencyTable, NetworkMeasurement

FORMS = (
    "four slopes (in use)",
    "blocks, widths and off the steps apart",
    "blocks and widths apart",
    "one slope",
    "one slope, over sums of layers",
    "blocks as they are",
    "layers as they are",
)
FEWER = {FORMS[1]: ((0,), (1, 2), (3,)), FORMS[2]: ((0,), (1, 2)), FORMS[3]: ((0, 1, 2),)}
"""By form, which of what a plan frees (`Costs.freed`) has a slope in common."""


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


def judge(network: str, skeleton: Skeleton, table: LatencyTable, plans: Sequence[Cut]) -> Judged | None:
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
    forms = {
        FORMS[0]: [fit.interval(p.removed, dict(p.widths)).scaled(1 / fit.unpruned_s.value) for p in plans],
        **{form: fewer_slopes(skeleton, table, fit.costs, plans, ways) for form, ways in FEWER.items()},
        FORMS[4]: layer_line(skeleton, table, fit.costs, plans),
        FORMS[5]: [point(fit.costs.total_s(p.removed, dict(p.widths)) / fit.costs.whole_s) for p in plans],
        FORMS[6]: [
            point(layer_sum(skeleton, fit.costs, p) / layer_sum(skeleton, fit.costs, Cut())) for p in plans
        ],
    }
    closures = {
        form: Closure(tuple(HeldOut(p, e, *seen[p][:2]) for p, e in zip(plans, predicted, strict=True)))
        for form, predicted in forms.items()
    }
    keys = {part.key for part in skeleton.parts}
    own = len([key for key in table.cells if key in keys])
    freed = np.array([fit.costs.freed(plan.removed, dict(plan.widths)) for plan in plans])
    return Judged(
        network, closures, len(table.cells), own, fit.costs.interpolation_error, fit.slopes, freed, slow
    )


def layer_sum(skeleton: Skeleton, costs: Costs, cut: Cut) -> float:
    """Layers timed alone, added up as they are."""
    gone = set(cut.removed)
    layers = zip(skeleton.layers, costs.layers_at(dict(cut.widths)), strict=True)
    return math.fsum(cost.alone_s for layer, cost in layers if layer.block not in gone)


def layer_line(skeleton: Skeleton, table: LatencyTable, costs: Costs, plans: Sequence[Cut]) -> list[Estimate]:
    """The same line through the unpruned network, over sums of layers instead of reconciled parts."""
    whole_s = layer_sum(skeleton, costs, Cut())

    def lost(cut: Cut) -> float:
        return 1.0 - layer_sum(skeleton, costs, cut) / whole_s

    fitted = [n for n in table.measured_networks(skeleton, "fit") if n.cut and costs.knows(n.cut)]
    x = np.array([lost(network.cut) for network in fitted])
    y = np.array([1.0 - network.ratio.value for network in fitted])
    slope = float(x @ y / (x @ x))
    return [point(1.0 - slope * lost(plan)) for plan in plans]


def fewer_slopes(
    skeleton: Skeleton, table: LatencyTable, costs: Costs, plans: Sequence[Cut], ways: Sequence[Sequence[int]]
) -> list[Estimate]:
    """The same sums with a slope for each group of ways to free latency, by least squares."""

    def lost(cut: Cut) -> np.ndarray:
        freed = costs.freed(cut.removed, dict(cut.widths))
        return np.array([freed[list(some)].sum() for some in ways])

    fitted = [n for n in table.measured_networks(skeleton, "fit") if n.cut and costs.knows(n.cut)]
    quick_s = quick_latency_s(skeleton, table)
    fitted = [n for n in fitted if not is_slow(n, quick_s)] or fitted
    freed = np.array([1.0 - network.ratio.value for network in fitted])
    slopes = np.linalg.lstsq(np.array([lost(network.cut) for network in fitted]), freed, rcond=None)[0]
    return [point(1.0 - float(slopes @ lost(plan))) for plan in plans]


def point(value: float) -> Estimate:
    """A prediction that claims no interval."""
    return Estimate(value, -math.inf, math.inf)
