"""The page of `closure.py`: a setting's tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from closure_forms import AS_THEY_ARE, IN_USE, Judged

from bench.workbench import SettingChoice
from latency_tables.closure import Closure
from latency_tables.skeleton import Cut
from latency_tables.slow_minutes import SLOW_BY


@dataclass(frozen=True)
class Condition:
    """A setting with what is asked of its predictions.

    Attributes:
        choice: where and how.
        excess: largest excess error, relative.
        within_5: least share of predictions within 5 %.
        within_10: the same within 10 %.
    """

    choice: SettingChoice
    excess: float
    within_5: float
    within_10: float


def pooled(judged: Sequence[Judged], form: str) -> Closure:
    """All networks together."""
    return Closure(tuple(network for one in judged for network in one.closures[form].networks))


def within(judged: Sequence[Judged], share: float, wanted: float) -> str:
    """Share of all predictions within an error, with what is wanted of it.

    Its 95 % interval comes of drawing networks anew as wholes. It has none where that tells nothing: two networks can
    be drawn in three ways only, and where each has the same share every draw is the same.
    """
    shares = [one.closures[IN_USE].within(share) for one in judged]
    interval = ""
    if len(judged) > 2 and len(set(shares)) > 1:
        draws = np.mean(np.random.default_rng(0).choice(shares, (4000, len(shares))), axis=1)
        low, high = np.quantile(draws, [0.025, 0.975])
        interval = f"{low:.0%} to {high:.0%}; "
    return f"{pooled(judged, IN_USE).within(share):.0%} ({interval}wanted: {wanted:.0%})"


def strangers(judged: Sequence[Judged]) -> list[str]:
    """Mean absolute errors where nothing was fitted on a network: cells alone, and the other networks' slopes."""
    lines = [
        "Mean absolute error with nothing fitted on the network itself (wanted: 5 %):",
        "",
        "| slopes | " + " | ".join(one.network for one in judged) + " |",
        "| --- |" + " --- |" * len(judged),
    ]
    alone, borrowed = [], []
    for one in judged:
        measured = np.array([n.measured.value for n in one.closures[IN_USE].networks])
        alone.append(one.closures[AS_THEY_ARE].mean_abs_error)
        others = [other.slopes for other in judged if other is not one]
        if others:
            predicted = 1.0 - one.freed @ np.mean(others, axis=0)
            borrowed.append(float(np.mean(np.abs(predicted / measured - 1.0))))
    lines.append("| none: parts as they are | " + " | ".join(f"{error:.1%}" for error in alone) + " |")
    if borrowed:
        lines.append(
            "| mean of the other networks' | " + " | ".join(f"{error:.1%}" for error in borrowed) + " |"
        )
    return lines


def heading(condition: Condition) -> str:
    """Of a setting's section."""
    choice = condition.choice
    threads = f"{choice.threads} thread{'s' if choice.threads > 1 else ''}"
    return f"## {choice.runtime}, {threads}, batch {choice.batch}"


def sections_of(page: str) -> dict[str, list[str]]:
    """The sections of a page that was written before, by heading."""
    found: dict[str, list[str]] = {}
    for line in page.splitlines():
        if line.startswith("## "):
            found[line] = []
        if found:
            list(found.values())[-1].append(line)
    return found


def section(condition: Condition, judged: Sequence[Judged], made: str) -> list[str]:
    """A setting's tables; ``made`` says when and where."""
    main_form = IN_USE
    total = pooled(judged, main_form)
    lines = [
        heading(condition),
        "",
        made,
        "",
        "| network | excess error (rms) | error (rms) | noise (rms) | mean abs. error | noise floor | within 5 % | within 10 % | in the interval | worst | "
        "slopes: blocks, widths inside and outside of them, off the steps, weights | slow timings | cells, at full width |",
        "|" + " --- |" * 13,
    ]
    for one in judged:
        closure = one.closures[main_form]
        coverage = closure.interval_coverage
        lines.append(
            f"| {one.network} | {closure.excess_error:.1%} | {closure.rms_error:.1%} | {closure.rms_noise:.1%} | {closure.mean_abs_error:.1%} | {closure.noise_floor:.1%} | "
            f"{closure.within(0.05):.0%} | {closure.within(0.1):.0%} | {'' if coverage is None else f'{coverage:.0%}'} | "
            f"{max(abs(n.error) for n in closure.networks):.1%} | {', '.join(f'{s:.2f}' for s in one.slopes)} | {one.slow:.0%} | "
            f"{one.cells}, {one.full_cells} |"
        )
    lines += [
        f"| all | {total.excess_error:.1%} (wanted: {condition.excess:.1%}) | {total.rms_error:.1%} | {total.rms_noise:.1%} | {total.mean_abs_error:.1%} | "
        f"{total.noise_floor:.1%} | {within(judged, 0.05, condition.within_5)} | {within(judged, 0.1, condition.within_10)} | | "
        f"{max(abs(n.error) for n in total.networks):.1%} | | | |",
        "",
        "Cells are all of the setting's table so far, networks share them. Slow timings are those in which the unpruned network "
        f"took more than {SLOW_BY:.0%} longer than in the quickest tenth, in every attempt; they count.",
        "",
        "Excess error by form, and the shares of all predictions within 5 and 10 %:",
        "",
        "| form | " + " | ".join(one.network for one in judged) + " | all | within 5 % | within 10 % |",
        "| --- |" + " --- |" * (len(judged) + 3),
    ]
    for form in judged[0].closures:
        every = pooled(judged, form)
        errors = [one.closures[form].excess_error for one in judged] + [every.excess_error]
        shown = [f"{error:.1%}" for error in errors] + [f"{every.within(share):.0%}" for share in (0.05, 0.1)]
        lines.append(f"| {form} | " + " | ".join(shown) + " |")
    lines += ["", *strangers(judged), "", "Excess error of the form in use, by what was taken out:", ""]
    lines += [
        "| what | " + " | ".join(one.network for one in judged) + " |",
        "| --- |" + " --- |" * len(judged),
    ]
    for what in ("blocks", "widths", "both"):
        columns = []
        for one in judged:
            some = tuple(n for n in one.closures[main_form].networks if kind(n.cut) == what)
            columns.append(f"{Closure(some).excess_error:.1%} ({len(some)})" if some else "none")
        lines.append(f"| {what} | " + " | ".join(columns) + " |")
    lines += ["", *interpolation(judged), ""]
    return lines


def interpolation(judged: Sequence[Judged]) -> list[str]:
    """Errors of interpolation at probes by kind of part, a row for each network."""
    kinds = list(dict.fromkeys(kind for one in judged for kind in one.checks))
    lines = [
        "Error of interpolation at probes, by kind of part:",
        "",
        "| network | " + " | ".join(kinds) + " |",
        "| --- |" + " --- |" * len(kinds),
    ]
    for one in judged:
        errors = [one.checks.get(kind) for kind in kinds]
        shown = [
            "none varies" if error is None else f"{error:.1%}" if math.isfinite(error) else "no probe"
            for error in errors
        ]
        lines.append(f"| {one.network} | " + " | ".join(shown) + " |")
    return lines


def kind(cut: Cut) -> str:
    """What a plan takes out."""
    return "both" if cut.removed and cut.widths else "blocks" if cut.removed else "widths"
