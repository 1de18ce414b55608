"""Taking blocks out of a network: for real, or for the length of one measurement.

A removable block is a sub-module whose output has its input's shape, so an identity fits in its place.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from latency_tables.errors import UserError


class Passage(nn.Identity):
    """Hands its first argument on, whatever else a block is called with (positions, sizes)."""

    def forward(self, input: Tensor, *_args: Any, **_kwargs: Any) -> Tensor:  # noqa: A002  the name of the base class
        """The input itself."""
        return input


def remove_blocks(model: nn.Module, names: Collection[str]) -> nn.Module:
    """A copy of the network without some of its blocks.

    Args:
        model: the network; left as it is.
        names: dotted module paths of the blocks that go, as in ``"layer1.0"``; may be empty.

    Returns:
        A deep copy in which each named module is a `Passage`, an ``nn.Identity``; the other modules keep their
        names, so their weights can be loaded from the unpruned network's.

    Raises:
        UserError: the network has no module of that name.
    """
    pruned = copy.deepcopy(model)
    for parent, leaf, _ in _places(pruned, names):
        setattr(parent, leaf, Passage())
    return pruned


@contextmanager
def bypassed(
    model: nn.Module, names: Collection[str], instead: Mapping[str, nn.Module] | None = None
) -> Iterator[None]:
    """Takes blocks out of the network itself while the context is open; they return even after an error.

    Args:
        model: the network, changed in place until the context closes.
        names: dotted module paths of the blocks that go; may be empty.
        instead: what stands in the place of some of them, by name; an identity in that of the others.

    Raises:
        UserError: the network has no module of that name; nothing was changed.
    """
    places = _places(model, names)
    stand_ins = instead or {}
    for name, (parent, leaf, _) in zip(names, places, strict=True):
        setattr(parent, leaf, stand_ins[name] if name in stand_ins else Passage())
    try:
        yield
    finally:
        for parent, leaf, block in places:
            setattr(parent, leaf, block)


def _places(model: nn.Module, names: Collection[str]) -> list[tuple[nn.Module, str, nn.Module]]:
    """Parent, attribute and module of each name; all are looked up before anything is changed."""
    modules = dict(model.named_modules(remove_duplicate=False))
    del modules[""]
    missing = sorted(set(names) - set(modules))
    if missing:
        raise UserError(
            f"the network {type(model).__name__} has no module {', '.join(map(repr, missing))}, so it cannot be "
            f"removed. Blocks are named by their path, as in {', '.join(map(repr, list(modules)[-3:]))}; a plan "
            "fits only the network that it was made for."
        )
    places = []
    for name in names:
        parent, _, leaf = name.rpartition(".")
        places.append((modules[parent] if parent else model, leaf, modules[name]))
    return places
