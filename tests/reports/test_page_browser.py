from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import made_up_runs as made
import pytest

from reports import write_report

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--window-size=1280,900",
)
EVIL = (
    "<b>bold</b></script><script>window.hacked = 1</script>"
    '<img src="http://127.0.0.1:9/x" onerror="window.hacked = 2">'
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        # Where a browser is promised (CI), its absence must fail and not skip.
        not (CHROMIUM.exists() and DRIVER.exists()) and "LATHE_REQUIRE_BROWSER" not in os.environ,
        reason="needs Debian's chromium and chromium-driver",
    ),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    profile = tmp_path_factory.mktemp("profile")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()
    shutil.rmtree(profile, ignore_errors=True)


def opened(browser, tmp_path: Path, points: list, **changes: object) -> Path:
    """Writes a report, opens it and checks that it is quiet: nothing on the console, nothing fetched."""
    files = write_report([made.write(tmp_path / "run", points, **changes)], tmp_path / "out")
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(files.html.as_uri())
    assert_quiet(browser, files.html)
    return files.html


def assert_quiet(browser, page: Path) -> None:
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in urls if url != page.as_uri() and not url.startswith("data:")] == []


def panel(browser) -> str:
    return browser.find_element("id", "details").text


def click_marker(browser, plot: int, trace: int, point: int = 0) -> None:
    """A real click with the mouse in the middle of a marker."""
    x, y = browser.execute_script(
        """
        const [plot, trace, point] = arguments;
        const chart = document.querySelectorAll("[data-plot]")[plot];
        chart.scrollIntoView({ block: "center" });
        const { xaxis, yaxis } = chart._fullLayout, box = chart.getBoundingClientRect(), data = chart.data[trace];
        return [box.x + xaxis._offset + xaxis.d2p(data.x[point]), box.y + yaxis._offset + yaxis.d2p(data.y[point])];
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
        # Plotly finds the marker under the pointer no more often than every 50 ms.
        time.sleep(0.1)


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
    browser.find_elements("css selector", "[data-show]")[-1].send_keys(Keys.SPACE)
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


def test_markup_is_shown_as_text(browser, tmp_path: Path) -> None:
    evil = made.point(method=EVIL, budget=EVIL, removed=(EVIL,), command=EVIL, stages_s={EVIL: 1.0})
    page = opened(browser, tmp_path, [evil, made.failed(reason=EVIL)], name=EVIL, network=EVIL)
    assert EVIL in panel(browser)
    click_marker(browser, 0, traces_with_points(browser, 0)[0])
    assert EVIL in panel(browser)
    legend = browser.find_element("css selector", ".legendtext").get_attribute("textContent")
    assert legend == EVIL
    browser.find_elements("css selector", "[data-show]")[-1].click()
    assert f"Failed. {EVIL}" in panel(browser)
    assert browser.execute_script("return window.hacked") is None
    assert browser.find_elements("tag name", "img") == []
    assert_quiet(browser, page)


def test_no_button_sends_the_data_anywhere(browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, [made.point()])
    titles = browser.execute_script(
        "return [...document.querySelectorAll('.modebar-btn')].map((b) => b.getAttribute('data-title') || '')"
    )
    assert titles
    assert not [title for title in titles if "share" in title.lower() or "cloud" in title.lower()]


@pytest.mark.parametrize(("width", "open_at_first"), [(1280, True), (700, False)])
def test_nothing_is_wider_than_the_screen(browser, tmp_path: Path, width: int, open_at_first: bool) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        opened(browser, tmp_path, [*made.many(), made.failed()])
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert browser.find_element("id", "details").is_displayed() is open_at_first
        browser.find_element("css selector", "[data-show]").send_keys("\n")
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
                "return getComputedStyle(document.querySelector('.xtick text')).fill"
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


def test_three_hundred_points_open_quickly(browser, tmp_path: Path) -> None:
    points = made.many(budgets=tuple(0.4 + 0.05 * i for i in range(10)), seeds=10)
    opened(browser, tmp_path, points)
    seconds = (
        browser.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd") / 1e3
    )
    # About one second on an idle core; the limit leaves room for a busy machine.
    assert seconds < 6
