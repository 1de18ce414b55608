"""How a method's results stand to blocks drawn at random and to the controls, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from latency_tables.estimate import Estimate
from reports.difference import apart, paired
from reports.scenes import Placed, Scene

RANDOM = "random"
"""The method that draws its blocks."""


@dataclass(frozen=True, slots=True)
class Lead:
    """How far a method is above a rival.

    Attributes:
        rival: its name.
        lead: quality of the method minus that of the rival, a fraction, `paired` over equal seeds.
        seeds: how many seeds that are.
        doubt: the interval that the lead is judged by: that of ``lead``, or with a single seed, which has none,
            what the doubt about both qualities on their images leaves.
    """

    rival: str
    lead: Estimate
    seeds: int
    doubt: Estimate

    @property
    def surely_above(self) -> bool:
        """Whether the method is the better one beyond doubt."""
        return self.doubt.low > 0

    @property
    def surely_below(self) -> bool:
        """Whether the rival is the better one beyond doubt."""
        return self.doubt.high < 0

    def text(self, rival: str) -> str:
        """In words, with a name for the rival, as in "2.3 ± 0.8 points above random"."""
        points = f"{abs(100 * self.lead.value):.1f}"
        if self.seeds > 1:
            points += f" ± {100 * (self.lead.high - self.lead.value):.1f}"
        return f"{points} points {'below' if self.lead.value < 0 else 'above'} {rival}"


def doubt(leads: Sequence[Lead]) -> str:
    """How many seeds stand behind leads, for brackets, as in "3 seeds" or "one seed, so no interval"."""
    counts = sorted({lead.seeds for lead in leads})
    if counts == [1]:
        return "one seed, so no interval"
    return f"{' to '.join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))} seeds"


def lead_over_random(scene: Scene, points: Sequence[Placed]) -> Lead | None:
    """The lead of one method's points under one budget over blocks drawn at random in the same run.

    Only points that met the budget count on both sides, since a network that misses it has more left to be good
    with.

    Args:
        scene: all points.
        points: of one method under one budget that met it.

    Returns:
        The lead; None where no seed has both.
    """
    rivals = {
        (p.tag, p.point.seed): quality
        for p in scene.done
        if p.point.method == RANDOM
        and p.point.budget == points[0].point.budget
        and p.point.met
        and (quality := scene.quality_of(p)) is not None
    }
    pairs = [
        (quality, rivals[p.tag, p.point.seed])
        for p in points
        if (p.tag, p.point.seed) in rivals and (quality := scene.quality_of(p)) is not None
    ]
    return _lead(RANDOM, pairs) if pairs else None


def leads_over_controls(points: Sequence[Placed]) -> list[Lead]:
    """The lead of points over each control that they carry, the strongest control first.

    A control is judged on the same images with the same seed as the point that carries it.
    """
    pairs: dict[str, list[tuple[Estimate, Estimate]]] = {}
    for placed in points:
        if placed.point.accuracy is not None:
            for name, control in placed.point.controls.items():
                pairs.setdefault(name, []).append((placed.point.accuracy, control))
    strength = {
        name: sum(control.value for _, control in found) / len(found) for name, found in pairs.items()
    }
    return [_lead(name, pairs[name]) for name in sorted(pairs, key=lambda name: -strength[name])]


def _lead(rival: str, pairs: Sequence[tuple[Estimate, Estimate]]) -> Lead:
    lead = paired([own.value - other.value for own, other in pairs])
    return Lead(rival, lead, len(pairs), lead if len(pairs) > 1 else apart(*pairs[0]))
