from __future__ import annotations

import math

import made_up_runs as made
import pytest

from latency_tables.estimate import Estimate
from reports import figures
from reports.canvas import arms, render
from reports.charts import pareto_chart, part_bars, prediction_chart, stages_chart
from reports.scenes import Scene, scenes
from reports.style import looks

WILD = made.point(accuracy=Estimate(0.8, -math.inf, math.inf), measured_s=Estimate(5e-3, 4e-3, math.inf))


def scene(*points) -> Scene:
    return scenes([(made.run(), points)])[0]


def drawn(group: Scene):
    table = looks(placed.point.method for placed in group.points)
    return {
        "pareto": figures.draw_pareto(pareto_chart(group), "title", table),
        "predicted": figures.draw_predictions(prediction_chart(group), "title", table),
        "parts": figures.draw_parts(part_bars(group), "title"),
        "stages": figures.draw_stages(stages_chart(group), "title"),
    }


def texts(figure) -> set[str]:
    from matplotlib.text import Text

    return {text.get_text() for text in figure.findobj(Text)}


@pytest.mark.parametrize(
    "points", [[made.point()], made.many(), [WILD], [made.unpruned(), made.point(method="$\\bad$")]]
)
def test_every_figure_renders(points) -> None:
    for figure in drawn(scene(*points)).values():
        assert render(figure, "png").startswith(b"\x89PNG\r\n")


def test_the_same_figure_gives_the_same_bytes() -> None:
    for kind in ("png", "svg"):
        first, second = (render(drawn(scene(*made.many()))["pareto"], kind) for _ in range(2))
        assert first == second


def test_axes_have_units_and_budgets_and_the_better_side() -> None:
    found = drawn(scene(*made.many()))
    read = texts(found["pareto"])
    assert {
        "measured latency (ms)",
        "accuracy (%)",
        "0.85x",
        "0.7x",
        "0.55x",
        "better",
        "ttmpd",
        "unpruned",
    } <= read
    assert {"cannot tell", "on the front"} <= read
    assert {"predicted latency (ms)", "within ±5 %", "closure, table fitted to it"} <= texts(
        found["predicted"]
    )
    assert {"score", "ttmpd (n = 9)"} <= texts(found["stages"])


def test_agreement_is_named_where_it_is_drawn() -> None:
    group = scene(made.point(accuracy=None))
    assert "agreement with the unpruned network (%)" in texts(drawn(group)["pareto"])


def test_points_stand_where_the_data_says() -> None:
    axes = drawn(scene(made.point()))["pareto"].axes[0]
    places = [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axes.lines
        if len(line.get_xdata()) == 1
    ]
    assert pytest.approx((5.6, 81.2)) in places


def test_an_unknown_end_runs_off_the_chart_and_does_not_stretch_it() -> None:
    assert arms(Estimate(2.0, 1.5, math.inf), 10.0, floor=0.0) == [[5.0], [180.0]]
    assert arms(Estimate(0.8, -math.inf, math.inf), 100.0, floor=0.0, ceiling=1.0) == [
        [pytest.approx(80)],
        [pytest.approx(20)],
    ]
    axes = drawn(scene(WILD))["pareto"].axes[0]
    assert axes.get_xlim()[1] < 7


def test_removed_parts_are_hatched() -> None:
    axes = drawn(scene(made.point()))["parts"].axes[0]
    hatched = [bar for bar in axes.patches if bar.get_hatch()]
    assert len(hatched) == 6
    total = sum(part.latency_s for part in made.point().parts if not part.kept)
    assert sum(bar.get_width() for bar in hatched) == pytest.approx(total * 1e3)
