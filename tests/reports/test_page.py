from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import made_up_runs as made
import pytest

from latency_tables.errors import UserError
from reports import write_report
from reports.findings import SHOWN
from reports.page import render_page
from reports.results import Closure, PartTime

EVIL = '</script><script>alert(1)</script><img src=x onerror="alert(2)">'


def page(*points, **changes) -> str:
    return render_page([(made.run(**changes), points)])


def visible(text: str) -> str:
    body = re.sub(r"<(script|style)\b.*?</\1>", "", text[text.index("<body") :], flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def embedded(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert found
    return json.loads(found[1])


def test_files_of_a_report(tmp_path: Path) -> None:
    run = made.write(tmp_path / "run", made.many(seeds=1))
    files = write_report([run], tmp_path / "out")
    assert files.html == tmp_path / "out" / "report.html"
    assert {path.relative_to(tmp_path / "out" / "figures").as_posix() for path in files.images} == {
        f"{name}-1-{shape}.{kind}"
        for name in ("pareto", "predicted", "parts", "stages")
        for shape in ("column", "slide")
        for kind in ("png", "svg")
    }
    assert {path for path in (tmp_path / "out").rglob("*") if path.is_file()} == {files.html, *files.images}


def test_one_pareto_chart_for_each_setting(tmp_path: Path) -> None:
    one = made.write(tmp_path / "one", [made.point(), made.point(id="z", setting="s2")])
    two = made.write(tmp_path / "two", [made.point()], name="two", closure=())
    files = write_report([one, two], tmp_path / "out")
    assert {path.name for path in files.images if "pareto" in path.name and path.suffix == ".png"} == {
        f"pareto-{number}-{shape}.png" for number in (1, 2) for shape in ("column", "slide")
    }
    plots = embedded(files.html.read_text())["plots"]
    # Points are numbered run by run; the first and the last were made under one setting.
    assert [plot["pareto"]["keys"] for plot in plots] == [[0, 2], [1]]


def test_a_run_that_cannot_be_read_leaves_no_report(tmp_path: Path) -> None:
    good = made.write(tmp_path / "good", [made.point()])
    with pytest.raises(UserError, match=r"run\.json does not exist"):
        write_report([good, tmp_path / "bad"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="at least one run"):
        write_report([], tmp_path / "out")


def test_no_points_says_so(tmp_path: Path) -> None:
    files = write_report([made.write(tmp_path / "run", [], closure=())], tmp_path / "out")
    assert files.images == ()
    text = files.html.read_text()
    assert "nothing has been measured so far" in visible(text)
    assert len(text) < 100_000, "a page without charts is small"


def test_one_point() -> None:
    text = visible(page(made.point(), closure=()))
    assert (
        "ttmpd reaches 81.2 % (80.4–82.0) in 5.60 ms (5.56–5.64) , 0.691 (0.686–0.696) of the unpruned latency"
        in text
    )
    assert "Its one point met the budget. Of all methods, 1 of 1 points met it." in text
    assert "The unpruned network reaches" not in text


def test_all_failed_says_so_with_the_reasons() -> None:
    text = visible(page(made.failed(), made.failed(id="b", seed=1, reason="out of memory"), closure=()))
    assert "No point finished: all 2 failed." in text
    assert "the runtime refused the model" in text
    assert "out of memory" in text
    assert "Not met" not in text
    assert "All points" not in text


def test_the_headline_tells_missed_budgets_and_ties() -> None:
    points = [
        made.unpruned(),
        made.point(),
        made.point(id="b", seed=1, met=False),
        made.point(id="c", method="last", accuracy=made.estimate(0.805, 0.008)),
        made.point(id="d", budget="0.5x", budget_s=4e-3, met=False),
    ]
    text = visible(page(*points))
    assert "The unpruned network reaches 86.1 % (85.4–86.8) in 8.10 ms (8.05–8.15)" in text
    assert (
        "1 of its 2 points met the budget. Too close to call: last. Of all methods, 2 of 3 points met it."
        in text
    )
    assert "0.5x Not met by any point. 1 measured." in text


def test_the_table_goes_from_the_unpruned_network_to_the_tightest_budget() -> None:
    points = [
        made.point(id="a", method="last", budget="0.5x", budget_s=4e-3),
        made.point(id="b", seed=10),
        made.point(id="c", seed=2),
        made.point(id="d", method="last"),
        made.unpruned(),
    ]
    assert re.findall(r'data-show="\d+" aria-label="Show details of ([^"]+)"', page(*points)) == [
        "unpruned · seed 0",
        "last · 0.7x · seed 0",
        "ttmpd · 0.7x · seed 2",
        "ttmpd · 0.7x · seed 10",
        "last · 0.5x · seed 0",
    ]


def test_unlabelled_images_are_named_as_such() -> None:
    text = visible(page(made.unpruned(accuracy=None), made.point(accuracy=None)))
    assert "agrees with the unpruned network on 86.1 % (85.4–86.8)" in text
    assert "The images have no labels" in text
    assert "The unpruned network takes 8.10 ms" in text


def test_host_setting_controls_and_closure_are_shown() -> None:
    text = visible(page(made.point()))
    for words in (
        "1 warning: see runs and machine",
        "Turbo is on: clocks may drift by 12 %.",
        "virtual yes",
        "device.cpu made up",
        "unpruned, statistics re-estimated 84.2 % (83.5–84.9) 1",
        "blocks 3 to 9 dropped 6.10 ms (6.00–6.20) 6.02 ms (5.97–6.07) +1.3 % no",
        "Mean absolute error 1.1 % over 2 networks that the table was not fitted to; 2 within ±5 %.",
        "lathe sweep sweep.toml",
        "onnxruntime 1.31.1",
    ):
        assert words in text


def test_no_warning_no_notice() -> None:
    assert "not fit for measuring" not in page(made.point(), host={"cpu": "made up", "warnings": []})


def test_every_text_is_escaped_everywhere() -> None:
    evil = made.point(
        method=EVIL,
        budget=EVIL,
        removed=(EVIL,),
        command=EVIL,
        artefacts={EVIL: "x"},
        stages_s={EVIL: 1.0},
        controls={EVIL: made.estimate(0.5, 0.1)},
        parts=(PartTime(EVIL, EVIL, EVIL, 1e-3, False),),
    )
    record = {
        "name": EVIL,
        "network": EVIL,
        "images": EVIL,
        "shift": EVIL,
        "settings": {"s1": {"label": EVIL, EVIL: EVIL}},
        "host": {EVIL: EVIL, "warnings": [EVIL]},
        "versions": {EVIL: EVIL},
        "command": EVIL,
        "closure": (Closure("s1", EVIL, made.estimate(1e-3, 1e-4), made.estimate(1e-3, 1e-4), False),),
    }
    text = page(evil, made.failed(reason=EVIL), **record)
    assert "<script>alert" not in text
    assert "<img" not in text
    # The data, the charts' script and the page's, and not one more.
    assert len(re.findall(r"<script\b", text)) == len(re.findall("</script>", text)) == 3
    assert embedded(text)["points"]["0"]["command"] == EVIL


def test_the_page_forbids_itself_every_request() -> None:
    text = page(made.point())
    assert "default-src 'none'" in text
    assert '<link rel="icon" href="data:,">' in text
    own = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", own)
    assert "@import" not in own
    assert "url(" not in own


def test_details_hold_what_the_panel_shows() -> None:
    point = embedded(page(made.point(), made.failed()))["points"]["0"]
    assert point["verdict"] == "Budget met: 0.7x, 5.67 ms"
    assert ["Unpruned network, same images", "54.4 % (53.4–55.4)"] in point["facts"]
    assert point["kept"].count("0") == 6
    assert point["removed"] == [], "the bar says it"
    assert embedded(page(made.point(parts=())))["points"]["0"]["removed"] == list(made.BLOCKS[10:16])
    assert point["rounds"][0][0] == "5 blocks"
    assert point["rounds"][0][2:] == ["5.60 ms (5.51–5.69)", "5.83 ms (5.79–5.87)", "missed"]
    assert ["recover", "3 min 30 s"] in point["stages"]
    failed = embedded(page(made.failed()))["points"]["0"]
    assert (failed["facts"], failed["bar"], failed["verdict"], failed["trace"]) == ([], None, None, None)


def test_networks_drawn_as_bars_are_embedded_once() -> None:
    data = embedded(page(*made.many()))
    assert len(data["points"]) == 28
    assert len(data["bars"]) == 1


def test_a_large_report_stays_below_six_megabytes() -> None:
    points = made.many(budgets=tuple(0.4 + 0.05 * i for i in range(10)), seeds=17)
    command = "lathe prune cifar/resnet56 " + "--option with-a-long-value-as-they-are " * 8
    long = [replace(point, command=command) for point in points]
    assert len(long) == 511
    assert len(render_page([(made.run(), long)]).encode()) < 6e6


def test_findings_stand_on_top_and_lead_to_what_shows_them() -> None:
    points = [*made.many(), made.failed(), made.point(id="busy", seed=9, disturbance="foreign load")]
    text = page(*points)
    top = text[text.index('id="findings"') : text.index('id="scene-1"')]
    assert "ttmpd meets 0.85x at" in top
    assert "To do" in top
    assert "the runtime refused the model" in top
    assert "The machine was busy during 1 of 29 measurements (foreign load: 1)" in top
    anchors = re.findall(r'<a href="#([^"]+)"', text)
    assert {"pareto-1", "failed-1", "points-1", "controls-1", "runs"} <= set(anchors)
    assert all(f'id="{anchor}"' in text for anchor in anchors)
    shown, _, folded = top.partition("<details>")
    assert shown.count('class="card ') == SHOWN
    assert folded.count('class="card ') >= 1


def test_nothing_to_find_no_findings() -> None:
    assert 'id="findings"' not in page(made.unpruned(parts=(), predicted_s=None), closure=())


def test_a_finding_without_its_figure_leads_to_the_scene() -> None:
    parts = (
        PartTime("stem", "convolution", None, 1e-3, True),
        PartTime("a.conv", "convolution", "a", 1e-3, True),
    )
    text = page(made.point(met=False, parts=parts))
    assert "50 % of the unpruned latency lies, by the table, outside" in text
    assert 'id="parts-1"' not in text
    assert '<a href="#scene-1">See where the time goes</a>' in text


def test_runs_are_named_and_held_against_each_other() -> None:
    before = [made.point(), made.point(id="b", seed=1)]
    after = [made.point(accuracy=made.estimate(0.85, 0.008), ratio=made.estimate(0.75, 0.004))]
    runs = [(made.run(name="then"), before), (made.run(name="now", closure=()), after)]
    text = visible(render_page(runs))
    assert "A then 2026" in text
    assert "B now 2026" in text
    assert "ttmpd · B" in text
    assert "ttmpd · 0.7x · seed 0 5.60 ms 5.56–5.64 5.60 ms 5.56–5.64 1.08 1.08–1.09 worse" in text
    assert "81.2 % 80.4–82.0 85.0 % 84.2–85.8 +3.8 +2.7 to +4.9 better" in text
    assert "Without a counterpart: 1 in A, 0 in B." in text
    assert "Runs beside each other" not in visible(page(*before))


def test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    run = made.write(tmp_path / "run", [made.point(), made.point(id="b", seed=1)])
    (run / "points" / "b.json").write_text("{")
    text = visible(write_report([run], tmp_path / "out").html.read_text())
    assert "1 file of the run cannot be read." in text
    assert "b.json is not JSON" in text


def test_importing_reports_is_cheap() -> None:
    heavy = ["torch", "matplotlib", "pandas", "jinja2"]
    code = f"import sys, reports; print(*(name for name in {heavy} if name in sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == ""
