"""Which timings of whole networks fell into a slow minute of the machine, or were spoiled otherwise.

A neighbour on the same processor may slow everything down for seconds or minutes, and unequally: a network that
needs more of a shared cache suffers more. So a pruned network's ratio to the unpruned one is another in such a
minute even where both are timed in turns. The unpruned network, which every timing has beside it, tells: on a quiet
machine it takes about what it took in the quickest passes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latency_tables.skeleton import Skeleton
from latency_tables.table import LatencyTable, NetworkMeasurement

#: A timing is of a slow minute where the unpruned network beside it took longer than in quick ones by more than
#: this. Seen: ResNet-56 in ONNX Runtime, 1.26 ms, and for stretches of ten seconds 1.35 to 1.5, in which ratios
#: were up to 13 % lower.
SLOW_BY = 0.05
#: Share of the passes that are taken to be quick at least; the level is that of the slowest of these.
_QUICK_SHARE = 0.1
#: So many timings, the latest, make the level: a machine that has become slower for good is not measured in vain.
_LATEST = 100


def quick_latency_s(skeleton: Skeleton, table: LatencyTable) -> float | None:
    """What the unpruned network takes when the machine is quick, seconds; None where nothing was timed."""
    return quick_of([n for n in table.networks if n.skeleton == skeleton.digest])


def quick_of(timed: Sequence[NetworkMeasurement]) -> float | None:
    """The same, from all timings of one network and of what was cut from it, oldest first."""
    taken_s = [network.unpruned_s.value for network in timed[-_LATEST:]]
    return float(np.quantile(taken_s, _QUICK_SHARE)) if taken_s else None


def is_slow(network: NetworkMeasurement, quick_s: float | None) -> bool:
    """Whether a timing fell into a slow minute; never where no level is known."""
    return quick_s is not None and network.unpruned_s.value > (1.0 + SLOW_BY) * quick_s


def is_spoiled(network: NetworkMeasurement, quick_s: float | None, *, near: bool) -> bool:
    """Whether a timing of a whole network judges nothing and should be made again.

    Args:
        network: the timing.
        quick_s: what the unpruned network takes when the machine is quick; None: not known.
        near: whether another timing of the same network was made with the cores near each other.
    """
    return is_slow(network, quick_s) or network.disturbance is not None or (near and network.far)
