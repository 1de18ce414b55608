"""What the README beside a delivered network says of it."""

from __future__ import annotations

import made_up
import made_up_runs as made
import pytest

from bench.leaflet import leaflet
from bench.sweep_config import SweepConfig
from reports.results import Point


def text(point: Point, **changes: object) -> str:
    words = {"network": "cifar/resnet20", "weights": "r.safetensors", "images": "npz:test.npz", **changes}
    return leaflet(point, SweepConfig.model_validate(words), made_up.setting())


def scratch(**changes: object) -> Point:
    return made.point(method="epsd-structured", removed=(), widths={"stem": 8}, **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "0.7x, which is 5.67 ms here; met, since the upper end of the ratio's interval lies within it"),
        ({"met": False}, "missed, since the upper end of the ratio's interval lies above it"),
        (
            {"budget": "8ms", "budget_s": 8e-3},
            "8ms, which is 8.00 ms here; met, since the upper end of the latency's interval",
        ),
        ({"budget": "90%", "budget_s": None, "met": None}, "- Budget: of the latency nothing was asked."),
    ],
)
def test_whether_the_budget_was_met(changes: dict[str, object], said: str) -> None:
    assert said in text(made.point(**changes))


def test_what_the_runtime_told_of_this_network_alone() -> None:
    said = text(made.point(remarks=("left to Other: 2 nodes",)))
    assert (
        f"- Told by {made_up.setting().runtime} of it and not of the unpruned network: left to Other: 2 nodes\n"
        in said
    )
    assert "- Told by" not in text(made.point())


def test_each_control_stands_there_with_what_may_be_said() -> None:
    controls = {
        "easy": made.estimate(0.7, 0.01),
        "level": made.estimate(0.81, 0.01),
        "hard": made.estimate(0.9, 0.01),
    }
    failed = {"lost": "RuntimeError in net.py:\n a | b"}
    said = text(made.point(controls=controls, uncontrolled=failed))
    assert "| easy | 70.0 % (69.0–71.0) | above it |" in said
    assert "| level | 81.0 % (80.0–82.0) | not told apart from it |" in said
    assert "| hard | 90.0 % (89.0–91.0) | below it |" in said
    assert "| lost | not made: RuntimeError in net.py: a / b | |" in said


def test_a_network_without_controls_says_so() -> None:
    alone = made.point(controls={})
    assert "beside no controls: they were left out with `--no-controls`" in text(alone, controls=False)
    assert "beside no controls: nothing was taken out" in text(alone)


def test_what_it_was_trained_on() -> None:
    methods = {"methods": ["epsd-structured", "kd", "ttmpd"], "epochs": 7}
    own = text(scratch(), **methods, train="npz:train.npz")
    assert "trained from scratch for 7 epochs on the images of npz:train.npz, with cs-kd." in own
    share = text(scratch(), **methods, train="800")
    assert "trained from scratch for 7 epochs on 800 of the images, with cs-kd." in share
    few = text(scratch(), **methods, calibration=60, self_distillation="none")
    assert "7 epochs on the 60 calibration images with their labels, with plain cross entropy." in few
    assert "on the images of npz:train.npz, clean and not under fog:2, with cs-kd." in text(
        scratch(), **methods, train="npz:train.npz", shift="fog:2"
    )
    assert "on 800 of the images, under fog:2, with cs-kd." in text(
        scratch(), **methods, train="800", shift="fog:2"
    )
    taught = made.point(method="kd", removed=(), widths={"stem": 8})
    assert "with the unpruned network as teacher." in text(taught, **methods)
    healed = text(made.point(), **methods, iterations=9)
    assert "finetuned for 9 steps on the 500 calibration images, without their labels." in healed
    first = text(made.point(), **methods, weights=None, train="npz:train.npz")
    assert "labels; the unpruned network was trained here for 7 epochs on the images of npz:train" in first
