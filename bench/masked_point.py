"""A point of a method that takes single weights out: the network keeps its shape, and its latency is shown so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from bench.budget import Sparsity
from bench.delivery import deliver
from bench.judging import Judged
from bench.points import Recipe, done_point
from bench.school import School
from bench.shop import Shop
from bench.stages import Stages
from latency_tables.context import coefficients
from latency_tables.errors import UserError
from latency_tables.files import write_atomically
from latency_tables.skeleton import Plan
from pruning.early.criterion import prunable
from pruning.early.masks import Masks, keep_best, random_like, shuffled, smart_ratio
from pruning.early.masks import sparsity as sparsity_of
from pruning.from_scratch import SCRATCH_METHODS, ScratchMethod
from pruning.recovery.batches import drawn_by
from pruning.search import Progress
from reports.results import Point

SHUFFLED = "same mask shuffled within each layer, trained the same way"
WEIGHTS_ANEW = "same mask, first weights drawn anew, trained the same way"
BY_CHANCE = "random mask of the same density in each layer, trained the same way"
SMART = "random mask by the smart density profile, trained the same way"
_POINT = "the point"
PLAIN_SCORES = "simple combination: mask by plain cross entropy (prospr), trained the same way"


def make_masked_point(
    shop: Shop, recipe: Recipe, method: ScratchMethod, sparsity: Sparsity, stages: Stages
) -> Point:
    """Scores, masks, trains, delivers and judges.

    Args:
        shop: network, images, session and tables.
        recipe: what to make.
        method: one that takes single weights out.
        sparsity: share of the weights that goes.
        stages: where seconds are counted.

    Raises:
        UserError: labels are missing.
        LatheError: the ranking empties a layer, a number is not finite, or the runtime failed.
    """
    return _Masked(shop, recipe, method, sparsity, stages).run()


class _Masked:
    def __init__(
        self, shop: Shop, recipe: Recipe, method: ScratchMethod, sparsity: Sparsity, stages: Stages
    ) -> None:
        self._shop, self._recipe, self._method = shop, recipe, method
        self._sparsity, self._stages = sparsity, stages
        self._school: School = shop.teaching(recipe.lessons)

    def run(self) -> Point:
        shop, outline = self._shop, self._shop.subject.outline
        with self._stage("score"):
            masks = self._masks(self._method)
        # A network that was trained for another runtime, or before a stop, takes no time, and no stage says it did.
        with self._stage("train, done before" if self._school.knows(_POINT) else "train") as progress:
            network = self._trained(masks, _POINT, progress)
        plan = Plan(outline.skeleton.name, outline.skeleton.digest, ())
        with self._stage("deliver"):
            delivered = deliver(
                shop.subject.network,
                outline,
                network,
                plan,
                shop.session,
                shop.images.calibration,
                shop.folder / self._recipe.id,
                quick_s=shop.quick_s(),
            )
        with self._stage("evaluate") as progress:
            outputs = shop.outputs(network, "the sparse network", progress)
        controls = Judged()
        if self._recipe.controls:
            with self._stage("controls") as progress:
                controls = self._controls(masks, progress)
        table = shop.store.table(shop.session.setting)
        return done_point(
            shop,
            self._recipe,
            outputs,
            delivered,
            removed=(),
            sparsity=sparsity_of(masks),
            predicted_s=coefficients(outline.skeleton, table).unpruned_s,
            budget_s=None,
            met=None,
            stages_s=self._stages.seconds,
            rounds=(),
            controls=controls,
        )

    def _masks(self, method: ScratchMethod) -> Masks:
        # Kept beside the trainings for as long as these: scored anew on other threads a mask may differ in an
        # entry, and what was trained with the one does not go on with the other.
        file = self._school.folder / f"{method.name}-mask.safetensors"
        if file.exists():
            found = _read_masks(file)
            # In the network's order, in which controls draw.
            return {name: found[name] for name in prunable(self._school.untrained()) if name in found}
        density = 1.0 - self._sparsity.share
        masks = keep_best(self._school.scores(method, self._school.untrained(), density), density)
        write_atomically(file, save({name: mask.contiguous() for name, mask in masks.items()}))
        return masks

    def _controls(self, masks: Masks, progress: Progress) -> Judged:
        seed, density = self._school.training.seed, 1.0 - self._sparsity.share
        drawn = [drawn_by("control masks", seed, place) for place in range(3)]

        def trained(name: str, mask: Callable[[], Masks], luck: int = 0) -> Callable[[], nn.Module]:
            return lambda: self._trained(mask(), name, progress, luck)

        makers = {
            SHUFFLED: trained(SHUFFLED, lambda: shuffled(masks, drawn[0])),
            WEIGHTS_ANEW: trained(WEIGHTS_ANEW, lambda: masks, luck=1),
            BY_CHANCE: trained(BY_CHANCE, lambda: random_like(masks, drawn[1])),
            SMART: trained(SMART, lambda: smart_ratio(self._school.untrained(), density, drawn[2], masks)),
        }
        if not self._method.ranks_plainly(self._school.training.self_distillation):
            makers[PLAIN_SCORES] = trained(PLAIN_SCORES, lambda: self._masks(SCRATCH_METHODS["prospr"]))
        return self._shop.judged(makers, progress)

    def _trained(self, masks: Masks, what: str, progress: Progress, luck: int = 0) -> nn.Module:
        objective = self._method.objective(self._school.training)
        return self._school.teach(self._school.untrained(luck), objective, what, progress, masks)

    @contextmanager
    def _stage(self, name: str) -> Iterator[Progress]:
        with self._stages.stage(name), self._shop.terminal.progress(name) as progress:
            yield progress


def _read_masks(file: Path) -> Masks:
    try:
        return load(file.read_bytes())
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"the mask chosen earlier cannot be read from {file} ({error}). Remove the folder {file.parent} to "
            "choose and train anew."
        ) from error
