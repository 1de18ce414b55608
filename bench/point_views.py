"""Points of a run → what the commands print: lines for people, plain values for ``--json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.terminal import Terminal, percent_text, time_text
from latency_tables.estimate import numbers
from reports.results import Point


def point_json(point: Point) -> dict[str, Any]:
    """What ``lathe prune --json`` prints: one number and its interval for each quantity."""
    result: dict[str, Any] = {"id": point.id, "method": point.method, "status": point.status}
    result |= {"reason": point.reason, "budget": point.budget, "budget_s": point.budget_s, "met": point.met}
    result["budget_s_interval"] = _budget_interval(point)
    quantities = {
        "unpruned_s": point.unpruned_s,
        "predicted_s": point.predicted_s,
        "measured_s": point.measured_s,
        "ratio": point.ratio,
        "accuracy_before": point.accuracy_before,
        "accuracy_after": point.accuracy,
        "agreement": point.agreement,
        "kl": point.kl,
    }
    for name, estimate in quantities.items():
        result |= numbers(name, estimate)
    result |= {
        "removed": list(point.removed),
        "widths": dict(point.widths),
        "sparsity": point.sparsity,
        "rounds": len(point.rounds),
        "stages_s": dict(point.stages_s),
        "controls": {name: estimate.value for name, estimate in point.controls.items()},
        "uncontrolled": dict(point.uncontrolled),
        "remarks": list(point.remarks),
        "artefacts": dict(point.artefacts),
        "command": point.command,
    }
    return result


def _budget_interval(point: Point) -> list[float | None] | None:
    """A share of the unpruned latency is known as well as that latency; a time is what it is."""
    if point.budget_s is None or point.unpruned_s is None:
        return None
    if not point.budget.endswith("x"):
        return [point.budget_s, point.budget_s]
    return point.unpruned_s.scaled(point.budget_s / point.unpruned_s.value).to_json()[1:]


def show_point(terminal: Terminal, point: Point) -> None:
    """The outcome of one pruning, in a few lines."""
    out = terminal.results
    if point.status == "failed":
        out.print(f"{point.id} failed: {point.reason}")
        return
    assert point.measured_s is not None  # noqa: S101  the record holds it for every point that is done
    if point.sparsity is not None:
        out.print(
            f"removed {point.sparsity:.1%} of the weights one by one; a dense runtime is no faster for it"
        )
    elif point.widths:
        narrower = ", ".join(f"{name} to {width}" for name, width in point.widths.items())
        out.print(f"narrower in {len(point.widths)} groups: {narrower}")
    else:
        out.print(f"removed {len(point.removed)} blocks: {', '.join(point.removed) or 'none'}")
    for turn in point.rounds:
        verdict = "met" if turn.met else "missed"
        what = f"narrower in {len(turn.widths)} groups" if turn.widths else f"{len(turn.removed)} blocks out"
        out.print(
            f"timed: {what}, predicted {time_text(turn.predicted_s)}, measured "
            f"{time_text(turn.measured_s)}, budget {verdict}"
        )
    if point.budget_s is not None:
        out.print(
            f"latency   {time_text(point.measured_s)}, budget {time_text(point.budget_s)} ({point.budget})"
        )
    if point.ratio is not None and point.unpruned_s is not None:
        low, high = point.ratio.low, point.ratio.high
        out.print(
            f"          {point.ratio.value:.3f} ({low:.3f} to {high:.3f}) of the unpruned network's "
            f"{time_text(point.unpruned_s.value)}, measured in turns"
        )
    for remark in point.remarks:
        out.print(f"runtime   {remark}")
    out.print(f"accuracy  {percent_text(point.accuracy_before)} before, {percent_text(point.accuracy)} after")
    for name, estimate in point.controls.items():
        out.print(f"          {percent_text(estimate)} {name}")
    for name, reason in point.uncontrolled.items():
        out.print(f"          not made: {name} ({reason})")
    out.print(f"agreement {percent_text(point.agreement)} with the unpruned network in fp32")
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in point.stages_s.items())
    out.print(f"time      {stages}")
    out.print(f"again     {point.command}")


def show_points(terminal: Terminal, points: Sequence[Point]) -> None:
    """All points of a sweep, one line each, then why the others failed."""
    rows = []
    for point in points:
        setting, named, _ = point.id.partition(f"-{point.method}-")
        words = [setting if named else "", point.budget, point.method, str(point.seed)]
        if point.measured_s is None or point.ratio is None:
            rows.append([*words, "failed", "", "", ""])
            continue
        accuracy = "unknown" if point.accuracy is None else f"{point.accuracy.value:.1%}".replace("%", " %")
        met = "" if point.met is None else "yes" if point.met else "no"
        rows.append([*words, time_text(point.measured_s.value), f"{point.ratio.value:.3f}", met, accuracy])
    columns = ["runtime", "budget", "method", "seed", "measured", "share", "met", "accuracy"]
    terminal.show("", columns, rows)
    for point in points:
        if point.status == "failed":
            terminal.results.print(f"{point.id} failed: {point.reason}")
