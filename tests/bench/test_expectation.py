"""What a sweep says of its own length."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_up
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from spy_school import NETWORK
from torch import Tensor, nn

from bench import expectation
from bench.budget import parse_budget, parse_sparsity
from bench.expectation import Workload, step_seconds, words, workload
from bench.outlook import Outlook
from bench.points import Recipe
from bench.sweep_config import make_config
from bench.workbench import Gallery, NetworkChoice, Subject
from bench.workloads.network import Preprocess

WORK = Workload(
    step_s=0.1,
    training_step_s=0.2,
    blocks=10,
    epochs=5,
    training_images=6400,
    self_distillation="cs-kd",
    judges=True,
)


def recipe(method: str, budget: str, *, controls: bool = False) -> Recipe:
    return Recipe(
        "a", method, parse_sparsity(budget) or parse_budget(budget), 0, 200, 4, controls, "again", "a"
    )


def several(count: int) -> list[Recipe]:
    """Points that share no training."""
    return [replace(recipe("random", "0.5x"), lessons=str(number)) for number in range(count)]


def test_finetuning_scoring_and_controls_count() -> None:
    assert WORK.seconds(recipe("random", "0.5x")) == pytest.approx(10 + 20)
    # Half of ten blocks go: 100 * (0.5 - 0.125) sets, each through half the network with 200 images.
    scoring = 37.5 * 200 / 64 * 0.1 / 3 / 2
    assert WORK.seconds(recipe("ttmpd", "0.5x")) == pytest.approx(10 + 20 + scoring)
    assert WORK.seconds(recipe("ttmpd", "0.5x", controls=True)) == pytest.approx(10 + 60 + scoring)
    assert WORK.seconds(recipe("ttmpd", "8ms")) == pytest.approx(10 + 20 + scoring)
    # No controls of its own, but the same scores.
    assert WORK.seconds(recipe("ttmpd-no-latency", "0.5x", controls=True)) == pytest.approx(10 + 20 + scoring)
    # Ten blocks once, or ten trainings of adaptors behind half of the network.
    assert WORK.seconds(recipe("ttmpd-once", "0.5x")) == pytest.approx(10 + 20 + scoring * 10 / 37.5)
    assert WORK.seconds(recipe("practise", "0.5x")) == pytest.approx(10 + 20 + 10 * 1000 * 0.1 / 2)
    assert WORK.seconds(recipe("practise-200", "0.5x")) == pytest.approx(10 + 20 + 10 * 200 * 0.1 / 2)


def test_training_from_scratch_counts_by_images_and_epochs() -> None:
    training = 5 * 100 * 0.2 * 4 / 3
    assert WORK.seconds(recipe("epsd", "90%")) == pytest.approx(10 + training)
    assert WORK.seconds(recipe("epsd", "90%", controls=True)) == pytest.approx(10 + 6 * training)
    assert WORK.seconds(recipe("epsd-structured", "0.5x", controls=True)) == pytest.approx(10 + 6 * training)
    assert WORK.seconds(recipe("kd", "0.5x", controls=True)) == pytest.approx(10 + training * 7 / 4)
    unjudged = replace(WORK, judges=False)
    for name, budget in (("epsd", "90%"), ("kd", "0.5x"), ("ttmpd", "0.5x")):
        alone = WORK.seconds(recipe(name, budget))
        assert unjudged.seconds(recipe(name, budget, controls=True)) == pytest.approx(alone)
    # The last batch is trained on once more, stored predictions cost nothing; a teacher stays a pass forward.
    for name, steps in (("dlb", 2.0), ("ps-kd", 1.0), ("none", 1.0)):
        other = replace(WORK, self_distillation=name)
        assert other.seconds(recipe("epsd", "90%")) == pytest.approx(10 + training * 3 / 4 * steps)
        assert other.seconds(recipe("kd", "0.5x")) == pytest.approx(10 + training)


def test_drawing_counts_once_for_each_view() -> None:
    drawn = replace(WORK, drawing_s=0.5)
    for name, views in (("cs-kd", 2), ("dlb", 2), ("ps-kd", 1), ("none", 1)):
        bare, whole = (replace(work, self_distillation=name) for work in (WORK, drawn))
        more_s = 5 * 100 * 0.5
        assert whole.training_s() - bare.training_s() == pytest.approx(views * more_s)
        kd = recipe("kd", "0.5x", controls=True)  # taught, and plain training beside it
        assert whole.seconds(kd) - bare.seconds(kd) == pytest.approx(2 * more_s)


def test_drawing_is_timed_where_networks_are_trained(tmp_path: Path) -> None:
    """A slow augmentation is seen; without methods that train nothing is drawn."""

    class Slow(Preprocess):
        def __call__(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
            time.sleep(0.05)
            return super().__call__(pixels)

    np.savez(tmp_path / "few.npz", images=np.zeros((10, 6, 6, 3), np.uint8), labels=np.arange(10) % 2)
    network = replace(NETWORK, preprocess=Slow((0.5,) * 3, (0.5,) * 3, 255.0))
    model = network.untrained(0)
    skeleton = SimpleNamespace(removable=())
    subject: Any = SimpleNamespace(
        network=network, model=model, outline=SimpleNamespace(skeleton=skeleton), classes=3
    )
    drawing_s = []
    for method in ("kd", "ttmpd"):
        words = {"network": "small", "images": f"npz:{tmp_path / 'few.npz'}", "calibration": 4}
        config = make_config({**words, "methods": (method,), "augmentation": "none"}, "this test")
        work = workload(subject, Gallery(config.image_choice(), network), config)
        drawing_s.append(work.drawing_s)
    assert drawing_s[0] >= 0.05
    assert drawing_s[1] == 0.0


@pytest.mark.parametrize(
    ("step_s", "count", "expected"),
    [
        (0.1, 1, "1 point, about 30 seconds"),
        (0.1, 4, "4 points, about 2 minutes"),
        (9.0, 4, "4 points, about 2.0 hours"),
    ],
)
def test_words(step_s: float, count: int, expected: str) -> None:
    assert words(several(count), replace(WORK, step_s=step_s)) == expected


def test_what_runtimes_share_is_trained_once() -> None:
    shared = [recipe("epsd", "90%", controls=True)] * 3
    alone = words(shared[:1], WORK)
    assert words(shared, WORK) == alone.replace("1 point", "3 points")


def test_what_the_tables_lack_is_in_the_time_and_said() -> None:
    lacking = Outlook(parts=601, networks=1) + Outlook(parts=600, networks=29)
    said = words(several(4), WORK, lacking=lacking)
    assert (
        said
        == "4 points, about 6 minutes; 4 minutes of them to time 1201 parts and 30 networks for the tables"
    )


def test_an_unpruned_network_that_is_trained_first_counts() -> None:
    work = replace(WORK, training_step_s=1.0, epochs=3, training_images=6400)
    # 3 epochs of 100 steps, each a third dearer for its second view of the images
    assert words([], work, trained_first=2) == "0 points, about 13 minutes"


def test_a_step_in_bfloat16_computes_in_it() -> None:
    seen: list[torch.dtype] = []
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(64, 2)).eval()
    copied = model.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    step_seconds(model, torch.randn(5, 3, 4, 4), bf16=True)
    step_seconds(model, torch.randn(5, 3, 4, 4))
    copied.remove()
    assert seen == [torch.bfloat16] * 3 + [torch.float32] * 3


def test_a_step_is_timed_warm_and_leaves_the_network_alone() -> None:
    times = iter([0.0, 9.0, 10.0, 13.0, 20.0, 22.0])
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 16, 2)).eval()
    before = [value.clone() for value in model.state_dict().values()]
    assert step_seconds(model, torch.randn(5, 3, 4, 4), lambda: next(times)) == 2.0
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))
    assert all(p.grad is None for p in model.parameters())
    assert not any(module.training for module in itertools.islice(model.modules(), 5))


@pytest.fixture(scope="module")
def subject(job: dict[str, str]) -> Subject:
    """A network of five blocks."""
    return Subject(NetworkChoice(job["network"]), 1)


@pytest.mark.parametrize(
    ("methods", "labelled", "features", "expected"),
    [
        (
            ("ttmpd", "epsd-structured"),
            True,
            ("avx2", "avx512_bf16"),
            Workload(2.0, 0.5, 5, 7, 60, "dlb", judges=True),
        ),
        (("ttmpd", "epsd-structured"), True, ("avx2",), Workload(2.0, 2.0, 5, 7, 60, "dlb", judges=True)),
        (
            ("ttmpd", "random"),
            False,
            ("avx2", "avx512_bf16"),
            Workload(2.0, 2.0, 5, 7, 0, "dlb", judges=False),
        ),
    ],
    ids=["in bfloat16", "in float32", "of a trained network"],
)
def test_what_decides_is_read_from_the_sweep_and_steps_are_timed(
    methods: tuple[str, ...],
    labelled: bool,
    features: tuple[str, ...],
    expected: Workload,
    job: dict[str, str],
    subject: Subject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def timed(model: nn.Module, images: Tensor, *, bf16: bool = False) -> float:
        assert model is subject.model and images.shape == (64, 3, 24, 24)
        ticks = itertools.count(0.0, 0.5 if bf16 else 2.0)
        return step_seconds(model, images, lambda: next(ticks), bf16=bf16)

    arrays = dict(np.load(job["images"].removeprefix("npz:")))
    np.savez(tmp_path / "images.npz", **(arrays if labelled else {"images": arrays["images"]}))
    monkeypatch.setattr(expectation, "step_seconds", timed)
    monkeypatch.setattr("bench.school.cpu_device", lambda: replace(made_up.DEVICE, features=features))
    fields = {"network": job["network"], "images": f"npz:{tmp_path / 'images.npz'}", "methods": methods}
    fields |= {"budgets": ["0.8x"], "calibration": 60, "epochs": 7, "self_distillation": "dlb"}
    config = make_config(fields, "a test")
    gallery = Gallery(config.image_choice(), subject.network)
    found = workload(subject, gallery, config)
    assert replace(found, drawing_s=0.0) == expected  # what drawing takes has a test of its own
