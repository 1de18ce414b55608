"""The command line called in this process, as tests call it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from bench import cli


class Answer(NamedTuple):
    status: int
    out: str
    err: str


Lathe = Callable[..., Answer]


def driver(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Lathe:
    """Runs ``lathe`` with the words given; no mistake may end in a traceback."""

    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["lathe", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "400")
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = int(end.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Answer(status, captured.out, captured.err)

    return run


def prune_words(job: dict[str, str], out: Path, **changes: object) -> list[object]:
    words: dict[str, object] = {
        "--weights": job["weights"],
        "--images": job["images"],
        "--calibration": 40,
        "--iterations": 4,
        "--budget": "0.6x",
        "--out": out,
    }
    words |= {f"--{name}": value for name, value in changes.items()}
    return ["prune", job["network"], *(word for pair in words.items() for word in pair)]
