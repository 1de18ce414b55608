"""How a method's results stand to blocks drawn at random and to the controls, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from latency_tables.estimate import Estimate
from reports.difference import paired
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
    """

    rival: str
    lead: Estimate
    seeds: int

    @property
    def surely_above(self) -> bool:
        """Whether the interval lies above 0; a single seed has none, so its sign must do."""
        return self.lead.low > 0 if self.seeds > 1 else self.lead.value > 0

    @property
    def surely_below(self) -> bool:
        """Whether the interval lies below 0; never with a single seed."""
        return self.seeds > 1 and self.lead.high < 0

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
    differences = [
        quality.value - rivals[p.tag, p.point.seed].value
        for p in points
        if (p.tag, p.point.seed) in rivals and (quality := scene.quality_of(p)) is not None
    ]
    return Lead(RANDOM, paired(differences), len(differences)) if differences else None


def leads_over_controls(points: Sequence[Placed]) -> list[Lead]:
    """The lead of points over each control that they carry, the strongest control first.

    A control is judged on the same images with the same seed as the point that carries it.
    """
    differences: dict[str, list[float]] = {}
    strength: dict[str, list[float]] = {}
    for placed in points:
        accuracy = placed.point.accuracy
        if accuracy is None:
            continue
        for name, control in placed.point.controls.items():
            differences.setdefault(name, []).append(accuracy.value - control.value)
            strength.setdefault(name, []).append(control.value)
    found = [Lead(name, paired(given), len(given)) for name, given in differences.items()]
    return sorted(found, key=lambda lead: -_mean(strength, lead.rival))


def _mean(strength: Mapping[str, Sequence[float]], name: str) -> float:
    return sum(strength[name]) / len(strength[name])
