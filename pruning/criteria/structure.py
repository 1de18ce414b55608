"""What can be said of a removal from the network's shape alone."""

from __future__ import annotations

import math

from pruning.criteria.streams import Streams


class CapacityCriterion:
    """How little is left beside the removed blocks: -sum of log(share of its blocks that a chain keeps).

    The block that makes a chain's stream stays and counts as one of it, so that the share is never zero. A
    reconstruction's variant C: structural capacity left to compensate.

    Args:
        streams: of the unpruned network; only their order is used.
    """

    name = "capacity"
    needs_images = False  # no image changes the number

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def expect(self, removed: frozenset[str]) -> None:
        """Nothing to prepare."""

    def hurt(self, removed: frozenset[str]) -> float:
        """At least 0."""
        total: dict[int, int] = {}
        gone: dict[int, int] = {}
        for name, (chain, _) in self._streams.place.items():
            total[chain] = total.get(chain, 1) + 1
            gone[chain] = gone.get(chain, 0) + (name in removed)
        return -sum(math.log((total[chain] - gone[chain]) / total[chain]) for chain in total)
