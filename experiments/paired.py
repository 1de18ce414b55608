"""Differences of accuracy on the same images with the same seeds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t


def paired(first: NDArray[np.float64], second: NDArray[np.float64], cells: int) -> tuple[float, float, float]:
    """Mean difference with its 95 % interval.

    Args:
        first: accuracies, 0 to 1, shape (cells * items,), those of one cell together.
        second: of the same items.
        cells: how many; the items of a cell share their images, so each counts as one observation.

    Returns:
        Mean of first - second, and the ends of its interval after Student; with one cell they are infinitely far.
    """
    difference = (first - second).reshape(cells, -1).mean(1)
    mean = float(difference.mean())
    if cells == 1:
        return mean, -np.inf, np.inf
    reach = float(t.ppf(0.975, cells - 1) * difference.std(ddof=1) / np.sqrt(cells))
    return mean, mean - reach, mean + reach
