"""Losses with memory, each against a value computed by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from early_networks import OBJECTIVES, batch, residual
from torch import Tensor, nn

from latency_tables.errors import UserError
from pruning.recovery.cs_kd import ClassWise
from pruning.recovery.dlb import LastBatch
from pruning.recovery.losses import StoredFeatures, StoredLogits
from pruning.recovery.objective import Batch, CrossEntropy, Objective, softened
from pruning.recovery.ps_kd import Progressive
from pruning.recovery.teachers import Stored, Taught
from pruning.targets import Targets, pseudo_labels

LN3 = math.log(3.0)


class Says(nn.Module):
    """Its logits are the image's values, times one trainable number."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def one(logits: list[float], label: int, second: list[float] | None = None, index: int = 0) -> Batch:
    other = None if second is None else torch.tensor([second])
    return Batch(torch.tensor([logits]), torch.tensor([label]), torch.tensor([index]), other)


def value(objective: Objective, given: Batch, share: float = 1.0) -> float:
    return float(objective.loss(Says(), given, share).detach())


def test_cross_entropy() -> None:
    assert value(CrossEntropy(), one([LN3, 0.0], 1)) == pytest.approx(math.log(4))


def test_cs_kd() -> None:
    # f(x) = (3/4, 1/4), label 1; the partner says (1/4, 3/4): KL = 1/4 log(1/3) + 3/4 log 3 = log(3) / 2.
    given = one([LN3, 0.0], 1, second=[0.0, LN3])
    assert value(ClassWise(temperature=1.0), given) == pytest.approx(math.log(4) + LN3 / 2)
    assert value(ClassWise(temperature=1.0, weight=3.0), given) == pytest.approx(math.log(4) + 1.5 * LN3)
    # At T = 2 the logits are halved, and the divergence counts four times.
    p = math.sqrt(3) / (1 + math.sqrt(3))
    divergence = (2 * p - 1) * LN3 / 2
    assert value(ClassWise(temperature=2.0), given) == pytest.approx(math.log(4) + 4 * divergence)


def test_ps_kd_softens_by_what_was_said_an_epoch_ago() -> None:
    objective = Progressive(images=2, classes=2, most=0.8)
    given = one([LN3, 0.0], 1)
    assert value(objective, given, share=0.5) == pytest.approx(math.log(4))  # not seen yet
    # target = 0.6 * (0, 1) + 0.4 * (3/4, 1/4) = (0.3, 0.7)
    expected = -(0.3 * math.log(3 / 4) + 0.7 * math.log(1 / 4))
    assert value(objective, given, share=0.5) == pytest.approx(expected)
    assert value(objective, one([LN3, 0.0], 1, index=1), share=1.0) == pytest.approx(math.log(4))


def test_dlb_holds_to_what_was_said_a_step_ago() -> None:
    objective = LastBatch(temperature=1.0, weight=2.0)
    assert value(objective, one([LN3, 0.0], 1, second=[0.0, LN3])) == pytest.approx(math.log(4))
    # Now the earlier image comes again, augmented to say (1/4, 3/4), where (3/4, 1/4) was said of it.
    got = value(objective, one([0.0, LN3], 0, second=[0.0, 0.0]))
    # The cross entropies are log 4 for the repeated image and log 4 for the new one, labelled 0.
    assert got == pytest.approx(math.log(4 / 3) / 2 + math.log(4) / 2 + 2 * LN3 / 2)


def test_hintons_distillation() -> None:
    teacher = Says(-1.0)  # says (1/4, 3/4)
    objective = Taught("kd", Pooled(teacher), StoredLogits(1.0), 0.9)
    given = Batch(torch.tensor([[LN3, 0.0]])[:, :, None, None], torch.tensor([1]), torch.tensor([0]))
    got = float(objective.loss(Pooled(Says()), given, 1.0).detach())
    assert got == pytest.approx(0.1 * math.log(4) + 0.9 * LN3 / 2)


class Pooled(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).mean((2, 3))


def test_feature_mimicking() -> None:
    objective = Taught("mimic", Pooled(Says(-1.0)), StoredFeatures(), 1.0)
    image = torch.tensor([[[[1.0, 2.0]], [[0.0, 3.0]]]])
    given = Batch(image, None, torch.tensor([0]))
    assert not objective.needs_labels
    got = float(objective.loss(Pooled(Says()), given, 1.0).detach())
    assert got == pytest.approx(4 * (1 + 4 + 9) / 4)


def test_stored_pseudo_labels_are_taken_by_index() -> None:
    targets = Targets(torch.tensor([[9.0, 9.0], [0.0, LN3]]), None)
    objective = Stored(targets, StoredLogits(1.0))
    image = torch.tensor([[LN3, 0.0]])[:, :, None, None]
    got = float(objective.loss(Pooled(Says()), Batch(image, None, torch.tensor([1])), 1.0).detach())
    assert got == pytest.approx(LN3 / 2)


def test_divergences_are_taken_in_full_precision() -> None:
    """In bfloat16 rounding alone would make a divergence of equal outputs differ from 0, or fall below it."""
    logits = torch.randn(8, 10, generator=torch.Generator().manual_seed(0)).bfloat16()
    near = (logits.float() + 1e-3).bfloat16()
    for got in (softened(logits, near, 4.0), StoredLogits(4.0)(logits, logits, Targets(near, None))):
        assert got.dtype == torch.float32
        assert 0 <= float(got) < 1e-3


@pytest.mark.parametrize("name", OBJECTIVES)
def test_soft_targets_carry_no_gradient(name: str) -> None:
    """What is remembered is a number: a second step does not reach back into the first."""
    objective, model, given = OBJECTIVES[name](), residual(), batch()
    for _ in range(3):
        model.zero_grad()
        objective.loss(model, given, 0.5).backward()
    assert all(not tensor.requires_grad for tensor in objective.state_dict().values())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_is_remembered_survives_being_written_down(name: str) -> None:
    model, given = residual(), batch()
    first, second = OBJECTIVES[name](), OBJECTIVES[name]()
    first.loss(model, given, 0.5)
    second.load_state_dict(first.state_dict())
    values = [float(o.loss(model, given, 0.5).detach()) for o in (first, second, OBJECTIVES[name]())]
    assert values[0] == values[1]
    assert name == "cs-kd" or values[2] != values[1]


@pytest.mark.parametrize("name", [*OBJECTIVES, "plain"])
def test_labels_are_asked_for_by_name(name: str) -> None:
    objective = CrossEntropy() if name == "plain" else OBJECTIVES[name]()
    with pytest.raises(UserError, match="needs labels, and the images have none"):
        objective.loss(residual(), replace(batch(), labels=None), 1.0)


def test_a_teacher_of_other_classes_is_refused() -> None:
    class Other(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3)).repeat(1, 3)

    objective = Taught("kd", Other(), StoredLogits(4.0), 0.9)
    with pytest.raises(UserError, match="the teacher knows 9 classes and the network 3"):
        objective.loss(residual(), batch(), 1.0)


def test_a_teacher_stays_where_its_owner_has_it_and_in_its_mode() -> None:
    """On another device a copy of it runs, and one only."""
    teacher = residual().train()
    objective = Taught("kd", teacher, StoredLogits(4.0), 0.9)
    objective.loss(residual(1), batch(), 1.0)
    assert all(module.training for module in teacher.modules())
    here, there = torch.device("cpu"), torch.device("meta")
    assert objective._teacher_on(here) is teacher
    copied = objective._teacher_on(there)
    assert objective._teacher_on(there) is copied is not teacher
    assert {value.device for value in copied.state_dict().values()} == {there}
    assert {value.device for value in teacher.state_dict().values()} == {here}


class Headless(nn.Module):
    """Ends in a convolution over the whole map: neither an average nor a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(3, 3, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x).flatten(1)


def test_logits_are_learnt_without_features() -> None:
    """A network may have none: only feature mimicking asks for a pooling or a linear layer."""
    student, teacher, given = Headless(), Headless(), batch()
    images = given.images
    divergence = softened(student(images), teacher(images), 4.0)
    value = Taught("kd", teacher, StoredLogits(4.0), 1.0).loss(student, given, 1.0)
    torch.testing.assert_close(value, divergence, rtol=0.0, atol=0.0)
    said = pseudo_labels(teacher, images, keep_features=False)
    whole = Batch(images, None, torch.arange(len(images)))
    torch.testing.assert_close(Stored(said, StoredLogits(4.0)).loss(student, whole, 1.0), divergence)
    with pytest.raises(UserError, match="Headless has neither a global average pooling nor a linear layer"):
        Taught("mimic", teacher, StoredFeatures(), 1.0).loss(student, given, 1.0)
    with pytest.raises(UserError, match="neither a global average pooling nor a linear layer"):
        pseudo_labels(teacher, images, keep_features=True)


def test_a_network_that_says_no_logits_is_refused_with_or_without_features() -> None:
    for distance in (StoredLogits(), StoredFeatures()):
        with pytest.raises(
            UserError, match=r"Conv2d must return logits of shape \(images, classes\), got shape"
        ):
            Taught("kd", residual(), distance, 1.0).loss(nn.Conv2d(3, 4, 3), batch(), 1.0)


def test_features_of_another_width_are_refused() -> None:
    model = residual()
    targets = replace(
        pseudo_labels(model, batch().images, keep_features=True), features=torch.zeros(12, 4, 6, 6)
    )
    with pytest.raises(UserError, match=r"\(8, 6, 6\) here and \(4, 6, 6\) with the teacher.*by logits"):
        Stored(targets, StoredFeatures()).loss(model, batch(), 1.0)
