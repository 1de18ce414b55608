from __future__ import annotations

import made_up_runs as made
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.charts import (
    Bar,
    Segment,
    pareto_chart,
    part_bars,
    prediction_chart,
    segments,
    stages_chart,
)
from reports.pareto import Standing
from reports.results import Closure, PartTime
from reports.scenes import Scene, scenes


def scene(*points, **changes) -> Scene:
    return scenes([(made.run(**changes), points)])[0]


def test_the_pareto_chart_places_done_points_alone() -> None:
    chart = pareto_chart(
        scene(made.unpruned(), made.point(), made.failed(), made.point(id="x", accuracy=None))
    )
    assert [(mark.placed.key, mark.standing) for mark in chart.marks] == [
        (0, Standing.FRONT),
        (1, Standing.FRONT),
    ]
    assert chart.budgets == {"0.7x": pytest.approx(5.67e-3)}
    assert set(chart.lines) == {"ttmpd"}


def test_a_line_joins_means_over_seeds_and_skips_what_is_dominated() -> None:
    def at(name: str, budget: str, seed: int, accuracy: float, seconds: float):
        return made.point(
            id=name,
            budget=budget,
            seed=seed,
            accuracy=made.estimate(accuracy, 0.01),
            measured_s=made.estimate(seconds, 1e-5),
        )

    points = [
        at("a", "0.5x", 0, 0.6, 4e-3),
        at("b", "0.5x", 1, 0.7, 4.2e-3),
        at("c", "0.6x", 0, 0.5, 5e-3),
        at("d", "0.7x", 0, 0.8, 6e-3),
    ]
    (line,) = pareto_chart(scene(*points)).lines.values()
    assert line == (pytest.approx((4.1e-3, 0.65)), pytest.approx((6e-3, 0.8)))


def test_the_prediction_chart_judges_only_what_was_not_fitted() -> None:
    good = made.point(predicted_s=made.estimate(1.04e-3, 1e-5), measured_s=made.estimate(1e-3, 1e-5))
    bad = made.point(id="b", predicted_s=made.estimate(0.92e-3, 1e-5), measured_s=made.estimate(1e-3, 1e-5))
    closure = [Closure("s1", "fitted", made.estimate(3.0, 0.1), made.estimate(1.0, 0.1), fitted=True)]
    chart = prediction_chart(
        scene(
            good,
            bad,
            made.point(id="c", predicted_s=None),
            made.failed(),
            # The table starts from the unpruned latency, so these say nothing about predictions.
            made.unpruned(predicted_s=made.estimate(1e-3, 1e-5)),
            made.point(id="d", removed=(), widths={}, sparsity=0.9, budget="90%"),
            closure=tuple(closure),
        )
    )
    assert [(p.name, p.fitted) for p in chart.predictions] == [
        ("ttmpd · 0.7x · seed 0", False),
        ("ttmpd · 0.7x · seed 0", False),
        ("fitted", True),
    ]
    assert (chart.judged, chart.within, chart.mean_error) == (2, 1, pytest.approx(0.06))
    assert [p.error for p in chart.predictions] == pytest.approx([0.04, -0.08, 2.0])


def test_no_error_without_a_prediction() -> None:
    chart = prediction_chart(scene(made.point(predicted_s=None), closure=()))
    assert (chart.predictions, chart.mean_error, chart.judged) == ((), None, 0)


def test_segments_join_a_block_with_one_fate_and_split_it_with_two() -> None:
    found = segments(
        [
            PartTime("stem", "convolution", None, 1.0, True),
            PartTime("a.1", "convolution", "a", 2.0, False),
            PartTime("a.2", "convolution", "a", 3.0, False),
            PartTime("b.1", "convolution", "b", 4.0, True),
            PartTime("b.2", "convolution", "b", 5.0, False),
        ]
    )
    assert [(s.name, s.latency_s, s.kept) for s in found] == [
        ("stem", 1.0, True),
        ("a", 5.0, False),
        ("b", 4.0, True),
        ("b", 5.0, False),
    ]


def test_what_stays_in_part_is_narrower_and_not_removed() -> None:
    bar = Bar(
        "",
        tuple(
            Segment(name, 1.0, kept) for name, kept in [("a", True), ("a", False), ("b", False), ("c", True)]
        ),
    )
    assert (bar.removed, bar.narrowed) == (("b",), ("a",))


@given(
    st.lists(
        st.builds(
            PartTime,
            name=st.text(max_size=2),
            kind=st.just("convolution"),
            block=st.none() | st.sampled_from("ab"),
            latency_s=st.floats(0, 1),
            kept=st.booleans(),
        )
    )
)
def test_no_time_is_lost_between_parts_and_segments(parts) -> None:
    found = segments(parts)
    for kept in (True, False):
        assert sum(s.latency_s for s in found if s.kept is kept) == pytest.approx(
            sum(p.latency_s for p in parts if p.kept is kept)
        )


def test_bars_show_the_best_method_of_each_budget() -> None:
    worse = made.point(id="w", method="random", accuracy=made.estimate(0.5, 0.01))
    missed = made.point(id="m", budget="0.5x", budget_s=4e-3, met=False)
    (bar,) = part_bars(scene(worse, made.point(), missed))
    assert bar.title == "ttmpd · 0.7x · seed 0"
    assert {s.name for s in bar.segments if not s.kept} == set(made.BLOCKS[10:16])
    assert part_bars(scene(made.point(parts=()))) == ()


def test_stages_are_means_over_a_methods_done_points() -> None:
    points = [
        made.point(stages_s={"score": 10.0, "recover": 100.0}),
        made.point(id="b", stages_s={"score": 30.0}),
        made.point(id="c", method="random", stages_s={"recover": 50.0, "measure": 5.0}),
        made.failed(stages_s={"score": 1000.0}),
        made.point(id="d", method="last", stages_s={}),
    ]
    chart = stages_chart(scene(*points))
    assert chart.stages == ("score", "recover", "measure")
    assert [(row.method, row.points, row.seconds) for row in chart.rows] == [
        ("ttmpd", 2, (20.0, 50.0, 0.0)),
        ("random", 1, (0.0, 50.0, 5.0)),
    ]
