"""What a report has to say, in the form of a report card: what was found, what it means, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a finding is about."""

    REACHED = "reached"  #: what the best method reaches under a budget
    UNREACHED = "unreached"  #: a budget that no point met
    RANDOM = "random"  #: a method that is not above blocks drawn at random
    CONTROL = "control"  #: a control that explains a result, or that it falls behind
    USELESS = "useless"  #: accuracy too far below the unpruned network's
    SEEDS = "seeds"  #: too few seeds to know the spread
    UNORDERED = "unordered"  #: points that noise alone could order otherwise
    DISTURBED = "disturbed"  #: measurements during which the machine was busy
    THROTTLED = "throttled"  #: measurements during which the GPU was slower than asked for
    MISSED = "missed"  #: points that missed their budget
    FAILED = "failed"  #: points that failed
    DAMAGED = "damaged"  #: files of points that cannot be read
    PREDICTED = "predicted"  #: how well the table predicts
    LAUNCHING = "launching"  #: launches that take longer than the work that they launch
    FLOATS = "floats"  #: parts of a network in integers that stay in floats
    BREAKS = "breaks"  #: places where a compiler gave up
    PROVIDERS = "providers"  #: nodes that another provider ran than the one that is timed
    BUILDS = "builds"  #: builds of one network that differ
    FLOOR = "floor"  #: latency that no removal can free
    RUNS = "runs"  #: differences between runs
    ELSEWHERE = "elsewhere"  #: what becomes of the points in another setting


class Level(StrEnum):
    """How a finding is meant."""

    RESULT = "result"
    HAZARD = "hazard"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a reader of the report must know.

    Attributes:
        kind: what it is about.
        level: how it is meant.
        hazard: what was found, with its figures and their doubt.
        meaning: what follows from it.
        remedy: what to do.
        figure: what shows it: "pareto", "points", "controls", "predicted", "parts", "failed", "compare", "runs" or
            "elsewhere".
        weight: findings of more weight stand further up.
    """

    kind: Kind
    level: Level
    hazard: str
    meaning: str
    remedy: str
    figure: str
    weight: float


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun, as in "1 point" or "3 points"."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def listed(names: list[str], most: int = 4) -> str:
    """Names in a row, as in "a, b and 3 more"."""
    if len(names) <= most:
        return ", ".join(names[:-1]) + (" and " if len(names) > 1 else "") + "".join(names[-1:])
    return f"{', '.join(names[:most])} and {len(names) - most} more"
