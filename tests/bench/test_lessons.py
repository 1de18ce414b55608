"""What trainings from scratch would miss is said before minutes of profiling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_driver import Lathe, prune_words
from small_job import write_job


@pytest.fixture(autouse=True)
def _nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a session was opened")

    monkeypatch.setattr("bench.sweep.Session", refuse)


def write_images(folder: Path, labels: list[int] | None) -> str:
    count = 90
    pixels = np.random.default_rng(1).integers(0, 256, (count, 24, 24, 3), dtype=np.uint8)
    more = {} if labels is None else {"labels": np.resize(labels, count).astype(np.int64)}
    np.savez(folder / "train.npz", images=pixels, **more)
    return f"npz:{folder / 'train.npz'}"


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


def test_calibration_images_without_labels(tmp_path: Path, lathe: Lathe) -> None:
    job = write_job(tmp_path)
    job["images"] = write_images(tmp_path, None)
    answer = lathe(*prune_words(job, tmp_path / "out", method="kd"))
    assert answer.status == 2
    assert "kd needs labels" in answer.err


def test_a_factory_that_loads_its_weights(tmp_path: Path, lathe: Lathe) -> None:
    job = write_job(tmp_path)
    file = Path(job["network"].removesuffix(":make"))
    file.write_text(file.read_text().replace("return Small()", "torch.manual_seed(3)\n    return Small()"))
    answer = lathe(*prune_words(job, tmp_path / "out", method="kd"))
    assert answer.status == 2
    assert "has the same weights whatever the seed" in answer.err
