"""The networks of one setting in another one: who is faster there, and where does the order turn round?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from latency_tables.estimate import Estimate
from reports.results import UNPRUNED
from reports.scenes import Placed, Scene


@dataclass(frozen=True, slots=True)
class Abroad:
    """A point in both settings.

    Attributes:
        placed: the point.
        here: its latency over the unpruned network's in its own setting.
        there: the same in the other one.
        met: whether it would meet its budget there; None where that is no share of the unpruned latency.
    """

    placed: Placed
    here: Estimate
    there: Estimate
    met: bool | None


@dataclass(frozen=True, slots=True)
class Flip:
    """Two points of which the first is surely faster here, and surely slower there."""

    first: Placed
    second: Placed


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A scene's points in another setting.

    Attributes:
        label: of the other setting.
        rows: those timed in both, the fastest here first.
        flips: pairs whose order surely turns round.
        pairs: how many pairs are surely ordered here.
    """

    label: str
    rows: tuple[Abroad, ...]
    flips: tuple[Flip, ...]
    pairs: int


def elsewhere(scene: Scene) -> list[Elsewhere]:
    """Every other setting in which points of the scene were timed."""
    found: dict[str, list[Abroad]] = {}
    labels: dict[str, str] = {}
    for placed in scene.done:
        point = placed.point
        if point.ratio is None or point.method == UNPRUNED:
            continue
        for setting, there in point.elsewhere.items():
            labels[setting] = placed.run.settings.get(setting, {}).get("label", setting)
            found.setdefault(setting, []).append(
                Abroad(placed, point.ratio, there, _met(point.budget, there))
            )
    return [_of(labels[setting], rows) for setting, rows in found.items()]


def _met(budget: str, there: Estimate) -> bool | None:
    return there.high <= float(budget[:-1]) if budget.endswith("x") else None


def _of(label: str, rows: list[Abroad]) -> Elsewhere:
    rows = sorted(rows, key=lambda row: row.here.value)
    ordered = [pair for pair in combinations(rows, 2) if pair[0].here.high < pair[1].here.low]
    flips = [Flip(one.placed, two.placed) for one, two in ordered if one.there.low > two.there.high]
    return Elsewhere(label, tuple(rows), tuple(flips), len(ordered))
