from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from bench.evaluation import accuracy, agreement, divergence, logits_of
from bench.workloads import Images, Preprocess
from latency_tables.errors import LatheError

PREPROCESS = Preprocess((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1.0)


class Mean(nn.Module):
    """The mean of each channel as logits; not finite where a pixel is 255."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) / (x.amax((1, 2, 3), keepdim=True)[:, :, 0, 0] < 255)


def images(values: list[list[int]]) -> Images:
    pixels = np.array(values, dtype=np.uint8)[:, None, None, :].repeat(2, 1).repeat(2, 2)
    return Images(pixels, None, "made up")


def test_outputs_come_in_the_order_of_the_images_whatever_the_batches() -> None:
    many = images([[i % 200, 0, 1] for i in range(601)])
    logits = logits_of(Mean(), many, PREPROCESS, "it")
    assert logits.shape == (601, 3)
    assert logits[:, 0].tolist() == [i % 200 for i in range(601)]


def test_outputs_that_are_not_finite_are_counted() -> None:
    with pytest.raises(LatheError, match="it gives outputs that are not finite for 2 of 3 images"):
        logits_of(Mean(), images([[255, 0, 0], [1, 2, 3], [255, 1, 1]]), PREPROCESS, "it")


def test_accuracy_is_a_share_with_wilsons_interval() -> None:
    logits = torch.tensor([[2.0, 1.0], [1.0, 2.0], [2.0, 1.0], [2.0, 1.0]])
    share = accuracy(logits, np.array([0, 1, 1, 0]))
    assert share is not None
    assert share.value == 0.75
    # Wilson's formula, by hand: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), n = 4
    z, n, p = 1.959964, 4, 0.75
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert share.low == pytest.approx((centre - half) / (1 + z * z / n), abs=1e-5)
    assert share.high == pytest.approx((centre + half) / (1 + z * z / n), abs=1e-5)
    assert accuracy(logits, None) is None


def test_a_network_agrees_with_itself_and_diverges_by_nothing() -> None:
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert agreement(logits, logits).value == 1.0
    assert divergence(logits, logits).value == 0.0
    shifted = logits + 3.0  # the same probabilities
    assert divergence(shifted, logits).value == pytest.approx(0.0, abs=1e-9)


def test_divergence_is_from_the_reference() -> None:
    p, q = 0.8, 0.6
    reference = torch.tensor([[math.log(p), math.log(1 - p)]] * 3)
    other = torch.tensor([[math.log(q), math.log(1 - q)]] * 3)
    wanted = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert divergence(other, reference).value == pytest.approx(wanted, rel=1e-5)
