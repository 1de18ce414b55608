from __future__ import annotations

import pytest
import torch
from tiny_networks import Pooled, TinyResNet, images
from torch import nn

from latency_tables.errors import LatheError, UserError
from pruning.features import forward_with_features
from pruning.targets import Targets, device_of, pseudo_labels


def test_labels_are_what_the_network_says_in_evaluation_mode() -> None:
    model = TinyResNet().train()
    labels = pseudo_labels(model, images(), keep_features=True, batch_size=5)
    assert model.training
    with torch.no_grad():
        features, logits = forward_with_features(model.eval(), images())
    torch.testing.assert_close(labels.logits, logits)
    torch.testing.assert_close(labels.features, features)
    assert not labels.logits.requires_grad


def test_features_are_kept_only_where_asked_for() -> None:
    assert pseudo_labels(TinyResNet(), images(), keep_features=False).features is None


def test_targets_are_float32_whatever_the_network_computes_in() -> None:
    labels = pseudo_labels(TinyResNet().double(), images().double(), keep_features=True)
    assert labels.features is not None
    assert labels.logits.dtype == labels.features.dtype == torch.float32


def test_features_beyond_the_limit_are_an_error_that_names_both_sizes() -> None:
    model = TinyResNet()
    needed = 12 * 8 * 6 * 6 * 4
    assert pseudo_labels(model, images(), keep_features=True, feature_limit_bytes=needed).features is not None
    with pytest.raises(UserError, match=r"features of 12 images take 0 MiB, more than the limit of 0 MiB"):
        pseudo_labels(model, images(), keep_features=True, feature_limit_bytes=needed - 1)


def test_a_network_that_gives_nan_cannot_teach() -> None:
    with pytest.raises(LatheError, match="Pooled gives logits that are not finite"):
        pseudo_labels(Pooled(), images() / 0.0, keep_features=False)


def test_taking_some_images_keeps_logits_and_features_together() -> None:
    targets = Targets(torch.arange(6.0).view(3, 2), torch.arange(3.0).view(3, 1, 1, 1))
    taken = targets.take(torch.tensor([2, 0]))
    assert taken.features is not None
    assert taken.logits.tolist() == [[4.0, 5.0], [0.0, 1.0]] and taken.features.flatten().tolist() == [
        2.0,
        0.0,
    ]
    assert targets.take(slice(1)).logits.tolist() == [[0.0, 1.0]]
    assert Targets(targets.logits, None).take(slice(1)).features is None


def test_the_device_of_a_network_without_parameters_is_the_cpu() -> None:
    assert device_of(nn.Flatten()) == torch.device("cpu")
    assert device_of(nn.Linear(1, 1, device="meta")) == torch.device("meta")
