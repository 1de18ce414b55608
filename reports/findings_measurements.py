"""Findings about the measurements: what noise, a busy machine, failures and the table's errors leave in doubt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from latency_tables.measurement import LAUNCH_BOUND, SLOWED_CORE, THROTTLED
from reports.charts import TOLERANCE, pareto_chart, prediction_chart
from reports.comparison import comparisons
from reports.difference import Change
from reports.elsewhere import elsewhere
from reports.finding import Finding, Kind, Level, counted, listed
from reports.results import UNKNOWN, UNPRUNED, PartTime, Point
from reports.scenes import Scene
from reports.summary import budgets
from reports.units import plain_latency

_REASON = 90
_NEAR_FLOOR = 1.1
_WORTH_SAYING = 0.1
_MOSTLY, _FAR_OFF = 0.8, 3 * TOLERANCE


def unordered(scene: Scene) -> Iterator[Finding]:
    """Points that noise alone could order otherwise."""
    marked = [mark.placed.title for mark in pareto_chart(scene).marks if mark.unordered]
    if marked:
        yield Finding(
            Kind.UNORDERED,
            Level.HAZARD,
            f"{counted(len(marked), 'point')} cannot be told apart from a neighbour: {listed(marked, 3)}.",
            "Their intervals overlap in latency and in quality, so that noise alone could turn their order round.",
            "Do not choose between them by this figure. More report images narrow the quality, a quieter machine "
            "the latency.",
            "pareto",
            50,
        )


def disturbed(scene: Scene) -> Iterator[Finding]:
    """Measurements during which something else used the machine."""
    causes = Counter("; ".join(busy) for p in scene.done if (busy := _causes(p.point, throttled=False)))
    if causes:
        count = causes.total()
        known = ", ".join(f"{cause}: {n}" for cause, n in causes.most_common())
        slowed = (
            " A core is slowed by others of the host or by its own clock, which nobody can stop there: take "
            "another hour, or a machine with cores of its own."
        )
        yield Finding(
            Kind.DISTURBED,
            Level.HAZARD,
            f"The machine was busy during {count} of {counted(len(scene.done), 'measurement')} ({known}).",
            "Their latencies may be too high, and their ratios less exact than their intervals say.",
            "Stop what else runs there and make these points again; the table of all points marks them."
            + (slowed if any(SLOWED_CORE in cause for cause in causes) else ""),
            "points",
            60,
        )


def throttled(scene: Scene) -> Iterator[Finding]:
    """Measurements that rest on samples of a throttled GPU."""
    causes = [cause for p in scene.done if (cause := _causes(p.point, throttled=True))]
    if causes:
        reasons = Counter(
            told.removeprefix(THROTTLED).partition(" in ")[0] for cause in causes for told in cause
        )
        known = ", ".join(f"{reason}: {n}" for reason, n in reasons.most_common())
        yield Finding(
            Kind.THROTTLED,
            Level.HAZARD,
            f"The GPU was throttled during {len(causes)} of {counted(len(scene.done), 'measurement')} ({known}), "
            "so often that these samples count.",
            "They are latencies of a slower clock, and ratios of networks that ran at different ones.",
            "Cool the GPU, or have its owner raise the power cap or lock lower clocks that it can hold (nvidia-smi "
            "-pl, -lgc; lathe changes no setting of it), and make these points again.",
            "points",
            60,
        )


def _causes(point: Point, *, throttled: bool) -> list[str]:
    """What disturbed a point's measurement: that its GPU was throttled, or all else."""
    told = [] if point.disturbance is None else point.disturbance.split("; ")
    return [cause for cause in told if cause.startswith(THROTTLED) == throttled]


def launching(scene: Scene) -> Iterator[Finding]:
    """Where the device waits for its launches, so that less work makes nothing faster."""
    if scene.launch is None:
        return
    queued_s, issued_s = scene.launch["queued_s"], scene.launch["issued_s"]
    if issued_s > LAUNCH_BOUND * queued_s:
        graph = dict(scene.description.get("options", ())).get("launch") == "graph"
        issued = "its CUDA graph is" if graph else "its kernels are"
        batches = (
            "Serve larger batches, and compare in that setting"
            if graph
            else "Serve larger batches or replay a CUDA graph (--option launch=graph), and compare in that setting"
        )
        yield Finding(
            Kind.LAUNCHING,
            Level.HAZARD,
            f"Launching is what the unpruned network costs, not work: {plain_latency(issued_s)} as {issued} "
            f"issued, {plain_latency(queued_s)} when waiting in the device's queue.",
            "Where it is served so, narrower layers will hardly make it faster; fewer layers will, by their "
            "launches.",
            f"{batches}, or take out whole blocks.",
            "points",
            70,
        )


def missed(scene: Scene) -> Iterator[Finding]:
    """Points that missed a budget that others met; a budget that nobody met is a finding of its own."""
    counts = {o.budget: o.judged - o.met for o in budgets(scene) if o.met and o.judged > o.met}
    if counts:
        judged = sum(outcome.judged for outcome in budgets(scene))
        where = ", ".join(f"{budget}: {count}" for budget, count in counts.items())
        yield Finding(
            Kind.MISSED,
            Level.HAZARD,
            f"{sum(counts.values())} of {counted(judged, 'point')} missed a budget that others met ({where}).",
            "They do not count for their method, which then rests on fewer seeds.",
            "Allow more rounds of the hardware loop (`rounds`), and compare methods by the seeds that both met.",
            "points",
            52,
        )


def failed(scene: Scene) -> Iterator[Finding]:
    """Points that failed, by their reasons."""
    reasons = Counter(_first_line(p.point.reason or "") for p in scene.failed)
    if reasons:
        known = [f"{reason} ({count})" if count > 1 else reason for reason, count in reasons.most_common()]
        yield Finding(
            Kind.FAILED,
            Level.HAZARD,
            f"{len(scene.failed)} of {counted(len(scene.points), 'point')} failed: {'; '.join(known[:3])}"
            + (f"; and {len(known) - 3} other reasons." if len(known) > 3 else "."),
            "They are missing from every figure; a method may look better for the seeds that it lost.",
            "Remove the cause and run the same command again: what is finished stays, what failed is tried anew.",
            "failed",
            70,
        )


def damaged(count: int) -> Finding:
    """Files of points that cannot be read."""
    return Finding(
        Kind.DAMAGED,
        Level.HAZARD,
        f"{counted(count, 'file')} of the {'run' if count == 1 else 'runs'} cannot be read.",
        "The points in them are missing from every figure.",
        "The list of runs names each file and what is wrong with it: remove it and run its command again.",
        "runs",
        95,
    )


def predicted(scene: Scene) -> Iterator[Finding]:
    """How far the latency table's predictions can be trusted."""
    chart = prediction_chart(scene)
    judged = [prediction for prediction in chart.predictions if not prediction.fitted]
    if not judged:
        return
    worst = max(judged, key=lambda prediction: abs(prediction.error))
    good = chart.within / chart.judged >= _MOSTLY and abs(worst.error) <= _FAR_OFF
    yield Finding(
        Kind.PREDICTED,
        Level.NOTE if good else Level.HAZARD,
        f"{chart.within} of {counted(chart.judged, 'prediction')} lie within {100 * TOLERANCE:.0f} % of the "
        f"measured latency; the worst, “{worst.name}”, is off by {100 * worst.error:+.1f} %.",
        "Plans are chosen by predictions, but judged by measurements: an error costs rounds, not correctness."
        if good
        else "The search chooses plans by these predictions, so that it may overlook better ones.",
        "Nothing to do."
        if good
        else "Profile again on a quiet machine; every network measured corrects the table.",
        "predicted",
        30 if good else 56,
    )


def floor(scene: Scene) -> Iterator[Finding]:
    """The share of the latency that no removal can free, and the budgets below it."""
    if not any(_takes_blocks(placed.point) for placed in scene.points):
        return
    parts = next((p.point.parts for p in scene.done if p.point.parts and not p.point.widths), ())
    total = sum(part.latency_s for part in parts)
    if total <= 0:
        return
    fixed = [part for part in parts if part.block is None]
    share = sum(part.latency_s for part in fixed) / total
    shares: dict[str, float] = {}
    for placed in scene.points:
        point = placed.point
        if point.budget_s is not None and point.unpruned_s is not None and _takes_blocks(point):
            shares[point.budget] = point.budget_s / point.unpruned_s.value
    met = {placed.point.budget for placed in scene.points if placed.point.met and _takes_blocks(placed.point)}
    below = [budget for budget, asked in shares.items() if asked < share and budget not in met]
    near = [b for b, asked in shares.items() if share <= asked < _NEAR_FLOOR * share and b not in met]
    if not below and not near and share < _WORTH_SAYING:
        return
    if below:
        reach = (
            f"{'Budget' if len(below) == 1 else 'Budgets'} {listed(below)} cannot be met by removing blocks."
        )
    elif near:
        reach = f"{listed(near)} lies close to what removing every block would leave."
    else:
        reach = "A tighter budget than that cannot be met by removing blocks."
    yield Finding(
        Kind.FLOOR,
        Level.HAZARD if below or near else Level.NOTE,
        f"{100 * share:.0f} % of the unpruned latency lies, by the table, outside all removable blocks: "
        f"{_largest(fixed, total)}. "
        f"{share:.2f}x is the floor.",
        reach,
        "To go below, use narrower layers, smaller images, a larger batch or another runtime.",
        "parts",
        72 if below else 46 if near else 28,
    )


def unlike_starts(scene: Scene) -> Iterator[Finding]:
    """Where runs pruned different weights, so that there is no one unpruned network."""
    starts = {placed.tag: placed.run.weights for placed in scene.done if placed.run.weights != UNKNOWN}
    if len(set(starts.values())) < 2:
        return
    told = listed([f"{tag}: {weights}" for tag, weights in sorted(starts.items())])
    yield Finding(
        Kind.RUNS,
        Level.HAZARD,
        f"The runs start from different weights ({told}).",
        "What stands for the unpruned network is the mean of theirs, and what one method is ahead of another may "
        "be its start's.",
        "Compare methods that start from the same weights (--weights), or report on the runs one by one.",
        "runs",
        74,
    )


def unlike_trainings(scene: Scene) -> Iterator[Finding]:
    """Where runs trained their networks differently, each way of training on its own."""
    runs = {placed.tag: placed.run for placed in scene.done}
    for name in sorted({name for run in runs.values() for name in run.training}):
        # A run that tells nothing is an early one, whose networks may have been trained in any way.
        ways = {
            tag: run.training.get(name, UNKNOWN)
            for tag, run in sorted(runs.items())
            if name in run.training or not run.training
        }
        if len(set(ways.values())) < 2:
            continue
        told = "; ".join(f"{tag}: {way}" for tag, way in ways.items())
        sure = len(set(ways.values()) - {UNKNOWN}) > 1
        yield Finding(
            Kind.RUNS,
            Level.HAZARD,
            f"The runs differ in {name} ({told})." if sure else f"The runs may differ in {name} ({told}).",
            "What one method is ahead of another may be its training's.",
            "Compare methods of one run, or run the earlier one again under another name (--name).",
            "runs",
            73,
        )


def between_runs(scene: Scene) -> Iterator[Finding]:
    """Where a later run differs from the first."""
    for comparison in comparisons(scene):
        rows = comparison.rows
        if not rows:
            continue
        slower = sum(row.faster is Change.WORSE for row in rows)
        faster = sum(row.faster is Change.BETTER for row in rows)
        worse = sum(row.more_accurate is Change.WORSE for row in rows)
        better = sum(row.more_accurate is Change.BETTER for row in rows)
        bad = slower + worse > 0
        yield Finding(
            Kind.RUNS,
            Level.HAZARD if bad else Level.NOTE,
            f"Of {counted(len(rows), 'point')} that both runs have, {comparison.second} is slower than "
            f"{comparison.first} in {slower}, faster in {faster}, less {scene.quality_word} in {worse}, more so in "
            f"{better}.",
            "For all others the intervals do not allow to tell.",
            "Look at the rows marked worse; settings are equal, so that weights, code, data or the machine's state "
            "differ."
            if bad
            else "Nothing to do.",
            "compare",
            75 if bad else 40,
        )


def _takes_blocks(point: Point) -> bool:
    return point.method != UNPRUNED and not point.widths and point.sparsity is None


def _largest(parts: list[PartTime], total: float) -> str:
    top = sorted(parts, key=lambda part: -part.latency_s)[:3]
    return ", ".join(f"{part.name} {100 * part.latency_s / total:.0f} %" for part in top) or "nothing"


def _first_line(reason: str) -> str:
    line = (reason.strip().splitlines() or [""])[0].rstrip(".")
    return line if len(line) <= _REASON else line[: _REASON - 1] + "…"


def abroad(scene: Scene) -> Iterator[Finding]:
    """For each other setting, what of the order and of the budgets does not hold there."""
    for other in elsewhere(scene):
        held = [row for row in other.rows if row.met is not None and row.placed.point.met]
        lost = [row for row in held if not row.met]
        said = []
        if other.flips:
            first, second = other.flips[0].first.title, other.flips[0].second.title
            said.append(
                f"{len(other.flips)} of {counted(other.pairs, 'pair')} turn round, as “{first}”, which is faster "
                f"than “{second}” here and slower there"
            )
        if lost:
            said.append(
                f"{len(lost)} of {counted(len(held), 'point')} that met the budget here would miss it"
            )
        if said:
            yield Finding(
                Kind.ELSEWHERE,
                Level.HAZARD,
                f"In {other.label}: {'; '.join(said)}.",
                "A network chosen by one runtime's latencies need not be the one to choose for another.",
                "Choose by the table of the runtime that will serve, and compare only there.",
                "elsewhere",
                56,
            )
