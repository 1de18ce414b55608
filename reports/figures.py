"""Every chart of a report as PNG and SVG, for a column of a paper and for a slide."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from reports import charts
from reports.canvas import COLUMN, SLIDE, Shape, render
from reports.figure_pareto import draw_pareto
from reports.figure_parts import draw_parts
from reports.figure_predictions import draw_predictions
from reports.figure_stages import draw_stages
from reports.scenes import Scene
from reports.style import Look

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "figures"
"""Name of the folder beside the page."""


def draw_all(scene: Scene, number: int, looks: Mapping[str, Look]) -> dict[str, bytes]:
    """Draws every chart of the scene that has something to show.

    Args:
        scene: the points.
        number: of the scene in the report, which keeps the names of its files apart.
        looks: how each method is drawn.

    Returns:
        The content of each file by its path in the report's folder, as in "figures/pareto-1-column.svg". The same
        records give the same bytes.
    """
    named = _drawings(scene, looks)
    return draw_files((f"{name}-{number}", draw) for name, draw in named)


def draw_files(drawings: Iterable[tuple[str, Callable[[Shape], Figure]]]) -> dict[str, bytes]:
    """Draws pictures in every shape and format.

    Args:
        drawings: the name of each, and what draws it in a shape.

    Returns:
        The content of each file by its path, as in "figures/pareto-1-column.svg".
    """
    files = {}
    with warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box, which says enough.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        warnings.filterwarnings("ignore", "Matplotlib currently does not support", UserWarning)
        for name, draw in drawings:
            for shape in (COLUMN, SLIDE):
                figure = draw(shape)
                for kind in ("png", "svg"):
                    files[f"{FOLDER}/{name}-{shape.name}.{kind}"] = render(figure, kind, shape.dpi)
    return files


def _drawings(scene: Scene, looks: Mapping[str, Look]) -> Iterator[tuple[str, Callable[[Shape], Figure]]]:
    runs = {placed.tag: placed.run.name for placed in scene.points if placed.tag}
    title = "\n".join(
        [scene.workload, scene.label, *(f"{tag}: {name}" for tag, name in sorted(runs.items()))]
    )
    pareto = charts.pareto_chart(scene)
    if pareto.marks:
        yield "pareto", lambda shape: draw_pareto(pareto, title, looks, shape)
    predictions = charts.prediction_chart(scene)
    if predictions.predictions:
        yield "predicted", lambda shape: draw_predictions(predictions, title, looks, shape)
    bars = charts.part_bars(scene)
    if bars:
        yield "parts", lambda shape: draw_parts(bars, title, shape)
    stages = charts.stages_chart(scene)
    if stages.rows:
        yield "stages", lambda shape: draw_stages(stages, title, shape)
