"""What points of several runtimes have in common, and train once."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_up_runs as made
import pytest
from small_job import write_job
from typer.testing import CliRunner

from bench.cli import app
from bench.points import Recipe
from bench.recipes import forget_lessons, recipes_of
from bench.sweep_config import SweepConfig, make_config
from bench.workbench import SettingChoice
from pruning.recovery.training import Trained, train
from reports.run_folder import read_run


def config(runtimes: tuple[str, ...]) -> SweepConfig:
    fields = {"network": "cifar/resnet20", "images": "digits", "methods": ["snip", "kd"]}
    return make_config({**fields, "budgets": ["80%", "0.7x"], "runtimes": list(runtimes)}, "a test")


def recipes(asked: SweepConfig, choice: SettingChoice) -> list[Recipe]:
    return recipes_of(asked, choice, 0, Path("out"), Path("run"), asked.pairs())


def lessons(asked: SweepConfig) -> list[dict[str, str]]:
    """By method, of each runtime."""
    return [
        {recipe.method: recipe.lessons for recipe in recipes(asked, choice)}
        for choice in asked.setting_choices()
    ]


def test_only_what_no_latency_decides_is_trained_together() -> None:
    first, second = lessons(config(("onnxruntime", "eager")))
    assert first["snip"] == second["snip"] == "snip-80pct-s0"
    assert (first["kd"], second["kd"]) == ("onnxruntime-kd-0.7x-s0", "eager-kd-0.7x-s0")
    (alone,) = lessons(config(("eager",)))
    assert alone["snip"] == "eager-snip-80pct-s0"


def test_lessons_stay_until_the_last_point_is_done(tmp_path: Path) -> None:
    asked = config(("onnxruntime", "eager"))
    every = [recipe for choice in asked.setting_choices() for recipe in recipes(asked, choice)]
    for recipe in every:
        (tmp_path / recipe.lessons).mkdir(exist_ok=True)
    others = tmp_path / "of another run"
    others.mkdir()
    done = [made.point(id=recipe.id) for recipe in every]
    lost = [made.failed(id=point.id) if point.id == "eager-snip-80pct-s0" else point for point in done]
    forget_lessons(tmp_path, every, lost)
    assert {path.name for path in tmp_path.iterdir()} == {"snip-80pct-s0", others.name}
    forget_lessons(tmp_path, every, done)
    assert list(tmp_path.iterdir()) == [others]


@pytest.fixture(scope="module")
def swept(calm: None, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A sweep in two runtimes, of single weights and of blocks."""
    folder = tmp_path_factory.mktemp("runtimes")
    words = write_job(folder, blocks=2)
    sweep = folder / "small.toml"
    sweep.write_text(
        f"""
network = "{words["network"]}"
weights = "{words["weights"]}"
images = "{words["images"]}"
calibration = 60
methods = ["snip", "last"]
budgets = ["80%", "0.8x"]
runtimes = ["onnxruntime", "eager"]
epochs = 2
augmentation = "none"
iterations = 2
controls = false
"""
    )
    trained: list[Trained] = []

    def watched(*given: Any, **named: Any) -> Trained:
        trained.append(train(*given, **named))
        return trained[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.school.train", watched)
        ran = CliRunner().invoke(app, ["sweep", str(sweep), "--out", str(folder)])
    assert ran.exit_code == 0, ran.output
    run = folder / "runs" / "small"
    return SimpleNamespace(folder=run, trained=trained, points={p.id: p for p in read_run(run)[1]})


def test_a_second_runtime_is_given_the_network_that_the_first_was_given(swept: SimpleNamespace) -> None:
    folder = swept.folder
    assert [one.resumed for one in swept.trained] == [0, 2]
    first, second = (swept.points[f"{runtime}-snip-80pct-s0"] for runtime in ("onnxruntime", "eager"))
    for what in ("weights", "trainings"):
        assert (folder / first.artefacts[what]).read_bytes() == (folder / second.artefacts[what]).read_bytes()
    assert len(json.loads((folder / second.artefacts["trainings"]).read_text())[0]["epochs"]) == 2
    # Nobody takes the second one's second for what such a network costs.
    assert "train" in first.stages_s and "train" not in second.stages_s
    assert "train, done before" in second.stages_s
    assert not list((folder / ".training").iterdir())


def test_what_is_chosen_for_one_runtime_is_timed_in_the_other(swept: SimpleNamespace) -> None:
    first, second = (swept.points[f"{runtime}-last-0.8x-s0"] for runtime in ("onnxruntime", "eager"))
    assert first.setting != second.setting
    for here, there in ((first, second), (second, first)):
        assert here.status == "done" and here.removed
        assert here.elsewhere.keys() == {there.setting}
        assert here.elsewhere[there.setting].value < 1.0
    # Without single weights a network has the unpruned one's latency everywhere.
    assert not any(point.elsewhere for point in swept.points.values() if point.method != "last")
