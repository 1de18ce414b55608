from __future__ import annotations

import pytest
import torch
from tiny_networks import TinyResNet, images
from torch import nn

from latency_tables.errors import UserError
from pruning.adaptation import adapt_statistics, batch_statistics, batches


def norm(mean: float = 4.0, variance: float = 9.0) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(1, eps=1e-9).eval()
    with torch.no_grad():
        assert layer.running_mean is not None and layer.running_var is not None
        layer.running_mean.fill_(mean)
        layer.running_var.fill_(variance)
    return layer


# Mean 2, unbiased variance (1 + 1 + 1 + 1) / 3.
PIXELS = torch.tensor([1.0, 3.0, 1.0, 3.0]).view(2, 1, 1, 2)


@pytest.mark.parametrize(
    ("mixture", "mean", "variance"), [(0.0, 4.0, 9.0), (1.0, 2.0, 4 / 3), (0.5, 3.0, (9 + 4 / 3) / 2)]
)
def test_the_mixture_by_hand(mixture: float, mean: float, variance: float) -> None:
    adapted = adapt_statistics(nn.Sequential(norm()), PIXELS, mixture=mixture)
    layer = adapted.model[0]
    assert layer.running_mean.item() == pytest.approx(mean)
    assert layer.running_var.item() == pytest.approx(variance)
    assert adapted.layers == 1


def test_batches_of_unequal_size_weigh_by_their_images() -> None:
    values = torch.tensor([0.0, 3.0, 6.0, 1.0, 2.0]).view(5, 1, 1, 1).expand(5, 1, 1, 2)
    assert [len(batch) for batch in batches(values, 3)] == [3, 2]
    adapted = adapt_statistics(nn.Sequential(norm()), values, mixture=1.0, batch_size=3)
    assert adapted.model[0].running_mean.item() == pytest.approx(12 / 5)


def test_the_original_and_the_momentum_stay() -> None:
    model = nn.Sequential(norm())
    adapted = adapt_statistics(model.train(), PIXELS)
    assert model[0].running_mean.item() == 4.0 and model.training
    assert adapted.model[0].momentum == model[0].momentum == 0.1
    assert not any(module.training for module in adapted.model.modules())


def test_deeper_layers_see_what_adapted_layers_give() -> None:
    # After a layer that normalises with the batch, the mean is 0; with the statistics of training it would be
    # (2 - 4) / 3.
    adapted = adapt_statistics(nn.Sequential(norm(), norm()), PIXELS, mixture=1.0)
    assert adapted.model[1].running_mean.item() == pytest.approx(0.0, abs=1e-5)


def test_a_network_without_batch_norm_says_so_and_computes_the_same() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Dropout(0.5)).eval()
    adapted = adapt_statistics(model, images())
    assert adapted.layers == 0
    assert torch.equal(adapted.model(images()), model(images()))


def test_batch_statistics_by_hand() -> None:
    model = nn.Sequential(norm()).train()
    with batch_statistics(model):
        out = model(PIXELS)
    assert out.flatten().tolist() == pytest.approx([-1.0, 1.0, -1.0, 1.0], abs=1e-6)  # biased variance: 1
    assert model[0].running_mean.item() == 4.0 and model[0].running_var.item() == 9.0
    assert model[0].num_batches_tracked == 0
    assert model[0].training


def test_batch_statistics_keep_dropout_still_and_restore_each_mode() -> None:
    model = TinyResNet().train()
    model.linear.eval()
    with batch_statistics(model):
        assert torch.equal(model(images()), model(images()))
    assert model.drop.training and not model.linear.training


def test_batch_statistics_survive_infinite_activations_and_errors() -> None:
    model = nn.Sequential(norm())
    with pytest.raises(ZeroDivisionError), batch_statistics(model):
        model(torch.full((2, 1, 1, 2), torch.inf))
        raise ZeroDivisionError
    assert model[0].running_mean.item() == 4.0
    assert model(torch.full((1, 1, 1, 1), 7.0)).item() == pytest.approx(1.0)


@pytest.mark.parametrize("mixture", [-0.1, 1.1])
def test_a_mixture_outside_the_range_is_an_error(mixture: float) -> None:
    with pytest.raises(UserError, match=f"0 to 1, got {mixture}"):
        adapt_statistics(TinyResNet(), images(), mixture=mixture)


def test_one_image_is_an_error() -> None:
    with pytest.raises(UserError, match=r"at least 2 images .* got 1"):
        adapt_statistics(TinyResNet(), images(1))


@pytest.mark.parametrize(("count", "size", "expected"), [(10, 4, [4, 3, 3]), (4, 4, [4]), (5, 4, [3, 2])])
def test_batches_are_equal_to_within_one(count: int, size: int, expected: list[int]) -> None:
    assert [len(batch) for batch in batches(images(count), size)] == expected
