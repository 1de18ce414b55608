"""Colour and marker of each method: the same in every figure, told apart without colour by the marker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reports.results import UNPRUNED

# Middle tones: each has a contrast of 3 or more on white and on the page's dark background.
_COLOURS = ("#2f7fd1", "#d4690b", "#1a9069", "#d6455d", "#8f63d2", "#9a6e48", "#138d9b", "#c04da2")
# The names by matplotlib and by plotly.
_MARKERS = (
    ("o", "circle"),
    ("s", "square"),
    ("^", "triangle-up"),
    ("D", "diamond"),
    ("v", "triangle-down"),
    ("P", "cross"),
    ("X", "x"),
    ("p", "pentagon"),
    ("h", "hexagon"),
)
# Reports draw from records alone, so the names stand here only to keep their looks from one report to the next.
_KNOWN = (
    "ttmpd",
    "practise",
    "random",
    "epsd-structured",
    "epsd",
    "last",
    "ttmpd-no-latency",
    "kd",
    "joint",
    "snip",
    "grasp",
    "synflow",
    "prospr",
    "magnitude",
    "taylor",
)


@dataclass(frozen=True, slots=True)
class Look:
    """How a method is drawn.

    Attributes:
        colour: as "#rrggbb".
        marker: matplotlib's name of the marker.
        symbol: plotly's name of the same marker.
    """

    colour: str
    marker: str
    symbol: str


@dataclass(frozen=True, slots=True)
class StageLook:
    """How a stage is drawn.

    Attributes:
        colour: as "#rrggbb".
        hatch: matplotlib's name of the pattern.
        pattern: plotly's name of about the same pattern.
    """

    colour: str
    hatch: str
    pattern: str


STAGES = (
    StageLook("#3f6fa8", "", ""),
    StageLook("#e0a04a", "////", "/"),
    StageLook("#68a882", "....", "."),
    StageLook("#c26a77", "\\\\\\\\", "\\"),
    StageLook("#9583bd", "xxxx", "x"),
    StageLook("#a98a6c", "----", "-"),
    StageLook("#5da3ae", "||||", "|"),
    StageLook("#b878a6", "++++", "+"),
)
"""Looks of the stages in the order in which they happen; repeated after the eighth."""


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """Gives each method its look.

    Args:
        methods: names in any order, repeated or not.

    Returns:
        A look for each name. A method known to lathe always has the same one; others take the following
        ones in the order of their names. No two share a look until 72 methods are drawn.
    """
    wanted = set(methods)
    names = sorted(wanted - {UNPRUNED})
    slots = [*_KNOWN, *(name for name in names if name not in _KNOWN)]
    table = {name: _look(i) for i, name in enumerate(slots) if name in names}
    if UNPRUNED in wanted:
        table[UNPRUNED] = Look("#77797f", "*", "star")
    return table


def _look(i: int) -> Look:
    # Eight colours and nine markers have no common divisor: the pairs repeat only after 72.
    marker, symbol = _MARKERS[i % len(_MARKERS)]
    return Look(_COLOURS[i % len(_COLOURS)], marker, symbol)
