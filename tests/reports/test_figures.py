from __future__ import annotations

import io
import itertools
import math
import re

import made_up_runs as made
import pytest

from latency_tables.estimate import Estimate
from reports.canvas import COLUMN, SLIDE, Shape, arms
from reports.charts import pareto_chart, part_bars, prediction_chart, stages_chart
from reports.figure_pareto import MOST, draw_pareto
from reports.figure_parts import draw_parts
from reports.figure_predictions import draw_predictions
from reports.figure_stages import draw_stages
from reports.figures import draw_all
from reports.pareto import Standing
from reports.results import PartTime
from reports.scenes import Scene, scenes
from reports.style import looks

WILD = made.point(accuracy=Estimate(0.8, -math.inf, math.inf), measured_s=Estimate(5e-3, 4e-3, math.inf))
LONG = "a method whose name goes on and on and would never fit into a column of a paper"
CROWDED = [
    made.unpruned(),
    *(
        made.point(
            id=f"{i}-{k}",
            method=f"$method_{i}$ with words" if i else LONG,
            budget=f"{0.5 + 0.02 * k:.2f}x",
            budget_s=4e-3 + 1.6e-4 * k,
            measured_s=made.estimate(4e-3 + 1.5e-4 * k, 1e-5),
            parts=(*made.parts(made.BLOCKS[:20]), PartTime(LONG, "convolution", LONG, 9e-3, i != 2)),
            stages_s={f"{LONG} {j}": 1.0 + i for j in range(5)},
        )
        for i in range(12)
        for k in (range(12) if i == 0 else [i])
    ),
]
CASES = {
    "one point": [made.point()],
    "two methods": [made.unpruned(), made.point(), made.point(id="b", method="random")],
    "four methods": made.many(methods=4),
    "no known interval": [WILD],
    "crowded": CROWDED,
}


def scene(*points, **changes) -> Scene:
    return scenes([(made.run(**changes), points)])[0]


def drawn(group: Scene, shape: Shape = COLUMN):
    table = looks(placed.point.method for placed in group.points)
    title = f"{group.workload}\n{group.label}"
    return {
        "pareto": draw_pareto(pareto_chart(group), title, table, shape),
        "predicted": draw_predictions(prediction_chart(group), title, table, shape),
        "parts": draw_parts(part_bars(group), title, shape),
        "stages": draw_stages(stages_chart(group), title, shape),
    }


def texts(figure) -> set[str]:
    from matplotlib.text import Text

    return {text.get_text() for text in figure.findobj(Text)}


def unseen_ticks(figure) -> set[str]:
    """Labels of ticks beyond the axis, which matplotlib makes and does not draw."""
    axes = figure.axes[0]
    found = set()
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, sorted(axes.get_ylim()))):
        for tick in axis.get_major_ticks():
            if not min(low, high) <= tick.get_loc() <= max(low, high):
                found |= {id(tick.label1), id(tick.label2)}
    return found


@pytest.mark.parametrize("shape", [COLUMN, SLIDE], ids=lambda shape: shape.name)
@pytest.mark.parametrize("case", CASES)
def test_no_text_is_cut_and_none_meets_another(case: str, shape: Shape) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    for name, figure in drawn(scene(*CASES[case]), shape).items():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        hidden = unseen_ticks(figure)
        boxes = [
            (text.get_text(), text.get_window_extent(canvas.get_renderer()))
            for text in figure.findobj(Text)
            if text.get_visible() and text.get_text().strip() and id(text) not in hidden
        ]
        assert len(boxes) > 3
        for text, box in boxes:
            assert box.x0 >= 0 and box.y0 >= 0, (name, text)
            assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, (name, text)
        for (one, a), (other, b) in itertools.combinations(boxes, 2):
            # Boxes hold the room for letters that hang below the line; a pixel or two is not a collision.
            wide = min(a.x1, b.x1) - max(a.x0, b.x0)
            high = min(a.y1, b.y1) - max(a.y0, b.y0)
            assert min(wide, high) <= 0.25 * shape.text * figure.dpi / 72, (name, one, other)


def test_a_column_is_85_mm_wide_in_8_point_and_a_slide_16_to_9() -> None:
    from matplotlib.text import Text

    for shape, size in ((COLUMN, 8.0), (SLIDE, 20.0)):
        for figure in drawn(scene(*made.many()), shape).values():
            shown = [text for text in figure.findobj(Text) if text.get_text().strip()]
            assert {text.get_fontsize() for text in shown} == {size}
            assert figure.get_facecolor() == (1, 1, 1, 1)
            width, height = figure.get_size_inches()
            if shape is COLUMN:
                assert width * 25.4 == pytest.approx(85)
            else:
                assert width / height == pytest.approx(16 / 9)


def test_files_have_stable_names_and_bytes() -> None:
    from PIL import Image

    group = scene(made.unpruned(), made.point())
    table = looks(["unpruned", "ttmpd"])
    files = draw_all(group, 3, table)
    assert sorted(files) == [
        f"figures/{name}-3-{shape}.{kind}"
        for name in ("pareto", "parts", "predicted", "stages")
        for shape in ("column", "slide")
        for kind in ("png", "svg")
    ]
    assert files == draw_all(group, 3, table)
    size = Image.open(io.BytesIO(files["figures/pareto-3-slide.png"])).size
    assert size == (1920, 1080)
    assert Image.open(io.BytesIO(files["figures/pareto-3-column.png"])).width == 1003


def test_texts_of_an_svg_stay_texts_and_carry_no_date() -> None:
    group = scene(made.point(method="<b>&$x$", parts=(), predicted_s=None, stages_s={}), closure=())
    files = draw_all(group, 1, looks(["<b>&$x$"]))
    assert {name.split("/")[1].split("-")[0] for name in files} == {"pareto"}
    svg = files["figures/pareto-1-column.svg"].decode()
    assert "&lt;b&gt;&amp;$x$</text>" in svg
    assert "<b>" not in svg
    assert "<dc:date>" not in svg
    assert "<image" not in svg


def test_nothing_is_drawn_of_points_that_failed() -> None:
    assert draw_all(scene(made.failed(), closure=()), 1, looks(["ttmpd"])) == {}


def test_axes_have_units_and_budgets_and_the_better_side() -> None:
    found = drawn(scene(*made.many()))
    assert {
        "← better   measured latency (ms)",
        "accuracy (%)   better →",
        "0.85x",
        "0.7x",
        "0.55x",
        "ttmpd",
        "unpruned",
        "maybe on the front",
        "on the front",
        "noise cannot order",
        "95 % interval",
        "budget",
    } <= texts(found["pareto"])
    assert {"predicted latency (ms)", "within ±5 %", "closure, fitted to it"} <= texts(found["predicted"])
    assert {"score", "ttmpd: 3 min 54 s, mean of 9 points"} <= texts(found["stages"])


def test_agreement_is_named_where_it_is_drawn() -> None:
    group = scene(made.point(accuracy=None))
    assert any("agreement with" in text for text in texts(drawn(group)["pareto"]))


def test_points_stand_where_the_data_says_with_both_intervals() -> None:
    from matplotlib.collections import LineCollection

    axes = drawn(scene(made.point()))["pareto"].axes[0]
    places = [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axes.lines
        if len(line.get_xdata()) == 1
    ]
    assert pytest.approx((5.6, 81.2)) in places
    bars = [
        path.vertices.flatten().tolist()
        for found in axes.findobj(LineCollection)
        for path in found.get_paths()
    ]
    assert pytest.approx([5.56, 81.2, 5.64, 81.2]) in bars
    assert pytest.approx([5.6, 80.4, 5.6, 82.0]) in bars


def test_an_unknown_end_runs_off_the_chart_and_does_not_stretch_it() -> None:
    assert arms(Estimate(2.0, 1.5, math.inf), 10.0, floor=0.0) == (5.0, 180.0)
    assert arms(Estimate(0.8, -math.inf, math.inf), 100.0, floor=0.0, ceiling=1.0) == pytest.approx((80, 20))
    axes = drawn(scene(WILD))["pareto"].axes[0]
    assert axes.get_xlim()[1] < 7


def test_removed_parts_are_hatched_and_named() -> None:
    figure = drawn(scene(made.point()))["parts"]
    hatched = [bar for bar in figure.axes[0].patches if bar.get_hatch()]
    assert len(hatched) == 6
    total = sum(part.latency_s for part in made.point().parts if not part.kept)
    assert sum(bar.get_width() for bar in hatched) == pytest.approx(total * 1e3)
    assert all(re.search(re.escape(name), " ".join(texts(figure))) for name in made.BLOCKS[10:16])


def test_runs_are_told_apart_by_a_letter_at_the_end_of_their_lines() -> None:
    worse = [made.point(id="x", accuracy=made.estimate(0.75, 0.01))]
    group = scenes([(made.run(), [made.point()]), (made.run(name="second"), worse)])[0]
    table = looks(["ttmpd"])
    figure = draw_pareto(
        pareto_chart(group), "title", {p.series: table["ttmpd"] for p in group.points} | table, COLUMN
    )
    axes = figure.axes[0]
    letters = {text.get_text(): text.xy for text in axes.texts if text.get_text() in ("A", "B")}
    assert letters == {"A": pytest.approx((5.6, 81.2)), "B": pytest.approx((5.6, 75.0))}
    files = draw_all(group, 1, {p.series: table["ttmpd"] for p in group.points} | table)
    assert "A: synthetic</text>" in files["figures/pareto-1-slide.svg"].decode()


def test_of_too_many_points_dominated_ones_are_left_out_and_the_rest_is_counted() -> None:
    points = made.many(budgets=tuple(0.4 + 0.025 * i for i in range(22)), seeds=10)
    group = scene(*points)
    marks = pareto_chart(group).marks
    kept = sum(mark.standing is not Standing.DOMINATED for mark in marks)
    assert kept < MOST < len(marks) == 661
    figure = drawn(group)["pareto"]
    assert "600 of 661 points are drawn;" in " ".join(" ".join(texts(figure)).split())
    lines = figure.axes[0].lines
    drawn_marks = [line for line in lines if line.get_marker() not in ("", "None")]
    rings = [line for line in drawn_marks if line.get_markerfacecolor() == "none"]
    assert sum(len(line.get_xdata()) for line in drawn_marks if line not in rings) == MOST
    assert sum(len(line.get_xdata()) for line in rings) == sum(mark.unordered for mark in marks)
