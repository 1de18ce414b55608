"""What trainings from scratch would miss is said before minutes of profiling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_driver import Lathe, prune_words
from small_job import write_job

from pruning.from_scratch import SCORING_BATCH, SELF_DISTILLATIONS


@pytest.fixture(autouse=True)
def _nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a session was opened")

    monkeypatch.setattr("bench.sweep.Session", refuse)


def write_images(folder: Path, labels: list[int] | None) -> str:
    count = 90 if labels is None else max(90, len(labels))
    pixels = np.random.default_rng(1).integers(0, 256, (count, 24, 24, 3), dtype=np.uint8)
    more = {} if labels is None else {"labels": np.resize(labels, count).astype(np.int64)}
    np.savez(folder / "train.npz", images=pixels, **more)
    return f"npz:{folder / 'train.npz'}"


def change_network(job: dict[str, str], old: str, new: str) -> None:
    file = Path(job["network"].removesuffix(":make"))
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (None, "cs-kd needs labels, and the images have none"),
        ([1], "all 90 images are of class 1"),
        ([0, 2], "1 of 3 classes have no training image, the first of them class 1"),
        ([0, 1, 2, 3], "classes up to 3, but the network has only 3 outputs"),
    ],
)
@pytest.mark.parametrize("weights", [True, False], ids=["trained", "untrained"])
def test_images_that_do_not_fit(
    labels: list[int] | None, said: str, weights: bool, tmp_path: Path, lathe: Lathe
) -> None:
    job = write_job(tmp_path)
    train = write_images(tmp_path, labels)
    words = prune_words(job, tmp_path / "out", method="epsd-structured", train=train)
    if not weights:
        words = [word for word in words if word not in ("--weights", job["weights"])]
    answer = lathe(*words)
    assert (answer.status, said in answer.err) == (2, True), answer.err
    assert not list((tmp_path / "out").rglob("identity.json"))


@pytest.mark.parametrize("name", SELF_DISTILLATIONS)
def test_each_self_distillation_asks_for_labels(name: str, tmp_path: Path, lathe: Lathe) -> None:
    job = write_job(tmp_path)
    train = write_images(tmp_path, None)
    words = prune_words(job, tmp_path / "out", method="snip", budget="80%", train=train)
    answer = lathe(*words, "--self-distillation", name)
    assert answer.status == 2
    objective = "cross entropy" if name == "none" else name
    assert f"{objective} needs labels, and the images have none" in answer.err


@pytest.mark.parametrize(("classes", "said"), [(SCORING_BATCH, False), (SCORING_BATCH + 1, True)])
def test_more_classes_than_images_are_scored_on(
    classes: int, said: bool, tmp_path: Path, lathe: Lathe, capsys: pytest.CaptureFixture[str]
) -> None:
    job = write_job(tmp_path)
    change_network(job, "nn.Linear(width, 3)", f"nn.Linear(width, {classes})")
    train = write_images(tmp_path, list(range(classes)))
    words = prune_words(job, tmp_path / "out", method="snip", budget="80%", train=train)
    with pytest.raises(AssertionError, match="a session was opened"):
        lathe(*(word for word in words if word not in ("--weights", job["weights"])))
    remark = f"scored on 128 images, so not all of the {classes} classes are among them"
    assert (remark in capsys.readouterr().err) is said


def test_a_network_whose_channels_cannot_be_traced(tmp_path: Path, lathe: Lathe) -> None:
    job = write_job(tmp_path)
    refuses = "if torch.is_grad_enabled():\n            raise RuntimeError('made for inference')\n        "
    change_network(job, "return self.head(", f"{refuses}return self.head(")
    answer = lathe(*prune_words(job, tmp_path / "out", method="epsd-structured"))
    assert answer.status == 2
    assert "Torch-Pruning cannot trace Small" in answer.err
    assert "RuntimeError: made for inference" in answer.err
    assert "Choose a method that takes out blocks or single weights" in answer.err


def test_calibration_images_without_labels(tmp_path: Path, lathe: Lathe) -> None:
    job = write_job(tmp_path)
    job["images"] = write_images(tmp_path, None)
    answer = lathe(*prune_words(job, tmp_path / "out", method="kd"))
    assert answer.status == 2
    assert "kd needs labels" in answer.err


def test_a_factory_that_loads_its_weights(tmp_path: Path, lathe: Lathe) -> None:
    job = write_job(tmp_path)
    change_network(job, "return Small()", "torch.manual_seed(3)\n    return Small()")
    answer = lathe(*prune_words(job, tmp_path / "out", method="kd"))
    assert answer.status == 2
    assert "has the same weights whatever the seed" in answer.err
