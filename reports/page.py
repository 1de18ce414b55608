"""The report: one HTML page that opens from disk without a network, and the same charts as images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latency_tables.errors import UserError
from latency_tables.files import write_atomically
from reports import charts, summary, units
from reports.details import Details, details
from reports.results import UNPRUNED, Point, Run, read_run
from reports.scenes import Placed, Scene, scenes
from reports.style import Look, looks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HTML = "report.html"
"""Name of the page in the folder of a report."""


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """What `write_report` wrote.

    Attributes:
        html: the page.
        images: one PNG for each chart of each setting that has something to show.
    """

    html: Path
    images: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _View:
    """A scene with everything that the template shows of it; `plots` go to plotly as they are."""

    scene: Scene
    rows: list[Placed]
    budgets: list[summary.BudgetSummary]
    unpruned: Any
    volumes: list[summary.Volume]
    controls: list[tuple[str, Any, int]]
    standings: dict[int, str]
    predictions: charts.PredictionChart
    stages: charts.StagesChart
    bars: tuple[charts.Bar, ...]
    plots: dict[str, Any]


def write_report(runs: Sequence[Path], out: Path) -> ReportFiles:
    """Reads runs and writes a report on all of them.

    Points are charted together only if network, images, shift and setting are the same.

    Args:
        runs: folders that `reports.results.write_run` and `write_point` filled, at least one.
        out: the folder for the report; made when missing. Files of the same names are replaced.

    Returns:
        The files written. Runs without a finished point make a page that says so.

    Raises:
        UserError: no run was given, or one cannot be read; nothing is written then.
        LatheError: a file could not be written.
    """
    if not runs:
        raise UserError(
            "a report needs at least one run, got none. Name the folder of a run, which holds run.json."
        )
    found = [read_run(folder) for folder in runs]
    groups = scenes(found)
    table = looks(placed.point.method for scene in groups for placed in scene.points)
    page = out / HTML
    # All is made before anything is written, so that a failure leaves the last report whole.
    text = render_page(found).encode()
    images = {out / f"{name}.png": _png(figure) for name, figure in _figures(groups, table)}
    for path, content in {page: text, **images}.items():
        write_atomically(path, content)
    return ReportFiles(page, tuple(images))


def render_page(runs: Sequence[tuple[Run, Sequence[Point]]]) -> str:
    """The whole page as text.

    Args:
        runs: as `reports.results.read_run` returns them.
    """
    import jinja2
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    groups = scenes(runs)
    table = looks(placed.point.method for scene in groups for placed in scene.points)
    views = [_view(scene, table) for scene in groups]
    shown: Details = details(groups)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Hundreds of points are embedded: no blanks, and "–" is shorter than its escape.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False}
    environment.filters |= {
        "latency": units.latency,
        "plain_latency": units.plain_latency,
        "percent": units.percent,
        "number": units.number,
        "duration": units.duration,
    }
    environment.tests["unpruned"] = lambda method: method == UNPRUNED
    places = [f"{scene.workload}, {scene.label}" for scene in groups]
    data = {"plots": [view.plots for view in views], "places": places, **shown.data()}
    # The three texts are ours or plotly's: put in as they are, but never able to end their element.
    return environment.get_template("report.html").render(
        runs=[(run, list(_flat(run.host, skip="warnings")), _warnings(run)) for run, _ in runs],
        views=views,
        first=_first(views),
        data=data,
        flat=lambda record: list(_flat(record, skip="label")),
        css=Markup(_template("style.css")),  # noqa: S704
        script=Markup(_inside_script(_template("report.js"))),  # noqa: S704
        plotly=Markup(_inside_script(get_plotlyjs() if any(view.plots for view in views) else "")),  # noqa: S704
    )


def _view(scene: Scene, table: Mapping[str, Look]) -> _View:
    from reports import plots

    pareto = charts.pareto_chart(scene)
    predictions = charts.prediction_chart(scene)
    stages = charts.stages_chart(scene)
    outcomes = summary.budgets(scene)
    drawn: dict[str, Any] = {}
    if pareto.marks:
        drawn["pareto"] = plots.pareto_plot(pareto, table)
    if predictions.predictions:
        drawn["prediction"] = plots.prediction_plot(predictions, table)
    if stages.rows:
        drawn["stages"] = plots.stages_plot(stages)
    return _View(
        scene=scene,
        rows=_rows(scene.done, [outcome.budget for outcome in outcomes]),
        budgets=outcomes,
        unpruned=summary.unpruned(scene),
        volumes=summary.volumes(scene),
        controls=summary.controls(scene),
        standings={mark.placed.key: mark.standing.value for mark in pareto.marks},
        predictions=predictions,
        stages=stages,
        bars=charts.part_bars(scene),
        plots=drawn,
    )


def _rows(points: Sequence[Placed], order: Sequence[str]) -> list[Placed]:
    """The unpruned network, then budget by budget, method by method, seed by seed."""

    def place(placed: Placed) -> tuple[int, str, int]:
        point = placed.point
        return -1 if point.method == UNPRUNED else order.index(point.budget), point.method, point.seed

    return sorted(points, key=place)


def _first(views: Sequence[_View]) -> int | None:
    """The key of the point that the page opens with: the best one of the tightest budget that was met."""
    for view in views:
        for outcome in reversed(view.budgets):
            if outcome.best:
                return outcome.best.typical.key
    return None


def _figures(groups: Sequence[Scene], table: Mapping[str, Look]) -> Iterator[tuple[str, Figure]]:
    from reports import figures

    for i, scene in enumerate(groups, start=1):
        title = f"{scene.workload}\n{scene.label}"
        pareto = charts.pareto_chart(scene)
        if pareto.marks:
            yield f"pareto-{i}", figures.draw_pareto(pareto, title, table)
        predictions = charts.prediction_chart(scene)
        if predictions.predictions:
            yield f"predicted-{i}", figures.draw_predictions(predictions, title, table)
        bars = charts.part_bars(scene)
        if bars:
            yield f"parts-{i}", figures.draw_parts(bars, title)
        stages = charts.stages_chart(scene)
        if stages.rows:
            yield f"stages-{i}", figures.draw_stages(stages, title)


def _png(figure: Figure) -> bytes:
    from reports.canvas import render

    return render(figure, "png")


def _template(name: str) -> str:
    return resources.files("reports").joinpath("templates", name).read_text(encoding="utf-8")


def _inside_script(code: str) -> str:
    return re.sub("</(script)", r"<\\/\1", code, flags=re.IGNORECASE)


def _warnings(run: Run) -> list[str]:
    found = run.host.get("warnings", [])
    return [str(warning) for warning in found] if isinstance(found, list) else [str(found)]


def _flat(record: Mapping[str, Any], *, skip: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of a JSON record as pairs of a path and a text; lists stand on one line."""
    for key, value in record.items():
        if not prefix and key == skip:
            continue
        if isinstance(value, dict):
            yield from _flat(value, skip=skip, prefix=f"{prefix}{key}.")
        elif isinstance(value, list):
            yield prefix + key, ", ".join(map(_leaf, value)) or "–"
        else:
            yield prefix + key, _leaf(value)


def _leaf(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
