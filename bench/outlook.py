"""How long it will take to measure what the tables lack, counted beforehand."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.asked_networks import pending_networks
from bench.width_plan import Kin, Point, WidthPlan
from latency_tables.family import Family, families
from latency_tables.skeleton import Skeleton
from latency_tables.surfaces import known_points
from latency_tables.table import LatencyTable
from pruning.outline import Outline

CELL_S = 0.1
NETWORK_S = 4.0
"""Seconds from one measurement to the next, of a part and of a whole network: in the tables that come with lathe
they lie 0.08 and 3.2 (ONNX Runtime) or 5.1 (eager) apart in the mean."""
_STEP = 16
"""Latencies that are not known yet are taken to rise in steps of so many channels, as in ONNX Runtime with AVX-512.
A ResNet-50 is foreseen to need 1075 cells, and 1174 were measured; without steps it may be twice as many."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is still to be timed.

    Attributes:
        parts: timed alone.
        networks: timed whole, each time counted.
    """

    parts: int = 0
    networks: int = 0

    @property
    def seconds(self) -> float:
        """How long that will take, within a factor of two or so; without what a runtime takes to compile."""
        return self.parts * CELL_S + self.networks * NETWORK_S

    def __add__(self, other: Outlook) -> Outlook:
        return Outlook(self.parts + other.parts, self.networks + other.networks)


def outlook(outline: Outline, table: LatencyTable) -> Outlook:
    """What a profile of a network will time in a setting.

    Args:
        outline: the network; with channel groups where parts are timed at other widths, too.
        table: what is known in the setting.
    """
    parts = len(table.missing(outline.skeleton)) + _narrower(outline.skeleton, table)
    return Outlook(parts, len(pending_networks(outline, table)))


def _narrower(skeleton: Skeleton, table: LatencyTable) -> int:
    """How many cells at other widths are asked for, if latencies are what `_guess_s` says.

    The plan of a profile asks for the next cell by what the last ones took, so it is gone through with guesses.
    """
    if not skeleton.groups:
        return 0
    layers: dict[str, list[Family]] = {}
    for family in families(skeleton):
        if family.axes:
            layers.setdefault(family.pattern, []).append(family)
    kin = [
        Kin(alike[0], tuple(dict.fromkeys(family.full for family in alike)), worth_s=1.0)
        for alike in layers.values()
    ]
    known = known_points(skeleton, [one.family for one in kin], table)
    level = {one.family.pattern: _level(one.family.full, known[one.family.pattern]) for one in kin}
    for one in kin:
        for full in one.full:
            known[one.family.pattern].setdefault(full, level[one.family.pattern] * _guess_s(full))
    asked = 0
    for wanted in WidthPlan(kin, known).points():
        pattern = wanted.family.pattern
        asked += (
            wanted.family.at(wanted.values).key not in table.cells
        )  # else it failed, and is not tried again
        known[pattern][wanted.values] = level[pattern] * _guess_s(wanted.values)
    return asked


def _level(full: Point, known: dict[Point, float]) -> float:
    """What a guess is to be multiplied with, to fit what was measured at full width; 1 where nothing was."""
    return known[full] / _guess_s(full) if full in known else 1.0


def _guess_s(values: Point) -> float:
    """A latency that rises with the product of the widths, in steps."""
    return math.prod(value if value <= _STEP else -(-value // _STEP) * _STEP for value in values) * 1e-9
