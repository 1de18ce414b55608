"""Trainings are paired with their like only, and one that failed says why without ending the others."""

from __future__ import annotations

from pathlib import Path

import epsd_controls
import numpy as np
import pytest
from cells import read
from epsd_controls import DRAWS, EPSD, SHUFFLED, Study, Task, require_draws, run, section

from bench.workloads.images import Images
from latency_tables.errors import LatheError, StorageError, UserError
from latency_tables.files import write_json


def test_records_of_other_draws_are_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"accuracy": 0.5, "draws": DRAWS})
    require_draws(tmp_path, tmp_path / "all.jsonl")
    write_json(tmp_path / "b.json", {"accuracy": 0.5})
    with pytest.raises(SystemExit, match=f"version 1, here {DRAWS}.*all.jsonl"):
        require_draws(tmp_path, tmp_path / "all.jsonl")


def test_what_failed_is_counted_and_told_and_enters_no_difference(tmp_path: Path) -> None:
    study = Study("resnet8", "cs-kd", 0.98, (EPSD, SHUFFLED, "SNIP", "SynFlow"), 3)
    tasks = [
        Task(study, arm, seed, "short", "", "", tmp_path, "cpu") for arm in study.arms for seed in range(3)
    ]
    known = {EPSD: (0.6, 0.61, 0.7), SHUFFLED: (0.5, 0.51, None), "SNIP": (0.6, None, None)}
    for task in tasks:
        accuracy = known.get(task.arm, (None,) * 3)[task.seed]
        failed = {"failed": f"diverged at\nepoch {task.seed}"}
        write_json(task.path, failed if accuracy is None else {"accuracy": accuracy})
    lines = section(study, tasks)
    rows = {line.split(" | ")[0].strip("| "): line for line in lines if line.startswith("| ")}
    assert "| 50.5% | 50.0% to 51.0% | +10.0 (+10.0 to +10.0, 2 seeds)" in rows[f"{SHUFFLED} (1 of 3 failed)"]
    assert "| not known |" in rows["SNIP (2 of 3 failed)"]
    assert rows["SynFlow (3 of 3 failed)"].endswith("| | | |  |")
    assert "Failed: diverged at epoch 2 diverged at epoch 1 diverged at epoch 0" in lines


@pytest.mark.parametrize(
    ("error", "recorded"),
    [
        (LatheError("the ranking collapses"), True),
        (UserError("epsd does not fit into memory"), False),
        (StorageError("disk full"), False),
    ],
)
def test_what_another_try_may_mend_is_no_record(
    error: LatheError, recorded: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A record is published and never made again."""

    def fail(*_: object) -> None:
        raise error

    few = Images(np.zeros((4, 32, 32, 3), np.uint8), np.arange(4), "made up")
    monkeypatch.setattr(epsd_controls, "images_of", lambda *_: few)
    monkeypatch.setattr(epsd_controls, "mask_of", fail)
    study = Study("resnet8", "cs-kd", 0.98, (EPSD,), 1)
    task = Task(study, EPSD, 0, "short", "", "", tmp_path, "cpu")
    if recorded:
        run(task)
        assert read(task.path)["failed"] == "the ranking collapses"
    else:
        with pytest.raises(type(error), match=str(error)):
            run(task)
        assert not list(tmp_path.iterdir())
