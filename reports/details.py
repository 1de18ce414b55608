"""What the page shows of one point when it is chosen: texts ready to be put on the screen."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports import charts
from reports.results import UNPRUNED, Point, Round
from reports.scenes import Placed, Scene
from reports.trace_view import samples_each, trace_view
from reports.units import duration, latency, number, percent, plain_latency

Row = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Details:
    """Details of the points that a page shows.

    Attributes:
        points: by key; the names are those that the page's script reads.
        bars: networks as lists of (name, seconds, text), each kept once however many points share it.
    """

    points: dict[int, dict[str, Any]]
    bars: list[tuple[tuple[str, float, str], ...]]

    def data(self) -> dict[str, Any]:
        """Plain JSON for the page."""
        return {"points": {str(key): point for key, point in self.points.items()}, "bars": self.bars}


def details(groups: Sequence[Scene], keys: Collection[int]) -> Details:
    """Writes out the details of the points of the scenes that have one of the keys."""
    bars: dict[tuple[tuple[str, float, str], ...], int] = {}
    samples = samples_each(len(keys))
    points = {
        placed.key: {"place": place, **_details(placed, bars, samples)}
        for place, scene in enumerate(groups)
        for placed in scene.points
        if placed.key in keys
    }
    return Details(points, list(bars))


def _details(
    placed: Placed, bars: dict[tuple[tuple[str, float, str], ...], int], samples: int
) -> dict[str, Any]:
    point = placed.point
    segments = charts.segments(point.parts)
    network = tuple((s.name, s.latency_s, plain_latency(s.latency_s)) for s in segments)
    trace = trace_view(point, samples) if samples else None
    gone = set(charts.names(segments, kept=False, in_part=False))
    return {
        "title": placed.title,
        "reason": point.reason,
        "verdict": _verdict(point),
        "disturbance": point.disturbance,
        "remarks": point.remarks,
        "facts": _facts(point),
        "trace": trace.data() if trace else None,
        "bar": bars.setdefault(network, len(bars)) if network else None,
        "kept": "".join("1" if s.kept else "0" for s in segments),
        "before": plain_latency(sum(s.latency_s for s in segments)),
        "after": plain_latency(sum(s.latency_s for s in segments if s.kept)),
        # The bar says so as well, in fewer bytes.
        "removed": () if gone == set(point.removed) else point.removed,
        "rounds": [_round(turn) for turn in point.rounds],
        "stages": [(name, duration(seconds)) for name, seconds in point.stages_s.items()],
        "controls": [
            *((name, percent(accuracy)) for name, accuracy in point.controls.items()),
            *((name, f"not made: {reason}") for name, reason in point.uncontrolled.items()),
        ],
        "artefacts": list(point.artefacts.items()),
        "run": placed.run.name,
        "command": point.command,
        "created": point.created,
    }


def what_goes(removed: Sequence[str], widths: Mapping[str, int]) -> str:
    """What a network lacks, in a few words, as in "3 blocks" or "12 groups narrower"."""
    said = []
    if removed or not widths:
        said.append(f"{len(removed)} block{'' if len(removed) == 1 else 's'}")
    if widths:
        said.append(f"{len(widths)} group{'' if len(widths) == 1 else 's'} narrower")
    return ", ".join(said)


def _verdict(point: Point) -> str | None:
    if point.met is None or point.measured_s is None:
        return None
    limit = f", {plain_latency(point.budget_s)}" if point.budget_s is not None else ""
    return f"Budget {'met' if point.met else 'missed'}: {point.budget}{limit}"


def _facts(point: Point) -> list[Row]:
    """Only what is known; a missing fact is left out, unless its absence is news."""
    recovered = point.method != UNPRUNED
    facts = [
        ("Accuracy", percent(point.accuracy) if point.accuracy else "unknown, no labels"),
        (
            "Unpruned network, same images",
            percent(point.accuracy_before) if point.accuracy_before and recovered else None,
        ),
        ("Agreement with unpruned in fp32", percent(point.agreement) if point.agreement else None),
        ("Divergence from unpruned in fp32", f"{number(point.kl)} nats" if point.kl else None),
        ("Measured latency", latency(point.measured_s)),
        ("Predicted latency", latency(point.predicted_s) if point.predicted_s else None),
        ("Unpruned, same pass", latency(point.unpruned_s) if point.unpruned_s else None),
        ("Measured / unpruned", number(point.ratio) if point.ratio else None),
        ("Weights taken out one by one", None if point.sparsity is None else f"{point.sparsity:.1%}"),
        ("Channels", what_goes((), point.widths) if point.widths else None),
    ]
    return [(name, text) for name, text in facts if text is not None] if point.status == "done" else []


def _round(turn: Round) -> tuple[str, ...]:
    return (
        what_goes(turn.removed, turn.widths),
        ", ".join([*turn.removed, *(f"{name} to {width}" for name, width in turn.widths.items())]),
        latency(turn.predicted_s),
        latency(turn.measured_s),
        "met" if turn.met else "missed",
    )
