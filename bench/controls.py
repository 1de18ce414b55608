"""Networks that a result must stand beside, because each could explain its gain away."""

from __future__ import annotations

import copy
from collections.abc import Collection

from torch import nn

from bench.judging import Judged
from bench.shop import Shop
from bench.workplace import at
from latency_tables.context import Coefficients
from pruning.adaptation import adapt_statistics
from pruning.criteria.variables import Workpiece
from pruning.methods import HEALING_LOSS, get_method
from pruning.search import Progress
from pruning.surgery import remove_blocks
from pruning.targets import pseudo_labels

UNPRUNED_ADAPTED = "unpruned, batch-norm statistics re-estimated"
UNPRUNED_HEALED = "unpruned, finetuned the same way"
PRUNED_ADAPTED = "same blocks out, batch-norm statistics re-estimated, not finetuned"
PRUNED_PLAIN_TEACHER = "same blocks out, taught without re-estimated statistics"
PRUNED_RANDOM = "random blocks out, no slower as predicted, finetuned the same way"


def unpruned_controls(shop: Shop, iterations: int, seed: int, progress: Progress) -> Judged:
    """What the same images give without pruning.

    Args:
        shop: network and images.
        iterations: steps of finetuning.
        seed: of the order of the images.
        progress: told of the finetuning.

    Returns:
        As `bench.shop.Shop.judged`.
    """

    def healed() -> nn.Module:
        network = copy.deepcopy(shop.teacher)
        shop.heal(network, iterations, seed, progress)
        return network

    return shop.judged({UNPRUNED_ADAPTED: lambda: shop.teacher, UNPRUNED_HEALED: healed}, progress)


def pruned_controls(
    shop: Shop,
    piece: Workpiece,
    removed: Collection[str],
    fit: Coefficients,
    iterations: int,
    progress: Progress,
) -> Judged:
    """What the same removal gives with less, and what chance gives at the same latency.

    Args:
        shop: network and images.
        piece: the network, its images and pseudo labels, and the seed.
        removed: the blocks that the method took out.
        fit: the latency model that it went by.
        iterations: steps of finetuning.
        progress: told of the finetuning.

    Returns:
        As `bench.shop.Shop.judged`; nothing where nothing was removed.
    """
    if not removed:
        return Judged()
    unadapted = shop.subject.model

    def adapted() -> nn.Module:
        network = remove_blocks(unadapted, removed)
        with at(shop.device, network):
            return adapt_statistics(network, piece.images).model.cpu()

    def plainly_taught() -> nn.Module:
        with at(shop.device, unadapted):
            labels = pseudo_labels(unadapted, piece.images, keep_features=HEALING_LOSS.needs_features)
        network = remove_blocks(unadapted, removed)
        shop.heal(network, iterations, piece.seed, progress, labels)
        return network

    def by_chance() -> nn.Module:
        drawn = get_method("random")
        limit_s = fit.latency_s(frozenset(removed))
        selection = drawn.select(drawn.scorer(piece), piece.candidates, fit, limit_s)
        network = remove_blocks(shop.teacher, selection.removed)
        shop.heal(network, iterations, piece.seed, progress)
        return network

    makers = {PRUNED_ADAPTED: adapted, PRUNED_PLAIN_TEACHER: plainly_taught, PRUNED_RANDOM: by_chance}
    return shop.judged(makers, progress)
