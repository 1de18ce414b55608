"""How far a network's outputs and features move when blocks go: measured, before any recovery.

TT-MPD ("Test Time Model Pruning and Distillation", arXiv 2412.07114) approximates the accuracy after finetuning by
two variables. What they are could not be read; every measure here, and every way to join them, is our
reconstruction.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F

from pruning.criteria.calibration import calibrated_kl
from pruning.passes import Outputs, Passes

Measure = Callable[[Outputs, Outputs], float]
"""Of the pruned network's outputs and the unpruned one's on the same images: a distance, 0 where they are equal."""


class DamageCriterion:
    """Hurt of a set of blocks as the distance between the outputs without them and with them.

    Args:
        name: the word for it in records and messages.
        passes: of the unpruned network over the images to score on.
        measure: the distance.
    """

    needs_images = True

    def __init__(self, name: str, passes: Passes, measure: Measure) -> None:
        self.name = name
        self._passes = passes
        self._measure = measure

    def expect(self, removed: frozenset[str]) -> None:
        """See `Criterion`; what the next sets share is computed once."""
        self._passes.keep(removed)

    def hurt(self, removed: frozenset[str]) -> float:
        """See `Criterion`."""
        return self._measure(self._passes.outputs(removed), self._passes.unpruned)


def kl(got: Outputs, wanted: Outputs) -> float:
    """Mean over the images of KL(unpruned || pruned) between the class probabilities, in nats, at least 0."""
    divergence = F.kl_div(
        got.logits.log_softmax(1), wanted.logits.log_softmax(1), reduction="batchmean", log_target=True
    )
    return max(float(divergence), 0.0)  # rounding may leave a trace below


def kl_after_calibration(got: Outputs, wanted: Outputs) -> float:
    """The part of `kl` that the best scale and offsets of the pruned network's logits leave."""
    return calibrated_kl(got.logits, wanted.logits)


def disagreement(got: Outputs, wanted: Outputs) -> float:
    """Share of the images that are given another class, 0 to 1."""
    if not got.logits.isfinite().all():
        return float("nan")
    return float((got.logits.argmax(1) != wanted.logits.argmax(1)).float().mean())


def feature_damage(got: Outputs, wanted: Outputs) -> float:
    """Mean over the images of ||F_S - F||^2 / ||F||^2, F the features before pooling.

    At least 0; 1 is what features of zero would give.
    """
    there = wanted.features.flatten(1)
    moved = (got.features.flatten(1) - there).square().sum(1) / there.square().sum(1)
    return float(moved.mean())
