"""The steps of a kind of layer, read from lines of which some were disturbed."""

from __future__ import annotations

import math
from collections.abc import Callable

from latency_tables.interpolation import Stairs
from latency_tables.surfaces import kind_stairs

SWEEP = (*range(16, 65, 4), 33, 34, 50, 51)


def swept(step: int, slow: Callable[[int], bool] = lambda _: False) -> dict[tuple[int, ...], float]:
    """A staircase along the first of two axes, on part of which a neighbour slowed the machine down."""
    return {(w, 128): (5e-6 + 1e-6 * math.ceil(w / step)) * (1.8 if slow(w) else 1.0) for w in SWEEP}


def test_stairs_are_told_by_several_lines_since_one_may_be_disturbed() -> None:
    sound, disturbed = swept(16), swept(16, lambda width: width in (33, 34, 48) or width > 52)
    assert kind_stairs([disturbed], 2)[0] == Stairs(8, 4)
    assert kind_stairs([disturbed, sound], 2)[0] == kind_stairs([sound, disturbed], 2)[0] == Stairs(16, 1)
    assert kind_stairs([swept(1), swept(1, lambda width: width > 40)], 2)[0].step == 1
    assert kind_stairs([], 2) == (Stairs(), Stairs())


def test_lines_on_the_ends_of_steps_do_not_outvote_sweeps() -> None:
    ends = {(width, 64): 5e-6 + 1e-6 * width / 8 for width in (4, *range(8, 65, 8))}
    assert kind_stairs([swept(8), *[ends] * 5], 2)[0].step == 8
