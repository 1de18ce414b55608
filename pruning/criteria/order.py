"""Controls that look at no image: a random order, and the last block first."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence


class OrderCriterion:
    """Prefers blocks in a given order; a search by it takes exactly this order.

    The block at place i of n weighs i + 1, and a set weighs the sum of its blocks.

    Args:
        name: the word for it in records and messages.
        order: the blocks, the first to go first.
    """

    needs_images = False

    def __init__(self, name: str, order: Sequence[str]) -> None:
        self.name = name
        self._weight = {block: place + 1.0 for place, block in enumerate(order)}

    def expect(self, removed: frozenset[str]) -> None:
        """Nothing to prepare."""

    def hurt(self, removed: frozenset[str]) -> float:
        """The sum of the blocks' places; no measure of harm."""
        return math.fsum(self._weight[block] for block in removed)


def random_order(candidates: Sequence[str], seed: int) -> OrderCriterion:
    """An order drawn at random: what a method must beat, over several seeds."""
    order = list(candidates)
    random.Random(seed).shuffle(order)  # noqa: S311  (no secret)
    return OrderCriterion("random", order)


def last_first(candidates: Sequence[str]) -> OrderCriterion:
    """The last block goes first, as the candidates stand in the network."""
    return OrderCriterion("last", list(reversed(candidates)))
