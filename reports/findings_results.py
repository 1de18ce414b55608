"""Findings about what the methods reached: under each budget, against random blocks and against the controls."""

from __future__ import annotations

from collections.abc import Iterator

from reports.finding import Finding, Kind, Level, listed
from reports.results import UNPRUNED
from reports.rivals import RANDOM, Lead, doubt, lead_over_random, leads_over_controls
from reports.scenes import Placed, Scene
from reports.summary import BudgetSummary, Result, budgets, unpruned
from reports.units import digits, latency, number, percent

USELESS = 0.5
"""A network that keeps less than this share of the unpruned network's accuracy is of no use."""
ENOUGH_SEEDS = 3
"""With fewer seeds an interval over seeds says next to nothing."""


def reached(scene: Scene) -> Iterator[Finding]:
    """For each budget the best method with its doubt, or that nobody met it."""
    for i, outcome in enumerate(budgets(scene)):
        if outcome.best:
            yield _best(scene, outcome, outcome.best, weight=100 - i)
        elif outcome.judged and not outcome.met:
            yield _unreached(scene, outcome)


def not_above_random(scene: Scene) -> Iterator[Finding]:
    """Methods that blocks drawn at random do as well as, one finding for each method."""
    winners = {outcome.best.method for outcome in budgets(scene) if outcome.best}
    leads: dict[str, list[tuple[str, Lead]]] = {}
    for series, budget, points in _met(scene):
        # Who takes channels out chooses no blocks, so blocks drawn at random say nothing of the choice.
        if points[0].point.method == RANDOM or any(placed.point.widths for placed in points):
            continue
        if (lead := lead_over_random(scene, points)) is not None:
            leads.setdefault(series, []).append((budget, lead))
    for series, found in leads.items():
        behind = [(budget, lead) for budget, lead in found if not lead.surely_above]
        if not behind:
            continue
        surely = all(lead.surely_below for _, lead in behind)
        yield Finding(
            Kind.RANDOM,
            Level.HAZARD,
            f"{series} {'falls behind' if surely else 'does not surely beat'} blocks drawn at random under "
            + "; ".join(f"{budget}: {lead.text(RANDOM)}" for budget, lead in behind)
            + f" ({doubt([lead for _, lead in behind])}).",
            "Its choice of blocks explains nothing of what it reaches there.",
            "Take a plan of random there, or look at which blocks it removes."
            if surely
            else "Add seeds until the interval is clear of zero; until then do not credit the choice of blocks.",
            "pareto",
            90 if series in winners else 48,
        )


def controls(scene: Scene) -> Iterator[Finding]:
    """Controls that the best methods are not above, one finding for each control."""
    behind: dict[str, list[tuple[str, Result, Lead]]] = {}
    for outcome in budgets(scene):
        best = outcome.best
        told = best is None or any(p.point.widths or p.point.sparsity is not None for p in best.points)
        for lead in leads_over_controls(outcome.best.points) if outcome.best and not told else []:
            if outcome.best and not lead.surely_above:
                behind.setdefault(lead.rival, []).append((outcome.budget, outcome.best, lead))
    for name, found in behind.items():
        where = "; ".join(f"{best.method} under {budget}, {lead.text('it')}" for budget, best, lead in found)
        where += f" ({doubt([lead for _, _, lead in found])})"
        if is_unpruned(name):
            meaning = (
                "The same images give this without any removal, at the whole latency: the difference is what the "
                "saved time costs, and what lies above the untreated network is no merit of pruning."
            )
            remedy = (
                "If the latency allows, use the unpruned network treated this way; else say what is lost."
            )
        else:
            meaning = (
                "Whatever this control does explains the result; the rest of the method adds nothing to it."
            )
            remedy = "Leave the rest out and save its time, or finetune for longer or on more images."
        yield Finding(
            Kind.CONTROL,
            Level.HAZARD,
            f"Not surely above the control “{name}”: {where}.",
            meaning,
            remedy,
            "controls",
            62 if is_unpruned(name) else 86,
        )


def useless(scene: Scene) -> Iterator[Finding]:
    """Budgets under which even the best network has lost most of its accuracy."""
    spot = unpruned(scene)
    if scene.quality != "accuracy" or spot is None:
        return
    poor = [
        (outcome.budget, outcome.best)
        for outcome in budgets(scene)
        if outcome.best and outcome.best.quality.high < USELESS * spot.quality.value
    ]
    if poor:
        yield Finding(
            Kind.USELESS,
            Level.HAZARD,
            "Useless accuracy: "
            + "; ".join(f"{percent(best.quality)} at best under {budget}" for budget, best in poor)
            + f", less than half of the unpruned network's {percent(spot.quality)}.",
            "Such a network meets the budget, but does not do its work.",
            "Allow more latency, finetune for longer, or start from a smaller network.",
            "pareto",
            88,
        )


def few_seeds(scene: Scene) -> Iterator[Finding]:
    """Methods and budgets with too few seeds to know how much they vary."""
    seeds: dict[tuple[str, str], set[int]] = {}
    for placed in scene.done:
        point = placed.point
        # What takes single weights out has no budget of time to meet.
        counts_for = point.met or point.sparsity is not None
        if counts_for and point.method != UNPRUNED and scene.quality_of(placed) is not None:
            seeds.setdefault((placed.series, point.budget), set()).add(point.seed)
    counts = [len(drawn) for drawn in seeds.values()]
    few = [count for count in counts if count < ENOUGH_SEEDS]
    if not few:
        return
    if set(counts) == {1}:
        hazard = "Every result comes from a single seed."
    else:
        hazard = (
            f"{len(few)} of {len(counts)} pairs of method and budget have fewer than {ENOUGH_SEEDS} seeds, those "
            "that missed their budget not counted."
        )
    yield Finding(
        Kind.SEEDS,
        Level.HAZARD,
        hazard,
        "How far a result moves from seed to seed is not known, so small differences between methods may be luck.",
        "Add seeds to the sweep and run it again; the points that exist are kept.",
        "points",
        58 if 1 in few else 44,
    )


def is_unpruned(control: str) -> bool:
    """Whether a control is a network from which nothing was removed, by its name."""
    return control.startswith("unpruned")


def _best(scene: Scene, outcome: BudgetSummary, best: Result, weight: float) -> Finding:
    drawn = best.points[0].point.method == RANDOM
    others = any(p.point.budget == outcome.budget and p.point.method != RANDOM for p in scene.done)
    text = f"{best.method} meets {outcome.budget} at {percent(best.quality)}"
    text += "" if scene.quality == "accuracy" else " agreement with the unpruned network"
    if drawn and others:
        text = f"No method is above blocks drawn at random: {text}"
    over_random = None if drawn else lead_over_random(scene, best.points)
    leads = [*([over_random] if over_random else []), *leads_over_controls(best.points)[:1]]
    words = [
        lead.text(RANDOM if lead is over_random else f"the strongest control, “{lead.rival}”")
        for lead in leads
    ]
    text += f", {' and '.join(words)} ({doubt(leads)})." if leads else "."
    share = f", {number(best.ratio)} of the unpruned latency" if best.ratio else ""
    met = f"{best.met} of its {best.judged} points met the budget."
    if best.met == best.judged:
        met = (
            "Its one point met the budget."
            if best.judged == 1
            else f"All {best.judged} of its points met it."
        )
    meaning = f"Measured at {latency(best.measured_s)}{share}. {met}"
    remedy = f"Its middle point is “{best.typical.title}”: choose it for its files and its command."
    if outcome.close:
        names = listed([result.method for result in outcome.close])
        meaning += f" Intervals overlap with {names}: too close to call."
        remedy += " More seeds or more report images would part them."
    level = Level.HAZARD if drawn and others else Level.RESULT
    return Finding(Kind.REACHED, level, text, meaning, remedy, "pareto", weight)


def _unreached(scene: Scene, outcome: BudgetSummary) -> Finding:
    tried = [
        (point.measured_s.value / point.budget_s, placed)
        for placed in scene.done
        if (point := placed.point).budget == outcome.budget and point.measured_s and point.budget_s
    ]
    if tried:
        times, nearest = min(tried, key=lambda pair: pair[0])
        meaning = f"The nearest is “{nearest.title}” at {latency(nearest.point.measured_s)}, "
        meaning += f"{digits(times)} times the budget."
    else:
        meaning = "How far the points are from it is not known."
    failed = f", {outcome.failed} failed" if outcome.failed else ""
    return Finding(
        Kind.UNREACHED,
        Level.HAZARD,
        f"No point meets {outcome.budget}: {outcome.judged} measured{failed}.",
        meaning,
        "Allow more rounds of the hardware loop (`rounds`), or a budget with room for the measured interval.",
        "points",
        92,
    )


def _met(scene: Scene) -> Iterator[tuple[str, str, list[Placed]]]:
    """Points with a quality that met their budget, by series and budget."""
    groups: dict[tuple[str, str], list[Placed]] = {}
    for placed in scene.done:
        if placed.point.met and scene.quality_of(placed) is not None:
            groups.setdefault((placed.series, placed.point.budget), []).append(placed)
    for (series, budget), points in groups.items():
        yield series, budget, points
