"""The page by screen reader, keyboard, in the dark and on paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import made_up_runs as made
import pytest

from reports.page import render_page

pytestmark = pytest.mark.browser

PAGES = {
    "whole": [*made.many(seeds=1), made.failed()],
    "agreement alone": [made.unpruned(accuracy=None), made.point(accuracy=None)],
    "all failed": [made.failed(), made.failed(id="b", seed=1)],
    "empty": [],
}


@pytest.fixture
def media(browser) -> Iterator:
    """Sets features of the medium for one test."""

    def emulate(kind: str = "", **features: str) -> None:
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": kind, "features": named})

    yield emulate
    emulate()


@pytest.fixture
def screen(browser) -> Iterator:
    """Sets the size of the window for one test."""

    def resize(width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    yield resize
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def visit(browser, tmp_path: Path, points: list, *, runs: int = 1) -> None:
    """Opens the page without drawing the files beside it."""
    page = tmp_path / "report.html"
    found = [(made.run(name=f"run {i}", **({} if points else {"closure": ()})), points) for i in range(runs)]
    page.write_text(render_page(found), encoding="utf-8")
    browser.get("about:blank")
    browser.get(page.as_uri())


def violations(browser) -> list[str]:
    """What axe-core finds wrong, in words."""
    script = resources.files("selenium_axe_python").joinpath("axe-core", "axe.min.js")
    browser.execute_script(script.read_text(encoding="utf-8"))
    browser.set_script_timeout(120)
    found = browser.execute_async_script(
        "const done = arguments[0];"
        "axe.run(document, { resultTypes: ['violations'] }).then(done, (error) => done({ error: String(error) }))"
    )
    assert "error" not in found, found
    assert found["passes"], "the checker checked nothing"
    return [
        f"{rule['id']}: {node['html'][:120]}: {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("case", PAGES)
def test_the_checker_finds_nothing(browser, tmp_path: Path, media, case: str, scheme: str) -> None:
    media(prefers_color_scheme=scheme)
    visit(browser, tmp_path, PAGES[case])
    assert violations(browser) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nor_with_everything_unfolded_on_a_small_screen(
    browser, tmp_path: Path, media, screen, scheme: str
) -> None:
    media(prefers_color_scheme=scheme)
    screen(400, 800)
    visit(browser, tmp_path, PAGES["whole"], runs=2)
    browser.execute_script(
        "document.querySelectorAll('details').forEach((fold) => { fold.open = true; });"
        "document.querySelectorAll('[data-show-also]').forEach((box) => box.click());"
    )
    assert violations(browser) == []
    browser.execute_script("document.querySelector('.points [data-show]').click()")
    assert browser.find_element("id", "details").is_displayed()
    assert violations(browser) == []


def test_the_checker_would_find_something(browser, tmp_path: Path) -> None:
    visit(browser, tmp_path, PAGES["empty"])
    browser.execute_script("document.body.append(document.createElement('button'))")
    assert any(found.startswith("button-name") for found in violations(browser))


def test_every_control_is_reached_by_tab_and_shows_that_it_is(browser, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    visit(browser, tmp_path, [made.unpruned(), made.point(), made.failed()])
    browser.execute_script(
        "document.querySelectorAll('details').forEach((fold) => { fold.open = true; }); window.seen = [];"
    )
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.HOME)
    for _ in range(120):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        again = browser.execute_script(
            """
            const now = document.activeElement;
            if (now === document.body || seen.some((one) => one.control === now)) return true;
            // A hidden radio button is shown by the label beside it.
            const shown = now.matches(".switches input[type=radio]") ? now.nextElementSibling : now;
            const style = getComputedStyle(shown);
            const visible = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
            seen.push({ control: now, visible });
            return false;
            """
        )
        if again:
            break
    bare = "return seen.filter((one) => !one.visible).map((one) => one.control.outerHTML.slice(0, 120))"
    assert browser.execute_script(bare) == []
    missed = browser.execute_script(
        """
        const controls = [...document.querySelectorAll("a[href], button, input, summary, [data-plot]")];
        const reached = new Set(seen.map((one) => one.control));
        // Of a group of radio buttons Tab reaches the chosen one, the arrows the others.
        return controls.filter((one) => one.checkVisibility() && !reached.has(one))
          .filter((one) => one.type !== "radio" || one.checked)
          .map((one) => one.outerHTML.slice(0, 120));
        """
    )
    assert missed == []


def test_markers_are_walked_through_with_the_arrows(browser, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    fast = made.point(
        id="f", method="last", accuracy=made.estimate(0.7, 0.01), measured_s=made.estimate(4e-3, 1e-5)
    )
    visit(browser, tmp_path, [made.unpruned(), made.point(), fast])
    chart = browser.find_element("css selector", "[data-plot=pareto]")
    assert "table" in chart.get_attribute("aria-label")
    browser.execute_script("arguments[0].focus()", chart)
    said = []
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT):
        chart.send_keys(key)
        said.append(chart.find_element("css selector", "[role=status]").text.split("\n")[0])
    order = ["last · 0.7x · seed 0", "ttmpd · 0.7x · seed 0", "unpruned · seed 0"]
    assert said == [*order, order[1]]
    chart.send_keys(Keys.ENTER)
    details = browser.find_element("id", "details")
    assert details.text.startswith(order[1])
    assert browser.switch_to.active_element == details
    details.send_keys(Keys.ESCAPE)
    assert browser.switch_to.active_element == chart


def test_a_series_is_hidden_and_shown_from_the_legend(browser, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    visit(browser, tmp_path, [made.unpruned(), made.point(), made.point(id="l", method="last")])

    def marks() -> int:
        return browser.execute_script(
            "return document.querySelector('[data-plot=pareto]').chart.marks.length"
        )

    before = marks()
    for pressed, left in (("false", before - 1), ("true", before)):
        button = browser.find_element("css selector", "[data-plot=pareto] .legend button")
        button.send_keys(Keys.ENTER)
        button = browser.switch_to.active_element
        assert (button.get_attribute("aria-pressed"), marks()) == (pressed, left)


def test_a_dragged_frame_enlarges_and_a_button_goes_back(browser, tmp_path: Path) -> None:
    from selenium.webdriver import ActionChains

    visit(browser, tmp_path, made.many(seeds=1))

    def ticks() -> list[str]:
        return [tick.text for tick in browser.find_elements("css selector", "[data-plot=pareto] text.xtick")]

    before = ticks()
    svg = browser.find_element("css selector", "[data-plot=pareto] > svg")
    ActionChains(browser).move_to_element_with_offset(svg, -80, -60).click_and_hold().move_by_offset(
        150, 120
    ).release().perform()
    assert ticks() != before
    browser.find_element("css selector", "[data-plot=pareto] .reset").click()
    assert ticks() == before


def test_every_chart_stands_beside_a_table(browser, tmp_path: Path) -> None:
    visit(browser, tmp_path, PAGES["whole"])
    for chart in browser.find_elements("css selector", "[data-plot]"):
        assert re.search("table", chart.get_attribute("aria-label"))
    keys = browser.execute_script(
        "return document.querySelector('[data-plot=pareto]').data.flatMap((t) => t.customdata || [])"
    )
    listed = browser.execute_script(
        "return [...document.querySelectorAll('.points [data-row]')].map((row) => +row.dataset.row)"
    )
    assert keys
    assert set(keys) <= set(listed)


def test_nothing_moves_by_itself(browser, tmp_path: Path, media) -> None:
    media(prefers_reduced_motion="reduce")
    visit(browser, tmp_path, PAGES["whole"])
    moving = browser.execute_script(
        """
        return [...document.querySelectorAll("*")].filter((one) => {
          const style = getComputedStyle(one);
          return style.animationName !== "none" || parseFloat(style.transitionDuration) > 0
            || style.scrollBehavior === "smooth";
        }).length;
        """
    )
    assert moving == 0
    assert browser.execute_script("return document.getAnimations().length") == 0


def test_on_paper_everything_is_unfolded_and_nothing_is_a_control(browser, tmp_path: Path, media) -> None:
    visit(browser, tmp_path, PAGES["whole"])
    failed = browser.find_element("css selector", "[data-failed]")
    folds = browser.find_elements("css selector", "details")
    assert folds
    assert not failed.is_displayed()
    media("print")
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert failed.is_displayed()
    assert all(fold.get_attribute("open") for fold in folds)
    hidden = browser.find_elements("css selector", ".copy, .close, .switches, .reset")
    assert hidden
    assert not any(one.is_displayed() for one in hidden)
    assert (
        browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        == "rgb(255, 255, 255)"
    )
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert not failed.is_displayed()
    assert not any(fold.get_attribute("open") for fold in folds)
