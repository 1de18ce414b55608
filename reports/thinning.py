"""Fewer marks than points, where a chart could not show them all: what matters stays, and the rest is counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

_T = TypeVar("_T")


def thin(items: Sequence[_T], most: int, rank: Callable[[_T], int]) -> tuple[_T, ...]:
    """Takes at most so many of the items, in their order.

    Args:
        items: any number.
        most: how many may stay, at least 1.
        rank: 0 for what matters most. All of a rank stay before any of the next; of the first rank that does
            not fit, evenly spaced ones stay.

    Returns:
        The items that stay: all of them, if they are not too many.
    """
    if len(items) <= most:
        return tuple(items)
    kept: list[int] = []
    by_rank: dict[int, list[int]] = {}
    for i, item in enumerate(items):
        by_rank.setdefault(rank(item), []).append(i)
    for level in sorted(by_rank):
        room = most - len(kept)
        found = by_rank[level]
        kept += found if len(found) <= room else [found[i * len(found) // room] for i in range(room)]
        if len(found) >= room:
            break
    return tuple(items[i] for i in sorted(kept))
