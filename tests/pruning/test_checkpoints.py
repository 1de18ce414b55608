"""Trainings that were stopped: they go on to the bit, and what belongs to another is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from blobs import COUNT, Blobs
from early_networks import CLASSES, residual
from torch import Tensor, nn
from trainings import OBJECTIVES, REGIME, run, weights

from latency_tables.errors import UserError
from pruning.early.criterion import prunable
from pruning.early.masks import random_like
from pruning.recovery.checkpoint import FORMAT, read_checkpoint, write_checkpoint
from pruning.recovery.cs_kd import ClassWise
from pruning.recovery.dlb import LastBatch
from pruning.recovery.losses import StoredLogits
from pruning.recovery.objective import CrossEntropy, Objective
from pruning.recovery.ps_kd import Progressive
from pruning.recovery.teachers import Stored, Taught
from pruning.recovery.training import train
from pruning.targets import Targets


class Killed(Exception):
    """Ends a training as nothing that it catches does."""


def kill(done: int, total: int, _: str) -> None:
    """Progress as far as the first step behind the half."""
    if done == total // 2 + 1:
        raise Killed


def taught(seed: int = 1, temperature: float = 4.0, share: float = 0.9) -> Taught:
    return Taught("kd", residual(seed), StoredLogits(temperature), share)


def stored(logit: float) -> Stored:
    return Stored(Targets(torch.full((COUNT, CLASSES), logit), None), StoredLogits())


@pytest.mark.parametrize(
    "more", [{}, {"average": 0.9}, {"bf16": True}, {"channels_last": False}, {"bf16": True, "average": 0.9}]
)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_training_that_was_killed_goes_on_to_the_bit(
    objective: str, more: dict[str, Any], tmp_path: Path
) -> None:
    regime = replace(REGIME, schedule="step", **more)
    whole, halved = residual(), residual()
    expected = run(whole, objective, regime=regime)

    file = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        run(halved, objective, regime=regime, checkpoint=file, progress=kill)
    fresh = residual()
    got = run(fresh, objective, regime=regime, checkpoint=file)
    assert got.resumed == 2
    assert got.epochs == expected.epochs
    assert weights(fresh) == weights(whole)


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    run(residual(), checkpoint=file)
    before = file.read_bytes()
    with pytest.raises(UserError, match=r"belongs to another training: seed is 0 there and 1 here"):
        run(residual(), checkpoint=file, seed=1)
    with pytest.raises(UserError, match="objective is 'cross entropy' there and 'dlb' here"):
        run(residual(), "dlb", checkpoint=file)
    with pytest.raises(UserError, match=r"first weights is '.*' there and '.*' here"):
        run(residual(seed=5), checkpoint=file)
    other = Blobs(labels=torch.arange(COUNT).flip(0) % CLASSES)
    with pytest.raises(UserError, match=r"labels is '.*' there and '.*' here"):
        train(residual(), other, CrossEntropy(), regime=REGIME, seed=0, checkpoint=file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("there", "here", "said"),
    [
        (ClassWise(), ClassWise(temperature=2.0), r"the objective's temperature is 4\.0 there and 2\.0 here"),
        (ClassWise(), ClassWise(weight=3.0), r"the objective's weight is 1\.0 there and 3\.0 here"),
        (LastBatch(), LastBatch(weight=0.5), r"the objective's weight is 1\.0 there and 0\.5 here"),
        (
            Progressive(COUNT, CLASSES),
            Progressive(COUNT, CLASSES, most=0.5),
            r"the objective's most is 0\.8 there and 0\.5 here",
        ),
        (taught(), taught(seed=2), "the objective's teacher is '.*' there and '.*' here"),
        (taught(), taught(share=0.5), r"the objective's share taught is 0\.9 there and 0\.5 here"),
        (
            taught(),
            taught(temperature=1.0),
            r"temperature=4\.0\)' there and 'StoredLogits\(temperature=1\.0\)'",
        ),
        (stored(0.0), stored(1.0), "the objective's targets is '.*' there and '.*' here"),
    ],
)
def test_a_checkpoint_of_another_objective_of_that_name_is_refused(
    there: Objective, here: Objective, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint"
    once = replace(REGIME, epochs=1)
    train(residual(), Blobs(), there, regime=once, seed=0, checkpoint=file)
    with pytest.raises(UserError, match=said):
        train(residual(), Blobs(), here, regime=once, seed=0, checkpoint=file)
    done = train(residual(), Blobs(), there, regime=once, seed=0, checkpoint=file)
    assert done.resumed == 1


def test_a_checkpoint_of_another_format_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    run(residual(), checkpoint=file)
    torch.save({**torch.load(file, weights_only=True), "format": FORMAT - 1}, file)
    with pytest.raises(UserError, match=f"format is {FORMAT - 1} there and {FORMAT} here.*start anew"):
        run(residual(), checkpoint=file)


def test_a_training_does_not_go_on_on_another_kind_of_device(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    run(residual(), checkpoint=file)
    held = torch.load(file, weights_only=True)
    assert held["identity"]["device"] == "cpu"
    write_checkpoint(file, {**held["identity"], "device": "cuda"}, held["state"])
    with pytest.raises(UserError, match="another training: device is 'cuda' there and 'cpu' here"):
        run(residual(), checkpoint=file)


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_refused(damage: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    write_checkpoint(file, {"a": 1}, {"b": torch.zeros(3)})
    file.write_bytes(file.read_bytes()[:-40] if damage is None else damage)
    with pytest.raises(UserError, match="cannot be read"):
        read_checkpoint(file, {"a": 1})


class Dropping(nn.Module):
    """A network whose passes are random."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = residual()
        self.drop = nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.drop(x))


def test_dropout_and_masks_go_on_to_the_bit_too(tmp_path: Path) -> None:
    masks = random_like(
        {name: torch.rand(w.shape) < 0.5 for name, w in prunable(Dropping()).items()},
        torch.Generator().manual_seed(0),
    )

    whole, halved, file = Dropping(), Dropping(), tmp_path / "checkpoint"
    run(whole, masks=masks)
    with pytest.raises(Killed):
        run(halved, masks=masks, checkpoint=file, progress=kill)
    fresh = Dropping()
    run(fresh, masks=masks, checkpoint=file)
    assert weights(fresh) == weights(whole)
    shuffled_ones = {name: mask.flip(0) for name, mask in masks.items()}
    with pytest.raises(UserError, match="belongs to another training: masks is"):
        run(Dropping(), masks=shuffled_ones, checkpoint=file)
