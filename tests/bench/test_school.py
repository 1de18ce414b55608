"""Scoring and training from scratch, by every self-distillation, for real on a tiny network."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import made_up
import pytest
import torch
from early_networks import Residual
from spy_school import NETWORK, quiet, real, same, spy

from bench.school import histories, open_school, trained_first
from bench.sweep_config import make_config
from bench.workbench import Subject
from pruning.early.masks import keep_best
from pruning.from_scratch import SCRATCH_METHODS, SELF_DISTILLATIONS
from pruning.recovery.training import Regime

REMEMBERED = {"cs-kd": set(), "ps-kd": {"said", "seen"}, "dlb": {"images", "labels", "logits"}, "none": set()}

every_self_distillation = pytest.mark.parametrize("name", SELF_DISTILLATIONS)


@every_self_distillation
def test_a_masked_network_is_trained(name: str, tmp_path: Path) -> None:
    school = real(tmp_path, name)
    untrained = school.untrained()
    masks = keep_best(school.scores(SCRATCH_METHODS["epsd"], untrained, 0.5), 0.5)
    model = school.teach(school.untrained(), school.training.objective(), "the point", quiet, masks)
    assert not same(model, untrained)
    parameters = dict(model.named_parameters())
    assert all(bool((parameters[key][~mask] == 0).all()) for key, mask in masks.items())
    (told,) = histories(tmp_path)
    assert len(told["epochs"]) == 2
    assert all(math.isfinite(epoch["loss"]) and 0 <= epoch["accuracy"] <= 1 for epoch in told["epochs"])
    (checkpoint,) = tmp_path.glob("*.checkpoint")
    held = torch.load(checkpoint, weights_only=True)
    assert held["identity"]["objective"] == school.training.objective().name
    assert set(held["state"]["objective"]) == REMEMBERED[name]


@pytest.mark.parametrize("name", sorted({*SELF_DISTILLATIONS} - {"none"}))
@pytest.mark.parametrize("method", ["epsd", "epsd-structured"])
def test_weights_are_scored_by_the_loss_that_the_network_is_trained_with(
    method: str, name: str, tmp_path: Path
) -> None:
    found = []
    for one in (name, "none"):
        school = real(tmp_path, one)
        found.append(school.scores(SCRATCH_METHODS[method], school.untrained(), 0.5))
    distilled, plain = found
    assert all(bool(score.isfinite().all()) for score in distilled.values())
    assert all(not torch.equal(score, plain[weight]) for weight, score in distilled.items())


@every_self_distillation
def test_the_unpruned_network_is_trained_first_in_the_same_way(name: str, tmp_path: Path) -> None:
    school = real(tmp_path / "training", name)
    file = tmp_path / "unpruned-s0.safetensors"
    done = trained_first(school, file, quiet)
    assert not same(done.training.teacher, school.untrained())
    assert same(trained_first(school, file, quiet).training.teacher, done.training.teacher)
    (told,) = json.loads(file.with_suffix(".trainings.json").read_text())
    assert (told["training"], len(told["epochs"])) == ("the unpruned network", 2)


@pytest.mark.parametrize("laid_out", [True, False], ids=["channels last", "contiguous"])
@pytest.mark.parametrize("bf16", [True, False], ids=["bf16", "float32"])
def test_a_school_trains_as_asked_in_the_arithmetic_and_layout_that_suit(
    bf16: bool, laid_out: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = ("avx512_bf16", "avx512f") if bf16 else ("avx512f", "avx512_vnni")
    monkeypatch.setattr("bench.school.cpu_device", lambda: replace(made_up.DEVICE, features=features))
    fields = {"network": "cifar/resnet20", "images": "digits", "methods": ["snip"], "budgets": ["80%"]}
    asked = {"epochs": 7, "learning_rate": 0.03, "schedule": "step", "average": 0.9}
    schooling = make_config({**fields, **asked}, "a test").schooling()
    layout = torch.channels_last if laid_out else torch.contiguous_format
    subject = SimpleNamespace(model=Residual().to(memory_format=layout), network=NETWORK)
    given = spy(tmp_path)
    school = open_school(
        cast(Subject, subject), given.images, given.training, schooling, tmp_path, torch.device("cpu")
    )
    assert school.regime == Regime(
        epochs=7, learning_rate=0.03, schedule="step", average=0.9, bf16=bf16, channels_last=laid_out
    )
    assert (school.network, school.folder) == (NETWORK, tmp_path)
    assert school.images is given.images and school.training is given.training
