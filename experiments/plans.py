"""Choosers compared: each picks blocks for the same budgets in the same cells; plans are then healed and timed.

Used by `ttmpd_vs_practise`, `latency_term` and `selection_rules`. Timing and training never run together: tables
are measured first, plans are chosen and healed next, and the chosen networks are timed last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from cells import Cell, Ground, Practised, Source, open_cell, processor_time, read, truth
from scipy.optimize import Bounds, LinearConstraint, milp
from torch.utils.flop_counter import FlopCounterMode

from bench.profiler import profile, time_network
from bench.session import Session
from bench.tables import open_store
from bench.terminal import Terminal
from bench.workbench import NetworkChoice, SettingChoice, Subject
from latency_tables.context import Coefficients, coefficients
from latency_tables.errors import UserError
from latency_tables.files import write_json
from latency_tables.skeleton import Cut
from pruning.criteria.criterion import Remembering
from pruning.criteria.variables import VARIABLES, Workpiece
from pruning.methods import JOINT, get_method
from pruning.recovery.finetune import Schedule
from pruning.search import greedy
from pruning.surgery import bypassed

Chooser = Callable[[Ground, Workpiece, Coefficients, float], Iterable[str]]


def by_method(name: str) -> Chooser:
    """A method of the product, as it is."""

    def choose(_: Ground, piece: Workpiece, fit: Coefficients, budget_s: float) -> Iterable[str]:
        method = get_method(name)
        return method.select(method.scorer(piece), piece.candidates, fit, budget_s).removed

    return choose


def by_variable(name: str) -> Chooser:
    """As `ttmpd` chooses, by another criterion."""

    def choose(_: Ground, piece: Workpiece, fit: Coefficients, budget_s: float) -> Iterable[str]:
        criterion = Remembering(VARIABLES[name].make(piece))
        return greedy(piece.candidates, criterion, fit, budget_s, per_saving=True).removed

    return choose


def exact(_: Ground, piece: Workpiece, fit: Coefficients, budget_s: float) -> Iterable[str]:
    """The least sum of the default criterion's single scores that meets the budget: an integer program."""
    criterion = Remembering(JOINT.make(piece))
    whole_s = fit.latency_s(frozenset())
    hurts = [criterion.hurt(frozenset({block})) for block in piece.candidates]
    savings = [whole_s - fit.latency_s(frozenset({block})) for block in piece.candidates]
    solved = milp(
        c=np.array(hurts),
        constraints=LinearConstraint(np.array(savings)[None, :], lb=whole_s - budget_s),
        integrality=np.ones(len(hurts)),
        bounds=Bounds(0, 1),
    )
    if solved.x is None:
        raise UserError(f"no plan meets {budget_s * 1e3:.3g} ms: {solved.message}")
    return [block for block, taken in zip(piece.candidates, solved.x, strict=True) if taken > 0.5]


def by_flops(ground: Ground, piece: Workpiece, fit: Coefficients, budget_s: float) -> Iterable[str]:
    """The default criterion over FLOPs saved; the table only says when the budget is met."""
    criterion = Remembering(JOINT.make(piece))
    flops = Flops(ground)
    removed: tuple[str, ...] = ()
    while fit.latency_s(frozenset(removed)) > budget_s:
        # One block more than the last plan needs: just below what it leaves.
        limit = flops.latency_s(frozenset(removed)) * (1 - 1e-9)
        removed = greedy(piece.candidates, criterion, flops, limit, per_saving=True).removed
    return removed


class Flops:
    """FLOPs of one image in the place of seconds; a `pruning.search.LatencyModel`."""

    def __init__(self, ground: Ground) -> None:
        image = ground.images.calibration[:1]
        self._whole = self._count(ground, image, ())
        self._saved = {
            block: self._whole - self._count(ground, image, (block,)) for block in ground.candidates
        }

    def latency_s(self, removed: frozenset[str]) -> float:
        """FLOPs without these blocks."""
        return self._whole - sum(self._saved[block] for block in removed)

    @staticmethod
    def _count(ground: Ground, image: torch.Tensor, removed: Sequence[str]) -> float:
        with torch.no_grad(), bypassed(ground.teacher, removed), FlopCounterMode(display=False) as counter:
            ground.teacher(image)
        return float(counter.get_total_flops())


def by_practise(iterations: int, folder: Path) -> Chooser:
    """PRACTISE's recoverability over latency, adaptors trained for so many steps a block."""

    def choose(ground: Ground, piece: Workpiece, fit: Coefficients, budget_s: float) -> Iterable[str]:
        criterion = Remembering(Practised(ground.cell, piece, iterations, folder))
        return get_method("practise").select(criterion, piece.candidates, fit, budget_s).removed

    return choose


@dataclass(frozen=True)
class Choosing:
    """A chooser asked for plans in one cell.

    Attributes:
        cell: where.
        name: ``practise-N``, a key of `CHOOSERS`, a joint score, or a method of the product.
        runtime: whose table it goes by.
        budgets: shares of the unpruned latency.
        folder: of the experiment.
        workspace: where the tables are.
    """

    cell: Cell
    name: str
    runtime: str
    budgets: tuple[float, ...]
    folder: Path
    workspace: Path

    @property
    def path(self) -> Path:
        """Where the plans are kept."""
        return self.folder / self.cell.name / "plans" / f"{self.runtime}-{self.name}.json"


CHOOSERS: dict[str, Chooser] = {"exact": exact, "ttmpd-flops": by_flops}
"""Choosers that are no method of the product."""


def find_plans(task: Choosing) -> None:
    """Chooses for every budget; each is paid for as by a user who has one budget."""
    ground = open_cell(task.cell)
    fit = table_fit(ground.subject, task.runtime, task.workspace)
    whole_s = fit.latency_s(frozenset())
    steps = int(task.name.rpartition("-")[2]) if task.name.startswith("practise-") else None
    experiments = task.folder.parent
    if steps is not None:
        chooser = by_practise(steps, experiments)
    elif "*" in task.name:
        chooser = by_variable(task.name)
    else:
        chooser = CHOOSERS.get(task.name) or by_method(task.name)
    plans = {}
    for budget in task.budgets:
        with processor_time() as spent:
            removed = sorted(chooser(ground, ground.piece, fit, budget * whole_s))
        seconds = spent()
        if steps is not None:  # known from the first time on, whoever paid
            seconds = Practised(task.cell, ground.piece, steps, experiments).seconds
        plans[str(budget)] = {
            "removed": removed,
            "predicted": fit.latency_s(frozenset(removed)) / whole_s,
            "score_s": seconds,
        }
    write_json(task.path, {"plans": plans, "cost_s": ground.cost_s})


@dataclass(frozen=True)
class Healing:
    """A plan to heal in a cell.

    Attributes:
        cell: where.
        removed: the blocks.
        schedule: of finetuning.
        folder: of the experiment.
    """

    cell: Cell
    removed: tuple[str, ...]
    schedule: Schedule
    folder: Path


def heal_plan(task: Healing) -> None:
    """Finds the truth of a plan."""
    truth(task.cell, task.removed, task.schedule, task.folder)


def table_fit(subject: Subject, runtime: str, workspace: Path) -> Coefficients:
    """The latency model of a network from the table that `measure_tables` made."""
    store = open_store(workspace)
    try:
        table = store.table(SettingChoice(runtime).make())
        return coefficients(subject.outline.skeleton, table)
    finally:
        store.close()


def measure_tables(sources: Iterable[Source], runtimes: Sequence[str], workspace: Path) -> None:
    """Measures what the tables lack; nothing else may run meanwhile."""
    terminal = Terminal()
    for source in sources:
        subject = Subject(NetworkChoice(source.network, Path(source.weights), source.input_shape), 1)
        for runtime in runtimes:
            store = open_store(workspace)
            with Session(SettingChoice(runtime).make()) as session, terminal.progress("profile") as progress:
                profile(subject.outline, session, store, progress=progress)
            store.close()


def time_plans(wanted: Iterable[tuple[Source, str, tuple[str, ...]]], folder: Path) -> None:
    """Times each network less some blocks in a runtime, in turns with the unpruned one; nothing else may run."""
    todo: dict[tuple[Source, str], list[tuple[str, ...]]] = {}
    for source, runtime, removed in wanted:
        if not time_path(source, runtime, removed, folder).exists():
            todo.setdefault((source, runtime), []).append(removed)
    for (source, runtime), plans in todo.items():
        subject = Subject(NetworkChoice(source.network, Path(source.weights), source.input_shape), 1)
        with Session(SettingChoice(runtime).make()) as session:
            for removed in dict.fromkeys(plans):
                measured = time_network(subject.outline, session, Cut.of(removed), "closure")
                ratio = measured.ratio
                record = {"ratio": [ratio.value, ratio.low, ratio.high], "removed": removed}
                write_json(time_path(source, runtime, removed, folder), record)


def time_path(source: Source, runtime: str, removed: Sequence[str], folder: Path) -> Path:
    """Where the measured latency of a plan is kept."""
    digest = hashlib.sha256(" ".join(sorted(removed)).encode()).hexdigest()[:16]
    return folder / "latency" / f"{source.network.rpartition('/')[2]}-{runtime}" / f"{digest}.json"


def measured_ratio(source: Source, runtime: str, removed: Sequence[str], folder: Path) -> list[float]:
    """Share of the unpruned latency, and its 95 % interval."""
    found: list[float] = read(time_path(source, runtime, removed, folder))["ratio"]
    return found
