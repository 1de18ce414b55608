"""How heavy a page is: bytes and nodes, which time follows; time itself is no matter for a test."""

from __future__ import annotations

from pathlib import Path

import made_up_runs as made
import pytest

from reports.page import render_page
from reports.selection import MOST

LIMIT_BYTES = 6_000_000


def crowd(number: int) -> list:
    """Four methods under ten budgets, with seeds until there are so many points."""
    seeds = -(-number // 40)
    return made.many(budgets=tuple(0.4 + 0.05 * i for i in range(10)), seeds=seeds, methods=4)[:number]


def nodes(browser, tmp_path: Path, points: list) -> tuple[int, int]:
    """Opens a page and counts its elements, and those of them that stand in charts."""
    page = tmp_path / "report.html"
    page.write_text(render_page([(made.run(), points)]), encoding="utf-8")
    browser.get(page.as_uri())
    assert browser.execute_script("return document.documentElement.dataset.ready") == ""
    return tuple(
        browser.execute_script(f"return document.querySelectorAll({selector!r}).length")
        for selector in ("*", "[data-plot] *")
    )


def test_five_hundred_points_weigh_a_third_of_what_they_may() -> None:
    points = crowd(500)
    assert len(points) == 500
    assert len(render_page([(made.run(), points)]).encode()) < LIMIT_BYTES / 3


def test_ten_thousand_points_still_make_a_page() -> None:
    points = crowd(10_000)
    text = render_page([(made.run(), points)])
    assert len(text.encode()) < LIMIT_BYTES
    assert f"{MOST} of 10000 finished" in " ".join(text.split())


@pytest.mark.browser
def test_charts_have_no_more_nodes_for_more_points(browser, tmp_path: Path) -> None:
    few, charts_of_few = nodes(browser, tmp_path, crowd(81))
    many, charts_of_many = nodes(browser, tmp_path, crowd(500))
    # A row of the table has about 15 elements; the rest does not grow with the points.
    assert many - few < 17 * (500 - 81)
    assert charts_of_many < 500
    assert charts_of_many - charts_of_few < 100


@pytest.mark.browser
def test_a_page_of_ten_thousand_points_opens(browser, tmp_path: Path) -> None:
    every, in_charts = nodes(browser, tmp_path, crowd(10_000))
    assert every < 20_000
    assert in_charts < 500
