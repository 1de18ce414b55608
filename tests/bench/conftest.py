"""What holds for all tests of the bench."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from calm import calm as nothing_happens
from cli_driver import Lathe, driver
from small_job import write_job

from bench import cli, devices
from bench.host import look
from bench.session import Session
from bench.stopping import Rule


@pytest.fixture(scope="session", autouse=True)
def _in_haste() -> Iterator[None]:
    """Timings that are made here are real and coarse: no test is about how good they are.

    Nothing is timed again because others were at work, or rested for, and the host is looked at for a moment.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.profiler._rest", lambda _seconds: None)
        coarse = Rule(target=0.02, max_time_s=0.5, max_samples=60, max_rounds=30, warmup_max_time_s=0.1)
        patch.setattr("bench.profiler.PART_RULE", coarse)
        patch.setattr("bench.profiler.NETWORK_RULE", replace(coarse, max_time_s=1.0))
        patch.setitem(Session.__init__.__kwdefaults__, "repeats", 0)
        for place in ("bench.sweep.look", "bench.host.look"):
            patch.setattr(place, partial(look, window_s=0.05))
        assert devices.look is look, "what is imported later would keep what a test puts in its place"
        yield


@pytest.fixture(scope="module")
def calm() -> Iterator[None]:
    """Nothing that others do spoils a timing."""
    with nothing_happens():
        yield


@pytest.fixture
def lathe(calm: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Lathe:
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
    with nothing_happens(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lathe", "profile", job["network"], "--out", str(out), "--json"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code
    return out


@pytest.fixture
def workspace(profiled: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(profiled, tmp_path / "workspace"))
