from __future__ import annotations

import json
import time
from pathlib import Path

import made_up_runs as made
import pytest

from reports import write_report
from reports.page import render_page

EVIL = (
    "<b>bold</b></script><script>window.hacked = 1</script>"
    '<img src="http://127.0.0.1:9/x" onerror="window.hacked = 2">'
)

pytestmark = pytest.mark.browser


def opened(browser, tmp_path: Path, points: list, **changes: object) -> Path:
    """Writes the page alone, without the pictures beside it, opens it and checks that it is quiet."""
    page = tmp_path / "report.html"
    # As they would be read from a folder.
    read = sorted(points, key=lambda point: point.id)
    page.write_text(render_page([(made.run(**changes), read)]), encoding="utf-8")
    visit(browser, page)
    return page


def visit(browser, page: Path, address: str = "") -> None:
    """Opens a page and checks that it is quiet: nothing on the console, nothing fetched."""
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page.as_uri() + address)
    until(browser, "return 'ready' in document.documentElement.dataset")
    assert_quiet(browser, page)


def until(browser, script: str, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not browser.execute_script(script):
        assert time.monotonic() < deadline, script
        time.sleep(0.05)


def assert_quiet(browser, page: Path) -> None:
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    own = (page.as_uri(), "data:")
    assert [url for url in urls if not url.startswith(own)] == []


def panel(browser) -> str:
    return browser.find_element("id", "details").text


def click_marker(browser, plot: int, trace: int, point: int = 0) -> None:
    """A real click with the mouse in the middle of a marker."""
    x, y = browser.execute_script(
        """
        const [plot, trace, point] = arguments;
        const chart = document.querySelectorAll("[data-plot]")[plot];
        chart.scrollIntoView({ block: "center" });
        const box = chart.getBoundingClientRect(), data = chart.data[trace];
        const [x, y] = chart.chart.at(data.x[point], data.y[point]);
        return [box.x + x, box.y + y];
        """,
        plot,
        trace,
        point,
    )
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        event = {
            "type": kind,
            "x": x,
            "y": y,
            "button": "none" if kind == "mouseMoved" else "left",
            "clickCount": 1,
        }
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)


def choose(browser, selector: str, scene: int = 0) -> None:
    """A click on a switch, as a person makes it: on its label."""
    switch = browser.find_elements("css selector", selector)[scene]
    switch.find_element("xpath", "..").click()


def pareto(browser) -> dict:
    """What the first figure shows: keys of its points, its axes, its ringed points and the state of its words."""
    return browser.execute_script(
        """
        const plot = document.querySelector("[data-plot=pareto]"), figure = plot.closest("figure");
        const of = (read) => plot.data.filter((trace) => trace.customdata).flatMap(read);
        const rings = plot.data.filter((trace) => trace.marker && trace.marker.symbol === "circle-open");
        return {
          keys: of((trace) => trace.customdata).sort((a, b) => a - b),
          x: of((trace) => trace.x),
          y: of((trace) => trace.y),
          low: of((trace) => trace.x.map((x, i) => x - trace.error_x.arrayminus[i])),
          high: of((trace) => trace.x.map((x, i) => x + trace.error_x.array[i])),
          rings: rings.flatMap((trace) => trace.x).length,
          budgets: plot.layout.shapes.map((shape) => shape.x0),
          title: figure.querySelector("[data-title]").textContent,
          label: plot.getAttribute("aria-label"),
          status: figure.querySelector("[data-status]").textContent,
          hash: location.hash,
        };
        """
    )


def traces_with_points(browser, plot: int) -> list[int]:
    return browser.execute_script(
        "return document.querySelectorAll('[data-plot]')[arguments[0]].data"
        ".flatMap((trace, i) => trace.customdata ? [i] : [])",
        plot,
    )


def test_a_click_on_a_marker_shows_its_details(browser, tmp_path: Path) -> None:
    slow = made.point(
        id="z", method="last", accuracy=made.estimate(0.7, 0.01), measured_s=made.estimate(7e-3, 1e-5)
    )
    page = opened(browser, tmp_path, [made.point(), slow])
    assert panel(browser).startswith("ttmpd · 0.7x · seed 0"), "the page opens with the best point"
    choose(browser, "[data-show-also=dominated]")
    last, ttmpd = traces_with_points(browser, 0)
    click_marker(browser, 0, last)
    text = panel(browser)
    assert text.startswith("last · 0.7x · seed 0")
    for words in (
        "70.0 % (69.0–71.0)",
        "7.00 ms",
        "5 blocks",
        "3 min 30 s",
        "plan.json",
        "lathe prune",
        "Copy",
    ):
        assert words in text
    click_marker(browser, 0, ttmpd)
    assert panel(browser).startswith("ttmpd · 0.7x · seed 0")
    # A marker of the second chart leads to the same place.
    click_marker(browser, 1, traces_with_points(browser, 1)[0])
    assert panel(browser).startswith("last · 0.7x · seed 0")
    assert_quiet(browser, page)


def test_the_button_in_the_table_does_as_well_from_the_keyboard(browser, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    page = opened(
        browser, tmp_path, [made.point(), made.point(id="b", seed=4), made.failed(reason="out of memory")]
    )
    button = browser.find_element("css selector", "[aria-label='Show details of ttmpd · 0.7x · seed 4']")
    button.send_keys(Keys.ENTER)
    assert panel(browser).startswith("ttmpd · 0.7x · seed 4")
    assert browser.switch_to.active_element.get_attribute("id") == "details"
    assert [row.text.split("\n")[0][:21] for row in browser.find_elements("css selector", "tr.chosen")] == [
        "ttmpd · 0.7x · seed 4"
    ]
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert browser.switch_to.active_element == button
    choose(browser, "[data-show-also=failed]")
    browser.find_element("css selector", "[data-failed] [data-show]").send_keys(Keys.SPACE)
    assert "Failed. out of memory" in panel(browser)
    assert_quiet(browser, page)


def test_the_command_can_be_copied(browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, [made.point()])
    browser.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    browser.find_element("css selector", "#details .command button").click()
    time.sleep(0.2)
    assert "Copied" in panel(browser)
    copied = browser.execute_async_script(
        "navigator.clipboard.readText().then(arguments[0], (error) => arguments[0](String(error)))"
    )
    assert copied == made.point().command


@pytest.mark.parametrize("deny", ["navigator.clipboard", "document.execCommand"])
def test_copying_works_the_new_and_the_old_way(browser, tmp_path: Path, deny: str) -> None:
    """A page on disk may have no clipboard of the new kind; without either the button says what to do."""
    opened(browser, tmp_path, [made.point()])
    browser.execute_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    browser.execute_script(
        "window.copied = []; document.execCommand = (word) => {"
        " copied.push(word, document.activeElement.value); return arguments[0]; }",
        deny == "navigator.clipboard",
    )
    button = browser.find_element("css selector", "#details .command button")
    button.click()
    assert browser.execute_script("return window.copied") == ["copy", made.point().command]
    assert button.text == ("Copied" if deny == "navigator.clipboard" else "Select and copy")
    assert button.get_attribute("aria-live") == "polite"
    assert browser.switch_to.active_element == button, (
        "the focus comes back from the field that was copied from"
    )


PLANE = [
    made.unpruned(),
    made.point(),
    made.point(id="near", method="last", accuracy=made.estimate(0.809, 0.008)),
    made.point(
        id="poor",
        method="random",
        accuracy=made.estimate(0.6, 0.008),
        measured_s=made.estimate(6e-3, 4e-5),
        ratio=made.estimate(0.74, 0.004),
    ),
    made.failed(),
]
"""By key, which follows the files' names: 0 failed, 1 and 3 alike, 2 dominated, 4 the whole network."""


def test_dominated_and_failed_points_are_shown_on_request(browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path, PLANE)
    shown = pareto(browser)
    assert (shown["keys"], shown["rings"]) == ([1, 3, 4], 2)
    assert shown["status"] == "Shown: 3 of 4 points; 1 dominated is hidden."
    failed = browser.find_element("css selector", "[data-failed]")
    assert not failed.is_displayed()
    choose(browser, "[data-show-also=dominated]")
    shown = pareto(browser)
    assert (shown["keys"], shown["hash"], shown["status"]) == (
        [1, 2, 3, 4],
        "#show=dominated",
        "Shown: 4 of 4 points.",
    )
    choose(browser, "[data-show-also=failed]")
    assert failed.is_displayed()
    assert "the runtime refused the model" in failed.text
    assert pareto(browser)["hash"] == "#show=dominated,failed"
    choose(browser, "[data-show-also=dominated]")
    assert pareto(browser)["keys"] == [1, 3, 4]
    assert_quiet(browser, page)


def test_axes_are_switched_with_their_intervals_and_the_address_keeps_them(browser, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    page = opened(browser, tmp_path, [made.point()])
    choose(browser, "[data-axis=x][value=speedup]")
    shown = pareto(browser)
    assert shown["x"] == [pytest.approx(8.1 / 5.6, rel=1e-4)]
    assert (shown["low"], shown["high"]) == (
        [pytest.approx(8.1 / 5.64, rel=1e-4)],
        [pytest.approx(8.1 / 5.56, rel=1e-4)],
    )
    assert shown["budgets"] == [pytest.approx(8.1 / 5.67, rel=1e-4)]
    assert shown["title"] == "Accuracy against speed-up over the unpruned network"
    assert shown["label"].startswith(shown["title"])
    choose(browser, "[data-axis=y][value=kl]")
    browser.find_element("css selector", "[data-axis=x][value=speedup]").send_keys(Keys.ARROW_RIGHT)
    shown = pareto(browser)
    assert (shown["x"], shown["y"]) == ([pytest.approx(178.57, rel=1e-4)], [0.31])
    assert shown["hash"] == "#y=kl&x=rate"
    visit(browser, page, shown["hash"] + "&show=dominated,nonsense")
    again = pareto(browser)
    assert (again["x"], again["y"]) == (shown["x"], shown["y"])
    checked = browser.find_elements("css selector", ".switches input:checked")
    assert [switch.get_attribute("value") for switch in checked] == ["kl", "rate", "on"]
    visit(browser, page, "#y=beauty&x=")
    assert pareto(browser)["title"] == "Accuracy against measured latency"


def test_findings_lead_to_what_shows_them_and_keep_the_choice(browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path, [*made.many(), made.failed()])
    choose(browser, "[data-axis=y][value=agreement]")
    link = browser.find_element("css selector", "a[href='#failed-1']")
    link.click()
    failed = browser.find_element("css selector", "[data-failed]")
    until(browser, "return document.activeElement.id === 'failed-1'")
    assert failed.is_displayed()
    assert abs(failed.rect["y"] - browser.execute_script("return scrollY")) < 200
    assert pareto(browser)["hash"] == "#failed-1&y=agreement"
    browser.find_element("css selector", "[data-kind=reached] a").click()
    until(browser, "return document.activeElement.id === 'pareto-1'")
    assert pareto(browser)["title"] == "Agreement with the unpruned network against measured latency"
    browser.back()
    until(browser, "return document.activeElement.id === 'failed-1'")
    for target in {
        a.get_attribute("href").rpartition("#")[2] for a in browser.find_elements("css selector", "a")
    }:
        visit(browser, page, f"#{target}")
        until(browser, f"return document.activeElement.id === {target!r}")


def test_what_the_runtime_said_of_a_pruned_network_alone_is_among_its_details(
    browser, tmp_path: Path
) -> None:
    opened(
        browser,
        tmp_path,
        [made.point(remarks=("graph break: <b>why</b> (2 times)", "left to Other: 1 node"))],
    )
    told = "Told by the runtime of this network, not of the unpruned one: "
    assert f"{told}graph break: <b>why</b> (2 times)\n{told}left to Other: 1 node" in panel(browser)


def test_the_trace_is_drawn(browser, tmp_path: Path) -> None:
    opened(
        browser,
        tmp_path,
        [
            made.point(disturbance="foreign load"),
            made.point(id="z", budget="0.9x", budget_s=7e-3, seed=1, trace=None),
        ],
    )
    assert "The machine was busy during this measurement: foreign load." in panel(browser)
    charts = browser.find_elements("css selector", "#details svg.trace")
    assert [chart.get_attribute("role") for chart in charts] == ["img", "img"]
    assert charts[0].get_attribute("aria-label") == (
        "Samples of this network in the order taken: median 5.60 ms (5.56–5.64), 60 samples, 1 slower than the "
        "scale"
    )
    assert len(charts[0].find_elements("css selector", ".above")) == 1
    assert len(charts[0].find_elements("css selector", ".sample")) == 59
    assert len(charts[1].find_elements("css selector", ".sample")) == 60
    browser.find_element("css selector", "[aria-label='Show details of ttmpd · 0.9x · seed 1']").click()
    assert browser.find_elements("css selector", "#details svg.trace") == []


def test_runs_are_told_apart(browser, tmp_path: Path) -> None:
    runs = [
        made.write(tmp_path / name, [made.point(accuracy=made.estimate(accuracy, 0.001))], name=name)
        for name, accuracy in (("then", 0.8), ("now", 0.81))
    ]
    files = write_report(runs, tmp_path / "out")
    visit(browser, files.html, "#show=dominated")
    legend = [
        text.get_attribute("textContent") for text in browser.find_elements("css selector", ".legendtext")
    ]
    assert {"ttmpd · A", "ttmpd · B"} <= set(legend)
    letters = [tag.text for tag in browser.find_elements("css selector", "[data-plot=pareto] .tag")]
    assert letters == ["A", "B"]
    assert "+1.0" in browser.find_element("css selector", ".compare tbody").text


def test_markup_is_shown_as_text(browser, tmp_path: Path) -> None:
    evil = made.point(method=EVIL, budget=EVIL, removed=(EVIL,), command=EVIL, stages_s={EVIL: 1.0})
    page = opened(browser, tmp_path, [evil, made.failed(reason=EVIL)], name=EVIL, network=EVIL)
    assert EVIL in panel(browser)
    click_marker(browser, 0, traces_with_points(browser, 0)[0])
    assert EVIL in panel(browser)
    legend = browser.find_element("css selector", ".legendtext").get_attribute("textContent")
    assert legend == EVIL
    choose(browser, "[data-show-also=failed]")
    browser.find_element("css selector", "[data-failed] [data-show]").click()
    assert f"Failed. {EVIL}" in panel(browser)
    assert browser.execute_script("return window.hacked") is None
    assert browser.find_elements("tag name", "img") == []
    assert_quiet(browser, page)


@pytest.mark.parametrize(("width", "open_at_first"), [(1280, True), (700, False)])
def test_nothing_is_wider_than_the_screen(browser, tmp_path: Path, width: int, open_at_first: bool) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        opened(browser, tmp_path, [*made.many(), made.failed()])
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert browser.find_element("id", "details").is_displayed() is open_at_first
        browser.find_element("css selector", ".points [data-show]").send_keys("\n")
        assert browser.find_element("id", "details").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_dark_screens_and_white_paper(browser, tmp_path: Path) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        opened(browser, tmp_path, [made.point()])

        def tick() -> str:
            return browser.execute_script(
                "return getComputedStyle(document.querySelector('text.xtick')).fill"
            )

        assert tick() == "rgb(228, 231, 234)"
        browser.execute_script("dispatchEvent(new Event('beforeprint'))")
        assert tick() == "rgb(31, 34, 39)"
        browser.execute_script("dispatchEvent(new Event('afterprint'))")
        assert tick() == "rgb(228, 231, 234)"
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize(
    ("points", "changes", "words"),
    [
        ([], {"closure": ()}, "nothing has been measured so far"),
        ([made.failed()], {"closure": ()}, "No point finished: all 1 failed"),
        ([], {}, "No points were measured under this setting"),
    ],
)
def test_a_page_with_nothing_to_show_is_quiet_and_says_so(
    browser, tmp_path: Path, points, changes, words
) -> None:
    opened(browser, tmp_path, points, **changes)
    assert words in browser.find_element("tag name", "main").text


def test_five_hundred_points_open_quickly(browser, tmp_path: Path) -> None:
    points = made.many(budgets=tuple(0.4 + 0.05 * i for i in range(10)), seeds=17)
    assert len(points) > 500
    opened(browser, tmp_path, points)
    seconds = browser.execute_script("return performance.getEntriesByName('drawn')[0].startTime") / 1e3
    # About one second on an idle core; the limit leaves room for a busy machine.
    assert seconds < 6
