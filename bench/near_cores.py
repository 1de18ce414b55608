"""What runs on several threads is timed while the cores lie near each other, so that no table mixes two modes.

The host of a virtual machine may move its cores apart, for seconds to minutes, and what runs on both of them then
takes longer, by a fifth or by three quarters. Where the mode in which they are near can be had, that one is timed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from bench.core_distance import CoreDistance, Mode
from latency_tables.measurement import Measurement
from latency_tables.part import Part
from latency_tables.table import Failure, LatencyTable

#: Seconds that are spent on waiting for the cores to come near again, before they are taken to stay where they are.
PATIENCE_S = 120.0
_REST_S = 1.0


class Patience:
    """Waits for the cores to be near each other.

    Where they stay apart it gives up, until they are seen near again: on a machine that is always so they are far.

    Args:
        now_s: a monotonic clock.
        sleep: waits.
        until_s: nobody waits beyond this moment of ``now_s``.
    """

    def __init__(
        self,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        until_s: float = math.inf,
    ) -> None:
        self._now_s, self._sleep, self._until_s = now_s, sleep, until_s
        self._left_s = PATIENCE_S

    def near(self, sense: Callable[[], CoreDistance]) -> CoreDistance:
        """Asks how the cores lie, again and again while they are far apart; what it heard last."""
        seen = sense()
        while seen.mode is Mode.FAR and self._left_s > 0 and self._now_s() < self._until_s:
            started_s = self._now_s()
            self._sleep(_REST_S)
            seen = sense()
            self._left_s -= self._now_s() - started_s
        if seen.mode is Mode.NEAR:
            self._left_s = PATIENCE_S
        return seen


def taken_far(parts: Iterable[Part], table: LatencyTable) -> list[Part]:
    """Of some parts those whose cell was taken while the cores were far apart; none where none was taken near.

    Cores that nobody could ask about are not near: on a machine that is always so they are far.
    """
    cells = {part: table.cells.get(part.key) for part in parts}
    far = [part for part, cell in cells.items() if is_far(cell)]
    return far if any(_is_near(cell) for cell in cells.values()) else []


def is_far(cell: Measurement | Failure | None) -> bool:
    """Whether something was timed, and the cores lay far apart or moved meanwhile."""
    return isinstance(cell, Measurement) and cell.far


def _is_near(cell: Measurement | Failure | None) -> bool:
    return isinstance(cell, Measurement) and cell.host.get("cores", {}).get("mode") == Mode.NEAR.value
