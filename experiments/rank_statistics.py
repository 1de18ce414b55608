"""Rank correlation within cells, and its doubt by resampling what was ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000


@dataclass(frozen=True)
class Ranking:
    """What a signal said, and what came out, of the same removals of one cell.

    Attributes:
        signal: shape (n,), higher is worse.
        truth: shape (n,), higher is worse.
    """

    signal: NDArray[np.float64]
    truth: NDArray[np.float64]


def tau(ranking: Ranking, index: NDArray[np.intp] | None = None) -> float:
    """Kendall's tau-b of the items drawn; 0 where a side is constant."""
    x, y = _signs(ranking.signal), _signs(ranking.truth)
    if index is not None:
        x, y = x[np.ix_(index, index)], y[np.ix_(index, index)]
    norm = float(np.sqrt(np.abs(x).sum() * np.abs(y).sum()))
    return float((x * y).sum()) / norm if norm else 0.0


def resampled(groups: Sequence[Sequence[Ranking]], seed: int = 0) -> NDArray[np.float64]:
    """Mean tau over cells, with the removals drawn anew each time.

    The cells of a network share their removals (shift and seed differ), so one draw serves all of them: as many
    times as they are repeated, there are no more removals than in one. Cells of other counts have draws of their own.

    Args:
        groups: one for each signal to be compared, the same cells in the same order in each; items are drawn alike
            in all of them, so that differences between the results are paired. Cells of equal count hold the same
            removals in the same order.
        seed: of the draws.

    Returns:
        Shape (groups, RESAMPLES + 1); the first column is that of all items.
    """
    rng = np.random.default_rng(seed)
    result = np.zeros((len(groups), RESAMPLES + 1))
    cells = len(groups[0])
    drawn: dict[int, list[NDArray[np.intp]]] = {}
    for place in range(cells):
        count = len(groups[0][place].truth)
        if count not in drawn:
            drawn[count] = [np.arange(count), *rng.integers(0, count, (RESAMPLES, count))]
        signs = [(_signs(group[place].signal), _signs(group[place].truth)) for group in groups]
        for draw, index in enumerate(drawn[count]):
            grid = np.ix_(index, index)
            for row, (x, y) in enumerate(signs):
                drawn_x, drawn_y = x[grid], y[grid]
                norm = float(np.sqrt(np.abs(drawn_x).sum() * np.abs(drawn_y).sum()))
                result[row, draw] += (float((drawn_x * drawn_y).sum()) / norm if norm else 0.0) / cells
    return result


def interval(draws: NDArray[np.float64]) -> tuple[float, float, float]:
    """Value of all items and the 95 % percentile interval of the resamples."""
    low, high = np.quantile(draws[1:], [0.025, 0.975])
    return float(draws[0]), float(low), float(high)


def _signs(values: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        difference = values[:, None] - values[None, :]
    return np.sign(np.nan_to_num(difference, nan=0.0, posinf=1.0, neginf=-1.0))
