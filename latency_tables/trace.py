"""The samples of an interleaved pass, thinned, so that a reader can see what a latency was made from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MAX_SAMPLES = 400
"""A trace keeps at most so many samples of each network."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Samples of a pruned and the unpruned network, timed in turns.

    Attributes:
        pruned_s: seconds per run of the pruned network, in the order taken, at most `MAX_SAMPLES`.
        unpruned_s: the same of the unpruned network.
        pruned_taken: how many samples were taken of the pruned network; more than are kept where thinned.
        unpruned_taken: the same of the unpruned network.
    """

    pruned_s: tuple[float, ...]
    unpruned_s: tuple[float, ...]
    pruned_taken: int
    unpruned_taken: int

    def __post_init__(self) -> None:
        for name in ("pruned", "unpruned"):
            samples, taken = getattr(self, f"{name}_s"), getattr(self, f"{name}_taken")
            if not 0 < len(samples) <= MAX_SAMPLES:
                raise ValueError(f"{name}_s must hold 1 to {MAX_SAMPLES} samples, got {len(samples)}")
            if not all(0 < sample < math.inf for sample in samples):
                raise ValueError(f"{name}_s must hold finite times above 0, got {min(samples)}")
            if taken < len(samples):
                raise ValueError(f"{name}_taken must be at least the {len(samples)} kept, got {taken}")

    @classmethod
    def of(cls, pruned_s: Sequence[float], unpruned_s: Sequence[float]) -> Trace:
        """Thins the samples of both networks evenly and keeps the true counts.

        Args:
            pruned_s: in the order taken, at least one, all above 0.
            unpruned_s: the same of the unpruned network.
        """
        return cls(
            thinned(pruned_s, MAX_SAMPLES), thinned(unpruned_s, MAX_SAMPLES), len(pruned_s), len(unpruned_s)
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, one key for each field."""
        return {
            "pruned_s": list(self.pruned_s),
            "unpruned_s": list(self.unpruned_s),
            "pruned_taken": self.pruned_taken,
            "unpruned_taken": self.unpruned_taken,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Trace:
        """Reads what `to_json` wrote."""
        return cls(
            tuple(data["pruned_s"]), tuple(data["unpruned_s"]), data["pruned_taken"], data["unpruned_taken"]
        )


def thinned(samples: Sequence[float], most: int) -> tuple[float, ...]:
    """Evenly spaced ones of the samples, in order, the first and the last among them.

    Args:
        samples: any number.
        most: how many to keep, at least 2; fewer samples are all kept.
    """
    if len(samples) <= most:
        return tuple(samples)
    step = (len(samples) - 1) / (most - 1)
    return tuple(samples[round(i * step)] for i in range(most))
