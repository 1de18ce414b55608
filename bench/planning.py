"""A network made smaller for a machine that is not at hand: chosen by its table, healed here, timed nowhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bench import evaluation
from bench.allocator import keep_large_blocks
from bench.budget import Budget
from bench.delivery import lay_down, write_onnx
from bench.terminal import Terminal
from bench.workbench import Gallery, Subject
from latency_tables.context import Coefficients, coefficients
from latency_tables.errors import UserError
from latency_tables.estimate import Estimate
from latency_tables.setting import Setting
from latency_tables.skeleton import Plan
from latency_tables.table import LatencyTable
from pruning.adaptation import adapt_statistics
from pruning.criteria.variables import Workpiece
from pruning.from_scratch import SCRATCH_METHODS
from pruning.methods import HEALING_LOSS, Method, get_method, heal
from pruning.search import Progress, Selection
from pruning.surgery import remove_blocks
from pruning.targets import pseudo_labels


@dataclass(frozen=True)
class Planned:
    """A smaller network whose latency is predicted and nothing else.

    Attributes:
        plan: what goes; its latency is that of the table's machine.
        setting: of the table.
        unpruned_s: the unpruned network there.
        ratio: predicted latency over the unpruned one's, without what is uncertain of the latter.
        budget_s: most that was allowed.
        accuracy_before: of the unpruned network on the report images, computed by PyTorch in fp32 whatever the
            table's precision; None where these have no labels.
        accuracy: of the healed network, the same way.
        agreement: share of the report images given the unpruned network's class.
        files: by what they are: "weights", "plan", "onnx"; all in one folder.
    """

    plan: Plan
    setting: Setting
    unpruned_s: Estimate
    ratio: Estimate
    budget_s: float
    accuracy_before: Estimate | None
    accuracy: Estimate | None
    agreement: Estimate
    files: dict[str, Path]


def plan_for(
    subject: Subject,
    gallery: Gallery,
    table: LatencyTable,
    method: str,
    budget: Budget,
    folder: Path,
    terminal: Terminal,
    *,
    seed: int,
    iterations: int,
) -> Planned:
    """Takes blocks out until the upper end of the predicted latency lies within the budget, and heals.

    Args:
        subject: the unpruned network, taken apart for the table's batch size.
        gallery: its images.
        table: of the machine in question, with the network timed as a whole.
        method: name of one that takes blocks out.
        budget: what is allowed there.
        folder: where the files go; what else is in it stays.
        terminal: where progress is drawn.
        seed: of everything random.
        iterations: steps of finetuning.

    Returns:
        The plan, what it is expected to take and to know, and its files.

    Raises:
        UserError: no such method, the budget is out of reach, the table does not know the network well
            enough to say how far off it may be, or the images are too few.
        LatheError: a number is not finite, or the written files compute something else than the network.
    """
    keep_large_blocks()
    chooses = _takes_blocks(method)
    skeleton, images = subject.outline_for(table).skeleton, gallery.part(seed)
    fit = _sound(coefficients(skeleton, table), table)
    whole = fit.unpruned_s
    # A share is held against the unpruned network of the same minute; how fast that was is no matter then.
    steady = replace(fit, unpruned_s=Estimate(whole.value, whole.value, whole.value))
    with terminal.progress("prepare") as progress:
        outputs = images.outputs(subject.model, "the unpruned network", progress)
        teacher = adapt_statistics(subject.model, images.calibration).model
        labels = pseudo_labels(teacher, images.calibration, keep_features=HEALING_LOSS.needs_features)
    piece = Workpiece(teacher, images.calibration, labels, skeleton, seed)
    with terminal.progress("score") as progress:
        selection = _chosen(chooses, piece, fit if budget.ratio is None else steady, budget, progress)
    student = remove_blocks(teacher, selection.removed)
    with terminal.progress("finetune") as progress:
        heal(student, images.calibration, labels, seed=seed, iterations=iterations, progress=progress)
    plan = Plan(
        network=skeleton.name,
        digest=skeleton.digest,
        removed=selection.removed,
        predicted_s=fit.interval(selection.removed),
        hurt=selection.hurt,
    )
    with terminal.progress("evaluate") as progress:
        after = images.outputs(student, "the pruned network", progress)
    small, files = lay_down(subject.network, subject.outline, student, plan, table.setting.batch, folder)
    files["onnx"] = folder / "network.onnx"
    write_onnx(student, small, images.calibration, files["onnx"])
    known = images.report.labels
    return Planned(
        plan,
        table.setting,
        whole,
        fit.ratio(selection.removed),
        budget.seconds(whole.value),
        evaluation.accuracy(outputs, known),
        evaluation.accuracy(after, known),
        evaluation.agreement(after, outputs),
        files,
    )


def _chosen(
    method: Method, piece: Workpiece, fit: Coefficients, budget: Budget, progress: Progress
) -> Selection:
    """The blocks that go: weighed by what they save as predicted, as many as the upper end of that asks for.

    Raises:
        UserError: the budget is out of reach.
    """
    budget_s = budget.seconds(fit.unpruned_s.value)
    scorer, limit_s = method.scorer(piece), budget_s
    while True:
        try:
            selection = method.select(scorer, piece.candidates, fit, limit_s, progress=progress)
        except UserError as error:
            raise UserError(f"{budget.text} is not to be had for certain. {error}") from error
        over_s = fit.interval(selection.removed).high - budget_s
        if over_s <= 0:
            return selection
        limit_s = selection.predicted_s - over_s


def _takes_blocks(name: str) -> Method:
    """A method that heals a trained network.

    Raises:
        UserError: it trains from scratch, or there is none of that name.
    """
    if name in SCRATCH_METHODS:
        raise UserError(
            f"{name} trains from scratch; a plan takes blocks out of a trained network. Choose a method such "
            "as ttmpd, or use `lathe prune` on the machine itself."
        )
    return get_method(name)


def _sound(fit: Coefficients, table: LatencyTable) -> Coefficients:
    """A fit that knows how far off it may be.

    Raises:
        UserError: it does not.
    """
    if fit.freedom <= 0:
        raise UserError(
            f"the table for {table.setting.label} holds fewer than two pruned forms of the network timed as a "
            "whole, so nobody knows how far off its predictions are. Run `lathe profile` on that machine, and "
            "export the table from there."
        )
    return fit
