"""What is printed is what was meant, whatever names stand in it."""

from __future__ import annotations

import math

import pytest

from bench.terminal import Terminal, ratio_text, time_text
from latency_tables.estimate import Estimate

NAME = "net[v2].py:make [/x] [bold]"


def test_brackets_in_names_are_printed_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    terminal = Terminal()
    terminal.say(f"measuring {NAME}")
    terminal.results.print(f"results in {NAME}")
    terminal.show(f"title {NAME}", ["layer", f"column {NAME}"], [[f"cell {NAME}", "1"]], shorten=["layer"])
    seen = capsys.readouterr()
    assert f"measuring {NAME}" in seen.err
    for what in ("results in", "title", "column", "cell"):
        assert f"{what} {NAME}" in seen.out


def test_where_nobody_looks_a_line_in_a_minute_says_how_far_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = iter([0.0, 30.0, 61.0, 90.0, 130.0, 140.0, 200.0])
    terminal = Terminal(now_s=lambda: next(clock))
    with terminal.progress("train") as report:
        report(1, 10, "epoch 1, loss 2")
        report(2, 10, "epoch 2, loss 1")
        report(3, 10, "epoch 3, loss 0.9")
        report(4, 10, "epoch 4, loss 0.8")
        report(0, 5, "another training")
        report(1, 5, "another training")
    assert capsys.readouterr().err.splitlines() == [
        "  train: epoch 2, loss 1; 20%, about 4 minutes left",
        "  train: epoch 4, loss 0.8; 40%, about 3 minutes left",
        "  train: another training; 20%, about 4 minutes left",
    ]
    with Terminal(quiet=True).progress("train") as report:
        report(1, 10, "nothing")
    assert capsys.readouterr().err == ""


def test_an_interval_that_bounds_nothing_is_not_printed_as_one() -> None:
    assert time_text(Estimate(1.27e-3, 1.25e-3, 1.3e-3)) == "1.27 ms (1.25 to 1.3)"
    assert ratio_text(Estimate(0.701, 0.697, 0.704)) == "0.701 (0.697 to 0.704)"
    assert time_text(Estimate(1.27e-3, -math.inf, math.inf)) == "1.27 ms (no interval is known)"
    assert ratio_text(Estimate(0.701, -math.inf, math.inf)) == "0.701 (no interval is known)"
    assert time_text(0) == "0 µs"
