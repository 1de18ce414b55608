from __future__ import annotations

import json
import re

import made_up_runs as made

from reports import selection
from reports.page import render_page
from reports.pareto import Standing
from reports.planes import planes
from reports.scenes import Scene, scenes
from reports.selection import MOST, MOST_FAILED, select
from reports.summary import budgets


def scene(*points) -> Scene:
    return scenes([(made.run(), points)])[0]


def chosen(group: Scene) -> frozenset[int]:
    return select(group, planes(group), budgets(group))


def crowd(number: int) -> list:
    """So many points, of which the first is dominated by nothing and the rest lie behind one another."""
    return [
        made.point(
            id=f"p{i:05}",
            seed=i,
            accuracy=made.estimate(0.9 - 1e-5 * i, 1e-7),
            agreement=None,
            kl=None,
            ratio=None,
            unpruned_s=None,
            measured_s=made.estimate(4e-3 + 1e-6 * i, 1e-9),
            budget_s=1.0,
            parts=(),
            rounds=(),
            trace=None,
        )
        for i in range(number)
    ]


def test_all_are_chosen_where_they_fit() -> None:
    group = scene(made.unpruned(), *crowd(20), made.failed())
    assert chosen(group) == set(range(22))


def test_what_matters_stays_of_too_many() -> None:
    points = [*crowd(MOST + 500), made.unpruned(), *(made.failed(id=f"f{i}", seed=i) for i in range(300))]
    group = scene(*points)
    keys = chosen(group)
    assert sum(placed.key in keys for placed in group.done) == MOST
    assert sum(placed.key in keys for placed in group.failed) == MOST_FAILED
    assert {placed.key for placed in group.done if placed.point.method == "unpruned"} <= keys
    assert {outcome.best.typical.key for outcome in budgets(group) if outcome.best} <= keys
    plane = planes(group).planes["accuracy", "latency"]
    assert {key for key, standing in plane.standings.items() if standing is not Standing.DOMINATED} <= keys


def test_a_page_of_too_many_points_says_what_it_leaves_out(monkeypatch) -> None:
    monkeypatch.setattr(selection, "MOST", 10)
    monkeypatch.setattr(selection, "MOST_FAILED", 2)
    points = [*crowd(30), made.unpruned(), *(made.failed(id=f"f{i}", seed=i) for i in range(5))]
    text = render_page([(made.run(), points)])
    shown = " ".join(re.sub(r"<[^>]+>", " ", text).split())
    assert "Charts and lists hold 10 of 31 finished and 2 of 5 failed points" in shown
    data = json.loads(re.findall(r'id="data">(.*?)</script>', text, re.S)[0])
    assert len(data["points"]) == 12
    assert len(data["plots"][0]["pareto"]["keys"]) == 10
    # Whatever a button or the page's start asks for is there.
    asked = set(re.findall(r'data-(?:show|first)="(\d+)"', text))
    assert asked
    assert asked <= set(data["points"])
    assert "All points" not in shown
    # What is counted covers all.
    assert "of 30 points" in shown or "30 points" in shown
