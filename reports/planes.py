"""The Pareto figure in every pair of quantities: who is on the front, and whom noise could reorder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from latency_tables.estimate import Estimate
from reports.axes import Axis, cost_axes, quality_axes
from reports.pareto import Spot, Standing, front, steps, unordered
from reports.results import UNPRUNED
from reports.scenes import Placed, Scene


@dataclass(frozen=True, slots=True)
class Plane:
    """One pair of quantities.

    Attributes:
        quality: the vertical axis.
        cost: the horizontal axis.
        standings: by the point's key; points without a place in the plane are missing.
        unordered: keys of the points that noise alone could order otherwise, other seeds of one method and budget
            not held against each other.
        lines: for each series the corners of its front of means over seeds, as (cost, quality), from the cheapest.
        corners: for each series the budgets that these corners are the means of.
    """

    quality: Axis
    cost: Axis
    standings: Mapping[int, Standing]
    unordered: frozenset[int]
    lines: Mapping[str, tuple[tuple[float, float], ...]]
    corners: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Planes:
    """All planes of a scene.

    Attributes:
        points: those that have a place in at least one plane.
        qualities: the vertical axes.
        costs: the horizontal axes.
        planes: by the names of both axes, the vertical one first.
        budgets: the place of each budget on each horizontal axis, mean over the points.
    """

    points: tuple[Placed, ...]
    qualities: tuple[Axis, ...]
    costs: tuple[Axis, ...]
    planes: Mapping[tuple[str, str], Plane]
    budgets: Mapping[str, Mapping[str, float]]


def planes(scene: Scene) -> Planes:
    """Places the scene's done points in every plane that they have numbers for."""
    qualities, costs = quality_axes(scene), cost_axes(scene)
    made = {(q.name, c.name): plane(scene.done, q, c) for q in qualities for c in costs}
    placed = {key for one in made.values() for key in one.standings}
    return Planes(
        tuple(p for p in scene.done if p.key in placed),
        tuple(qualities),
        tuple(costs),
        made,
        {axis.name: _budgets(scene, axis) for axis in costs},
    )


def plane(points: Sequence[Placed], quality: Axis, cost: Axis) -> Plane:
    """Places points in one plane."""
    here = [p for p in points if p.key in quality.values and p.key in cost.values]
    spots = [_spot(quality.values[p.key], cost.values[p.key], quality, cost) for p in here]
    standings = front(spots)
    marked = unordered(spots, standings, [(p.series, p.point.budget) for p in here])
    groups: dict[str, dict[str, list[Placed]]] = {}
    for p in here:
        if p.point.method != UNPRUNED:
            groups.setdefault(p.series, {}).setdefault(p.point.budget, []).append(p)
    lines = {series: _line(groups[series], quality, cost) for series in sorted(groups)}
    return Plane(
        quality,
        cost,
        {p.key: standing for p, standing in zip(here, standings, strict=True)},
        frozenset(p.key for p, mark in zip(here, marked, strict=True) if mark),
        {series: tuple(corner for _, corner in line) for series, line in lines.items()},
        {series: tuple(budget for budget, _ in line) for series, line in lines.items()},
    )


def _line(
    groups: Mapping[str, Sequence[Placed]], quality: Axis, cost: Axis
) -> list[tuple[str, tuple[float, float]]]:
    means = [(budget, (_mean(cost, found), _mean(quality, found))) for budget, found in groups.items()]
    spots = [_spot(_exactly(y), _exactly(x), quality, cost) for _, (x, y) in means]
    return [means[i] for i in steps(spots)]


def _budgets(scene: Scene, axis: Axis) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    batch = scene.description.get("batch")
    for placed in scene.points:
        point, budget_s = placed.point, scene.budget_of(placed)
        if point.budget_s is None or budget_s is None:
            continue
        places = found.setdefault(point.budget, [])
        if axis.name == "latency":
            places.append(budget_s)
        elif axis.name == "rate":
            places.append(batch / budget_s)  # type: ignore[operator]  # the axis exists with a batch alone
        elif point.unpruned_s is not None:
            places.append(point.unpruned_s.value / point.budget_s)
    return {name: sum(places) / len(places) for name, places in found.items() if places}


def _mean(axis: Axis, points: Sequence[Placed]) -> float:
    return sum(axis.values[p.key].value for p in points) / len(points)


def _spot(y: Estimate, x: Estimate, quality: Axis, cost: Axis) -> Spot:
    return Spot(y if quality.more_is_better else _negated(y), _negated(x) if cost.more_is_better else x)


def _negated(estimate: Estimate) -> Estimate:
    return Estimate(-estimate.value, -estimate.high, -estimate.low)


def _exactly(value: float) -> Estimate:
    return Estimate(value, value, value)
