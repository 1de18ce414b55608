"""How good a network is: its outputs on images, and what they say with which confidence."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import stats
from torch import nn

from bench.workloads import Images
from bench.workloads.network import Preprocess
from latency_tables.errors import LatheError
from latency_tables.estimate import Estimate
from pruning.search import Progress
from pruning.targets import device_of

_BATCH = 250


def logits_of(
    model: nn.Module, images: Images, preprocess: Preprocess, what: str, progress: Progress | None = None
) -> torch.Tensor:
    """Runs a network over images, on the device that it is on.

    Args:
        model: in evaluation mode.
        images: n of them.
        preprocess: from pixels to the network's input, applied batch by batch.
        what: whose outputs these are, for messages.
        progress: told after each batch.

    Returns:
        Shape (n, classes), float32, on the CPU.

    Raises:
        LatheError: an output is not finite.
    """
    rows: list[torch.Tensor] = []
    device = device_of(model)
    with torch.inference_mode():
        for start in range(0, len(images), _BATCH):
            batch = preprocess(images.pixels[start : start + _BATCH])
            batch = batch.contiguous(memory_format=torch.channels_last).to(device)
            rows.append(model(batch).float().cpu())
            if progress is not None:
                progress(min(start + _BATCH, len(images)), len(images), f"evaluating {what}")
    logits = torch.cat(rows)
    if not bool(torch.isfinite(logits).all()):
        bad = int((~torch.isfinite(logits).all(dim=1)).sum())
        raise LatheError(f"{what} gives outputs that are not finite for {bad} of {len(images)} images")
    return logits


def accuracy(logits: torch.Tensor, labels: np.ndarray | None) -> Estimate | None:
    """Share of images classified rightly with Wilson's 95 % interval; None without labels."""
    if labels is None:
        return None
    return _share(int((logits.argmax(dim=1).numpy() == labels).sum()), len(labels))


def agreement(logits: torch.Tensor, reference: torch.Tensor) -> Estimate:
    """Share of images given the class that the reference gives, with Wilson's 95 % interval."""
    return _share(int((logits.argmax(dim=1) == reference.argmax(dim=1)).sum()), len(reference))


def divergence(logits: torch.Tensor, reference: torch.Tensor) -> Estimate:
    """Mean KL divergence from the reference's outputs, nats, with the normal 95 % interval of the mean."""
    log_p = torch.log_softmax(reference.double(), dim=1)
    log_q = torch.log_softmax(logits.double(), dim=1)
    each = (log_p.exp() * (log_p - log_q)).sum(dim=1).clamp_min(0.0)
    mean = float(each.mean())
    if len(each) < 2:
        return Estimate(mean, 0.0, math.inf)
    half = 1.96 * float(each.std()) / math.sqrt(len(each))
    return Estimate(mean, max(0.0, mean - half), mean + half)


def _share(hits: int, n: int) -> Estimate:
    interval = stats.binomtest(hits, n).proportion_ci(confidence_level=0.95, method="wilson")
    value = hits / n
    return Estimate(value, min(float(interval.low), value), max(float(interval.high), value))
