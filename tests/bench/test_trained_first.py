"""A network without trained weights is trained before anything is held against it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_job import write_job
from typer.testing import CliRunner

from bench.cli import app
from bench.expectation import words as foreseen_words
from bench.workloads import resolve
from latency_tables.errors import UserError
from reports import units
from reports.run_folder import read_run


def sweep(folder: Path, words: dict[str, str], *more: str) -> str:
    config = folder / "small.toml"
    config.write_text(
        f"""
network = "{words["network"]}"
images = "{words["images"]}"
calibration = 60
methods = ["snip", "ttmpd-once"]
budgets = ["0.8x", "80%"]
epochs = 3
learning_rate = 0.05
augmentation = "none"
iterations = 2
controls = false
"""
    )
    ran = CliRunner().invoke(app, ["sweep", str(config), "--out", str(folder), *more])
    assert ran.exit_code == 0, ran.output
    return ran.output


@pytest.fixture(scope="module")
def swept(calm: None, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A sweep without weights."""
    folder = tmp_path_factory.mktemp("untrained")
    words = write_job(folder)
    foreseen: list[tuple[Any, ...]] = []

    def watched(*given: Any) -> str:
        foreseen.append(given)
        return foreseen_words(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.expectation.words", watched)
        said = sweep(folder, words)
    run, points = read_run(folder / "runs" / "small")
    return SimpleNamespace(
        folder=folder,
        words=words,
        said=said,
        foreseen=foreseen,
        run=run,
        points={point.method: point for point in points},
    )


def test_the_trained_network_is_the_unpruned_one_and_a_file(swept: SimpleNamespace) -> None:
    unpruned = swept.points["unpruned"]
    file = swept.folder / "runs" / "small" / unpruned.artefacts["weights"]
    model = resolve(swept.words["network"], weights=file).build()
    drawn = resolve(swept.words["network"]).untrained(0)
    assert not torch.equal(model.stem.weight, drawn.stem.weight)
    curve = json.loads(file.with_suffix(".trainings.json").read_text())
    assert [len(one["epochs"]) for one in curve] == [3]
    # Three classes, told apart by brightness: three epochs do better than chance, first weights do not.
    assert unpruned.accuracy.value > 0.5
    assert swept.run.weights == "trained here first, 3 epochs with cs-kd"
    assert "is trained first" in swept.said


def test_it_says_how_long_it_will_take_before_it_begins(swept: SimpleNamespace) -> None:
    (foreseen,) = swept.foreseen
    recipes, work, trained_first, lacks = foreseen
    assert {recipe.method for recipe in recipes} == {"snip", "ttmpd-once"}
    assert (work.training_images, work.epochs, trained_first) == (60, 3, 1)
    assert lacks.parts and lacks.networks  # the tables were empty
    lines = swept.said.splitlines()
    told = next(place for place, line in enumerate(lines) if line.startswith("2 points, about "))
    assert lines[told] == foreseen_words(*foreseen)
    begun = [
        place for place, line in enumerate(lines) if line.startswith("measuring ") or "trained first" in line
    ]
    assert begun and told < min(begun)


def test_all_points_stand_beside_it(swept: SimpleNamespace) -> None:
    unpruned = swept.points["unpruned"]
    for method in ("snip", "ttmpd-once"):
        point = swept.points[method]
        assert point.status == "done"
        assert point.accuracy_before == unpruned.accuracy
        assert "train unpruned" in point.stages_s
    text = (swept.folder / "runs" / "small" / swept.points["snip"].artefacts["readme"]).read_text()
    assert f"of the unpruned network, trained the same way: {units.percent(unpruned.accuracy)}" in text


def test_blocks_go_from_the_trained_network(swept: SimpleNamespace) -> None:
    folder = swept.folder / "runs" / "small"
    whole = load_file(folder / swept.points["unpruned"].artefacts["weights"])
    pruned = load_file(folder / swept.points["ttmpd-once"].artefacts["weights"])
    # Two small steps of healing leave a weight close to where it came from.
    assert torch.allclose(pruned["stem.weight"], whole["stem.weight"], atol=0.02)


def test_the_command_of_a_method_that_trains_nothing_names_the_trained_network(
    swept: SimpleNamespace,
) -> None:
    folder = swept.folder / "runs" / "small"
    file = folder / swept.points["unpruned"].artefacts["weights"]
    words = shlex.split(swept.points["ttmpd-once"].command)
    assert words[words.index("--weights") + 1] == str(file)
    assert "--weights" not in shlex.split(swept.points["snip"].command)


def test_it_is_trained_once(swept: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = swept.folder / "runs" / "small"
    file = folder / "unpruned-s0.safetensors"
    before = (file.stat().st_mtime_ns, file.read_bytes())
    (folder / "points" / f"{swept.points['ttmpd-once'].id}.json").unlink()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("bench.school.train", refuse)
    assert "1 point, about " in sweep(swept.folder, swept.words)
    assert (file.stat().st_mtime_ns, file.read_bytes()) == before
    again = {point.method: point for point in read_run(folder)[1]}["ttmpd-once"]
    assert again.accuracy_before == swept.points["unpruned"].accuracy


@pytest.mark.parametrize(
    "what", ["images' content", "network's structure at batch 1", "network's weights as built"]
)
def test_other_content_under_the_same_name_is_not_gone_on_with(what: str, swept: SimpleNamespace) -> None:
    name = swept.words["images"].removeprefix("npz:")
    path = Path(name if what.startswith("images") else swept.words["network"].removesuffix(":make"))
    before = path.read_bytes()
    identity = swept.folder / "runs" / "small" / "identity.json"
    written = identity.read_bytes()
    try:
        if what.startswith("images"):
            arrays = dict(np.load(path))
            arrays["images"][0, 0, 0, 0] ^= 1
            np.savez(path, **arrays)
        else:
            old, new = (b"self.head(self.blocks", b"2 * self.head(self.blocks")
            if "weights" in what:
                old, new = b"    return Small()", b"    torch.rand(1)\n    return Small()"
            path.write_bytes(before.replace(old, new))
        ran = CliRunner().invoke(app, ["sweep", str(swept.folder / "small.toml"), "--out", str(swept.folder)])
    finally:
        path.write_bytes(before)
    assert isinstance(ran.exception, UserError)
    assert f"holds a run whose {what} was another one" in str(ran.exception)
    assert identity.read_bytes() == written


def test_a_folder_with_an_untrained_network_is_not_gone_on_with(tmp_path: Path) -> None:
    words = write_job(tmp_path)
    arguments = [
        "prune",
        words["network"],
        "--images",
        words["images"],
        "--calibration",
        "60",
        "--no-controls",
    ]
    arguments += ["--iterations", "2", "--budget", "0.8x", "--out", str(tmp_path), "--name", "one"]
    first = CliRunner().invoke(app, [*arguments, "--method", "random"])
    assert first.exit_code == 0, first.output
    assert "random weights, so accuracies will tell nothing" in first.output
    second = CliRunner().invoke(app, [*arguments, "--method", "snip", "--budget", "80%"])
    assert isinstance(second.exception, UserError)
    assert "holds a run with trains_unpruned False, asked for is True" in str(second.exception)
