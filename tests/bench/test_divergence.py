"""A training whose numbers are no longer finite, for real, from a sweep's words to its records."""

from __future__ import annotations

import re
from pathlib import Path

from cli_driver import Answer, Lathe

from reports.results import Point
from reports.run_folder import read_run

DIVERGED = (
    r"training diverged: the loss is (nan|inf) in epoch 2 of 3, step 1 of 1, learning rate \S+\. Use a smaller "
    r"learning rate, a longer warm-up, or remove less\.$"
)


def sweep(lathe: Lathe, job: dict[str, str], workspace: Path, given: str) -> tuple[Answer, dict[str, Point]]:
    """One method that trains and, after it, one that only heals what is left of a network."""
    config = workspace / "small.toml"
    config.write_text(
        f"""
network = "{job["network"]}"
images = "{job["images"]}"
{given}
calibration = 60
methods = ["snip", "last"]
budgets = ["80%", "0.8x"]
epochs = 3
learning_rate = 1e30
augmentation = "none"
iterations = 2
controls = false
"""
    )
    answer = lathe("sweep", config, "--out", workspace)
    return answer, {point.method: point for point in read_run(workspace / "runs" / "small")[1]}


def test_it_costs_its_own_point_and_the_next_is_made(
    job: dict[str, str], workspace: Path, lathe: Lathe
) -> None:
    answer, points = sweep(lathe, job, workspace, f'weights = "{job["weights"]}"')
    folder = workspace / "runs" / "small"
    assert answer.status == 1, answer.err
    assert points.keys() == {"unpruned", "snip", "last"}
    lost, made = points["snip"], points["last"]
    assert lost.status == "failed" and re.match(DIVERGED, lost.reason or "")
    assert lost.accuracy is None and lost.accuracy_before == points["unpruned"].accuracy
    assert f"{lost.id} failed: {lost.reason}" in answer.err
    assert not (folder / lost.id).exists()
    assert made.status == "done" and made.accuracy is not None
    assert (folder / made.artefacts["weights"]).exists()


def test_of_the_unpruned_network_it_costs_all_points(
    job: dict[str, str], workspace: Path, lathe: Lathe
) -> None:
    answer, points = sweep(lathe, job, workspace, "")
    assert answer.status == 1, answer.err
    assert points.keys() == {"snip", "last"}
    for point in points.values():
        assert point.status == "failed"
        assert re.match(
            f"the unpruned network could not be trained with seed 0, .*: {DIVERGED}", point.reason or ""
        )
        assert f"all points of seed 0 fail: {point.reason}" in answer.err
    assert not list((workspace / "runs" / "small").glob("*.safetensors"))
