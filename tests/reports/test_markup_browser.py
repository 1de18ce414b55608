"""In a real browser, too, no text of a run becomes an element, a script or a request."""

from __future__ import annotations

from pathlib import Path

import made_up_runs as made
import pytest
from test_markup import EVIL, POINTS, numbered, told
from test_page_browser import assert_quiet, panel, visit

from reports import write_report


@pytest.mark.browser
def test_nothing_that_a_run_says_is_run(browser, tmp_path: Path) -> None:
    run, points = told(numbered(EVIL), made.run(), POINTS)
    made.write_run(tmp_path / "run", run)
    for point in points:
        made.write_point(tmp_path / "run", point)
    (tmp_path / "run" / "points" / "<img src=x onerror=window.hacked=1>.json").write_text("{")
    files = write_report([tmp_path / "run"], tmp_path / "out")
    assert len(files.damaged) == 1
    visit(browser, files.html)
    buttons = browser.find_elements("css selector", "[data-show]")
    assert len(buttons) >= len(points)
    for button in buttons:
        browser.execute_script("arguments[0].click()", button)
        assert "window.hacked" in panel(browser)
    assert "<img src=x onerror=window.hacked=1>.json is not JSON" in browser.find_element("id", "runs").text
    assert browser.execute_script("return window.hacked") is None
    assert browser.find_elements("tag name", "img") == []
    assert_quiet(browser, files.html)
