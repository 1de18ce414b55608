"""Many measurements at once, as arrays: what the stopping rule makes of independent samples of known median."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from latency_tables.measurement import median_interval

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """A distribution around 1: how to draw from it at a given spread, and its median."""

    draw: Callable[[np.random.Generator, tuple[int, ...], float], Array]
    median: Callable[[float], float]


def _tailed(rng: np.random.Generator, size: tuple[int, ...], spread: float) -> Array:
    """A tenth of the samples come late, some by much."""
    late = 3 + 8 * rng.standard_exponential(size)
    return 1 + spread * np.where(rng.random(size) < 0.1, late, rng.standard_normal(size))


def _tailed_median(spread: float) -> float:
    def excess(x: float) -> float:
        return 0.9 * float(stats.norm.cdf(x)) + 0.1 * float(stats.expon.cdf(x - 3, scale=8)) - 0.5

    return 1 + spread * float(optimize.brentq(excess, -3, 3))


SHAPES = {
    "normal": Shape(lambda rng, size, spread: 1 + spread * rng.standard_normal(size), lambda spread: 1.0),
    "lognormal": Shape(
        lambda rng, size, spread: np.exp(2 * spread * rng.standard_normal(size)), lambda spread: 1.0
    ),
    "shifted exponential": Shape(
        lambda rng, size, spread: 1 + 2 * spread * rng.standard_exponential(size),
        lambda spread: 1 + 2 * spread * math.log(2),
    ),
    "heavy tail": Shape(_tailed, _tailed_median),
}


def stopped(
    samples: Array,
    looks: range,
    target: float,
    confidence: float,
    *,
    stall_after: float = math.inf,
    stall_ratio: float = 0.9,
    max_time_s: float = math.inf,
) -> tuple[NDArray[np.int64], Array, Array]:
    """Where each row's sampling stops by precision, stalled, when time is over, or at the last look.

    Args:
        samples: shape (measurements, samples), in the order taken.
        looks: numbers of samples at which the interval is looked at.
        target: relative half-width that is enough.
        confidence: of the interval looked at and stated.
        stall_after: as in `bench.stopping.Rule`.
        stall_ratio: likewise.
        max_time_s: likewise; samples are seconds.

    Returns:
        For each row how many samples were taken, and both ends of the interval.
    """
    rows = len(samples)
    taken, low, high = np.full(rows, looks[-1]), np.empty(rows), np.empty(rows)
    late = np.cumsum(samples, axis=1) >= max_time_s
    widths: dict[int, Array] = {}
    open_rows = np.arange(rows)
    for n in range(1, looks[-1] + 1):
        done = late[open_rows, n - 1] | (n == looks[-1])
        if n not in looks and not done.any():
            continue
        ordered = np.sort(samples[open_rows, :n], axis=1)
        # The rank of the ends depends on n alone: that of the numbers 0 to n - 1 is the ends themselves.
        ends = median_interval(np.arange(n), confidence)
        rank = int(ends.low) if math.isfinite(ends.low) else None
        below = np.full(len(ordered), -np.inf) if rank is None else ordered[:, rank]
        above = np.full(len(ordered), np.inf) if rank is None else ordered[:, -1 - rank]
        if n in looks:
            widths[n] = np.full(rows, np.nan)
            widths[n][open_rows] = width = (above - below) / 2 / np.median(ordered, axis=1)
            done = done | (width <= target)
            if n >= stall_after:
                stall_after *= 2
                earlier = [count for count in widths if 4 * count <= n]
                done |= width > stall_ratio * widths[earlier[-1]][open_rows]
        rows_done = open_rows[done]
        taken[rows_done], low[rows_done], high[rows_done] = n, below[done], above[done]
        open_rows = open_rows[~done]
        if not open_rows.size:
            break
    return taken, low, high
