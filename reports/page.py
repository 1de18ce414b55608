"""The report: one HTML page that opens from disk without a network, and the same charts as images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latency_tables.errors import UserError
from latency_tables.estimate import Estimate
from latency_tables.files import write_together
from reports import charts, summary
from reports.comparison import Comparison, comparisons
from reports.details import Details, details
from reports.elsewhere import Elsewhere, elsewhere
from reports.findings import SHOWN, Located, findings
from reports.planes import planes
from reports.results import UNPRUNED, Point, Run
from reports.run_folder import Damaged, salvage_run
from reports.scenes import Placed, Scene, run_tag, scenes
from reports.selection import MOST, select
from reports.style import Look, looks
from reports.templating import flat, make_environment, own_texts
from reports.thinning import thin

HTML = "report.html"
"""Name of the page in the folder of a report."""


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """What `write_report` wrote.

    Attributes:
        html: the page.
        images: PNG and SVG of each chart of each setting that has something to show.
        damaged: points that are missing from them because their files cannot be used.
    """

    html: Path
    images: tuple[Path, ...]
    damaged: tuple[Damaged, ...]


@dataclass(frozen=True, slots=True)
class _View:
    """A scene with everything that the template shows of it; `plots` go to the page's script as they are."""

    scene: Scene
    keys: frozenset[int]
    rows: list[Placed]
    failed: list[Placed]
    budgets: list[summary.BudgetSummary]
    unpruned: Any
    volumes: list[summary.Volume]
    controls: list[tuple[str, Any, int]]
    marks: dict[int, charts.Mark]
    comparisons: list[Comparison]
    elsewhere: list[Elsewhere]
    predictions: charts.PredictionChart
    stages: charts.StagesChart
    bars: tuple[charts.Bar, ...]
    plots: dict[str, Any]

    @property
    def figures(self) -> set[str]:
        """What the scene shows, as findings name it."""
        held = {
            "pareto": "pareto" in self.plots,
            "predicted": "prediction" in self.plots,
            "parts": self.bars,
            "controls": self.controls,
            "points": self.scene.done,
            "failed": self.scene.failed,
            "compare": self.comparisons,
            "elsewhere": self.elsewhere,
        }
        return {name for name, there in held.items() if there}


@dataclass(frozen=True, slots=True)
class _RunView:
    """A run with its machine and with what is wrong about both."""

    tag: str
    run: Run
    host: list[tuple[str, str]]
    warnings: list[str]
    damaged: Sequence[Damaged]


@dataclass(frozen=True, slots=True)
class _Card:
    """A finding and the id of what shows it."""

    found: Located
    anchor: str


def write_report(runs: Sequence[Path], out: Path) -> ReportFiles:
    """Reads runs and writes a report on all of them.

    Points are charted together only if network, images, shift and setting are the same.

    Args:
        runs: folders that `reports.run_folder.write_run` and `write_point` filled, at least one.
        out: the folder for the report; made when missing. Files of the same names are replaced.

    Returns:
        The files written. Runs without a finished point make a page that says so; points whose files cannot be used
        are left out of the charts, and named on the page and in what is returned.

    Raises:
        UserError: no run was given, or the record of one cannot be read; nothing is written then.
        LatheError: a file could not be written; the last report stays as it was.
    """
    if not runs:
        raise UserError(
            "a report needs at least one run, got none. Name the folder of a run, which holds run.json."
        )
    from reports.figures import draw_all

    salvaged = [salvage_run(folder) for folder in runs]
    found = [(run, points) for run, points, _ in salvaged]
    groups = scenes(found)
    table = _looks(groups)
    page = out / HTML
    # All is made before anything is written, so that a failure leaves the last report whole.
    images = {
        out / name: content
        for number, scene in enumerate(groups, start=1)
        for name, content in draw_all(scene, number, table).items()
    }
    text = render_page(found, [damaged for *_, damaged in salvaged])
    write_together({page: text.encode(), **images})
    return ReportFiles(page, tuple(images), tuple(file for *_, damaged in salvaged for file in damaged))


def render_page(
    runs: Sequence[tuple[Run, Sequence[Point]]], damaged: Sequence[Sequence[Damaged]] | None = None
) -> str:
    """The whole page as text.

    Args:
        runs: as `reports.run_folder.read_run` returns them.
        damaged: for each run what of it cannot be used; None: nothing.
    """
    groups = scenes(runs)
    lost = damaged or [()] * len(runs)
    table = _looks(groups)
    views = [_view(scene, groups, table) for scene in groups]
    shown: Details = details(groups, frozenset[int]().union(*(view.keys for view in views)))
    environment = make_environment()
    environment.filters["points"] = _points
    environment.tests["unpruned"] = lambda method: method == UNPRUNED
    places = [f"{scene.workload}, {scene.label}" for scene in groups]
    data = {"plots": [view.plots for view in views], "places": places, **shown.data()}
    return environment.get_template("report.html").render(
        runs=[
            _RunView(run_tag(i), run, list(flat(run.host, skip="warnings")), _warnings(run), gone)
            for i, ((run, _), gone) in enumerate(zip(runs, lost, strict=True))
        ],
        findings=[_Card(found, _anchor(found, views)) for found in findings(groups, sum(map(len, lost)))],
        shown=SHOWN,
        views=views,
        first=_first(views),
        data=data,
        flat=lambda record: list(flat(record, skip="label")),
        **own_texts(),
    )


def _looks(groups: Sequence[Scene]) -> dict[str, Look]:
    """How each method is drawn, and so each series: a method looks the same in every run."""
    points = [placed for scene in groups for placed in scene.points]
    table = looks(placed.point.method for placed in points)
    return {**table, **{placed.series: table[placed.point.method] for placed in points}}


def _anchor(found: Located, views: Sequence[_View]) -> str:
    """Where the finding's link leads; the scene as a whole where the figure has nothing to show."""
    if found.scene and found.finding.figure not in views[found.scene - 1].figures:
        return f"scene-{found.scene}"
    return found.anchor


def _view(scene: Scene, every: Sequence[Scene], table: Mapping[str, Look]) -> _View:
    from reports import plots

    found = planes(scene)
    pareto = charts.pareto_chart(scene)
    predictions = charts.prediction_chart(scene)
    stages = charts.stages_chart(scene)
    outcomes = summary.budgets(scene)
    keys = select(scene, found, outcomes)
    drawn: dict[str, Any] = {}
    if found.points:
        few = tuple(placed for placed in found.points if placed.key in keys)
        drawn["pareto"] = plots.pareto_plot(replace(found, points=few), table)
    if predictions.predictions:
        known = [p for p in predictions.predictions if p.placed is None or p.placed.key in keys]
        few_of_them = thin(known, MOST, lambda _: 0)
        drawn["prediction"] = plots.prediction_plot(replace(predictions, predictions=few_of_them), table)
    if stages.rows:
        drawn["stages"] = plots.stages_plot(stages)
    return _View(
        scene=scene,
        keys=keys,
        rows=_rows(
            [placed for placed in scene.done if placed.key in keys], [outcome.budget for outcome in outcomes]
        ),
        failed=[placed for placed in scene.failed if placed.key in keys],
        budgets=outcomes,
        unpruned=summary.unpruned(scene),
        volumes=summary.volumes(scene),
        controls=summary.controls(scene),
        marks={mark.placed.key: mark for mark in pareto.marks},
        comparisons=comparisons(scene),
        elsewhere=elsewhere(scene, every),
        predictions=predictions,
        stages=stages,
        bars=charts.part_bars(scene),
        plots=drawn,
    )


def _rows(points: Sequence[Placed], order: Sequence[str]) -> list[Placed]:
    """The unpruned network, then budget by budget, method by method, seed by seed."""

    def place(placed: Placed) -> tuple[int, str, int]:
        point = placed.point
        budget = order.index(point.budget) if point.budget in order else len(order)
        return -1 if point.method == UNPRUNED else budget, placed.series, point.seed

    return sorted(points, key=place)


def _first(views: Sequence[_View]) -> int | None:
    """The key of the point that the page opens with: the best one of the tightest budget that was met."""
    for view in views:
        for outcome in reversed(view.budgets):
            if outcome.best:
                return outcome.best.typical.key
    return None


def _points(difference: Estimate | None) -> str:
    """A difference of two fractions with its interval, in points of a hundred, as in "+1.2 (+0.1 to +2.3)"."""
    if difference is None:
        return "–"
    value, low, high = (f"{100 * end:+.1f}" for end in (difference.value, difference.low, difference.high))
    return f"{value} ({low} to {high})"


def _warnings(run: Run) -> list[str]:
    found = run.host.get("warnings", [])
    return [str(warning) for warning in found] if isinstance(found, list) else [str(found)]
