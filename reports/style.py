"""How each method and each stage is drawn: the same in every figure of every report, told apart without colour."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from reports.results import UNPRUNED

# Chosen by search: contrast of at least 3 on white and on the page's dark background, and no two closer than
# 15 in CIELAB for people who lack one of the three kinds of cones.
_COLOURS = ("#2f7fd1", "#e0650a", "#488454", "#c0009c", "#6054e4", "#cc183c", "#c078b4", "#30a824")
# The names by matplotlib and by the page's script.
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
_DASHES: tuple[tuple[tuple[float, ...], str], ...] = (
    ((), "solid"),
    ((5, 2), "dash"),
    ((1, 1.5), "dot"),
    ((5, 1.5, 1, 1.5), "dashdot"),
    ((9, 3), "longdash"),
    ((9, 2, 1, 2), "longdashdot"),
)
# Reports draw from records alone, so the names stand here only to fix their looks: add at the end, never reorder.
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
# Eight colours and nine markers have no common divisor: the pairs repeat only after 72. The first colours are left
# to the methods that are in most reports.
_STRANGE = tuple(i for i in range(len(_KNOWN), len(_COLOURS) * len(_MARKERS)) if i % len(_COLOURS) > 2)


@dataclass(frozen=True, slots=True)
class Look:
    """How a method is drawn.

    Attributes:
        colour: as "#rrggbb".
        marker: matplotlib's name of the marker.
        symbol: the page's name of the same marker.
        dashes: lengths of strokes and gaps of its lines, in line widths; empty for a solid line.
        dash: the page's name of about the same line.
    """

    colour: str
    marker: str
    symbol: str
    dashes: tuple[float, ...] = ()
    dash: str = "solid"


@dataclass(frozen=True, slots=True)
class StageLook:
    """How a stage is drawn.

    Attributes:
        colour: as "#rrggbb".
        hatch: matplotlib's name of the pattern.
        pattern: the page's name of about the same pattern.
    """

    colour: str
    hatch: str
    pattern: str


# Paler than the methods' colours, so that nobody takes a stage for a method.
STAGES = (
    StageLook("#4f6f96", "", ""),
    StageLook("#a87a3a", "////", "/"),
    StageLook("#5d8a66", "....", "."),
    StageLook("#a65f6b", "\\\\\\\\", "\\"),
    StageLook("#7f74ae", "xxxx", "x"),
    StageLook("#857158", "----", "-"),
    StageLook("#46828c", "||||", "|"),
    StageLook("#96648f", "++++", "+"),
)
"""Looks of the stages in the order in which they happen; repeated after the eighth."""

_STAGES = ("score", "finetune", "measure", "profile", "adapt", "pseudo labels", "evaluate", "deliver")


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """Gives each method its look.

    Args:
        methods: names in any order, repeated or not.

    Returns:
        A look for each name. A method known to lathe always has the same one, and so has one that is not: its
        name decides. Where two unknown names would share a look in one report, the later by alphabet takes the
        next free one; no two share one before 36 unknown methods are drawn.
    """
    table = {}
    taken: set[int] = set()
    for name in sorted(set(methods)):
        if name == UNPRUNED:
            table[name] = Look("#77797f", "*", "star")
        elif name in _KNOWN:
            table[name] = _look(_KNOWN.index(name))
        else:
            slot = _slot(name, taken)
            taken.add(slot)
            table[name] = _look(slot)
    return table


def stage_looks(stages: Iterable[str]) -> dict[str, StageLook]:
    """Gives each stage its look: stages known to lathe always have the same one, others the unused ones in turn.

    Args:
        stages: names, in the order in which they happen.
    """
    names = list(dict.fromkeys(stages))
    free = [i for i, known in enumerate(_STAGES) if known not in names] or list(range(len(STAGES)))
    strange = [name for name in names if name not in _STAGES]
    return {
        name: STAGES[_STAGES.index(name) if name in _STAGES else free[strange.index(name) % len(free)]]
        for name in names
    }


def _slot(name: str, taken: set[int]) -> int:
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % len(_STRANGE)
    slots = (*_STRANGE[start:], *_STRANGE[:start])
    return next((slot for slot in slots if slot not in taken), slots[0])


def _look(i: int) -> Look:
    dashes, dash = _DASHES[i % len(_DASHES)]
    marker, symbol = _MARKERS[i % len(_MARKERS)]
    return Look(_COLOURS[i % len(_COLOURS)], marker, symbol, dashes, dash)
