"""One point: a method, a budget, a seed → a smaller network, made good, timed, judged and written down."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

from torch import nn

from bench.block_maker import BlockMaker
from bench.budget import Budget, Sparsity
from bench.channel_maker import ChannelMaker
from bench.delivery import Delivered, deliver
from bench.failure import FAILURES, reason
from bench.hardware_loop import Choice, HardwareLoop, is_open
from bench.judging import Judged
from bench.maker import Maker
from bench.masked_point import make_masked_point
from bench.points import Recipe, done_point
from bench.profiler import time_network
from bench.shop import Shop
from bench.stages import Stages
from latency_tables.context import Coefficients
from latency_tables.errors import StorageError, UserError
from latency_tables.skeleton import Cut, Plan
from latency_tables.table import NetworkMeasurement
from pruning.from_scratch import SCRATCH_METHODS
from pruning.search import Chosen, Progress
from reports.results import Point

T = TypeVar("T", bound=Chosen)


def make_point(shop: Shop, recipe: Recipe) -> Point:
    """Prunes, heals or trains, delivers and judges.

    Args:
        shop: network, images, session and tables.
        recipe: what to make.

    Returns:
        The point. When the rounds of the hardware loop are used up it may have missed its budget; it says so.

    Raises:
        UserError: the budget is out of reach, or the images are too few.
        LatheError: a runtime failed, a number is not finite, or the outputs of the delivered network are wrong.
    """
    stages = Stages()
    method = SCRATCH_METHODS.get(recipe.method)
    if isinstance(recipe.budget, Sparsity):
        if method is None or method.structured:
            raise UserError(
                f"{recipe.method} takes no sparsity, got {recipe.budget.text}; write a latency, as in 0.7x"
            )
        return make_masked_point(shop, recipe, method, recipe.budget, stages)
    if method is None:
        with stages.stage("score"):
            blocks = BlockMaker(shop, recipe.method, recipe.seed, recipe.iterations)
        return _Pruning(shop, recipe, recipe.budget, blocks, stages).run()
    if not method.structured:
        raise UserError(f"{recipe.method} takes single weights out: write a sparsity, as in 90%")
    channels = ChannelMaker(shop, shop.teaching(recipe.lessons), method)
    return _Pruning(shop, recipe, recipe.budget, channels, stages).run()


class _Finished(NamedTuple, Generic[T]):
    """A network that was made and delivered, and whether its delivered form met the budget."""

    student: nn.Module
    choice: Choice[T]
    delivered: Delivered
    met: bool


class _Pruning(Generic[T]):
    """The stages of one point, each timed."""

    def __init__(self, shop: Shop, recipe: Recipe, budget: Budget, maker: Maker[T], stages: Stages) -> None:
        self._shop, self._recipe, self._budget = shop, recipe, budget
        self._maker, self._stages = maker, stages
        self._deliveries = 0

    def run(self) -> Point:
        shop, recipe, maker = self._shop, self._recipe, self._maker

        def choose(fit: Coefficients, budget_s: float) -> T:
            with self._stage("score") as progress:
                return maker.choose(fit, budget_s, progress)

        loop = HardwareLoop(
            maker.outline.skeleton,
            lambda: shop.store.table(shop.session.setting),
            self._budget,
            choose=choose,
            measure=self._measure,
            rounds=recipe.rounds,
            say=lambda text: shop.terminal.say(f"  {text}"),
            confirm=maker.costly,
        )
        # What the loop times has the shape of the delivered network, so making it good waits until it fits. Where
        # the delivered file then misses by a hair, the loop goes on with what was seen.
        finished, confirmed = self._made(loop), False
        while not finished.met:
            # A wide interval is no reason to make another network for minutes; whatever comes now counts.
            again = maker.costly and not confirmed and is_open(self._budget, finished.delivered.measured)
            if loop.exhausted and not again:
                break
            try:
                finished = self._delivered_again(loop, finished) if again else self._made(loop)
            except StorageError:
                raise
            except FAILURES as error:
                # What missed by a hair is still the best there is: nothing smaller is within reach, or it failed.
                missed = f"what was delivered stays, though it misses {self._budget.text}"
                shop.terminal.say(f"  {missed}: {reason(error)}")
                break
            confirmed = again
        return self._judge(*finished, loop)

    def _made(self, loop: HardwareLoop[T]) -> _Finished[T]:
        """Chooses, makes and delivers a network."""
        choice = loop.search()
        with self._stage(self._maker.stage) as progress:
            student = self._maker.make(choice.selection, progress)
        delivered = self._deliver(student, choice)
        return _Finished(student, choice, delivered, loop.saw("delivered", delivered.measured))

    def _delivered_again(self, loop: HardwareLoop[T], finished: _Finished[T]) -> _Finished[T]:
        """The same network once more."""
        delivered = self._deliver(finished.student, finished.choice)
        met = loop.saw("delivered, once more", delivered.measured)
        return finished._replace(delivered=delivered, met=met)

    def _measure(self, cut: Cut) -> NetworkMeasurement:
        shop = self._shop
        with self._stage("measure"):
            measured = time_network(self._maker.outline, shop.session, cut, "fit", shop.quick_s())
        shop.store.put_network(shop.session.setting, self._maker.outline.skeleton.name, measured)
        return measured

    def _deliver(self, student: nn.Module, choice: Choice[T]) -> Delivered:
        shop = self._shop
        skeleton = self._maker.outline.skeleton
        cut = choice.selection.cut
        channels = dict(self._maker.channels(choice.selection))
        plan = Plan(
            network=skeleton.name,
            digest=skeleton.digest,
            removed=choice.selection.removed,
            predicted_s=choice.fit.interval(cut.removed, dict(cut.widths)),
            hurt=choice.selection.hurt,
            channels=channels,
            input_shape=shop.subject.network.input_shape if channels else None,
        )
        self._deliveries += 1
        with self._stage("deliver"):
            delivered = deliver(
                shop.subject.network,
                self._maker.outline,
                student,
                plan,
                shop.session,
                shop.images.calibration,
                # Of several the one that is judged is kept, so none may write over another one's files.
                shop.folder / self._recipe.id / f"delivery{self._deliveries}",
                quick_s=shop.quick_s(),
            )
        shop.store.put_network(shop.session.setting, skeleton.name, delivered.measured)
        return delivered

    def _kept(self, delivered: Delivered) -> Delivered:
        """Puts the files of one delivery where the point's belong; those of the others go."""
        folder = self._shop.folder / self._recipe.id
        files = {name: path.replace(folder / path.name) for name, path in delivered.files.items()}
        for number in range(1, self._deliveries + 1):
            shutil.rmtree(folder / f"delivery{number}", ignore_errors=True)
        return replace(delivered, files=files)

    def _judge(
        self,
        student: nn.Module,
        choice: Choice[T],
        delivered: Delivered,
        met: bool,
        loop: HardwareLoop[T],
    ) -> Point:
        shop, recipe = self._shop, self._recipe
        delivered = self._kept(delivered)
        measured = delivered.measured
        with self._stage("evaluate") as progress:
            outputs = shop.outputs(student, "the pruned network", progress)
        controls = Judged()
        if recipe.controls and not self._maker.needs_controls:
            controls = shop.controls
        elif recipe.controls:
            with self._stage("controls") as progress:
                controls = self._maker.controls(choice.selection, choice.fit, progress)
        return done_point(
            shop,
            recipe,
            outputs,
            delivered,
            removed=choice.selection.removed,
            sparsity=None,
            predicted_s=loop.foreseen(measured),
            budget_s=self._budget.seconds(measured.unpruned_s.value),
            met=met,
            stages_s=self._stages.seconds,
            rounds=loop.rounds,
            controls=controls,
        )

    @contextmanager
    def _stage(self, name: str) -> Iterator[Progress]:
        with self._stages.stage(name), self._shop.terminal.progress(name) as progress:
            yield progress
