"""Networks that a result must stand beside, because each could explain its gain away."""

from __future__ import annotations

import copy
from collections.abc import Collection

from bench.shop import Shop
from latency_tables.context import Coefficients
from latency_tables.estimate import Estimate
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


def unpruned_controls(shop: Shop, iterations: int, seed: int, progress: Progress) -> dict[str, Estimate]:
    """What the same images give without pruning.

    Args:
        shop: network and images.
        iterations: steps of finetuning.
        seed: of the order of the images.
        progress: told of the finetuning.

    Returns:
        Accuracy by control; nothing where there are no labels to tell.
    """
    if shop.images.report.labels is None:
        return {}
    healed = copy.deepcopy(shop.teacher)
    shop.heal(healed, iterations, seed, progress)
    networks = {UNPRUNED_ADAPTED: shop.teacher, UNPRUNED_HEALED: healed}
    return shop.judge(networks, progress)


def pruned_controls(
    shop: Shop,
    piece: Workpiece,
    removed: Collection[str],
    fit: Coefficients,
    iterations: int,
    progress: Progress,
) -> dict[str, Estimate]:
    """What the same removal gives with less, and what chance gives at the same latency.

    Args:
        shop: network and images.
        piece: the network, its images and pseudo labels, and the seed.
        removed: the blocks that the method took out.
        fit: the latency model that it went by.
        iterations: steps of finetuning.
        progress: told of the finetuning.

    Returns:
        Accuracy by control; nothing where there are no labels to tell.
    """
    if shop.images.report.labels is None or not removed:
        return {}
    unadapted = shop.subject.model
    labels = pseudo_labels(unadapted, piece.images, keep_features=HEALING_LOSS.needs_features)
    plainly_taught = remove_blocks(unadapted, removed)
    shop.heal(plainly_taught, iterations, piece.seed, progress, labels)
    drawn = get_method("random")
    limit_s = fit.latency_s(frozenset(removed))
    selection = drawn.select(drawn.scorer(piece), piece.candidates, fit, limit_s)
    by_chance = remove_blocks(shop.teacher, selection.removed)
    shop.heal(by_chance, iterations, piece.seed, progress)
    networks = {
        PRUNED_ADAPTED: adapt_statistics(remove_blocks(unadapted, removed), piece.images).model,
        PRUNED_PLAIN_TEACHER: plainly_taught,
        PRUNED_RANDOM: by_chance,
    }
    return shop.judge(networks, progress)
