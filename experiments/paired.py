"""Differences of accuracy on the same images with the same seeds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def paired(first: NDArray[np.float64], second: NDArray[np.float64], cells: int) -> tuple[float, float, float]:
    """Mean difference with its 95 % interval.

    Args:
        first: accuracies, 0 to 1, shape (cells * items,), those of one cell together.
        second: of the same items.
        cells: how many; they are resampled whole, since the items of a cell share their images.

    Returns:
        Mean of first - second, and the ends of its bootstrap interval; with one cell the interval has no width
        and says nothing.
    """
    difference = (first - second).reshape(cells, -1).mean(1)
    draws = difference[np.random.default_rng(0).integers(0, cells, (4000, cells))].mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)
