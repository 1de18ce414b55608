"""A pruning that is killed while it trains goes on, and ends as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from cli_driver import Lathe

from bench import school
from pruning.recovery.training import Trained

EPOCHS = 24


@pytest.fixture
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def words(job: dict[str, str], out: Path) -> list[str]:
    asked = ["prune", job["network"], "--weights", job["weights"], "--images", job["images"], "--no-controls"]
    asked += ["--calibration", "60", "--method", "snip", "--budget", "80%", "--epochs", str(EPOCHS)]
    return [*asked, "--name", "run", "--out", str(out)]


def weights(out: Path) -> bytes:
    (file,) = (out / "runs" / "run").glob("*snip*/weights.safetensors")
    return file.read_bytes()


@pytest.mark.usefixtures("_one_thread")
def test_a_killed_training_ends_with_the_weights_it_would_have_had(
    lathe: Lathe,
    job: dict[str, str],
    workspace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    undisturbed = Path(shutil.copytree(workspace, tmp_path / "undisturbed"))
    assert lathe(*words(job, undisturbed)).status == 0

    process = subprocess.Popen(
        [sys.executable, "-c", "from bench.cli import main; main()", *words(job, workspace)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    seen: set[int] = set()
    deadline = time.monotonic() + 240
    while len(seen) < 3 and process.poll() is None and time.monotonic() < deadline:
        seen |= {file.stat().st_mtime_ns for file in workspace.rglob("*.checkpoint")}
        time.sleep(0.002)
    assert len(seen) == 3 or process.poll() is not None, "no training began"
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL, said.decode()
    assert not list(workspace.glob("runs/run/points/*snip*"))

    done: list[Trained] = []

    def watched(*args: object, **more: object) -> Trained:
        done.append(train(*args, **more))
        return done[-1]

    train = school.train
    monkeypatch.setattr(school, "train", watched)
    assert lathe(*words(job, workspace)).status == 0
    assert [len(one.epochs) for one in done] == [EPOCHS]
    assert 3 <= done[0].resumed < EPOCHS
    assert weights(workspace) == weights(undisturbed)
