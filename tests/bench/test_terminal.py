"""What is printed is what was meant, whatever names stand in it."""

from __future__ import annotations

import pytest

from bench.terminal import Terminal

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
