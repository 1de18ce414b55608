"""Points that may be compared: one network on the same images under one setting.

Latencies of two settings, or accuracies on different images, never meet in one front.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from statistics import median
from typing import Any, Literal

from latency_tables.errors import UserError
from latency_tables.estimate import Estimate
from latency_tables.setting import told_apart
from reports.results import UNKNOWN, UNPRUNED, Closure, Facts, Point, Run

Quality = Literal["accuracy", "agreement"]
_Place = tuple[str, str, str, str | None, str]


@dataclass(frozen=True, slots=True)
class Placed:
    """A point in a report.

    Attributes:
        key: its number in the report; ids are unique only within a run.
        run: the run that it came from.
        point: the point.
        tag: a letter that stands for the run; empty where its scene has points of one run only.
    """

    key: int
    run: Run
    point: Point
    tag: str = ""

    @property
    def series(self) -> str:
        """The method, with the run's letter where the scene has several."""
        return f"{self.point.method} · {self.tag}" if self.tag else self.point.method

    @property
    def title(self) -> str:
        """Method, budget and seed in words, and the run's letter where there are several."""
        words = [self.point.method, f"seed {self.point.seed}"]
        if self.point.method != UNPRUNED:
            words.insert(1, self.point.budget)
        return " · ".join([*words, self.tag] if self.tag else words)


@dataclass(frozen=True)
class Scene:
    """All points of the report that may be compared with each other.

    Attributes:
        network: as named in the run.
        input: the size of its images, as in "3x224x224"; "unknown" of an early run.
        images: as named in the run.
        shift: as named in the run; None for clean images.
        setting: the digest.
        label: the setting's short text; where another one of the report has the same, with what tells them apart.
        description: the setting in plain JSON, label included.
        points: done and failed, in the order of the runs.
        closure: predicted against measured, of all runs under this setting.
        launch: as `reports.results.Run` has it for this setting, of the last run that knows; None: none does.
        facts: what the runtime told, of the last run to which it told something; None: there is none.
    """

    network: str
    input: str
    images: str
    shift: str | None
    setting: str
    label: str
    description: dict[str, Any]
    points: tuple[Placed, ...]
    closure: tuple[Closure, ...]
    launch: dict[str, float] | None
    facts: Facts | None

    @property
    def workload(self) -> str:
        """Network, its input, images and shift in words; of a path to the images its last part."""
        kind, colon, rest = self.images.partition(":")
        place, comma, more = rest.partition(",")
        images = f"{kind}{colon}{PurePath(place).name}{comma}{more}"
        size = "" if self.input == UNKNOWN else f" at {self.input}"
        return f"{self.network}{size} on {images}" + (f" under {self.shift}" if self.shift else "")

    @cached_property
    def done(self) -> tuple[Placed, ...]:
        """Points with a measured latency."""
        return tuple(placed for placed in self.points if placed.point.status == "done")

    @cached_property
    def failed(self) -> tuple[Placed, ...]:
        """Points that have a reason in place of a result."""
        return tuple(placed for placed in self.points if placed.point.status == "failed")

    @cached_property
    def quality(self) -> Quality:
        """What the vertical axis shows: the accuracy, or without any label the agreement."""
        return "accuracy" if any(placed.point.accuracy is not None for placed in self.done) else "agreement"

    @property
    def quality_word(self) -> str:
        """The quality as something that a network can be more or less."""
        return "accurate" if self.quality == "accuracy" else "in agreement"

    def quality_of(self, placed: Placed) -> Estimate | None:
        """The point's accuracy or agreement, whichever the scene shows."""
        return placed.point.accuracy if self.quality == "accuracy" else placed.point.agreement

    @cached_property
    def unpruned_s(self) -> float | None:
        """The unpruned network's latency in seconds, the median over all points' passes; None: not measured."""
        known = [placed.point.unpruned_s.value for placed in self.done if placed.point.unpruned_s is not None]
        return median(known) if known else None

    def latency_of(self, placed: Placed) -> Estimate | None:
        """What a point's latency is compared by, seconds.

        Its ratio to the unpruned network, which was timed in turns with it, times `unpruned_s`: minutes of a
        machine differ by more than points do, and a point that was timed in a slow one is no slower for it. Where
        no ratio was measured, the latency as it was.
        """
        point = placed.point
        if point.ratio is None or self.unpruned_s is None:
            return point.measured_s
        return point.ratio.scaled(self.unpruned_s)

    def budget_of(self, placed: Placed) -> float | None:
        """A point's budget on the scale of `latency_of`, seconds; None: it has none."""
        point = placed.point
        if point.budget_s is None or self.unpruned_s is None or not point.budget.endswith("x"):
            return point.budget_s
        return float(point.budget[:-1]) * self.unpruned_s

    @cached_property
    def charted(self) -> tuple[tuple[Placed, Estimate, Estimate], ...]:
        """Done points that have a quality, each with its quality and its latency by `latency_of`."""
        found = ((placed, self.quality_of(placed), self.latency_of(placed)) for placed in self.done)
        return tuple((placed, q, s) for placed, q, s in found if q is not None and s is not None)

    @cached_property
    def places(self) -> dict[int, tuple[Estimate, Estimate]]:
        """Quality and latency by `latency_of` of each charted point by its key."""
        return {placed.key: (quality, seconds) for placed, quality, seconds in self.charted}


def _place(run: Run, setting: str) -> _Place:
    return run.network, run.input, run.images, run.shift, setting


def run_tag(number: int) -> str:
    """A letter for each run of a report, counted from 0: A to Z, then "R27" and so on."""
    return chr(ord("A") + number) if number < 26 else f"R{number + 1}"


def scenes(runs: Sequence[tuple[Run, Sequence[Point]]]) -> list[Scene]:
    """Sorts the points of all runs into scenes.

    Args:
        runs: as `reports.run_folder.read_run` returns them.

    Returns:
        One scene for each network, size of its input, images, shift and setting that has points or closure rows, in
        the order in which they first appear. Of several runs that predicted one network the last counts.

    Raises:
        UserError: two runs describe a setting of the same digest differently.
    """
    points: dict[_Place, list[Placed]] = {}
    closure: dict[_Place, dict[str, Closure]] = {}
    launches: dict[_Place, dict[str, float]] = {}
    told: dict[_Place, Facts] = {}
    settings: dict[str, dict[str, Any]] = {}
    together = Counter(
        place for run, found in runs for place in {_place(run, point.setting) for point in found}
    )
    key = 0
    for number, (run, found) in enumerate(runs):
        for digest, description in run.settings.items():
            if settings.setdefault(digest, description) != description:
                raise UserError(
                    f"setting {digest!r} of run {run.name!r} is described differently in another run: "
                    f"{description!r} and {settings[digest]!r}. Report on the runs separately."
                )
        for point in found:
            place = _place(run, point.setting)
            tag = run_tag(number) if together[place] > 1 else ""
            points.setdefault(place, []).append(Placed(key, run, point, tag))
            key += 1
        for digest, launch in run.launch.items():
            launches[_place(run, digest)] = launch
        for digest, facts in run.facts.items():
            told[_place(run, digest)] = facts
        for row in run.closure:
            closure.setdefault(_place(run, row.setting), {})[row.name] = row
    told_labels = told_apart([described["label"] for described in settings.values()], list(settings.values()))
    labels = dict(zip(settings, told_labels, strict=True))
    return [
        Scene(
            *place,
            label=labels[place[-1]],
            description=settings[place[-1]],
            points=tuple(points.get(place, ())),
            closure=tuple(closure.get(place, {}).values()),
            launch=launches.get(place),
            facts=told.get(place),
        )
        for place in dict.fromkeys([*points, *closure])
    ]
