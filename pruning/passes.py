"""Forward passes without some blocks, each begun where it first differs from a pass that is known.

Taking a block out changes nothing before it. A search that asks about every block in turn would compute the
unchanged beginning each time; here it is computed once, and a pass starts behind the last block that it shares.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from latency_tables.errors import LatheError
from pruning.adaptation import BATCH_SIZE, batch_statistics, batches, trained_statistics
from pruning.features import forward_with_features
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
    and not assumed: where a connection reaches over the block, two images show it, and no pass begins there.

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
        self._calls = [_Calls() for _ in self._batches]
        self._kept = _Kept(frozenset(), {})
        self.unpruned = self._record(frozenset(), self._calls)
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
        return self._run(wanted, instead=instead) if wanted else self.unpruned

    def keep(self, removed: Collection[str]) -> None:
        """Says that the next questions are about these blocks and one more: what they share is computed once."""
        wanted = frozenset(removed)
        if wanted != self._kept.removed:
            self._record(wanted)

    def _record(self, removed: frozenset[str], calls: Sequence[_Calls] = ()) -> Outputs:
        """A pass, with everything kept that a later one may begin with."""
        start = self._start(removed)
        shared = self._starts[: self._starts.index(start) + 1] if start else ()
        behind = {name: self._kept.behind[name] for name in shared if name not in removed}
        new: dict[str, list[Tensor]] = {
            name: [] for name in self._starts if name not in shared and name not in removed
        }
        with ExitStack() as hooks:
            for name, outputs in new.items():
                hooks.callback(self._blocks[name].register_forward_hook(_keeper(outputs)).remove)
            result = self._run(removed, calls)
        self._kept = _Kept(removed, behind | new)
        return result

    def _start(self, removed: frozenset[str]) -> str | None:
        """The last block behind which a pass may begin; None for a full one."""
        found = None
        for name in self._blocks:
            if (name in removed) != (name in self._kept.removed):
                break
            if name in self._kept.behind:
                found = name
        return found

    @torch.no_grad()
    def _run(
        self,
        removed: frozenset[str],
        calls: Sequence[_Calls] = (),
        instead: Mapping[str, nn.Module] | None = None,
    ) -> Outputs:
        start = self._start(removed)
        features: list[Tensor] = []
        logits: list[Tensor] = []
        with self._statistics(), bypassed(self._model, removed, instead):
            for place, batch in enumerate(self._batches):
                with ExitStack() as context:
                    if calls:
                        context.enter_context(_listening(self._model, calls[place]))
                    if start is not None:
                        known = self._kept.behind[start][place]
                        context.enter_context(_begun(self._calls[place], self._blocks[start], known))
                    feature, logit = forward_with_features(self._model, batch)
                features.append(feature.float())
                logits.append(logit.float())
        return Outputs(torch.cat(features), torch.cat(logits))

    @torch.no_grad()
    def _find_starts(self, count: int, memory_bytes: int) -> tuple[str, ...]:
        """The blocks behind which a pass may begin, as many as the memory holds."""
        images = self._batches[0][:2]
        calls = _Calls()
        behind: dict[str, list[Tensor]] = {name: [] for name in self._blocks}
        found: list[str] = []
        with self._statistics():
            with ExitStack() as hooks:
                hooks.enter_context(_listening(self._model, calls))
                for name, outputs in behind.items():
                    hooks.callback(self._blocks[name].register_forward_hook(_keeper(outputs)).remove)
                _, whole = forward_with_features(self._model, images)
            for name, module in self._blocks.items():
                if len(behind[name]) != 1 or "forward" in vars(module):
                    continue  # called twice or never, or nothing can stand for it
                with _begun(calls, module, behind[name][0]):
                    _, again = forward_with_features(self._model, images)
                if torch.allclose(again, whole, rtol=1e-4, atol=1e-5 * float(whole.abs().max())):
                    found.append(name)
        needed = sum(behind[name][0][:1].numel() * 4 * count for name in found)
        step = max(1, -(-needed // memory_bytes)) if memory_bytes else len(found) + 1
        return tuple(found[step - 1 :: step])

    def _statistics(self) -> AbstractContextManager[None]:
        return trained_statistics(self._model) if self._trained else batch_statistics(self._model)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A pass that others may begin within.

    Attributes:
        removed: the blocks that were out.
        behind: what each block gave that a pass may begin behind, one tensor for each batch.
    """

    removed: frozenset[str]
    behind: Mapping[str, list[Tensor]]


@dataclass(slots=True)
class _Calls:
    """The modules that a batch ran through.

    Attributes:
        last: place of each module's last call among all calls.
        shape: of what it gave; None where it gave several shapes or no tensor, so that nothing can stand for it.
        count: of calls.
    """

    last: dict[nn.Module, int] = field(default_factory=dict)
    shape: dict[nn.Module, torch.Size | None] = field(default_factory=dict)
    count: int = 0

    def add(self, module: nn.Module, output: object) -> None:
        shape = output.shape if isinstance(output, Tensor) else None
        self.shape[module] = shape if self.shape.get(module, shape) == shape else None
        self.last[module] = self.count
        self.count += 1


@contextmanager
def _listening(model: nn.Module, calls: _Calls) -> Iterator[None]:
    def note(module: nn.Module, _: object, output: object) -> None:
        calls.add(module, output)

    with ExitStack() as hooks:
        for module in model.modules():
            hooks.callback(module.register_forward_hook(note).remove)
        yield


@contextmanager
def _begun(calls: _Calls, block: nn.Module, known: Tensor) -> Iterator[None]:
    """While open, the block gives what is known, and what ran before it gives zeros that cost nothing."""
    end = calls.last[block]
    inside = set(block.modules()) - {block}
    stubbed: list[nn.Module] = []

    def stub(module: nn.Module, output: Tensor) -> None:
        module.forward = lambda *_, **__: output
        stubbed.append(module)

    try:
        stub(block, known)
        for module, last in calls.last.items():
            shape = calls.shape[module]
            own = "forward" in vars(module)  # not the class's, so it could not be put back
            if last < end and shape is not None and module not in inside and not own:
                stub(module, known.new_zeros(()).expand(shape))
        yield
    finally:
        for module in stubbed:
            del module.forward  # the class's own again


def _keeper(outputs: list[Tensor]) -> Callable[[nn.Module, Any, Tensor], None]:
    def keep(_: nn.Module, __: Any, output: Tensor) -> None:
        outputs.append(output)

    return keep
