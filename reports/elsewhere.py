"""The networks of one setting in another: who is faster there, where does the order turn round, what is lost?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from latency_tables.estimate import Estimate
from reports.pareto import Spot, Standing, front, hypervolume
from reports.results import UNPRUNED
from reports.scenes import Placed, Scene
from reports.summary import bounded, pooled


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
    """Two points of which the first is faster here and slower there; their latency intervals overlap in neither."""

    first: Placed
    second: Placed


@dataclass(frozen=True, slots=True)
class Fronts:
    """Shares of the area below full quality and left of the unpruned latency that fronts dominate, in ratios.

    All over the same methods, budgets and seeds; the mean over seeds, as in `reports.summary.Volume`.

    Attributes:
        points: how many each front is over.
        here: the networks chosen for this setting, in it.
        there: the same networks in the other setting.
        native: the networks chosen for the other setting, in it.
    """

    points: int
    here: Estimate
    there: Estimate
    native: Estimate


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A scene's points in another setting.

    Attributes:
        label: of the other setting.
        rows: those timed in both, the fastest here first.
        flips: pairs whose order by latency turns round.
        pairs: how many pairs have intervals of latency that do not overlap here.
        fallen: points that are surely on the front of these here, and surely dominated by others of them there;
            none where one of the two has another precision than fp32, and so accuracies of its own.
        fronts: what choosing by the wrong setting costs; None where no point was made for the other one too, and
            where one of the two has another precision than fp32.
    """

    label: str
    rows: tuple[Abroad, ...]
    flips: tuple[Flip, ...]
    pairs: int
    fallen: tuple[Placed, ...]
    fronts: Fronts | None


def elsewhere(scene: Scene, others: Sequence[Scene] = ()) -> list[Elsewhere]:
    """Every other setting in which points of the scene were timed.

    Args:
        scene: whose networks.
        others: scenes among which those of the other settings may be, to hold their own networks against these.
    """
    found: dict[str, list[Abroad]] = {}
    described: dict[str, Mapping[str, Any]] = {}
    for placed in scene.done:
        point = placed.point
        if point.ratio is None or point.method == UNPRUNED:
            continue
        for setting, there in point.elsewhere.items():
            described[setting] = placed.run.settings.get(setting, {"label": setting})
            found.setdefault(setting, []).append(
                Abroad(placed, point.ratio, there, _met(point.budget, there))
            )
    return [
        _of(scene, described[setting], rows, next((o for o in others if _same_but(scene, o, setting)), None))
        for setting, rows in found.items()
    ]


def _same_but(scene: Scene, other: Scene, setting: str) -> bool:
    workload = (scene.network, scene.input, scene.images, scene.shift)
    return other.setting == setting and (other.network, other.input, other.images, other.shift) == workload


def _met(budget: str, there: Estimate) -> bool | None:
    return there.high <= float(budget[:-1]) if budget.endswith("x") else None


def _of(scene: Scene, other: Mapping[str, Any], rows: list[Abroad], native: Scene | None) -> Elsewhere:
    label = other["label"]
    rows = sorted(rows, key=lambda row: row.here.value)
    ordered = [pair for pair in combinations(rows, 2) if pair[0].here.high < pair[1].here.low]
    flips = [Flip(one.placed, two.placed) for one, two in ordered if one.there.low > two.there.high]
    judged = [(row, quality) for row in rows if (quality := scene.quality_of(row.placed)) is not None]
    here = front([Spot(quality, row.here) for row, quality in judged])
    there = front([Spot(quality, row.there) for row, quality in judged])
    fallen = [
        row.placed
        for (row, _), before, after in zip(judged, here, there, strict=True)
        if before is Standing.FRONT and after is Standing.DOMINATED
    ]
    if any(setting.get("precision") != "fp32" for setting in (scene.description, other)):
        # An accuracy is then the setting's own, and what the network has in the other one nobody asked.
        return Elsewhere(label, tuple(rows), tuple(flips), len(ordered), (), None)
    fronts = None if native is None else _fronts(scene, rows, native)
    return Elsewhere(label, tuple(rows), tuple(flips), len(ordered), tuple(fallen), fronts)


def _fronts(scene: Scene, rows: Sequence[Abroad], native: Scene) -> Fronts | None:
    ours = {_recipe(row.placed): row for row in rows if scene.quality_of(row.placed) is not None}
    theirs = {
        _recipe(placed): placed
        for placed in native.done
        if placed.point.ratio is not None and native.quality_of(placed) is not None
    }
    both = [recipe for recipe in ours if recipe in theirs]
    if not both or scene.quality != native.quality:
        return None
    by_seed: dict[tuple[int, int], list[tuple[Spot, Spot, Spot]]] = {}
    for recipe in both:
        row, placed = ours[recipe], theirs[recipe]
        quality, other = scene.quality_of(row.placed), native.quality_of(placed)
        ratio = placed.point.ratio
        assert quality is not None and other is not None and ratio is not None  # noqa: S101  both were asked above
        trio = bounded(quality, row.here), bounded(quality, row.there), bounded(other, ratio)
        by_seed.setdefault((id(row.placed.run), row.placed.point.seed), []).append(trio)
    shares = [
        pooled(
            [area for trios in by_seed.values() if (area := _area([trio[i] for trio in trios])) is not None]
        )
        for i in range(3)
    ]
    return Fronts(len(both), *shares)


def _recipe(placed: Placed) -> tuple[int, str, str, int]:
    point = placed.point
    # Two runs may have the same name, and the run of a report is one object.
    return id(placed.run), point.method, point.budget, point.seed


def _area(spots: list[Spot]) -> Estimate | None:
    return hypervolume(spots, quality=0.0, latency_s=1.0)
