"""What time is read from."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What time is read from; a device that runs on its own brings one that waits for it."""

    def now_s(self) -> float:
        """Seconds since a fixed moment, for limits."""

    def elapsed_s(self, run: Callable[[], object], repeats: int) -> float:
        """Seconds that ``repeats`` runs in a row take, from issuing the first to the end of the last."""

    def stamp(self) -> str:
        """The date and time, ISO 8601 with zone."""


class WallClock:
    """The machine's monotonic clock, for runs that are over when they return."""

    def now_s(self) -> float:
        """Seconds since a fixed moment."""
        return time.perf_counter_ns() * 1e-9

    def elapsed_s(self, run: Callable[[], object], repeats: int) -> float:
        """Seconds that ``repeats`` runs in a row take."""
        started = time.perf_counter_ns()
        for _ in range(repeats):
            run()
        return (time.perf_counter_ns() - started) * 1e-9

    def stamp(self) -> str:
        """The date and time, ISO 8601, UTC."""
        return datetime.now(UTC).isoformat(timespec="seconds")
