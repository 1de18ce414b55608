"""Letting everything in front of a block stand idle, where what the block gives is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """A block, and what has run for the last time when it is done.

    Attributes:
        block: the module whose output is known.
        idle: modules that need not run, with the shape of their output for one image.
    """

    block: nn.Module
    idle: Mapping[nn.Module, tuple[int, ...]]


@dataclass(slots=True)
class Calls:
    """The modules that a network's forward passes ran through.

    Attributes:
        images: how many the pass at hand is about.
        last: place of each module's last call among all calls, in the order in which they ended.
        shape: of its output for one image; None where it gave several shapes, or anything but numbers for each
            image, so that nothing can stand for it.
        count: of calls.
    """

    images: int = 0
    last: dict[nn.Module, int] = field(default_factory=dict)
    shape: dict[nn.Module, tuple[int, ...] | None] = field(default_factory=dict)
    count: int = 0

    def add(self, module: nn.Module, output: object) -> None:
        """Takes in a call that has just ended."""
        shape = None
        if isinstance(output, Tensor) and output.is_floating_point() and output.shape[:1] == (self.images,):
            shape = tuple(output.shape[1:])
        self.shape[module] = shape if self.shape.get(module, shape) == shape else None
        self.last[module] = self.count
        self.count += 1

    def front(self, block: nn.Module) -> Front:
        """What need not run where the block's output is known."""
        end = self.last[block]
        return Front(
            block,
            {
                module: shape
                for module, shape in self.shape.items()
                if shape is not None and self.last[module] < end
            },
        )


@contextmanager
def listening(model: nn.Module) -> Iterator[Calls]:
    """While open, writes down which modules run.

    Args:
        model: takes images of shape (n, ...) as its first argument; has some hooks more until the context closes.
    """
    calls = Calls()

    def begin(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        calls.images = len(inputs[0])

    def note(module: nn.Module, _: Any, output: object) -> None:
        calls.add(module, output)

    with ExitStack() as hooks:
        hooks.callback(model.register_forward_pre_hook(begin).remove)
        for module in model.modules():
            hooks.callback(module.register_forward_hook(note).remove)
        yield calls


def keeper(outputs: list[Tensor]) -> Callable[[nn.Module, Any, Tensor], None]:
    """A forward hook that lists copies of what a module gives: what follows may write over the original."""

    def keep(_: nn.Module, __: Any, output: Tensor) -> None:
        outputs.append(output.clone())

    return keep


@contextmanager
def standing_idle(front: Front, *, fill: float = 0.0) -> Iterator[Callable[[Tensor], None]]:
    """While open, a block gives what it is told, and what runs before it gives one number everywhere.

    Functions outside modules still run. What they make of that number matters to nobody, if all that the rest of
    the network reads goes through the block; a fill of NaN shows whether it does.

    Args:
        front: of the network, whose modules have another ``forward`` until the context closes.
        fill: the number.

    Yields:
        What must be told, before each forward pass, what the block gives: shape (n, ...), n images. The pass may
        write over it.
    """
    known: list[Tensor] = []
    blanks: dict[tuple[int, ...], Tensor] = {}

    def show(output: Tensor) -> None:
        known[:] = [output]

    def blank(shape: tuple[int, ...]) -> Tensor:
        # One tensor for each shape, made once, costs next to nothing; and unlike an expanded number it may be
        # written over by what works in place, also where several modules share it.
        whole = (len(known[0]), *shape)
        if whole not in blanks:
            blanks[whole] = known[0].new_full(whole, fill)
        return blanks[whole]

    with ExitStack() as undo:
        for module, shape in front.idle.items():
            undo.enter_context(_giving(module, partial(blank, shape)))
        undo.enter_context(_giving(front.block, lambda: known[0]))
        yield show


@contextmanager
def _giving(module: nn.Module, output: Callable[[], Tensor]) -> Iterator[None]:
    """Lets a module give something else; its attributes, hooks and place in the network stay."""
    attributes = vars(module)
    before = attributes.get("forward")  # a network may have given the instance a forward of its own
    attributes["forward"] = lambda *_args, **_kwargs: output()
    try:
        yield
    finally:
        if before is None:
            del attributes["forward"]
        else:
            attributes["forward"] = before
