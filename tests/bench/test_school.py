"""Scoring and training from scratch, by every self-distillation, for real on a tiny network."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from spy_school import quiet, real, same

from bench.school import histories, trained_first
from pruning.early.masks import keep_best
from pruning.from_scratch import SCRATCH_METHODS, SELF_DISTILLATIONS

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
