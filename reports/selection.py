"""Which points a page lists and draws where there are more than it can hold; what it counts and says covers all."""

from __future__ import annotations

from collections.abc import Sequence

from reports.pareto import Standing
from reports.planes import Planes
from reports.results import UNPRUNED
from reports.scenes import Placed, Scene
from reports.summary import BudgetSummary
from reports.thinning import thin

MOST = 1000
"""How many finished points of a scene a page holds at most."""
MOST_FAILED = 200
"""How many failed points of a scene a page holds at most."""

_RANKS = {Standing.FRONT: 1, Standing.UNCLEAR: 2, Standing.DOMINATED: 3}


def select(scene: Scene, found: Planes, outcomes: Sequence[BudgetSummary]) -> frozenset[int]:
    """Chooses the points that a page shows one by one.

    Args:
        scene: all points.
        found: where they stand; the fronts are those of all points.
        outcomes: the best method's typical point of each budget is always chosen.

    Returns:
        The keys of all points, if they are not too many. Else the unpruned network and the best come first, then
        points on a front of any plane, then those that may be on one, then dominated ones, evenly spaced.
    """
    best = {outcome.best.typical.key for outcome in outcomes if outcome.best}
    ranks: dict[int, int] = {}
    for plane in found.planes.values():
        for key, standing in plane.standings.items():
            ranks[key] = min(_RANKS[standing], ranks.get(key, len(_RANKS)))

    def rank(placed: Placed) -> int:
        if placed.point.method == UNPRUNED or placed.key in best:
            return 0
        return ranks.get(placed.key, len(_RANKS))

    chosen = (*thin(scene.done, MOST, rank), *thin(scene.failed, MOST_FAILED, lambda _: 0))
    return frozenset(placed.key for placed in chosen)
