"""The part of an output's damage that is not merely a wrong scale or offset."""

from __future__ import annotations

import torch
from torch import Tensor


def calibrated_kl(logits: Tensor, wanted: Tensor) -> float:
    """KL(unpruned || pruned) once the pruned network's logits have their best scale and class offsets.

    Logits become scale * logits + offset, with one scale and one offset per class, chosen to make the mean KL
    divergence small. A removal makes a network over- or underconfident as a whole, which the first steps of
    finetuning repair, and plain KL takes it for harm: a network that says the same of everything (its KL is at
    most log(classes)) looks better than one that is right in most cases but too sure of the rest. What is left
    after calibration is the order of the classes that was lost. A unit normal prior on the offsets (in nats, for
    the whole set of images) keeps them near zero where there are more classes than images to tell.

    Args:
        logits: the pruned network's, shape (n, classes).
        wanted: the unpruned network's, shape (n, classes).

    Returns:
        Mean over the images in nats, at least 0 and (but for the prior) at most the plain KL divergence; NaN
        where the logits are not finite.
    """
    if not logits.isfinite().all():
        return float("nan")
    source = logits.double()
    target = wanted.double().log_softmax(1)
    scale = torch.ones(1, dtype=source.dtype, device=source.device, requires_grad=True)
    offset = torch.zeros_like(source[0], requires_grad=True)
    fit = torch.optim.LBFGS([scale, offset], max_iter=100, line_search_fn="strong_wolfe")

    def kl() -> Tensor:
        return (target.exp() * (target - (scale * source + offset).log_softmax(1))).sum(1).mean()

    def objective() -> Tensor:
        fit.zero_grad()
        value = kl() + offset.square().sum() / (2 * len(source))
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        fit.step(objective)  # type: ignore[no-untyped-call]
    return float(kl().detach().clamp_min(0.0))  # rounding may leave a trace below
