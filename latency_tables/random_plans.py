"""Plans drawn at random: networks to fit a prediction on, and to judge it by."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from latency_tables.interpolation import MULTIPLE
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.widths import ChannelGroup

NARROWEST = 0.25
"""Share of a group's channels below which no plan goes, and no table is measured."""

WHAT = ("blocks", "widths", "both")


def draw_plans(skeleton: Skeleton, count: int, seed: int, what: Sequence[str] = WHAT) -> list[Cut]:
    """Different random plans: by turns blocks out, channels out, both.

    How much goes is drawn first, evenly between little and much, then which: so plans spread over all latencies
    that can be reached, where independent draws would all lie in the middle.

    Args:
        skeleton: the unpruned network.
        count: how many; fewer come back where the network has no more.
        seed: of the draw; the network's own digest is part of it.
        what: kinds of plans, of `WHAT`, taken by turns; those for which the network has nothing are left out.
    """
    draw = random.Random(f"{skeleton.digest} {seed}")  # noqa: S311  which networks to measure is no secret
    blocks = skeleton.removable
    groups = [group for group in skeleton.groups if group.frozen is None]
    kinds = [kind for kind in what if (kind == "widths" or blocks) and (kind == "blocks" or groups)]
    found: dict[Cut, None] = {}
    for attempt in range(20 * count):
        if len(found) == count or not kinds:
            break
        kind = kinds[(len(found) if attempt < 10 * count else attempt) % len(kinds)]
        removed: tuple[str, ...] = ()
        widths: tuple[tuple[str, int], ...] = ()
        if kind != "widths":
            share = draw.uniform(0.1, 0.8)
            some = min(len(blocks), max(1, round(share * len(blocks))))
            removed = tuple(sorted(draw.sample(blocks, some)))
        if kind != "blocks":
            centre = draw.uniform(NARROWEST, 1.0)
            widths = tuple(
                sorted(
                    (group.name, width)
                    for group in groups
                    if (width := _width(group.channels, centre, draw)) < group.channels
                )
            )
        if removed or widths:
            found[Cut(removed, widths)] = None
    return list(found)


def uniform_widths(groups: Sequence[ChannelGroup], share: float) -> dict[str, int]:
    """Every group that may change at one share of its channels, rounded up to a multiple of `MULTIPLE`."""
    widths = {group.name: _rounded(share * group.channels) for group in groups if group.frozen is None}
    return {
        group.name: widths[group.name]
        for group in groups
        if widths.get(group.name, math.inf) < group.channels
    }


def _width(channels: int, centre: float, draw: random.Random) -> int:
    """Channels that stay, most often near a share of them."""
    return _rounded(draw.triangular(NARROWEST, 1.0, centre) * channels)


def _rounded(width: float) -> int:
    return math.ceil(width / MULTIPLE) * MULTIPLE
