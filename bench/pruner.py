"""One point: a method, a budget, a seed → a smaller network, healed, timed, judged and written down."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from torch import nn

from bench import evaluation
from bench.budget import Budget
from bench.controls import pruned_controls
from bench.delivery import Delivered, deliver
from bench.hardware_loop import Choice, HardwareLoop
from bench.profiler import time_network
from bench.shop import Shop
from bench.stages import Stages
from latency_tables.context import Coefficients, coefficients
from latency_tables.errors import UserError
from latency_tables.skeleton import Cut, Plan
from latency_tables.table import NetworkMeasurement
from pruning.criteria.variables import Workpiece
from pruning.methods import get_method
from pruning.search import Progress, Selection
from pruning.surgery import remove_blocks
from reports.results import UNPRUNED, PartTime, Point


@dataclass(frozen=True)
class Recipe:
    """What makes a point.

    Attributes:
        id: the point's name, and that of its folder.
        method: name of the method.
        budget: latency allowed.
        seed: of everything random.
        iterations: steps of finetuning.
        rounds: most turns of the hardware loop.
        controls: whether a point that needs controls is made with them.
        command: the command line that makes the point again.
    """

    id: str
    method: str
    budget: Budget
    seed: int
    iterations: int
    rounds: int
    controls: bool
    command: str


def make_point(shop: Shop, recipe: Recipe) -> Point:
    """Prunes, heals, delivers and judges.

    Args:
        shop: network, images, session and tables.
        recipe: what to make.

    Returns:
        The point. When the rounds of the hardware loop are used up it may have missed its budget; it says so.

    Raises:
        UserError: the budget is out of reach, or the images are too few.
        LatheError: a runtime failed, a number is not finite, or the outputs of the delivered network are wrong.
    """
    return _Pruning(shop, recipe).run()


class _Pruning:
    """The stages of one point, each timed."""

    def __init__(self, shop: Shop, recipe: Recipe) -> None:
        self._shop = shop
        self._recipe = recipe
        self._stages = Stages()
        self._piece = Workpiece(
            shop.teacher, shop.images.calibration, shop.labels, shop.subject.outline.skeleton, recipe.seed
        )

    def run(self) -> Point:
        shop, recipe = self._shop, self._recipe
        method = get_method(recipe.method)
        with self._stage("score"):
            scorer = method.scorer(self._piece)

        def choose(fit: Coefficients, budget_s: float) -> Selection:
            with self._stage("score") as progress:
                return method.select(scorer, self._piece.candidates, fit, budget_s, progress=progress)

        loop = HardwareLoop(
            shop.subject.outline.skeleton,
            lambda: shop.store.table(shop.session.setting),
            recipe.budget,
            choose=choose,
            measure=self._measure,
            rounds=recipe.rounds,
            say=lambda text: shop.terminal.say(f"  {text}"),
        )
        # What the loop times has the shape of the delivered network, so healing waits until it fits. Where the
        # delivered file then misses by a hair, the loop goes on with what was seen.
        finished: tuple[nn.Module, Choice, Delivered] | None = None
        while True:
            try:
                choice = loop.search()
            except UserError:
                if finished is None:
                    raise
                # Nothing smaller is within reach: what missed by a hair is still the best there is.
                return self._judge(*finished, loop)
            student = remove_blocks(shop.teacher, choice.selection.removed)
            with self._stage("finetune") as progress:
                shop.heal(student, recipe.iterations, recipe.seed, progress)
            delivered = self._deliver(student, choice)
            finished = student, choice, delivered
            if loop.saw("delivered", choice.selection, delivered.measured) or loop.exhausted:
                return self._judge(*finished, loop)

    def _measure(self, removed: Collection[str]) -> NetworkMeasurement:
        shop = self._shop
        with self._stage("measure"):
            measured = time_network(
                shop.subject.outline, shop.session, Cut.of(removed), "fit", shop.quick_s()
            )
        shop.store.put_network(shop.session.setting, shop.subject.outline.skeleton.name, measured)
        return measured

    def _deliver(self, student: nn.Module, choice: Choice) -> Delivered:
        shop = self._shop
        skeleton = shop.subject.outline.skeleton
        plan = Plan(
            network=skeleton.name,
            digest=skeleton.digest,
            removed=choice.selection.removed,
            predicted_s=choice.fit.interval(choice.selection.removed),
            hurt=choice.selection.hurt,
        )
        folder = shop.folder / self._recipe.id
        with self._stage("deliver"):
            delivered = deliver(
                shop.subject,
                student,
                plan,
                shop.session,
                shop.images.calibration,
                folder,
                quick_s=shop.quick_s(),
            )
        shop.store.put_network(shop.session.setting, skeleton.name, delivered.measured)
        return delivered

    def _judge(self, student: nn.Module, choice: Choice, delivered: Delivered, loop: HardwareLoop) -> Point:
        shop, recipe = self._shop, self._recipe
        removed = choice.selection.removed
        with self._stage("evaluate") as progress:
            outputs = shop.images.outputs(student, "the pruned network", progress)
        controls = dict(shop.controls)
        if recipe.controls and get_method(recipe.method).needs_controls:
            with self._stage("controls") as progress:
                controls |= pruned_controls(
                    shop, self._piece, removed, choice.fit, recipe.iterations, progress
                )
        measured = delivered.measured
        return Point(
            **_common(shop, recipe.id, recipe.method, recipe.budget.text, recipe.seed, recipe.command),
            status="done",
            reason=None,
            accuracy=shop.accuracy(outputs),
            agreement=evaluation.agreement(outputs, shop.unpruned_outputs),
            kl=evaluation.divergence(outputs, shop.unpruned_outputs),
            predicted_s=loop.foreseen(measured),
            measured_s=measured.latency_s,
            unpruned_s=measured.unpruned_s,
            ratio=measured.ratio,
            trace=measured.trace,
            disturbance=measured.disturbance,
            budget_s=recipe.budget.seconds(measured.unpruned_s.value),
            met=loop.rounds[-1].met,
            removed=removed,
            parts=_parts(shop, removed, measured.unpruned_s.value),
            stages_s={**shop.stages_s, **self._stages.seconds},
            rounds=loop.rounds,
            controls=controls,
            artefacts={
                name: path.relative_to(shop.folder).as_posix() for name, path in delivered.files.items()
            },
        )

    @contextmanager
    def _stage(self, name: str) -> Iterator[Progress]:
        with self._stages.stage(name), self._shop.terminal.progress(name) as progress:
            yield progress


def unpruned_point(shop: Shop, id_: str, seed: int) -> Point:
    """The unpruned network as a point, timed against itself."""
    measured = time_network(shop.subject.outline, shop.session, Cut(), "fit", shop.quick_s())
    shop.store.put_network(shop.session.setting, shop.subject.outline.skeleton.name, measured)
    outputs = shop.unpruned_outputs
    predicted = coefficients(shop.subject.outline.skeleton, shop.store.table(shop.session.setting)).unpruned_s
    return Point(
        **_common(shop, id_, UNPRUNED, "", seed, ""),
        status="done",
        reason=None,
        accuracy=shop.accuracy(outputs),
        agreement=evaluation.agreement(outputs, outputs),
        kl=evaluation.divergence(outputs, outputs),
        predicted_s=predicted,
        measured_s=measured.unpruned_s,
        unpruned_s=measured.unpruned_s,
        ratio=measured.ratio,
        trace=measured.trace,
        disturbance=measured.disturbance,
        budget_s=None,
        met=None,
        removed=(),
        parts=_parts(shop, (), measured.unpruned_s.value),
        stages_s={},
        rounds=(),
        controls={},
        artefacts={},
    )


def failed_point(shop: Shop, recipe: Recipe, reason: str) -> Point:
    """A point that could not be made, kept with its reason."""
    return Point(
        **_common(shop, recipe.id, recipe.method, recipe.budget.text, recipe.seed, recipe.command),
        status="failed",
        reason=reason,
        accuracy=None,
        agreement=None,
        kl=None,
        predicted_s=None,
        measured_s=None,
        unpruned_s=None,
        ratio=None,
        trace=None,
        disturbance=None,
        budget_s=None,
        met=None,
        removed=(),
        parts=(),
        stages_s={},
        rounds=(),
        controls={},
        artefacts={},
    )


def _common(shop: Shop, id_: str, method: str, budget: str, seed: int, command: str) -> Mapping[str, Any]:
    return {
        "id": id_,
        "method": method,
        "budget": budget,
        "seed": seed,
        "setting": shop.session.setting.digest,
        "accuracy_before": shop.accuracy(shop.unpruned_outputs),
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _parts(shop: Shop, removed: tuple[str, ...], unpruned_s: float) -> tuple[PartTime, ...]:
    """Each layer's share of the unpruned network's latency in context; the shares add up to it."""
    skeleton = shop.subject.outline.skeleton
    fit = coefficients(skeleton, shop.store.table(shop.session.setting))
    scale = unpruned_s / sum(fit.layers_s())
    removable = set(skeleton.removable)
    return tuple(
        PartTime(
            layer.name,
            layer.part.kind,
            layer.block if layer.block in removable else None,
            scale * seconds,
            layer.block not in removed,
        )
        for layer, seconds in zip(skeleton.layers, fit.layers_s(), strict=True)
    )
