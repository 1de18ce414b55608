"""The page of `ttmpd_signal`: rank correlations with their doubt, costs, and what chosen plans lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cells import Cell, origin, page_path, read, read_off, truth_path
from numpy.typing import NDArray
from rank_statistics import Ranking, interval, resampled, tau

from latency_tables.files import write_atomically
from pruning.methods import JOINT
from pruning.recovery.finetune import Schedule

DEFAULT = JOINT.name
RANK_JOINTS = {
    "mean rank of kl, features": ("kl", "features"),
    "mean rank of kl, features, unexplained": ("kl", "features", "unexplained"),
    "mean rank of features, end-map": ("features", "end-map"),
}
"""Joints that need all candidates at once: they rank a list, and cannot score a set by itself."""


@dataclass(frozen=True)
class Measured:
    """All that is known of one cell.

    Attributes:
        network: its short name.
        cell: the cell.
        worse: by kind ("blocks", "sets") and truth ("accuracy", "kl"): how bad each removal came out, shape (n,).
        said: by signal and kind: its answers, shape (n,).
        seconds: what each signal cost for all blocks once.
        plans: the three blocks that each signal takes.
        plan_accuracy: of each plan, by its blocks; those of the random sets of three among them.
    """

    network: str
    cell: Cell
    worse: dict[tuple[str, str], NDArray[np.float64]]
    said: dict[str, dict[str, NDArray[np.float64]]]
    seconds: dict[str, float]
    plans: dict[str, tuple[str, ...]]
    plan_accuracy: dict[tuple[str, ...], float]


def gather(
    network: str,
    cell: Cell,
    candidates: Sequence[str],
    sets: Sequence[tuple[str, ...]],
    schedule: Schedule,
    folder: Path,
) -> Measured:
    """Reads the records of a cell; what is missing stays missing, and is said on the page."""

    def truth_of(removed: Sequence[str]) -> dict[str, Any] | None:
        path = truth_path(cell, removed, schedule, folder)
        return read(path) if path.exists() else None

    kinds = {"blocks": [(block,) for block in candidates], "sets": list(sets)}
    worse: dict[tuple[str, str], NDArray[np.float64]] = {}
    for kind, removals in kinds.items():
        truths = [truth_of(removed) for removed in removals]
        if all(found is not None for found in truths):
            known = [found for found in truths if found is not None]
            # A network that diverged is worse than all others.
            worse[kind, "accuracy"] = np.array([-found.get("accuracy", -1.0) for found in known])
            worse[kind, "kl"] = np.array([found.get("kl", np.inf) for found in known])
    said: dict[str, dict[str, NDArray[np.float64]]] = {}
    seconds: dict[str, float] = {}
    plans: dict[str, tuple[str, ...]] = {}
    for path in sorted((folder / cell.name / "signals").glob("*.json")):
        record = read(path)
        said[path.stem] = {
            "blocks": np.array([record["singles"][block] for block in candidates]),
            "sets": np.array(record["sets"]),
        }
        seconds[path.stem] = record["seconds"]
        plans[path.stem] = tuple(record["plan"])
    for name, parts in RANK_JOINTS.items():
        if all(part in said for part in parts):
            said[name] = {
                kind: np.mean([ranks(said[part][kind]) for part in parts], axis=0) for kind in kinds
            }
            seconds[name] = sum(seconds[part] for part in parts)
    size = len(next(iter(plans.values()), ()))
    accuracy = {}
    for removed in {*plans.values(), *(chosen for chosen in sets if len(chosen) == size)}:
        found = truth_of(removed)
        if found is not None:
            accuracy[tuple(sorted(removed))] = float(found.get("accuracy", 0.0))
    return Measured(network, cell, worse, said, seconds, plans, accuracy)


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 0, equal values sharing their mean."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(values), dtype=np.float64) - 1.0


def table(measured: Sequence[Measured], kind: str, truth: str, against: Sequence[str]) -> list[str]:
    """One line for each signal: mean tau over its cells, and its difference to PRACTISE on the cells of both."""
    cells = [m for m in measured if (kind, truth) in m.worse and m.said]
    signals = sorted({name for m in cells for name in m.said})
    rows: list[tuple[float, str]] = []
    for name in signals:
        own = [m for m in cells if name in m.said]
        group = [Ranking(m.said[name][kind], m.worse[kind, truth]) for m in own]
        value, low, high = interval(resampled([group])[0])
        words = [
            f"{name}{' **(default)**' if name == DEFAULT else ''}",
            f"{value:.2f} ({low:.2f} to {high:.2f})",
        ]
        for rival in against:
            both = [m for m in own if rival in m.said]
            if not both or rival == name:
                words.append("")
                continue
            pair = [
                [Ranking(m.said[which][kind], m.worse[kind, truth]) for m in both] for which in (name, rival)
            ]
            draws = resampled(pair)
            value_d, low_d, high_d = interval(draws[0] - draws[1])
            words.append(f"{value_d:+.2f} ({low_d:+.2f} to {high_d:+.2f})")
        words.append(f"{np.mean([m.seconds[name] for m in own]):.1f}")
        words.append(str(len(own)))
        rows.append((value, "| " + " | ".join(words) + " |"))
    heads = ["signal", "tau (95 %)", *(f"less {rival}" for rival in against), "seconds", "cells"]
    return [
        "| " + " | ".join(heads) + " |",
        "| " + " | ".join("---" for _ in heads) + " |",
        *(line for _, line in sorted(rows, key=lambda row: -row[0])),
    ]


def ceiling(measured: Sequence[Measured], kind: str, truth: str) -> str:
    """The correlation of the two seeds' truths, mean over shifts."""
    found = []
    for m in measured:
        for other in measured:
            same = (other.network, other.cell.shift) == (m.network, m.cell.shift)
            if (
                same
                and m.cell.seed < other.cell.seed
                and (kind, truth) in m.worse
                and (kind, truth) in other.worse
            ):
                found.append(tau(Ranking(m.worse[kind, truth], other.worse[kind, truth])))
    return f"{np.mean(found):.2f} (mean of {len(found)} shifts)" if found else "unknown"


def plan_table(measured: Sequence[Measured]) -> list[str]:
    """Accuracy that each signal's three-block plan loses against the best plan known, mean over cells."""
    losses: dict[str, list[float]] = {}
    for m in measured:
        if not m.plan_accuracy:
            continue
        best = max(m.plan_accuracy.values())
        for name, plan in m.plans.items():
            reached = m.plan_accuracy.get(tuple(sorted(plan)))
            if reached is not None:
                losses.setdefault(name, []).append(best - reached)
    rows = sorted(losses.items(), key=lambda row: float(np.mean(row[1])))
    return [
        "| signal | points lost, mean | worst | cells |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name}{' **(default)**' if name == DEFAULT else ''} | {100 * np.mean(found):.1f} | {100 * max(found):.1f} | {len(found)} |"
            for name, found in rows
        ),
    ]


def write_page(
    everything: Sequence[tuple[str, Cell]],
    candidates: Mapping[str, tuple[str, ...]],
    random_sets: Callable[[tuple[str, ...]], list[tuple[str, ...]]],
    schedule: Callable[[str], Schedule],
    order: Sequence[str],
    scale: str,
    folder: Path,
    reading: str,
) -> None:
    """Writes docs/results/ttmpd_signal.md, or another scale's page.

    Args:
        everything: all cells with the short name of their network.
        candidates: removable blocks by network.
        random_sets: of a network's candidates.
        schedule: of a network's truths.
        order: lines on the truths' order after long finetuning.
        scale: of the run.
        folder: of the records.
        reading: what the short run says in plain words.
    """
    measured = [
        gather(
            network, cell, candidates[network], random_sets(candidates[network]), schedule(network), folder
        )
        for network, cell in everything
    ]
    lines = [
        "# Which signal tells what a removal will cost after finetuning?",
        "",
        origin("ttmpd_signal", scale),
        "",
    ]
    lines += [read_off(reading, scale), "", "## Order of the truths", "", *order, ""]
    for network in dict.fromkeys(network for network, _ in everything):
        own = [m for m in measured if m.network == network]
        plan = schedule(network)
        rivals = sorted(
            {name for m in own for name in m.said if name.startswith("practise-")},
            key=lambda name: int(name.rpartition("-")[2]),
        )
        lines += [
            f"## {network}",
            "",
            f"{len(candidates[network])} removable blocks. A truth is {plan.iterations} steps of finetuning at a first "
            f"rate of {plan.learning_rate:g}. Shifts: {', '.join(dict.fromkeys(m.cell.shift for m in own))}. Seconds: "
            "processor time of one thread for scoring every block once.",
            "",
        ]
        for kind, words in (("blocks", "One block removed"), ("sets", "Two to six blocks removed")):
            for truth in ("accuracy", "kl"):
                lines += [
                    f"### {words}: Kendall's tau with {'accuracy' if truth == 'accuracy' else 'KL'} after finetuning",
                    "",
                    f"Ceiling, one seed's truth with the other's: {ceiling(own, kind, truth)}.",
                    "",
                    *table(own, kind, truth, rivals),
                    "",
                ]
        lines += ["### The three-block plan that each signal takes", "", *plan_table(own), ""]
    page = page_path("ttmpd_signal", scale)
    write_atomically(page, ("\n".join(lines).rstrip() + "\n").encode())
    print(f"wrote {page}")
