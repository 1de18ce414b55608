"""Parts are timed while the cores lie near each other, so that a table does not mix two modes of the machine.

On the machine that this was written on, the host moved the cores apart for a fifth of the time, for seconds to a
minute. Parts on two threads then took a fifth longer in the median, and up to three quarters (ONNX Runtime, 581 parts
timed in both modes); in the same mode they repeat within 2 %.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from bench.anchor import Cell
from latency_tables.measurement import Measurement
from latency_tables.part import Part
from latency_tables.table import Failure, LatencyTable

#: Samples of parts that were timed again because the cores were not near each other.
FAR = "taken while the cores were far apart"
#: Seconds that are spent on waiting for the cores to come near again, before they are taken to stay where they are.
PATIENCE_S = 120.0
_REST_S = 1.0
_NOT_NEAR = ("far", "moved")


class NearCores:
    """Times parts, again and again while the cores are far apart.

    Where they stay apart it gives up, until they are seen near again: on a machine that is always so they are far.

    Args:
        measure: times a part.
        now_s: a monotonic clock.
        sleep: waits.
    """

    def __init__(
        self,
        measure: Callable[[Part], Cell],
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._measure, self._now_s, self._sleep = measure, now_s, sleep
        self._left_s = PATIENCE_S

    def __call__(self, part: Part) -> Cell:
        """Times a part.

        Returns:
            The last of its measurements; how many samples the others took stands in ``dropped``.
        """
        cell = self._measure(part)
        while is_far(cell) and self._left_s > 0:
            assert isinstance(cell, Measurement)  # noqa: S101 - or it would not be far
            lost = len(cell.samples_s) + sum(cell.dropped.values())
            started_s = self._now_s()
            self._sleep(_REST_S)
            again = self._measure(part)
            self._left_s -= self._now_s() - started_s
            if isinstance(again, Failure):
                return cell
            cell = replace(again, dropped={**again.dropped, FAR: lost})
        if not is_far(cell):
            self._left_s = PATIENCE_S
        return cell


def is_far(cell: Cell | None) -> bool:
    """Whether a part was timed while the cores were known not to be near each other."""
    return isinstance(cell, Measurement) and cell.host.get("cores", {}).get("mode") in _NOT_NEAR


def taken_far(parts: Iterable[Part], table: LatencyTable) -> list[Part]:
    """Of some parts those whose cell was taken while the cores were far apart; none where none was taken near."""
    cells = {part: table.cells.get(part.key) for part in parts}
    far = [part for part, cell in cells.items() if is_far(cell)]
    near = any(isinstance(cell, Measurement) and not is_far(cell) for cell in cells.values())
    return far if near else []
