"""What a scene amounts to: for each budget, which method came out best, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from latency_tables.estimate import Estimate
from reports.pareto import Spot, hypervolume
from reports.results import UNPRUNED
from reports.scenes import Placed, Scene


@dataclass(frozen=True, slots=True)
class Result:
    """What a method reached under a budget, over its seeds that met the budget.

    Attributes:
        method: its name, with the run's letter where the report has several.
        points: those that met the budget and have a quality, at least one.
        quality: accuracy or agreement, `pooled`.
        measured_s: measured latency, `pooled`.
        ratio: measured over unpruned latency, `pooled`; None unless every point has one.
        met: how many of its points met the budget.
        judged: how many of its points are done and were held against the budget.
    """

    method: str
    points: tuple[Placed, ...]
    quality: Estimate
    measured_s: Estimate
    ratio: Estimate | None
    met: int
    judged: int

    @property
    def typical(self) -> Placed:
        """The point in the middle when sorted by quality; of two the worse."""
        return self.points[(len(self.points) - 1) // 2]


@dataclass(frozen=True, slots=True)
class BudgetSummary:
    """The outcome under one budget.

    Attributes:
        budget: as the user gave it.
        best: the method with the highest mean quality among points that met the budget; None if none did.
        close: methods whose quality cannot be told from the best one's, because the intervals overlap.
        met: how many points met the budget.
        judged: how many points are done and were held against it.
        failed: how many points failed.
    """

    budget: str
    best: Result | None
    close: tuple[Result, ...]
    met: int
    judged: int
    failed: int


@dataclass(frozen=True, slots=True)
class Volume:
    """How much of the plane a method covers.

    Attributes:
        method: its name, with the run's letter where the report has several.
        share: area that the method's points dominate, over the area left of the unpruned latency and between
            no and full quality; mean over seeds, 0 to 1.
        seeds: how many seeds the mean is over.
    """

    method: str
    share: Estimate
    seeds: int


def pooled(estimates: Sequence[Estimate]) -> Estimate:
    """One estimate for several seeds: the mean, from the lowest end to the highest.

    The seeds share their images, so their intervals do not shrink by averaging; the envelope contains every
    seed's interval and is meant to be too wide rather than too narrow.
    """
    mean = sum(estimate.value for estimate in estimates) / len(estimates)
    low = min(estimate.low for estimate in estimates)
    high = max(estimate.high for estimate in estimates)
    # A mean of equal numbers may miss them by a rounding error.
    return Estimate(min(max(mean, low), high), low, high)


def unpruned(scene: Scene) -> Spot | None:
    """Where the unpruned network stands in the scene, `pooled`; None where it was not judged."""
    found = [
        (quality, seconds) for placed, quality, seconds in scene.charted if placed.point.method == UNPRUNED
    ]
    return Spot(pooled([q for q, _ in found]), pooled([s for _, s in found])) if found else None


def controls(scene: Scene) -> list[tuple[str, Estimate, int]]:
    """Accuracy of the networks that the results must stand beside.

    Returns:
        For each control its name, its accuracy `pooled` over the points that report it, and their number. A
        control that is not the unpruned network is another one for each method and budget, and says which.
    """
    found: dict[str, list[Estimate]] = {}
    for placed in scene.done:
        for name, accuracy in placed.point.controls.items():
            whole = name.startswith(UNPRUNED)
            of_point = f"{name} ({placed.series}, {placed.point.budget})"
            found.setdefault(name if whole else of_point, []).append(accuracy)
    return [(name, pooled(accuracies), len(accuracies)) for name, accuracies in found.items()]


def budgets(scene: Scene) -> list[BudgetSummary]:
    """The outcome under each budget, from the loosest to the tightest; of equally tight ones the first by name."""
    groups: dict[str, list[Placed]] = {}
    for placed in scene.points:
        # A sparsity asks nothing of the latency, so nothing is met or missed.
        if placed.point.method != UNPRUNED and not placed.point.budget.endswith("%"):
            groups.setdefault(placed.point.budget, []).append(placed)
    names = sorted(groups, key=lambda name: (-_seconds(groups[name]), name))
    return [_summary(scene, name, groups[name]) for name in names]


def volumes(scene: Scene) -> list[Volume]:
    """How much of the plane each method covers, best first.

    The reference is the unpruned network's latency and a quality of zero. Every seed is a front of its own, so
    that a method does not look better for having more seeds.

    Returns:
        One volume for each method with charted points; nothing where the unpruned latency was not measured.
    """
    spot = unpruned(scene)
    whole = (
        [spot.latency_s.value]
        if spot
        else [s.value for placed, _, _ in scene.charted if (s := placed.point.unpruned_s)]
    )
    if not whole:
        return []
    reference = sum(whole) / len(whole)
    fronts: dict[str, dict[int, list[Spot]]] = {}
    for placed, quality, seconds in scene.charted:
        if placed.point.method != UNPRUNED:
            seeds = fronts.setdefault(placed.series, {})
            seeds.setdefault(placed.point.seed, []).append(bounded(quality, seconds))
    table = []
    for method, seeds in fronts.items():
        areas = [hypervolume(spots, quality=0.0, latency_s=reference) for spots in seeds.values()]
        share = pooled([area.scaled(1 / reference) for area in areas if area is not None])
        table.append(Volume(method, share, len(seeds)))
    return sorted(table, key=lambda volume: -volume.share.value)


def bounded(quality: Estimate, seconds: Estimate) -> Spot:
    """A place in the plane; unbounded intervals end where the quantity itself ends."""
    return Spot(
        Estimate(quality.value, max(quality.low, 0.0), min(quality.high, 1.0)),
        Estimate(seconds.value, max(seconds.low, 0.0), seconds.high),
    )


def _seconds(points: Sequence[Placed]) -> float:
    """The mean in seconds of the budget of these points; budgets that no point got as far as to know stand last."""
    known = [s for p in points if (s := p.point.budget_s) is not None]
    return sum(known) / len(known) if known else 0.0


def _summary(scene: Scene, budget: str, points: Sequence[Placed]) -> BudgetSummary:
    judged = [p for p in points if p.point.status == "done" and p.point.met is not None]
    results = []
    for series in dict.fromkeys(p.series for p in judged):
        result = _result(scene, series, [p for p in judged if p.series == series])
        if result is not None:
            results.append(result)
    results.sort(key=lambda result: -result.quality.value)
    best = results[0] if results else None
    return BudgetSummary(
        budget=budget,
        best=best,
        close=tuple(result for result in results[1:] if best and result.quality.high >= best.quality.low),
        met=sum(p.point.met is True for p in judged),
        judged=len(judged),
        failed=sum(p.point.status == "failed" for p in points),
    )


def _result(scene: Scene, series: str, judged: Sequence[Placed]) -> Result | None:
    charted = scene.places
    met = [placed for placed in judged if placed.point.met]
    points = sorted((p for p in met if p.key in charted), key=lambda p: charted[p.key][0].value)
    if not points:
        return None
    ratios = [ratio for p in points if (ratio := p.point.ratio) is not None]
    return Result(
        method=series,
        points=tuple(points),
        quality=pooled([charted[p.key][0] for p in points]),
        measured_s=pooled([s for p in points if (s := p.point.measured_s) is not None]),
        ratio=pooled(ratios) if len(ratios) == len(points) else None,
        met=len(met),
        judged=len(judged),
    )
