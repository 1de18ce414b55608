"""Which default budgets lie within reach by the table, so that nobody waits for points that must fail."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

from bench.budget import parse_budget
from bench.sweep_config import SweepConfig
from bench.workbench import Subject
from latency_tables.context import coefficients
from latency_tables.errors import UserError
from latency_tables.table import LatencyTable
from pruning.from_scratch import SCRATCH_METHODS
from pruning.search import least_without_blocks_s
from pruning.width_search import least_chosen_s, least_uniform_s
from reports.results import Point

MARGIN = 1.05
"""A network is foreseen to within a few percent, and the upper end of what is timed must meet the budget."""
_STEPS = 20
"""A budget in the place of others is a whole number of twentieths: the same tomorrow, though the table grows."""


def pairs_within_reach(
    config: SweepConfig,
    subject: Subject,
    table: LatencyTable,
    present: Mapping[str, Point],
    say: Callable[[str], None],
) -> list[tuple[str, str]]:
    """Budgets with their methods, as `SweepConfig.pairs`; of default budgets those that the table foresees.

    What a method cannot reach is replaced by the least twentieth that it can, unless that is there already. A
    budget that somebody named stays, and fails if it must.

    Args:
        config: of the sweep.
        subject: the network.
        table: of the setting, whole for this network.
        present: points that the run's folder holds; what was done before stays asked for.
        say: told in words what was replaced, and why.

    Raises:
        UserError: no method reaches any budget.
        LatheError: the table says nothing of the network.
    """
    if not config.default_budgets:
        return config.pairs()
    asked: dict[str, tuple[str, ...]] = {}
    for method in config.methods:
        done = {
            point.budget
            for point in present.values()
            if (point.method, point.setting, point.status) == (method, table.setting.digest, "done")
        }
        least = least_share(method, subject, table)
        asked[method], said = reachable(config.budgets, least, done)
        if said:
            say(f"{method}: {said}")
    budgets = sorted({budget for some in asked.values() for budget in some}, key=_share, reverse=True)
    if not budgets:
        raise UserError(
            f"no method here makes {config.network} surely faster in {table.setting.label}, as the table foresees "
            "it. Measure anew on a quiet machine, or in another setting; a TOML file may name budgets all the same."
        )
    return [(budget, method) for budget in budgets for method in config.methods if budget in asked[method]]


def reachable(budgets: Collection[str], least: float, done: Collection[str]) -> tuple[tuple[str, ...], str]:
    """The budgets to ask of a method, and what to say where they are not all of them.

    Args:
        budgets: shares of the unpruned latency, as in "0.8x".
        least: the least share that the method can reach.
        done: budgets of points that are there.
    """
    limit = least * MARGIN
    kept = tuple(budget for budget in budgets if _share(budget) >= limit or budget in done)
    lost = [budget for budget in budgets if budget not in kept]
    if not lost:
        return kept, ""
    said = f"{', '.join(lost)} out of reach: the table foresees {least:.2f} of the latency at the least"
    earlier = [budget for budget in done if budget.endswith("x") and budget not in budgets]
    nearest = math.ceil(limit * _STEPS - 1e-9) / _STEPS
    stand_in = min(earlier, key=_share) if earlier else f"{nearest:g}x"
    if not earlier and nearest >= min(map(_share, kept), default=1.0):
        return kept, said if kept else f"{said}; nothing takes their place"
    return (*kept, stand_in), f"{said}; {stand_in} takes their place"


def least_share(method: str, subject: Subject, table: LatencyTable) -> float:
    """The least share of the unpruned latency that a method can reach, as the table foresees it.

    Args:
        method: one that takes blocks or whole channels out.
        subject: the network.
        table: of the setting, whole for this network.

    Raises:
        LatheError: the table says nothing of the network.
    """
    if method not in SCRATCH_METHODS:
        skeleton = subject.outline_for(table).skeleton
        fit = coefficients(skeleton, table)
        return least_without_blocks_s(skeleton.removable, fit) / fit.unpruned_s.value
    skeleton = subject.wide.skeleton
    fit = coefficients(skeleton, table)
    least_s = least_uniform_s if SCRATCH_METHODS[method].criterion is None else least_chosen_s
    return least_s(skeleton.groups, fit) / fit.unpruned_s.value


def _share(budget: str) -> float:
    return float(parse_budget(budget).ratio or math.nan)
