"""Networks trained from scratch, from the command's words to files that can be used."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from cli_driver import Lathe, prune_words
from small_job import write_job
from typer.testing import CliRunner

import pruning
from bench import channel_maker, masked_point
from bench.cli import app
from bench.sweep_config import make_config
from bench.workloads import resolve
from latency_tables.errors import UserError
from pruning.early.criterion import prunable
from pruning.recovery.training import Trained, train
from reports import units
from reports.results import Point
from reports.run_folder import read_run


def _write(folder: Path) -> tuple[dict[str, str], Path]:
    """The words of a job, and a sweep of it with two ways to be structured and one to be not."""
    words = write_job(folder, width=32, blocks=2)
    config = folder / "small.toml"
    config.write_text(
        f"""
network = "{words["network"]}"
weights = "{words["weights"]}"
images = "{words["images"]}"
calibration = 60
methods = ["epsd-structured", "kd", "snip"]
budgets = ["0.75x", "80%"]
epochs = 1
augmentation = "none"
"""
    )
    return words, config


@pytest.fixture(scope="module")
def swept(calm: None, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """One sweep with two ways to be structured and one to be not, and their controls."""
    checkpoints: list[tuple[Path, bool]] = []

    def remember(*given: Any, checkpoint: Path, **named: Any) -> Trained:
        done = train(*given, checkpoint=checkpoint, **named)
        checkpoints.append((checkpoint, checkpoint.exists()))
        return done

    # A disturbed minute may have so small a network foreseen as hardly any faster when it is narrower, and then the
    # budget is out of reach; what is asked here is what becomes of a point, not whether the machine was quiet.
    for _ in range(3):
        folder = tmp_path_factory.mktemp("scratch")
        words, config = _write(folder)
        checkpoints.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bench.school.train", remember)
            ran = CliRunner().invoke(app, ["sweep", str(config), "--out", str(folder)])
        if "out of reach" not in ran.output:
            break
    assert ran.exit_code == 0, ran.output
    _, points = read_run(folder / "runs" / "small")
    found = {point.method: point for point in points}
    return SimpleNamespace(
        folder=folder / "runs" / "small", points=found, words=words, checkpoints=checkpoints
    )


def network_of(swept: SimpleNamespace, point: Point) -> torch.nn.Module:
    factory = resolve(swept.words["network"]).factory
    return pruning.load(
        factory, swept.folder / point.artefacts["plan"], swept.folder / point.artefacts["weights"]
    )


@pytest.mark.parametrize("method", ["epsd-structured", "kd"])
def test_channels_are_physically_gone_and_the_files_rebuild_the_network(
    swept: SimpleNamespace, method: str
) -> None:
    point = swept.points[method]
    assert point.status == "done"
    assert point.widths
    assert all(width % 4 == 0 for width in point.widths.values())
    assert point.rounds[-1].widths == point.widths
    network = network_of(swept, point)
    whole = resolve(swept.words["network"]).untrained(0)
    assert sum(p.numel() for p in network.parameters()) < 0.9 * sum(p.numel() for p in whole.parameters())
    image = torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(swept.folder / point.artefacts["onnx"])
    (got,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(got, network(image).numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["epsd-structured", "kd"])
def test_the_time_that_stays_and_the_time_that_goes_add_up(swept: SimpleNamespace, method: str) -> None:
    point = swept.points[method]
    whole = sum(part.latency_s for part in point.parts)
    assert whole == pytest.approx(point.unpruned_s.value)
    stays = sum(part.latency_s for part in point.parts if part.kept)
    assert 0.5 * point.ratio.value < stays / whole < 1
    names = [part.name for part in point.parts]
    assert any(names.count(name) == 2 for name in names)


def test_uniform_widths_are_what_a_teacher_gets(swept: SimpleNamespace) -> None:
    assert len(set(swept.points["kd"].widths.values())) == 1


def test_single_weights_are_zero_and_the_shape_is_kept(swept: SimpleNamespace) -> None:
    point = swept.points["snip"]
    assert (point.status, point.met, point.budget, point.widths) == ("done", None, "80%", {})
    assert point.sparsity == pytest.approx(0.8, abs=0.001)
    weights = prunable(network_of(swept, point)).values()
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    assert zeros / sum(weight.numel() for weight in weights) == pytest.approx(point.sparsity, abs=1e-6)


def test_each_point_keeps_what_its_trainings_said(swept: SimpleNamespace) -> None:
    for method in ("epsd-structured", "kd", "snip"):
        point = swept.points[method]
        folder = swept.folder / Path(point.artefacts["trainings"]).parent
        trainings = json.loads((folder / "trainings.json").read_text())
        assert trainings[0]["training"] == "the point"
        assert {one["training"] for one in trainings} == {"the point", *point.controls}
        assert all(set(epoch) == {"loss", "accuracy"} for one in trainings for epoch in one["epochs"])
        assert "`trainings.json`" in (folder / "README.md").read_text()


def test_each_method_stands_beside_its_controls(swept: SimpleNamespace) -> None:
    expected = {
        "epsd-structured": {
            channel_maker.OTHER_CHANNELS,
            channel_maker.PLAIN_SCORES,
            channel_maker.BY_CHANCE,
            channel_maker.SMART,
            channel_maker.WEIGHTS_ANEW,
        },
        "kd": {channel_maker.UNTAUGHT},
        "snip": {
            masked_point.SHUFFLED,
            masked_point.BY_CHANCE,
            masked_point.SMART,
            masked_point.PLAIN_SCORES,
            masked_point.WEIGHTS_ANEW,
        },
    }
    for method, names in expected.items():
        controls = swept.points[method].controls
        assert set(controls) == names
        assert all(0 <= accuracy.value <= 1 for accuracy in controls.values())


def test_a_readme_says_how_each_was_made(swept: SimpleNamespace) -> None:
    for point in swept.points.values():
        if point.method == "unpruned":
            continue
        text = (swept.folder / point.artefacts["readme"]).read_text()
        assert point.command in text
        assert units.percent(point.accuracy) in text
        assert units.number(point.ratio) in text
    assert (
        "80.0% of the weights, one by one"
        in (swept.folder / swept.points["snip"].id / "README.md").read_text()
    )


def test_nothing_of_the_trainings_stays_behind(swept: SimpleNamespace) -> None:
    # Each training had a file to go on from, in its point's folder. A delivery that misses by a hair adds some.
    assert len({file for file, _ in swept.checkpoints}) >= 14
    assert all(written for _, written in swept.checkpoints)
    trained = [point for point in swept.points.values() if point.method != "unpruned"]
    assert {file.parent for file, _ in swept.checkpoints} == {
        swept.folder / ".training" / point.id for point in trained
    }
    assert not list((swept.folder / ".training").glob("*"))


@pytest.mark.parametrize("name", ["ps-kd", "dlb"])
def test_a_point_by_the_other_self_distillations(
    name: str, job: dict[str, str], workspace: Path, lathe: Lathe
) -> None:
    asked = {
        "method": "epsd",
        "budget": "80%",
        "epochs": 1,
        "augmentation": "none",
        "self-distillation": name,
    }
    answer = lathe(*prune_words(job, workspace, **asked), "--no-controls", "--name", "run")
    assert answer.status == 0, answer.err
    folder = workspace / "runs" / "run"
    (point,) = (point for point in read_run(folder)[1] if point.method == "epsd")
    assert point.status == "done"
    assert point.sparsity == pytest.approx(0.8, abs=0.001)
    assert f"--self-distillation {name}" in point.command
    (training,) = json.loads((folder / point.artefacts["trainings"]).read_text())
    assert [set(epoch) for epoch in training["epochs"]] == [{"loss", "accuracy"}]
    assert network_of(SimpleNamespace(folder=folder, words=job), point)


def config(**changes: object) -> None:
    fields = {"network": "cifar/resnet20", "images": "digits", "methods": ["epsd"], "budgets": ["90%"]}
    make_config({**fields, **changes}, "a test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budgets": ["0.7x"]}, r"epsd needs a sparsity, as in 90%, among the budgets; got 0.7x"),
        ({"methods": ["epsd-structured"]}, r"epsd-structured needs a latency, as in 0.7x"),
        ({"budgets": ["90%", "0.7x"]}, "no method here knows what to do with the budget 0.7x"),
        ({"budgets": ["120%"]}, "above 0% and below 100%"),
        ({"budgets": ["some%"]}, "above 0% and below 100%"),
        ({"self_distillation": "cskd"}, "unknown self-distillation 'cskd'"),
        ({"methods": ["epsdd"]}, "unknown method 'epsdd'.*epsd"),
        ({"augmentation": "flip"}, "augmentation"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_words_that_make_no_sense_are_said_before_anything_runs(
    changes: dict[str, object], message: str
) -> None:
    config()
    with pytest.raises(UserError, match=message):
        config(**changes)
