"""Which points are worth having: accuracy, more is better, against latency, less is better.

Both coordinates are known only within intervals, so a point has one of three standings. Write the
pessimistic corner of a point for (low quality, high latency) and the optimistic corner for (high quality, low
latency), and let one corner dominate another if it is at least as good in both coordinates and better in one.

* DOMINATED: the pessimistic corner of some other point dominates this point's optimistic corner. Wherever in
  their intervals the truth lies, the other point is better.
* FRONT: no other point's optimistic corner dominates this point's pessimistic corner. Wherever in their
  intervals the truth lies, nothing is better.
* UNCLEAR: anything else. Intervals overlap, and noise alone could put the point on the front or behind it.

Of the points that are not dominated two *cannot be ordered* if noise alone could turn their order round: the
optimistic corner of each dominates the pessimistic corner of the other. Their intervals then overlap or touch on
both axes, and there are truths within them for which the one dominates the other, and others for which it is
dominated. A point that cannot be ordered with another is always UNCLEAR; an UNCLEAR point need not be one, since
a point can be surely faster than another and still only perhaps as good.

The intervals of single points are used, not those of paired differences, so the verdict is cautious: two
networks judged on the same images can differ reliably while their intervals overlap. With intervals of zero
width nothing is unclear and the front is the usual one; equal points do not dominate each other.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

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
        quality: accuracy or another quantity of which more is better.
        latency_s: measured latency in seconds, or another quantity of which less is better.
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
    surely, perhaps = (_Rivals([corner(spot) for spot in spots]) for corner in (_pessimistic, _optimistic))
    standings = []
    for i, spot in enumerate(spots):
        if surely.dominate(_optimistic(spot), but=i):
            standings.append(Standing.DOMINATED)
        elif perhaps.dominate(_pessimistic(spot), but=i):
            standings.append(Standing.UNCLEAR)
        else:
            standings.append(Standing.FRONT)
    return standings


def unordered(
    spots: Sequence[Spot], standings: Sequence[Standing], repeats_of: Sequence[Hashable] | None = None
) -> list[bool]:
    """Says which spots noise alone could order otherwise; the module's docstring tells what that means.

    Args:
        spots: any number, in any order.
        standings: what `front` says of them; dominated spots neither take nor give the mark.
        repeats_of: what each spot is a repetition of; spots with equal entries are the same thing seen several
            times, as with other seeds, and are not held against each other. None: all are different things.

    Returns:
        For each spot whether there is another one that it cannot be ordered with.
    """
    marked = [False] * len(spots)
    near = [i for i, standing in enumerate(standings) if standing is Standing.UNCLEAR]
    if not near:
        return marked
    ends = np.array([[*_pessimistic(spots[i]), *_optimistic(spots[i])] for i in near])
    low, late, high, early = ends.T
    things: dict[Hashable, int] = {}
    thing = np.array(
        [things.setdefault(i if repeats_of is None else repeats_of[i], len(things)) for i in near]
    )
    for row, i in enumerate(near):
        better = (high >= low[row]) & (early <= late[row]) & ((high > low[row]) | (early < late[row]))
        worse = (high[row] >= low) & (early[row] <= late) & ((high[row] > low) | (early[row] < late))
        marked[i] = bool(np.any(better & worse & (thing != thing[row])))
    return marked


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


class _Rivals:
    """Corners sorted by latency, each with the best qualities up to it, so that a question costs a look-up."""

    def __init__(self, corners: Sequence[_Corner]) -> None:
        order = sorted(range(len(corners)), key=lambda i: corners[i][1])
        self._latencies = [corners[i][1] for i in order]
        # The two best of the first k, as (quality, whose); two, since nobody is a rival of its own.
        self._best: list[tuple[tuple[float, int], ...]] = [()]
        for i in order:
            self._best.append(tuple(sorted((*self._best[-1], (corners[i][0], i)), reverse=True)[:2]))

    def dominate(self, corner: _Corner, *, but: int) -> bool:
        """Whether a corner of anybody ``but`` one is at least as good in both coordinates and better in one."""
        quality, latency = corner
        faster = self._quality(bisect_left(self._latencies, latency), but)
        as_fast = self._quality(bisect_right(self._latencies, latency), but)
        return (faster is not None and faster >= quality) or (as_fast is not None and as_fast > quality)

    def _quality(self, count: int, but: int) -> float | None:
        return next((quality for quality, i in self._best[count] if i != but), None)
