"""`lathe report` on runs that are not as they should be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import interrupts
import made_up_runs as made
import pytest
from cli_driver import Lathe
from small_job import write_job

from reports.selection import MOST


def test_a_damaged_point_is_named_and_the_others_are_drawn(lathe: Lathe, tmp_path: Path) -> None:
    run = made.write(tmp_path / "run", [made.point(), made.point(id="b", seed=1)])
    bad = run / "points" / "[red]worse<i>.json"
    bad.write_bytes((run / "points" / "b.json").read_bytes()[:100])
    status, out, err = lathe("report", run)
    assert status == 1
    page = run / "report" / "report.html"
    assert out.split("\n")[0] == str(page)
    assert f"not in the report: {bad} is not JSON" in err
    assert "cut off or edited" in err
    text = page.read_text()
    assert "worse&lt;i&gt;.json is not JSON" in text
    assert "ttmpd · 0.7x · seed 1" in text
    status, out, err = lathe("report", run, "--json")
    assert status == 1
    (damaged,) = json.loads(out)["damaged"]
    assert damaged["file"] == str(bad)
    bad.unlink()
    status, out, err = lathe("report", run, "--json")
    assert (status, err, json.loads(out)["damaged"]) == (0, "", [])
    assert "is not JSON" not in page.read_text()


def test_a_damaged_run_leaves_the_last_report(lathe: Lathe, tmp_path: Path) -> None:
    runs = [made.write(tmp_path / name, [made.point()]) for name in ("one", "two")]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").write_text("old")
    record = runs[1] / "run.json"
    record.write_bytes(record.read_bytes()[:-30])
    status, out, err = lathe("report", *runs, "--out", tmp_path / "out")
    assert (status, out) == (2, "")
    assert f"lathe: {record} is not JSON" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]
    assert (tmp_path / "out" / "report.html").read_text() == "old"


def test_a_sweep_does_not_make_a_damaged_point_anew(lathe: Lathe, tmp_path: Path) -> None:
    """It may hold what took hours: whether it can be missed is the user's to say."""
    job = write_job(tmp_path)
    folder = made.write(tmp_path / "runs" / "mine", [made.point()])
    bad = folder / "points" / "ttmpd-0.7x-0.json"
    bad.write_bytes(bad.read_bytes()[:-2])
    content = bad.read_bytes()
    config = tmp_path / "mine.toml"
    config.write_text("".join(f'{name} = "{job[name]}"\n' for name in ("network", "weights", "images")))
    status, _, err = lathe("sweep", config, "--out", tmp_path)
    assert status == 2
    assert f"{bad} is not JSON" in err
    assert "move it away and run the command that wrote it again: the other points stay" in err
    assert bad.read_bytes() == content


INTERRUPTED = """
import os, signal, sys
from bench.cli import main
through = int(sys.argv.pop(1))
real = os.fsync
calls = 0
def fsync(handle):
    global calls
    real(handle)
    calls += 1
    if calls > through:
        os.kill(os.getpid(), signal.SIGINT)
os.fsync = fsync
main()
"""


@pytest.mark.parametrize("through", [0, 2])
def test_ctrl_c_while_the_report_is_written(tmp_path: Path, through: int) -> None:
    run = made.write(tmp_path / "run", [made.point()])
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.html").write_text("old")
    words = [sys.executable, "-c", INTERRUPTED, str(through), "report", str(run), "--out", str(out)]
    done = subprocess.run(words, capture_output=True, text=True, preexec_fn=interrupts.heard)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert "stopped." in done.stderr
    assert "the same command draws all" in " ".join(done.stderr.split())
    assert [path.name for path in out.rglob("*") if path.is_file()] == ["report.html"]
    assert (out / "report.html").read_text() == "old"


def test_more_points_than_a_page_shows_end_with_a_page_that_says_so(tmp_path: Path) -> None:
    run = made.write(tmp_path / "run", [made.unpruned()])
    texts = []
    for point in made.many()[1:]:
        made.write_point(tmp_path / "row", point)
        text = (tmp_path / "row" / "points" / f"{point.id}.json").read_text()
        text = text.replace(f'"id": "{point.id}"', '"id": "p%d"').replace(
            f'"seed": {point.seed}', '"seed": %d'
        )
        texts.append(text)
    count = MOST + 100  # ten times as many are drawn in tests/reports/test_page_weight.py
    for i in range(count):
        (run / "points" / f"p{i}.json").write_text(texts[i % len(texts)] % (i, i))
    words = [sys.executable, "-c", "from bench.cli import main; main()", "report", str(run), "--json"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    files = json.loads(done.stdout)
    assert files["damaged"] == []
    assert files["images"]
    assert f"of {count + 1} finished points" in Path(files["html"]).read_text(), (
        "it says how many it does not show"
    )
