"""A number together with how sure we are of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its two-sided 95 % interval; unit as named by the field that holds it.

    Attributes:
        value: the best single number, finite.
        low: lower end of the interval, ``low <= value``; minus infinity where the data bound nothing.
        high: upper end of the interval, ``value <= high``; infinity where the data bound nothing.
    """

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and self.low <= self.value <= self.high):
            raise ValueError(f"low <= value <= high must hold, but got {self.low}, {self.value}, {self.high}")

    def scaled(self, factor: float) -> Estimate:
        """The estimate times a positive constant."""
        if factor <= 0:
            raise ValueError(f"factor must be positive, got {factor}")
        return Estimate(self.value * factor, self.low * factor, self.high * factor)

    def to_json(self) -> list[float | None]:
        """``[value, low, high]``; an end that is not finite becomes null."""
        return [self.value, *(end if math.isfinite(end) else None for end in (self.low, self.high))]

    @classmethod
    def from_json(cls, data: Sequence[float | None]) -> Estimate:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: not three numbers in the right order.
        """
        if len(data) != 3 or data[0] is None:
            raise ValueError(f"an estimate is [value, low, high], got {data!r}")
        _, low, high = data
        return cls(data[0], -math.inf if low is None else low, math.inf if high is None else high)


def numbers(name: str, estimate: Estimate | None) -> dict[str, Any]:
    """A value and its interval as scripts read them, under ``name`` and ``name_interval``; null where unknown."""
    return {
        name: None if estimate is None else estimate.value,
        f"{name}_interval": None if estimate is None else estimate.to_json()[1:],
    }
