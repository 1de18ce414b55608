"""A trace as the page draws it: thinned once more, and relative to the medians, so that noise can be seen."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latency_tables.estimate import Estimate
from latency_tables.trace import Trace, thinned
from reports.results import Point
from reports.units import latency

_STEPS = 255  # finer than a screen draws a strip
_MOST, _FEWEST, _IN_ALL = 80, 12, 80_000


def samples_each(points: int) -> int:
    """How many samples of a network the page shows, so that its points fit; none where too few would be left."""
    each = min(_MOST, _IN_ALL // max(points, 1))
    return each if each >= _FEWEST else 0


@dataclass(frozen=True, slots=True)
class Strip:
    """The samples of one network.

    Attributes:
        name: of the network.
        median: its latency with the interval, in words.
        low: the interval's lower end over the median, minus 1; None where unbounded.
        high: the same of the upper end.
        samples: each over the median, minus 1; in the order taken.
        taken: how many were taken in truth.
    """

    name: str
    median: str
    low: float | None
    high: float | None
    samples: tuple[float, ...]
    taken: int


@dataclass(frozen=True, slots=True)
class TraceView:
    """Both networks on one relative scale.

    Attributes:
        strips: the pruned network, then the unpruned one.
        low: lower end of the scale, 0 being the median.
        high: upper end of the scale. A few samples far above the others are beyond it, since they would make the
            others a flat line; the drawing marks them.
    """

    strips: tuple[Strip, Strip]
    low: float
    high: float

    def data(self) -> dict[str, Any]:
        """Plain JSON for the page: samples as base64 of one byte each, 0 at low and 255 at high or beyond."""
        return {
            "low": round(self.low, 5),
            "high": round(self.high, 5),
            "strips": [
                {
                    "name": strip.name,
                    "median": strip.median,
                    "from": None if strip.low is None else round(strip.low, 5),
                    "to": None if strip.high is None else round(strip.high, 5),
                    "above": sum(sample > self.high for sample in strip.samples),
                    "taken": strip.taken,
                    "samples": self._encoded(strip.samples),
                }
                for strip in self.strips
            ],
        }

    def _encoded(self, samples: Sequence[float]) -> str:
        steps = (np.array(samples) - self.low) / (self.high - self.low) * _STEPS
        return base64.b64encode(np.clip(np.rint(steps), 0, _STEPS).astype(np.uint8).tobytes()).decode()


def trace_view(point: Point, most: int) -> TraceView | None:
    """What to draw of a point's trace.

    Args:
        point: any.
        most: samples of each network to keep, at least 2.

    Returns:
        The drawing's data; None where the point has no trace or lacks a latency.
    """
    trace, pruned, unpruned = point.trace, point.measured_s, point.unpruned_s
    if trace is None or pruned is None or unpruned is None:
        return None
    strips = _strips(trace, pruned, unpruned, most)
    values = np.array([value for strip in strips for value in strip.samples])
    ends = [end for strip in strips for end in (strip.low, strip.high) if end is not None]
    usual = float(np.quantile(values, 0.95))
    low = min(float(values.min()), *ends, -0.001)
    high = max(min(float(values.max()), 2 * usual), *ends, 0.001)
    return TraceView(strips, low, high)


def _strips(trace: Trace, pruned: Estimate, unpruned: Estimate, most: int) -> tuple[Strip, Strip]:
    def strip(name: str, samples: Sequence[float], estimate: Estimate, taken: int) -> Strip:
        return Strip(
            name,
            latency(estimate),
            _relative(estimate.low, estimate.value),
            _relative(estimate.high, estimate.value),
            tuple(sample / estimate.value - 1 for sample in thinned(samples, most)),
            taken,
        )

    return (
        strip("this network", trace.pruned_s, pruned, trace.pruned_taken),
        strip("unpruned", trace.unpruned_s, unpruned, trace.unpruned_taken),
    )


def _relative(end: float, value: float) -> float | None:
    return end / value - 1 if np.isfinite(end) else None
