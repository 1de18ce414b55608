"""Whether the core in use runs at its full speed, told by a small computation of fixed size between the samples.

Two logical CPUs share one core's arithmetic. In a virtual machine the other one may be lent to strangers, for
milliseconds to seconds: no system call tells of it and no time is stolen, but all that runs meanwhile takes longer,
by a fifth or more (`docs/results/core_watch.md`). So does what a core with a lowered clock runs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: Samples taken meanwhile, or right after.
SLOWED = "taken while the core was slowed from outside"

#: Where the computation takes so many times what it takes in quick moments the core is said to be slowed: it takes
#: 1.2 to 1.5 times where the core is shared, and stays within 1.03 where it is not.
SLOW_FROM = 1.08

#: In quick moments means: as in the quickest quarter of this time. A core that was quick for less of it is as it
#: is: its clock is mostly lower, or its neighbour there to stay.
MEMORY_S = 30.0

# What is remembered is thinned out to one reading in this time, so that thousands of short samples in one slow
# moment do not outvote the quick ones.
_THIN_S = 0.01
# Where fewer are remembered, so much time is spent on seeing how quick the core is.
_LEAST_REMEMBERED = 20
_FIRST_LOOK_S = 0.25
_SIDE, _PRODUCTS = 32, 16


@dataclass(frozen=True, slots=True)
class CoreSeen:
    """What was seen of the core during a measurement.

    Attributes:
        readings: how often the computation was timed.
        slowed: in how many of them the core was slowed.
        quick_s: what it takes in quick moments.
        slowest_s: the most it took.
    """

    readings: int
    slowed: int
    quick_s: float
    slowest_s: float

    def to_json(self) -> dict[str, Any]:
        """Plain values, seconds."""
        return {
            "readings": self.readings,
            "slowed": self.slowed,
            "quick_s": self.quick_s,
            "slowest_s": self.slowest_s,
        }


@dataclass(slots=True)
class CoreWatch:
    """Times the computation between samples, on the thread that takes them.

    Args:
        read: does the computation; the seconds that it took.
        now_s: a monotonic clock.
    """

    read: Callable[[], float]
    now_s: Callable[[], float] = time.monotonic
    _memory: deque[tuple[float, float]] = field(default_factory=deque, init=False)
    quick_s: float = field(default=0.0, init=False)
    _slow: bool = field(default=False, init=False)
    _readings: list[float] = field(default_factory=list, init=False)
    _slowed: int = field(default=0, init=False)

    def start(self, *, again: bool = False) -> None:
        """A measurement begins; after a rest it takes a quarter of a second to see how quick the core is.

        Args:
            again: an attempt at the same thing came before, and what is quick is as it was then.
        """
        self._readings, self._slowed = [], 0
        self._forget()
        if len(self._memory) < _LEAST_REMEMBERED and not again:
            began_s = self.now_s()
            while self.now_s() - began_s < _FIRST_LOOK_S:
                self._remember(self.read())
        if not again:
            self.quick_s = _lowest([seconds for _, seconds in self._memory], 0.25)
        self._look()

    def cause(self) -> str | None:
        """Looks after a sample: why it is not to be trusted, or None."""
        before = self._slow
        self._look()
        return SLOWED if before or self._slow else None

    def stop(self) -> CoreSeen:
        """What was seen since the start."""
        return CoreSeen(len(self._readings), self._slowed, self.quick_s, max(self._readings))

    def _look(self) -> None:
        seconds = self.read()
        self._remember(seconds)
        self._slow = seconds > SLOW_FROM * self.quick_s
        self._readings.append(seconds)
        self._slowed += self._slow

    def _remember(self, seconds: float) -> None:
        now_s = self.now_s()
        if not self._memory or now_s - self._memory[-1][0] >= _THIN_S:
            self._memory.append((now_s, seconds))
        self._forget()

    def _forget(self) -> None:
        now_s = self.now_s()
        while self._memory and now_s - self._memory[0][0] > MEMORY_S:
            self._memory.popleft()


def share_slowed(read: Callable[[], float], now_s: Callable[[], float], window_s: float) -> float:
    """Does nothing but the computation for a while; the share of it, 0 to 1, in which the core was slowed.

    Args:
        read: does the computation; the seconds that it took.
        now_s: a monotonic clock.
        window_s: how long, seconds.
    """
    began_s = now_s()
    readings = [read()]
    while now_s() - began_s < window_s:
        readings.append(read())
    limit_s = SLOW_FROM * _lowest(readings, 0.1)
    return sum(seconds for seconds in readings if seconds > limit_s) / sum(readings)


def _lowest(values: Sequence[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


def matrix_products() -> Callable[[], float]:
    """The computation: products of matrices that fit into a third of the nearest cache; seconds of some of them."""
    rows, columns = np.full((2, _SIDE, _SIDE), 0.5, np.float32)
    product = np.empty_like(rows)

    def read() -> float:
        # The first ones after other work fetch code and data; of two rows of them one may be interrupted.
        taken = []
        for _ in range(3):
            started = time.perf_counter_ns()
            for _ in range(_PRODUCTS):
                np.dot(rows, columns, out=product)
            taken.append(time.perf_counter_ns() - started)
        return min(taken[1:]) * 1e-9

    return read
