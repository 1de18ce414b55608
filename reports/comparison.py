"""Two runs of one scene beside each other: the same method, budget and seed, then and now."""

from __future__ import annotations

from dataclasses import dataclass

from latency_tables.estimate import Estimate
from reports.difference import Change, apart, change, over
from reports.results import UNPRUNED
from reports.scenes import Placed, Scene


@dataclass(frozen=True, slots=True)
class Row:
    """One method, budget and seed in both runs.

    Attributes:
        before: the point of the first run.
        after: the point of the second run.
        latency: latency of the second over that of the first. Where both runs know it, the latencies are those
            relative to the unpruned network of the same pass, so that a slower day changes nothing.
        quality: accuracy or agreement of the second minus that of the first; None where one is not known.
        faster: what the first of these allows to say of the second run.
        more_accurate: what the second of these allows to say of the second run; None where not known.
    """

    before: Placed
    after: Placed
    latency: Estimate
    quality: Estimate | None
    faster: Change
    more_accurate: Change | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs of one scene.

    Attributes:
        first: the run's letter.
        second: the other run's letter.
        rows: what both runs finished, in the order of the first one.
        only_first: how many of the first run's finished points the second has none like.
        only_second: the same the other way round.
    """

    first: str
    second: str
    rows: tuple[Row, ...]
    only_first: int
    only_second: int


def comparisons(scene: Scene) -> list[Comparison]:
    """Holds every run of the scene against the first one that has finished points there."""
    runs: dict[str, dict[tuple[str, str, int], Placed]] = {}
    for placed in scene.done:
        point = placed.point
        runs.setdefault(placed.tag, {})[(point.method, point.budget, point.seed)] = placed
    if len(runs) < 2:
        return []
    (first, old), *others = runs.items()
    return [
        Comparison(
            first,
            second,
            tuple(_row(scene, old[what], new[what]) for what in old if what in new),
            only_first=len(old.keys() - new.keys()),
            only_second=len(new.keys() - old.keys()),
        )
        for second, new in others
    ]


def _row(scene: Scene, before: Placed, after: Placed) -> Row:
    one, other = after.point, before.point
    if one.ratio is not None and other.ratio is not None and one.method != UNPRUNED:
        latency = over(one.ratio, other.ratio)
    elif one.measured_s is not None and other.measured_s is not None:
        latency = over(one.measured_s, other.measured_s)
    else:
        raise AssertionError("a point that is done has a measured latency")
    new, old = scene.quality_of(after), scene.quality_of(before)
    quality = None if new is None or old is None else apart(new, old)
    return Row(
        before,
        after,
        latency,
        quality,
        faster=change(latency, none=1.0, more_is_better=False),
        more_accurate=None if quality is None else change(quality),
    )
