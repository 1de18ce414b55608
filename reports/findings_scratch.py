"""Findings about methods that prune before training: how each stands to the controls that it really has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from reports.finding import Finding, Kind, Level, listed
from reports.rivals import Lead, doubt, leads_over_controls
from reports.scenes import Placed, Scene

#: What a control holds constant, by the beginning of its name: where it does as well, this alone may be the reason.
_HELD = {
    "same mask shuffled": "how many weights each layer keeps",
    "random mask of the same density": "how many weights each layer keeps",
    "random mask by the smart density profile": "a density profile that looks at no weight",
    "channels by the smart density profile": "a density profile that looks at no weight",
    "same widths, channels drawn": "how many channels each group keeps",
    "channels at random": "chance",
    "same mask, first weights": "what was chosen, whichever first weights it has",
    "same channels, first weights": "what was chosen, whichever first weights it has",
    "simple combination": "a choice by plain cross entropy",
    "same widths, trained without": "the widths without a teacher",
}

#: Controls of other widths, by the beginning of their names: the table alone holds them to the point's latency.
_BY_TABLE = ("channels at random", "channels by the smart density profile", "simple combination: channels")


def from_scratch(scene: Scene) -> Iterator[Finding]:
    """How each method that prunes before training stands to its controls, budget by budget."""
    groups: dict[tuple[str, str], list[Placed]] = {}
    for placed in scene.done:
        point = placed.point
        if point.sparsity is not None or point.widths:
            groups.setdefault((placed.series, point.budget), []).append(placed)
    for (series, budget), points in groups.items():
        # Where there is none, `reports.findings_alone` says so.
        if leads := leads_over_controls(points):
            yield _compared(f"{series} at {budget}", leads, _missing(points))


def _compared(what: str, leads: Sequence[Lead], missing: Sequence[str]) -> Finding:
    behind = [lead for lead in leads if not lead.surely_above]
    below = [lead for lead in leads if lead.surely_below]
    # With one seed there is no interval over seeds; what is sure is so by the images alone.
    sure = "beyond the interval" if all(lead.seeds > 1 for lead in leads) else "as far as the images tell"
    if below:
        said = f"is below {_share(below, leads)} {sure}"
    elif behind:
        said = f"is not surely above {_share(behind, leads)}"
    else:
        said = f"is above {_all(leads)}{' that could be made' if missing else ''} {sure}"
    first, *others = leads
    text = f"{first.text('the strongest' if others else 'it')}, “{first.rival}”"
    meaning = (
        f"What may explain the result as well: {_held(behind, 'or')}."
        if behind
        else f"The result is not explained by {_held(leads, 'nor by')}."
    )
    if others:
        meaning = "The others: " + "; ".join(f"{o.text('it')}: “{o.rival}”" for o in others) + f". {meaning}"
    if by_table := [lead.rival for lead in leads if lead.rival.startswith(_BY_TABLE)]:
        meaning += (
            f" {_named(by_table)} {'is' if len(by_table) == 1 else 'are'} no slower than the point as the table "
            "predicts, and not timed: what is slower or quicker in truth has more or less left to be good with."
        )
    if missing:
        meaning += f" Nothing is known of {_named(missing)}, which could not be made with every seed."
    remedy = (
        "Take the simplest of the networks that are level, or add seeds until the interval is clear of zero."
        if behind
        else "Look at its files and its command."
    )
    if missing:
        remedy += " The point says why a control is missing."
    return Finding(
        Kind.CONTROL,
        Level.HAZARD if behind else Level.RESULT,
        f"{what} {said} ({doubt(leads)}): {text}.",
        meaning,
        remedy,
        "points",
        84 if behind else 70,
    )


def _missing(points: Iterable[Placed]) -> list[str]:
    """Controls that some seed lacks."""
    return list(dict.fromkeys(name for placed in points for name in placed.point.uncontrolled))


def _share(some: Sequence[Lead], leads: Sequence[Lead]) -> str:
    return "its control" if len(leads) == 1 else f"{len(some)} of its {len(leads)} controls"


def _all(leads: Sequence[Lead]) -> str:
    return "its control" if len(leads) == 1 else f"all its {len(leads)} controls"


def _held(leads: Sequence[Lead], joint: str) -> str:
    """What controls hold constant, each once; one that nobody knows stands there by its name."""
    held = (
        next((words for start, words in _HELD.items() if lead.rival.startswith(start)), f"“{lead.rival}”")
        for lead in leads
    )
    return f" {joint} ".join(dict.fromkeys(held))


def _named(names: Sequence[str]) -> str:
    return listed([f"“{name}”" for name in names])
