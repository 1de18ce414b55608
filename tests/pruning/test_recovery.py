from __future__ import annotations

import math

import pytest
import torch
from tiny_networks import Pooled, Scale, TinyResNet, images
from torch import Tensor, nn

from latency_tables.errors import LatheError, UserError
from pruning.adaptation import batch_norms
from pruning.features import forward_with_features
from pruning.recovery.finetune import Schedule, finetune, shuffled_batches
from pruning.recovery.losses import Loss, StoredBoth, StoredFeatures, StoredLogits
from pruning.recovery.objective import CrossEntropy, Objective
from pruning.recovery.teachers import Stored, Taught
from pruning.surgery import remove_blocks
from pruning.targets import Targets, pseudo_labels


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_kl_to_stored_logits_by_hand() -> None:
    """(3/4, 1/4) wanted, (1/2, 1/2) given; at temperature 1/2 the logits double and 3/4 becomes 9/10."""
    targets = Targets(torch.tensor([[math.log(3.0), 0.0]] * 2), None)
    given = torch.zeros(2, 2)
    plain = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert StoredLogits()(given, given, targets).item() == pytest.approx(plain, rel=1e-5)
    sharp = 0.25 * (0.9 * math.log(1.8) + 0.1 * math.log(0.2))
    assert StoredLogits(0.5)(given, given, targets).item() == pytest.approx(sharp, rel=1e-5)


def test_feature_mimicking_by_hand() -> None:
    targets = Targets(torch.zeros(2, 1), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    given = torch.tensor([[1.0, 0.0], [3.0, 5.0]])
    assert StoredFeatures()(torch.zeros(2, 1), given, targets).item() == pytest.approx((4.0 + 1.0) / 4)


def test_features_over_their_size_and_a_share_of_the_logits_by_hand() -> None:
    """Squared differences 0, 4, 0, 1 over squares 1, 4, 9, 16; and a fifth of the KL."""
    said = Targets(torch.tensor([[math.log(3.0), 0.0]] * 2), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    given = torch.tensor([[1.0, 0.0], [3.0, 5.0]])
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    expected = (4.0 + 1.0) / (1.0 + 4.0 + 9.0 + 16.0) + 0.2 * divergence
    assert StoredBoth(0.2)(torch.zeros(2, 2), given, said).item() == pytest.approx(expected, rel=1e-5)


def test_the_scale_of_the_features_does_not_matter_and_features_of_zero_are_met_by_zero() -> None:
    loss, logits = StoredBoth(0.2), torch.zeros(2, 2)
    wanted, given = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 0.0], [3.0, 5.0]])
    small, large = (
        loss(logits, factor * given, Targets(logits, factor * wanted)).item() for factor in (1.0, 1000.0)
    )
    assert small == pytest.approx(large, rel=1e-5)
    zero = torch.zeros(2, 2)
    assert loss(logits, zero, Targets(logits, zero)).item() == 0.0


def test_losses_say_what_they_need() -> None:
    assert StoredFeatures().needs_features and not StoredLogits().needs_features
    for loss in (StoredFeatures(), StoredBoth(0.1)):
        assert loss.needs_features
        with pytest.raises(ValueError, match="without features"):
            loss(images(), images(), Targets(images(), None))


def test_one_step_by_hand() -> None:
    """Feature x * a with x = 2, a = 3, wanted 4: loss (6 - 4)^2 = 4, gradient 2 * 2 * 2 = 8; with weight decay
    0.5 the step is 0.1 * (8 + 1.5)."""
    model = Pooled(Scale(3.0))
    x = torch.full((2, 1, 1, 1), 2.0)
    targets = Targets(torch.zeros(2, 1), torch.full((2, 1, 1, 1), 4.0))
    schedule = Schedule(iterations=1, learning_rate=0.1, weight_decay=0.5)
    done = finetune(model, x, Stored(targets, StoredFeatures()), schedule=schedule, generator=generator())
    assert done.losses == (4.0,)
    assert model.get_parameter("blocks.0.factor").item() == pytest.approx(3.0 - 0.1 * 9.5)


def test_momentum_carries_the_first_step_into_the_second() -> None:
    model = Pooled(Scale(3.0))
    x = torch.ones(2, 1, 1, 1)
    targets = Targets(torch.zeros(2, 1), torch.zeros(2, 1, 1, 1))
    schedule = Schedule(iterations=2, learning_rate=0.1, momentum=0.5, weight_decay=0.0)
    finetune(model, x, Stored(targets, StoredFeatures()), schedule=schedule, generator=generator())
    # The second of two steps begins at 50 %, past the first fall of the rate.
    rates = [schedule.rate(0), schedule.rate(1)]
    first = 6.0
    value = 3.0 - rates[0] * first
    value -= rates[1] * (0.5 * first + 2 * value)
    assert model.get_parameter("blocks.0.factor").item() == pytest.approx(value)


def test_the_rate_falls_at_40_and_80_percent() -> None:
    schedule = Schedule(iterations=10, learning_rate=1.0)
    assert [schedule.rate(i) for i in range(10)] == pytest.approx([1.0] * 4 + [0.1] * 4 + [0.01] * 2)


class Recording(nn.Module):
    """Remembers which images it saw; image i is filled with i."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.seen: list[list[int]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append([int(value) for value in x[:, 0, 0, 0]])
        return (x * self.scale).mean((2, 3))


def shown(count: int, batch_size: int, iterations: int, seed: int = 0) -> list[list[int]]:
    model = Recording()
    x = torch.arange(float(count)).view(count, 1, 1, 1)
    schedule = Schedule(iterations=iterations, batch_size=batch_size, learning_rate=1e-12)
    objective = Stored(Targets(x.flatten(1), x), StoredFeatures())
    finetune(model, x, objective, schedule=schedule, generator=generator(seed))
    return model.seen


def test_every_image_is_seen_once_before_any_is_seen_again() -> None:
    seen = shown(10, 4, 5)
    assert [len(batch) for batch in seen] == [4] * 5
    flat = [image for batch in seen for image in batch]
    assert sorted(flat[:10]) == sorted(flat[10:]) == list(range(10))
    assert flat[:10] != flat[10:]


def test_fewer_images_than_a_batch_are_all_shown() -> None:
    assert [sorted(batch) for batch in shown(3, 64, 2)] == [[0, 1, 2]] * 2


def test_the_seed_decides_the_order() -> None:
    assert shown(10, 4, 3, seed=1) == shown(10, 4, 3, seed=1) != shown(10, 4, 3, seed=2)


def test_targets_follow_their_images() -> None:
    """Image i wants feature i, which the network gives at once: shuffled targets would leave a loss."""
    x = torch.arange(10.0).view(10, 1, 1, 1)
    schedule = Schedule(iterations=5, learning_rate=0.005, batch_size=3, weight_decay=0.0)
    objective = Stored(Targets(x.flatten(1), x), StoredFeatures())
    done = finetune(Recording(), x, objective, schedule=schedule, generator=generator())
    assert done.losses == (0.0,) * 5


@pytest.mark.parametrize("loss", [StoredLogits(), StoredFeatures(), StoredBoth(0.1)])
def test_a_pruned_network_learns_back_what_the_whole_one_said(loss: Loss) -> None:
    teacher = TinyResNet().eval()
    labels = pseudo_labels(teacher, images(48), keep_features=True)
    student = remove_blocks(teacher, ["layer.1"])
    before = student.get_buffer("layer.0.norm.running_mean").clone()
    told: list[tuple[int, int, str]] = []
    done = finetune(
        student,
        images(48),
        Stored(labels, loss),
        schedule=Schedule(iterations=60, learning_rate=0.005, batch_size=16),
        generator=generator(),
        progress=lambda *said: told.append(said),
    )
    assert sum(done.losses[-10:]) < 0.7 * sum(done.losses[:10])
    assert told[0] == (1, 60, "finetuning") and told[-1] == (60, 60, "finetuning") and len(told) == 60
    assert not any(module.training for module in student.modules())
    assert not torch.equal(
        student.get_buffer("layer.0.norm.running_mean"), before
    )  # batch norm was in training
    _, logits = forward_with_features(teacher, images(48))
    torch.testing.assert_close(labels.logits, logits)  # the teacher was not touched


def test_only_batch_norm_trains_its_statistics_and_dropout_stays_still() -> None:
    modes: dict[str, bool] = {}
    student = TinyResNet()
    for name in ("layer.0.norm", "drop"):
        module = student.get_submodule(name)
        module.register_forward_pre_hook(
            lambda module, _, name=name: modes.__setitem__(name, module.training)
        )
    labels = pseudo_labels(TinyResNet(), images(), keep_features=False)
    objective = Stored(labels, StoredLogits())
    finetune(
        student,
        images(),
        objective,
        schedule=Schedule(iterations=1, learning_rate=0.005),
        generator=generator(),
    )
    assert modes == {"layer.0.norm": True, "drop": False}


def test_frozen_parameters_are_trained_too() -> None:
    student = TinyResNet().requires_grad_(False)
    before = student.stem.weight.clone()
    labels = pseudo_labels(TinyResNet(1), images(), keep_features=True)
    objective = Stored(labels, StoredFeatures())
    finetune(student, images(), objective, schedule=Schedule(1, 0.005), generator=generator())
    assert not torch.equal(student.stem.weight, before)


def test_a_loss_that_is_not_finite_names_the_iteration() -> None:
    model = Pooled(Scale(3.0))
    x = torch.full((2, 1, 1, 1), 2.0)
    targets = Targets(torch.zeros(2, 1), torch.zeros(2, 1, 1, 1))
    schedule = Schedule(iterations=100, learning_rate=1e12)
    with pytest.raises(LatheError, match=r"loss is (inf|nan) at iteration \d+ of 100, learning rate 1e\+12"):
        finetune(model, x, Stored(targets, StoredFeatures()), schedule=schedule, generator=generator())


def test_one_image_is_an_error() -> None:
    labels = Targets(torch.zeros(1, 3), None)
    with pytest.raises(UserError, match="at least 2 images, got 1"):
        finetune(
            TinyResNet(),
            images(1),
            Stored(labels, StoredLogits()),
            schedule=Schedule(1, 0.005),
            generator=generator(),
        )


def test_a_loss_on_features_needs_them_stored() -> None:
    labels = Targets(torch.zeros(12, 3), None)
    with pytest.raises(UserError, match=r"StoredFeatures compares features, .* keep_features=True"):
        Stored(labels, StoredFeatures())


@pytest.mark.parametrize("objective", [CrossEntropy(), Taught("kd", TinyResNet(), StoredLogits(), 0.9)])
def test_an_objective_that_needs_labels_is_refused(objective: Objective) -> None:
    student = TinyResNet()
    with pytest.raises(UserError, match=f"finetuning has images alone, and {objective.name} needs labels"):
        finetune(student, images(), objective, schedule=Schedule(1, 0.005), generator=generator())


def test_a_teacher_that_runs_along_heals_as_one_that_was_asked_once() -> None:
    """One interface: what is stored and what is said anew differ by rounding, since batches differ."""
    teacher = TinyResNet().eval()
    stored = Stored(pseudo_labels(teacher, images(48), keep_features=True), StoredFeatures())
    along = Taught("mimic", teacher, StoredFeatures(), 1.0)
    losses = []
    for objective in (stored, along):
        student = remove_blocks(teacher, ["layer.1"])
        schedule = Schedule(iterations=20, learning_rate=0.005, batch_size=16)
        done = finetune(student, images(48), objective, schedule=schedule, generator=generator())
        losses.append(done.losses)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("loss", [StoredLogits(), StoredFeatures(), StoredBoth(0.1)])
def test_each_step_is_plain_descent_on_the_targets_of_its_images(loss: Loss) -> None:
    """To the bit what a loop gives that takes the loss of outputs and targets by itself."""
    labels = pseudo_labels(TinyResNet(1).eval(), images(20), keep_features=True)
    schedule = Schedule(iterations=10, learning_rate=0.005, batch_size=8)
    student, by_hand = TinyResNet(), TinyResNet()
    done = finetune(student, images(20), Stored(labels, loss), schedule=schedule, generator=generator())

    by_hand.eval()
    for norm in batch_norms(by_hand):
        norm.train()
    optimiser = torch.optim.SGD(by_hand.parameters(), schedule.learning_rate, momentum=0.9, weight_decay=1e-4)
    order, losses = shuffled_batches(20, 8, generator()), []
    for iteration in range(10):
        optimiser.param_groups[0]["lr"] = schedule.rate(iteration)
        index = next(order)
        features, logits = forward_with_features(by_hand, images(20)[index])
        value = loss(logits, features, labels.take(index))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        losses.append(float(value.detach()))
    assert done.losses == tuple(losses)
    for got, expected in zip(student.state_dict().values(), by_hand.state_dict().values(), strict=True):
        assert torch.equal(got, expected)
