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


@pytest.fixture(scope="module")
def of_ten_thousand() -> str:
    return render_page([(made.run(), crowd(10_000))])


def nodes(browser, tmp_path: Path, text: str) -> tuple[int, int]:
    """Opens a page and counts its elements, and those of them that stand in charts."""
    page = tmp_path / "report.html"
    page.write_text(text, encoding="utf-8")
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


def test_ten_thousand_points_still_make_a_page(of_ten_thousand: str) -> None:
    assert len(of_ten_thousand.encode()) < LIMIT_BYTES
    assert f"{MOST} of 10000 finished" in " ".join(of_ten_thousand.split())


@pytest.mark.browser
def test_charts_have_no_more_nodes_for_more_points(browser, tmp_path: Path) -> None:
    pages = [render_page([(made.run(), crowd(count))]) for count in (81, 500)]
    (few, charts_of_few), (many, charts_of_many) = (nodes(browser, tmp_path, page) for page in pages)
    # A row of the table has about 15 elements; the rest does not grow with the points.
    assert many - few < 17 * (500 - 81)
    assert charts_of_many < 500
    assert charts_of_many - charts_of_few < 100


@pytest.mark.browser
def test_a_page_of_ten_thousand_points_opens(browser, tmp_path: Path, of_ten_thousand: str) -> None:
    every, in_charts = nodes(browser, tmp_path, of_ten_thousand)
    assert every < 20_000
    assert in_charts < 500
