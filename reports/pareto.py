"""Which points are worth having: accuracy, more is better, against latency, less is better.

Both coordinates are known only within intervals, so a point has one of three standings. Write the
pessimistic corner of a point for (low quality, high latency) and the optimistic corner for (high quality, low
latency), and let one corner dominate another if it is at least as good in both coordinates and better in one.

* DOMINATED: the pessimistic corner of some other point dominates this point's optimistic corner. Wherever in
  their intervals the truth lies, the other point is better.
* FRONT: no other point's optimistic corner dominates this point's pessimistic corner. Wherever in their
  intervals the truth lies, nothing is better.
* UNCLEAR: anything else. Intervals overlap, and noise alone could put the point on the front or behind it.

The intervals of single points are used, not those of paired differences, so the verdict is cautious: two
networks judged on the same images can differ reliably while their intervals overlap. With intervals of zero
width nothing is unclear and the front is the usual one; equal points do not dominate each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from latency_tables.estimate import Estimate


class Standing(StrEnum):
    """Where a point stands among the others; the module's docstring defines each."""

    FRONT = "front"
    DOMINATED = "dominated"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Spot:
    """A point's place in the plane.

    Attributes:
        quality: accuracy or agreement, 0 to 1, higher is better.
        latency_s: measured latency, lower is better.
    """

    quality: Estimate
    latency_s: Estimate


_Corner = tuple[float, float]


def front(spots: Sequence[Spot]) -> list[Standing]:
    """Gives each spot its standing among all of them.

    Args:
        spots: any number, in any order; their intervals may be of zero width or unbounded.

    Returns:
        One standing for each spot, in the same order.
    """
    worst = [_pessimistic(spot) for spot in spots]
    best = [_optimistic(spot) for spot in spots]
    standings = []
    for i in range(len(spots)):
        others = [j for j in range(len(spots)) if j != i]
        if any(_dominates(worst[j], best[i]) for j in others):
            standings.append(Standing.DOMINATED)
        elif any(_dominates(best[j], worst[i]) for j in others):
            standings.append(Standing.UNCLEAR)
        else:
            standings.append(Standing.FRONT)
    return standings


def steps(spots: Sequence[Spot]) -> list[int]:
    """The front of the values alone, for a line to be drawn through.

    Args:
        spots: any number, in any order.

    Returns:
        Indices of the spots that no other spot's value dominates, by rising latency. Of spots with equal
        values only the first is given.
    """
    order = sorted(range(len(spots)), key=lambda i: (spots[i].latency_s.value, -spots[i].quality.value, i))
    kept: list[int] = []
    for i in order:
        if not kept or spots[i].quality.value > spots[kept[-1]].quality.value:
            kept.append(i)
    return kept


def hypervolume(spots: Sequence[Spot], *, quality: float, latency_s: float) -> Estimate | None:
    """The area between a reference and the front: how much of the plane the spots dominate.

    Args:
        spots: any number, in any order; what is not better than the reference in both coordinates adds nothing.
        quality: the reference's quality, at most which counts as nothing.
        latency_s: the reference's latency, at least which counts as nothing.

    Returns:
        The area in quality times seconds, for the values, with the areas of all pessimistic and of all
        optimistic corners as its ends (wider than a 95 % interval of the area); None without spots.
    """
    if not spots:
        return None

    def area(corner: Callable[[Spot], _Corner]) -> float:
        total, reached = 0.0, quality
        # By falling quality each corner adds the strip that reaches further left than all better ones.
        edge = latency_s
        for height, left in sorted((corner(spot) for spot in spots), key=lambda c: (-c[0], c[1])):
            if height > reached and left < edge:
                total += (edge - left) * (height - reached)
                edge = left
        return total

    return Estimate(area(_value), area(_pessimistic), area(_optimistic))


def _value(spot: Spot) -> _Corner:
    return spot.quality.value, spot.latency_s.value


def _pessimistic(spot: Spot) -> _Corner:
    return spot.quality.low, spot.latency_s.high


def _optimistic(spot: Spot) -> _Corner:
    return spot.quality.high, spot.latency_s.low


def _dominates(a: _Corner, b: _Corner) -> bool:
    return a[0] >= b[0] and a[1] <= b[1] and a != b
