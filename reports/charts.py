"""What each figure shows, as records: made and tested before anything is drawn, drawn by `figures` and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from latency_tables.estimate import Estimate
from reports.axes import cost_axes, quality_axes
from reports.pareto import Standing
from reports.planes import plane
from reports.results import PartTime
from reports.scenes import Placed, Quality, Scene
from reports.summary import budgets

TOLERANCE = 0.05
"""Half the width of the band in which a prediction counts as right, as a share of the measured latency."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of the Pareto chart.

    Attributes:
        placed: the point.
        quality: what the chart's vertical axis shows.
        latency_s: measured.
        standing: whether it is on the front.
        unordered: whether noise alone could turn round its order with a point of another method or budget.
    """

    placed: Placed
    quality: Estimate
    latency_s: Estimate
    standing: Standing
    unordered: bool


@dataclass(frozen=True, slots=True)
class ParetoChart:
    """Quality against measured latency.

    Attributes:
        quality: what the vertical axis shows.
        marks: all points that have a place in the plane.
        lines: for each series the corners of its front of means over seeds, as (latency in seconds, quality)
            by rising latency.
        budgets: the budgets in seconds, mean over the points, by the name that the user gave.
    """

    quality: Quality
    marks: tuple[Mark, ...]
    lines: dict[str, tuple[tuple[float, float], ...]]
    budgets: dict[str, float]


@dataclass(frozen=True, slots=True)
class Prediction:
    """A predicted and a measured latency of one network.

    Attributes:
        name: the point's title or the closure row's name.
        placed: the point; None for a row of the closure table.
        predicted_s: by the table.
        measured_s: on the device.
        fitted: whether the table was fitted to this very measurement.
    """

    name: str
    placed: Placed | None
    predicted_s: Estimate
    measured_s: Estimate
    fitted: bool

    @property
    def error(self) -> float:
        """(predicted - measured) / measured."""
        return self.predicted_s.value / self.measured_s.value - 1


@dataclass(frozen=True, slots=True)
class PredictionChart:
    """Predicted against measured latency.

    Attributes:
        predictions: of the points and of the closure table.
        judged: how many of them the table was not fitted to.
        mean_error: mean absolute relative error of those; None if there are none.
        within: how many of those lie within `TOLERANCE`.
    """

    predictions: tuple[Prediction, ...]
    judged: int
    mean_error: float | None
    within: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Neighbouring parts of one block with one fate.

    Attributes:
        name: the block, or the part where it stands outside of blocks.
        latency_s: sum over the parts.
        kept: whether the pruned network still has them.
    """

    name: str
    latency_s: float
    kept: bool


@dataclass(frozen=True, slots=True)
class Bar:
    """A network drawn as a bar: all segments before, the kept ones after."""

    title: str
    segments: tuple[Segment, ...]

    @property
    def removed(self) -> tuple[str, ...]:
        """What went as a whole, by name."""
        return names(self.segments, kept=False, in_part=False)

    @property
    def narrowed(self) -> tuple[str, ...]:
        """What went in part."""
        return names(self.segments, kept=False, in_part=True)


@dataclass(frozen=True, slots=True)
class StageRow:
    """Mean seconds that a point of one method spent in each stage.

    Attributes:
        method: its name, with the run's letter where there are several.
        points: how many points the means are over.
        seconds: one for each stage of the chart, in its order; a stage that a point skipped counts as 0.
    """

    method: str
    points: int
    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class StagesChart:
    """Seconds per stage and method."""

    stages: tuple[str, ...]
    rows: tuple[StageRow, ...]


def pareto_chart(scene: Scene) -> ParetoChart:
    """Places the scene's points in the plane and says which are on the front."""
    charted = scene.charted
    if not charted:
        return ParetoChart(scene.quality, (), {}, {})
    quality = next(axis for axis in quality_axes(scene) if axis.name == scene.quality)
    found = plane([placed for placed, _, _ in charted], quality, cost_axes(scene)[0])
    marks = tuple(
        Mark(placed, q, s, found.standings[placed.key], placed.key in found.unordered)
        for placed, q, s in charted
    )
    limits: dict[str, list[float]] = {}
    for placed in scene.points:
        if (seconds := scene.budget_of(placed)) is not None:
            limits.setdefault(placed.point.budget, []).append(seconds)
    return ParetoChart(
        quality=scene.quality,
        marks=marks,
        lines=dict(found.lines),
        budgets={name: sum(seconds) / len(seconds) for name, seconds in limits.items()},
    )


def prediction_chart(scene: Scene) -> PredictionChart:
    """Collects every pair of predicted and measured latency of the scene."""
    predictions = [
        Prediction(placed.title, placed, placed.point.predicted_s, placed.point.measured_s, fitted=False)
        for placed in scene.done
        # The unpruned network's latency is what predictions start from, so it predicts nothing; nor does that of a
        # network with single weights out.
        if (placed.point.removed or placed.point.widths)
        and placed.point.predicted_s is not None
        and placed.point.measured_s is not None
    ]
    predictions += [
        Prediction(row.name, None, row.predicted_s, row.measured_s, row.fitted) for row in scene.closure
    ]
    errors = [abs(prediction.error) for prediction in predictions if not prediction.fitted]
    return PredictionChart(
        predictions=tuple(predictions),
        judged=len(errors),
        mean_error=sum(errors) / len(errors) if errors else None,
        within=sum(error <= TOLERANCE for error in errors),
    )


def segments(parts: Sequence[PartTime]) -> tuple[Segment, ...]:
    """Joins neighbouring parts of one block that share their fate; their latencies add up to the parts'."""
    found = []
    for (name, kept), group in groupby(parts, key=lambda part: (part.block or part.name, part.kept)):
        found.append(Segment(name, sum(part.latency_s for part in group), kept))
    return tuple(found)


def names(segments: Sequence[Segment], *, kept: bool, in_part: bool) -> tuple[str, ...]:
    """Names of segments of one fate, each once.

    Args:
        segments: of a network.
        kept: the fate.
        in_part: whether those are meant of which another segment has the other fate, or those without.
    """
    other = {segment.name for segment in segments if segment.kept != kept}
    own = (s.name for s in segments if s.kept == kept and (s.name in other) == in_part)
    return tuple(dict.fromkeys(own))


def part_bars(scene: Scene) -> tuple[Bar, ...]:
    """The network before and after, for a typical point of the best method under each budget."""
    chosen = [summary.best.typical for summary in budgets(scene) if summary.best]
    return tuple(Bar(placed.title, segments(placed.point.parts)) for placed in chosen if placed.point.parts)


def stages_chart(scene: Scene) -> StagesChart:
    """Averages the seconds per stage over the done points of each method."""
    points: dict[str, list[dict[str, float]]] = {}
    for placed in scene.done:
        if placed.point.stages_s:
            points.setdefault(placed.series, []).append(placed.point.stages_s)
    stages = tuple(dict.fromkeys(name for found in points.values() for times in found for name in times))
    rows = tuple(
        StageRow(
            series,
            len(found),
            tuple(sum(times.get(stage, 0.0) for times in found) / len(found) for stage in stages),
        )
        for series, found in points.items()
    )
    return StagesChart(stages, rows)
