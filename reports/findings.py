"""All findings of a report, the weightiest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from reports import findings_measurements as measurements
from reports import findings_results as results
from reports import findings_runtimes as runtimes
from reports.finding import Finding, Kind
from reports.findings_alone import alone
from reports.findings_scratch import from_scratch
from reports.scenes import Scene

SHOWN = 8
"""So many findings stand on top of the page; the others are folded away."""
_RESULTS = 4

_FINDERS: tuple[Callable[[Scene], Iterable[Finding]], ...] = (
    results.reached,
    results.not_above_random,
    results.controls,
    from_scratch,
    alone,
    results.useless,
    results.few_seeds,
    measurements.unordered,
    measurements.disturbed,
    measurements.throttled,
    measurements.missed,
    measurements.failed,
    measurements.predicted,
    measurements.launching,
    runtimes.in_floats,
    runtimes.broken,
    runtimes.left_to_others,
    runtimes.builds_apart,
    runtimes.launches_unknown,
    measurements.floor,
    measurements.unlike_starts,
    measurements.unlike_trainings,
    measurements.between_runs,
    measurements.abroad,
)


@dataclass(frozen=True, slots=True)
class Located:
    """A finding in its place.

    Attributes:
        finding: what was found.
        scene: number of the scene in the report, counted from 1; 0 for all of it.
    """

    finding: Finding
    scene: int

    @property
    def anchor(self) -> str:
        """The id of what shows it on the page."""
        return f"{self.finding.figure}-{self.scene}" if self.scene else self.finding.figure


def findings(groups: Sequence[Scene], damaged: int = 0) -> list[Located]:
    """Everything that the scenes' points have to say, the weightiest first.

    Results of more than a few budgets make room for what qualifies them: only the first ones keep their weight.

    Args:
        groups: all scenes of the report.
        damaged: how many files of points cannot be read.
    """
    found = [Located(finding, n) for n, scene in enumerate(groups, start=1) for finding in of_scene(scene)]
    if damaged:
        found.append(Located(measurements.damaged(damaged), 0))
    found.sort(key=lambda one: (-one.finding.weight, one.scene))
    first = [one for one in found if one.finding.kind is Kind.REACHED]
    late = set(map(id, first[_RESULTS:]))
    return [one for one in found if id(one) not in late] + first[_RESULTS:]


def of_scene(scene: Scene) -> Iterator[Finding]:
    """The findings of one scene, in no order."""
    for find in _FINDERS:
        yield from find(scene)
