"""A ranking that empties a layer, from the command's words to the record."""

from __future__ import annotations

import re
from pathlib import Path

from cli_driver import Lathe, prune_words

from reports.run_folder import read_run

EMPTIED = r"blocks\.\d\.conv\d\.weight would lose all 2304 weights, .* the ranking collapses at this sparsity"


def test_it_costs_its_own_point_and_leaves_the_others(
    job: dict[str, str], workspace: Path, lathe: Lathe
) -> None:
    config = workspace / "small.toml"
    config.write_text(
        f"""
network = "{job["network"]}"
weights = "{job["weights"]}"
images = "{job["images"]}"
calibration = 60
methods = ["magnitude"]
budgets = ["99.9%", "50%"]
epochs = 1
augmentation = "none"
controls = false
"""
    )
    answer = lathe("sweep", config, "--out", workspace)
    assert answer.status == 1, answer.err
    points = {point.budget: point for point in read_run(workspace / "runs" / "small")[1]}
    assert points["50%"].status == "done"
    emptied = points["99.9%"]
    assert emptied.status == "failed"
    assert emptied.reason is not None and re.match(EMPTIED, emptied.reason)
    assert f"{emptied.id} failed: {emptied.reason}" in answer.err
    assert not (workspace / "runs" / "small" / emptied.id).exists()


def test_alone_it_is_the_answer(job: dict[str, str], workspace: Path, lathe: Lathe) -> None:
    words = prune_words(job, workspace, method="magnitude", budget="99.9%", epochs=1, augmentation="none")
    answer = lathe(*words, "--no-controls")
    assert answer.status == 1
    assert re.search(EMPTIED, answer.err)
