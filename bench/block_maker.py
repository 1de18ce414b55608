"""Takes whole blocks out of a trained network and heals what is left on its own pseudo labels."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from bench.controls import pruned_controls
from bench.judging import Judged
from bench.shop import Shop
from bench.workplace import at
from latency_tables.context import Coefficients
from pruning.criteria.variables import Workpiece
from pruning.methods import get_method
from pruning.outline import Outline
from pruning.search import Progress, Selection
from pruning.surgery import remove_blocks


class BlockMaker:
    """See `bench.maker.Maker`.

    Args:
        shop: network, images and pseudo labels.
        method: name of a method of `pruning.methods`.
        seed: of everything random.
        iterations: steps of finetuning.
    """

    stage = "finetune"
    costly = False

    def __init__(self, shop: Shop, method: str, seed: int, iterations: int) -> None:
        self._shop, self._method = shop, get_method(method)
        self._seed, self._iterations = seed, iterations
        self._outline = shop.subject.outline_for(shop.store.table(shop.session.setting))
        self._piece = Workpiece(
            shop.teacher, shop.images.calibration, shop.pseudo_labels(), self._outline.skeleton, seed
        )
        with at(shop.device, shop.teacher):
            self._scorer = self._method.scorer(self._piece)

    @property
    def outline(self) -> Outline:
        """With channel groups where the table was fitted on narrower networks."""
        return self._outline

    @property
    def needs_controls(self) -> bool:
        """As the method has it."""
        return self._method.needs_controls

    def choose(self, fit: Coefficients, budget_s: float, progress: Progress) -> Selection:
        """See `bench.maker.Maker`."""
        with at(self._shop.device, self._shop.teacher):
            return self._method.select(self._scorer, self._piece.candidates, fit, budget_s, progress=progress)

    def make(self, chosen: Selection, progress: Progress) -> nn.Module:
        """See `bench.maker.Maker`."""
        student = remove_blocks(self._shop.teacher, chosen.removed)
        self._shop.heal(student, self._iterations, self._seed, progress)
        return student

    def channels(self, chosen: Selection) -> Mapping[str, tuple[int, ...]]:  # noqa: ARG002
        """None."""
        return {}

    def controls(self, chosen: Selection, fit: Coefficients, progress: Progress) -> Judged:
        """See `bench.maker.Maker`."""
        found = pruned_controls(self._shop, self._piece, chosen.removed, fit, self._iterations, progress)
        return self._shop.controls.beside(found)
