"""What holds for all tests of the bench."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_driver import Lathe, driver
from small_job import write_job

from bench import cli


@pytest.fixture(scope="session", autouse=True)
def _no_rests() -> Iterator[None]:
    """On a restless machine real timings would rest for seconds each; no test is about how good they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.profiler._rest", lambda _seconds: None)
        yield


@pytest.fixture
def lathe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Lathe:
    """The command line."""
    return driver(capsys, monkeypatch)


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A small network and its images, as words."""
    return write_job(tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="session")
def profiled(job: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the small network is profiled in ONNX Runtime; to be copied, not written to."""
    out = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lathe", "profile", job["network"], "--out", str(out), "--json"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code
    return out


@pytest.fixture
def workspace(profiled: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(profiled, tmp_path / "workspace"))
