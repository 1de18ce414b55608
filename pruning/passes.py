"""Forward passes without some blocks, each begun where it first differs from a pass that is known.

Taking a block out changes nothing before it. A search that asks about every block in turn would compute the
unchanged beginning each time; here it is computed once, and a pass starts behind the last block that it shares.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latency_tables.errors import LatheError
from pruning.adaptation import BATCH_SIZE, batch_statistics, batches, trained_statistics
from pruning.features import forward_with_features
from pruning.idle import Front, keeper, listening, standing_idle
from pruning.surgery import bypassed
from pruning.targets import device_of

MEMORY_BYTES = 2 << 30
"""Most memory for kept activations; where it is short, fewer are kept and passes begin earlier."""


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """What a network says of n images, float32, without gradient.

    Attributes:
        features: what enters the final pooling, shape (n, ...); see `pruning.features`.
        logits: shape (n, classes).
    """

    features: Tensor
    logits: Tensor


class Passes:
    """A network's outputs over fixed images with any set of its blocks taken out.

    The same operators run on the same numbers as in a full pass. Whether a pass may begin behind a block is tried
    and not assumed: where a connection reaches over a block, two images show it, and no pass begins there.

    Args:
        model: the unpruned network; between calls it is as it was.
        images: preprocessed, shape (n, channels, height, width), n at least 2.
        blocks: the removable blocks in the order in which they run.
        trained: whether batch norm uses its statistics of training; else those of each batch.
        batch_size: most images in one pass.
        memory_bytes: most memory for kept activations; 0 makes every pass a full one.

    Attributes:
        unpruned: what the whole network says.

    Raises:
        UserError: fewer than two images, or an output that is no matrix of logits.
        LatheError: the whole network's logits are not finite.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        blocks: Sequence[str],
        *,
        trained: bool = False,
        batch_size: int = BATCH_SIZE,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._model = model
        self._batches = [batch.to(device_of(model)) for batch in batches(images, batch_size)]
        self._trained = trained
        self._blocks = {name: model.get_submodule(name) for name in blocks}
        self._starts = self._find_starts(len(images), memory_bytes)
        self._kept = _Kept(frozenset(), {})
        self._last: tuple[frozenset[str], Outputs] | None = None  # several measures ask for one set in turn
        self.unpruned = self._record(frozenset())
        if not self.unpruned.logits.isfinite().all():
            raise LatheError(
                f"{type(model).__name__} gives logits that are not finite for the images at hand, so nothing can "
                "be compared with it. Check that the images are preprocessed as the network expects."
            )

    def outputs(self, removed: Collection[str], instead: Mapping[str, nn.Module] | None = None) -> Outputs:
        """What the network says without these blocks.

        Args:
            removed: the blocks that go.
            instead: modules that stand in the place of some of them.
        """
        wanted = frozenset(removed)
        if not wanted:
            return self.unpruned
        if instead:
            return self._run(wanted, instead)
        if self._last is None or self._last[0] != wanted:
            self._last = wanted, self._run(wanted, {})
        return self._last[1]

    def keep(self, removed: Collection[str]) -> None:
        """Says that the next questions are about these blocks and one more: what they share is computed once."""
        wanted = frozenset(removed)
        if wanted != self._kept.removed:
            self._record(wanted)

    def _record(self, removed: frozenset[str]) -> Outputs:
        """A pass, with everything kept that a later one may begin with."""
        behind: dict[str, list[Tensor]] = {}
        if (start := self._start(removed)) is not None:
            for name, outputs in self._kept.behind.items():
                behind[name] = outputs
                if name == start:
                    break
        self._kept = _Kept(self._kept.removed, behind)  # lets go of the rest before more is kept
        new: dict[str, list[Tensor]] = {
            name: [] for name in self._starts if name not in behind and name not in removed
        }
        with ExitStack() as hooks:
            for name, outputs in new.items():
                hooks.callback(self._blocks[name].register_forward_hook(keeper(outputs)).remove)
            result = self._run(removed, {})
        self._kept = _Kept(removed, behind | new)
        return result

    def _start(self, removed: frozenset[str], instead: Collection[str] = ()) -> str | None:
        """The last block behind which a pass may begin; None for a full one."""
        found = None
        for name in self._blocks:
            if name in instead or (name in removed) != (name in self._kept.removed):
                break
            if name in self._kept.behind:
                found = name
        return found

    @torch.no_grad()
    def _run(self, removed: frozenset[str], instead: Mapping[str, nn.Module]) -> Outputs:
        start = self._start(removed, instead)
        features: list[Tensor] = []
        logits: list[Tensor] = []
        with ExitStack() as context:
            context.enter_context(self._statistics())
            context.enter_context(bypassed(self._model, removed, instead))
            show = None if start is None else context.enter_context(standing_idle(self._starts[start]))
            for place, batch in enumerate(self._batches):
                if start is not None and show is not None:
                    show(self._kept.behind[start][place].clone())  # what follows may work in place
                feature, logit = forward_with_features(self._model, batch)
                features.append(feature.float())
                logits.append(logit.float())
        return Outputs(torch.cat(features), torch.cat(logits))

    @torch.no_grad()
    def _find_starts(self, count: int, memory_bytes: int) -> dict[str, Front]:
        """The blocks behind which a pass may begin, as many as the memory holds."""
        images = self._batches[0][:2]
        behind: dict[str, list[Tensor]] = {name: [] for name in self._blocks}
        found: dict[str, Front] = {}
        with self._statistics():
            with ExitStack() as hooks:
                calls = hooks.enter_context(listening(self._model))
                for name, outputs in behind.items():
                    hooks.callback(self._blocks[name].register_forward_hook(keeper(outputs)).remove)
                whole = forward_with_features(self._model, images)
            # What a module remembers of its last call must not be what it would compute, nor fit to it.
            forward_with_features(self._model, torch.cat([images, images]).flip(0))
            for name, block in self._blocks.items():
                if len(behind[name]) == 1:  # neither called twice nor never
                    front = calls.front(block)
                    if self._same_behind(front, behind[name][0], images, whole):
                        found[name] = front
        sizes = {name: behind[name][0][:1].nbytes * count for name in found}
        for step in range(1, len(found) + 1):
            names = list(found)[step - 1 :: step]
            if sum(sizes[name] for name in names) <= memory_bytes:
                return {name: found[name] for name in names}
        return {}

    def _same_behind(self, front: Front, known: Tensor, images: Tensor, whole: tuple[Tensor, Tensor]) -> bool:
        """Whether all that the network makes of the images goes through a block."""
        try:
            with standing_idle(front, fill=float("nan")) as show:
                show(known)
                again = forward_with_features(self._model, images)
        except Exception:  # noqa: BLE001  the whole network runs: some part of it does not like idle neighbours
            return False
        return all(
            got.shape == wanted.shape and bool((got - wanted).abs().max() <= 1e-5 * wanted.abs().max())
            for got, wanted in zip(again, whole, strict=True)
        )

    def _statistics(self) -> AbstractContextManager[None]:
        return trained_statistics(self._model) if self._trained else batch_statistics(self._model)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A pass that others may begin within.

    Attributes:
        removed: the blocks that were out.
        behind: what each block gave that a pass may begin behind, one tensor a batch; in the network's order.
    """

    removed: frozenset[str]
    behind: Mapping[str, list[Tensor]]
