from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import made_up_table as made
import pytest

from latency_tables.errors import LatheError
from reports import read_table, write_table_report
from reports.table_page import render_table

ROOT = Path(__file__).parents[2]
EVIL = "<b>bold</b></script><script>window.hacked = 1</script>"
WITHOUT_TORCH = """
import sys
for name in ("torch", "onnxruntime", "bench", "pruning"):
    sys.modules[name] = None
from pathlib import Path
import made_up_table as made
from reports import write_table_report
print(len(write_table_report(made.record(), Path(sys.argv[1])).images))
"""


def test_a_report_is_a_page_a_record_and_pictures_without_torch(tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT / "tests" / "reports",
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        check=False,
    )
    assert shown.stdout.strip() == "28", shown.stderr
    assert read_table(tmp_path) == made.record()
    page = (tmp_path / "index.html").read_text()
    assert len(page) < 250_000
    assert len(list((tmp_path / "figures").glob("*.png"))) == 14


def test_a_page_says_the_numbers_and_what_is_missing() -> None:
    page = render_table(made.record(notes=("No staircase: measured at one width only.",)))
    for words in (
        "5.00 ms (4.95–5.05)",
        "over 8 held-out",
        "Noise floor 1.0 %: that far 4 of them",
        "Widths in one step of 8 cost the same, but for the first one.",
        "root mean square over 9 checks",
        "2 for page faults",
        "the samples drift",
        "No staircase: measured at one width only.",
    ):
        assert words in page, words


def test_a_bare_table_has_a_page_too() -> None:
    bare = made.record(layers=made.layers()[:1], closure=(), staircases=(), heat_maps=(), traces=())
    page = render_table(replace(bare, constant_s=-2e-4))
    assert "layer takes" in page
    assert "200 µs more than the network as a whole" in page
    for absent in ('id="closure"', 'id="widths"', 'id="trace"', "data-plot="):
        assert absent not in page.split("<script")[0]
    fitted = [row for row in made.closure() if row.fitted]
    assert "none judges it" in render_table(made.record(closure=tuple(fitted)))


def test_texts_are_shown_and_never_run() -> None:
    page = render_table(
        made.record(
            network=EVIL,
            label=EVIL,
            setting={"device": {EVIL: EVIL}},
            command=EVIL,
            layers=tuple(replace(layer, name=EVIL, kind=EVIL, block=EVIL) for layer in made.layers()),
            closure=tuple(replace(row, name=EVIL, blocks=0, groups=0) for row in made.closure()),
            staircases=(made.staircase(layer=EVIL, kind=EVIL, axis=EVIL, fixed=EVIL),),
            heat_maps=(made.heat_map(layer=EVIL, kind=EVIL, across=EVIL, up=EVIL),),
            traces=(made.trace(name=EVIL, kind=EVIL, dropped={EVIL: 1}, findings=(EVIL,), disturbance=EVIL),),
            notes=(EVIL,),
        )
    )
    assert EVIL not in page
    assert "<script>window" not in page
    assert page.count("</script>") == 3


def test_a_report_that_cannot_be_written_leaves_the_last_one(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("old")
    (tmp_path / "figures").write_text("in the way")
    with pytest.raises(LatheError):
        write_table_report(made.record(), tmp_path)
    assert (tmp_path / "index.html").read_text() == "old"
    assert not (tmp_path / "table.json").exists()
