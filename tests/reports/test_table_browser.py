"""The page of a table in a browser: quiet, readable by screen reader and keyboard, light and dark."""

from __future__ import annotations

from pathlib import Path

import made_up_table as made
import pytest
from test_accessibility import media, screen, violations
from test_page_browser import visit

from reports.table_page import render_table
from reports.table_record import TableRecord

__all__ = ["media", "screen"]  # fixtures

pytestmark = pytest.mark.browser

BARE = made.record(layers=made.layers()[:1], closure=(), staircases=(), heat_maps=(), traces=())


def opened(browser, tmp_path: Path, record: TableRecord) -> None:
    """Opens the page alone and checks that nothing stands on the console and nothing is fetched."""
    page = tmp_path / "index.html"
    page.write_text(render_table(record), encoding="utf-8")
    visit(browser, page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("case", ["whole", "bare"])
def test_the_checker_finds_nothing_unfolded_wide_or_small(
    browser, tmp_path: Path, media, screen, case: str, scheme: str
) -> None:
    media(prefers_color_scheme=scheme)
    opened(browser, tmp_path, BARE if case == "bare" else made.record(notes=("No heat map.",)))
    browser.execute_script("document.querySelectorAll('details').forEach((fold) => { fold.open = true; });")
    assert violations(browser) == []
    if case == "whole":
        screen(400, 800)
        assert violations(browser) == []


def test_every_chart_is_drawn_and_walked_through_with_the_arrows(browser, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    opened(browser, tmp_path, made.record())
    charts = browser.find_elements("css selector", "[data-plot]")
    assert [chart.get_attribute("data-plot") for chart in charts] == [
        "prediction",
        "residuals",
        "staircase-1",
        "staircase-2",
        "trace-1",
    ]
    for chart in charts:
        assert "table" in chart.get_attribute("aria-label")
        browser.execute_script("arguments[0].focus()", chart)
        chart.send_keys(Keys.ARROW_RIGHT)
        said = chart.find_element("css selector", "[role=status]").text
        assert said, chart.get_attribute("data-plot")
        chart.send_keys(Keys.ENTER)  # there is no panel to open
    assert browser.get_log("browser") == []


def test_rows_of_residuals_have_their_names_and_places(browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, made.record())
    names, levels = browser.execute_script(
        """
        const plot = document.querySelector("[data-plot=residuals]");
        const marks = [...plot.chart.marks].sort((a, b) => a.y - b.y);
        return [[...plot.querySelectorAll("text.ytick")].map((tick) => [tick.textContent, +tick.getAttribute("y")]),
          marks.map((mark) => [mark.text, mark.y])];
        """
    )
    assert len(names) == len(levels) == len(made.closure())
    for (name, y), (text, level) in zip(names, levels, strict=True):
        assert text.startswith(f"<b>{name}</b>")
        assert abs(y - level) < 6


def test_nothing_is_wider_than_a_small_screen(browser, tmp_path: Path, screen) -> None:
    screen(400, 800)
    opened(browser, tmp_path, made.record())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 400
