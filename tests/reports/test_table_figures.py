from __future__ import annotations

import io
import itertools
import math
from dataclasses import replace

import made_up_table as made
import pytest

from latency_tables.estimate import Estimate
from reports.canvas import COLUMN, SLIDE, Shape
from reports.figure_residuals import MOST
from reports.table_charts import residual_chart
from reports.table_figures import _drawings, draw_table
from reports.table_record import CurvePoint, MeasuredPlace, TableRecord, WidthPoint

LONG = "a.layer.whose.name.goes.on.and.on.and.would.never.fit.into.a.column_of_a_$paper$"
POINT = WidthPoint(8, made.estimate(1e-4), "anchor")
SMALL = made.record(
    layers=made.layers()[:1],
    closure=made.closure(1),
    staircases=(
        made.staircase(
            step=1,
            error=None,
            points=(POINT,),
            curve=(CurvePoint(8, Estimate(1e-4, -math.inf, math.inf), "interpolated"),),
        ),
    ),
    heat_maps=(
        made.heat_map(columns=(8,), rows=(4,), latency_s=((1e-4,),), measured=(MeasuredPlace(8, 4),)),
    ),
    traces=(made.trace(1, dropped={}),),
)
CROWDED = made.record(
    layers=tuple(
        replace(layer, name=f"{LONG}{i}", kind=f"{LONG}{i % 11}", block=None)
        for i, layer in enumerate(made.layers(60))
    ),
    closure=made.closure(60),
    staircases=(made.staircase(layer=LONG, kind=LONG),),
    heat_maps=(made.heat_map(layer=LONG),),
    traces=(made.trace(5000, name=LONG, dropped={"page faults": 3, "steal": 44}),),
)
CASES = {"usual": made.record(), "small": SMALL, "crowded": CROWDED}


def test_every_figure_is_drawn_in_both_shapes_and_formats_with_something_on_it() -> None:
    from PIL import Image

    files = draw_table(made.record())
    names = {"network", "predicted", "residuals", "staircase-1", "staircase-2", "heat-1", "trace-1"}
    assert set(files) == {
        f"figures/{name}-{shape}.{kind}"
        for name in names
        for shape in ("column", "slide")
        for kind in ("png", "svg")
    }
    for name, content in files.items():
        assert len(content) < 400_000, name
        if name.endswith(".svg"):
            assert content.startswith(b"<?xml") and b"testing cpu" in content.lower()
            continue
        image = Image.open(io.BytesIO(content)).convert("L")
        assert image.width == (1920 if "slide" in name else int(85 / 25.4 * 300))
        low, high = image.getextrema()
        assert low < 80 and high == 255, name
        ink = sum(image.histogram()[:200]) / (image.width * image.height)
        assert 0.002 < ink < 0.9, name


def test_the_same_record_gives_the_same_bytes() -> None:
    assert draw_table(SMALL) == draw_table(SMALL)


@pytest.mark.parametrize("shape", [COLUMN, SLIDE], ids=lambda shape: shape.name)
@pytest.mark.parametrize("case", CASES)
def test_no_text_is_cut_and_none_meets_another(case: str, shape: Shape) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    for name, draw in _drawings(CASES[case]):
        figure = draw(shape)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        unseen = set()
        for axes in figure.axes:
            for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, sorted(axes.get_ylim()))):
                for tick in axis.get_major_ticks():
                    if not ends[0] <= tick.get_loc() <= ends[1]:
                        unseen |= {id(tick.label1), id(tick.label2)}
        boxes = [
            (text.get_text(), text.get_window_extent(canvas.get_renderer()))
            for text in figure.findobj(Text)
            if text.get_visible() and text.get_text().strip() and id(text) not in unseen
        ]
        assert len(boxes) > 3
        for text, box in boxes:
            assert box.x0 >= 0 and box.y0 >= 0, (name, text)
            assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, (name, text)
        for (one, a), (other, b) in itertools.combinations(boxes, 2):
            wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            assert min(wide, high) <= 0.25 * shape.text * figure.dpi / 72, (name, one, other)


def test_what_is_not_there_is_not_drawn() -> None:
    bare = made.record(closure=(), staircases=(), heat_maps=(), traces=())
    assert [name for name, _ in _drawings(bare)] == ["network"]


def test_fitted_and_held_out_networks_differ_in_shape_and_the_worst_are_drawn_first() -> None:
    from matplotlib.lines import Line2D

    def markers(record: TableRecord) -> list[str]:
        draw = dict(_drawings(record))["residuals"]
        lines = draw(COLUMN).axes[0].findobj(Line2D)
        return [
            line.get_marker()
            for line in lines
            if line.get_marker() in ("o", "D") and len(line.get_xdata()) == 1
        ]

    rows = made.closure(60)
    shown = markers(made.record(closure=rows))
    assert set(shown) == {"o", "D"} and len(shown) == MOST["column"]
    bad = sum(abs(one.error.value) > 0.05 for one in residual_chart(made.record(closure=rows)).residuals)
    assert 0 < bad < MOST["column"]
    assert set(markers(made.record(closure=[row for row in rows if row.fitted]))) == {"D"}
