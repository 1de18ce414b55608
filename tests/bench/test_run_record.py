"""What a run's record says of its points' making."""

from __future__ import annotations

from typing import Any

import made_up_runs as made

from bench.run_record import merged, training_texts
from bench.sweep_config import SweepConfig


def texts(**changes: Any) -> dict[str, str]:
    fields = {"network": "cifar/resnet20", "images": "digits", **changes}
    return training_texts(SweepConfig(**fields))


def test_only_what_the_methods_do_is_told() -> None:
    assert texts(methods=("last",), iterations=7).keys() == {"healing"}
    assert texts(methods=("last",), iterations=7)["healing"].startswith("7 steps, StoredBoth(")
    assert texts(methods=("last", "kd"), epochs=3, average=0.9)["training from scratch"] == (
        "3 epochs at 0.1 (cosine), weights averaged (0.9), self-distillation cs-kd, images crop-flip, of those to "
        "calibrate"
    )
    assert texts(methods=("kd",), train="1000") == {
        "training from scratch": "30 epochs at 0.1 (cosine), self-distillation cs-kd, images crop-flip, of 1000"
    }


def test_a_folder_that_goes_on_keeps_how_its_earlier_points_were_trained() -> None:
    before = made.run(training={"healing": "200 steps", "training from scratch": "3 epochs"})
    now = made.run(training={"healing": "50 steps"})
    assert merged(before, now).training == {"healing": "50 steps", "training from scratch": "3 epochs"}
