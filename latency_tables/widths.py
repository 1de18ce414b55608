"""Channel groups, and how the sizes in a graph follow their widths.

A graph holds integers: sizes of tensors, and arguments such as the shape of a view or the groups of a depthwise
convolution. Some of them grow and shrink with the width of a channel group. Knowing which, and how, a graph at
other widths is written down without running a network.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from latency_tables.errors import UserError, unknown
from latency_tables.graph import Argument, Graph, Operator, TensorType, Value


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels that must go together: of a tensor, of all that is added to it, of everything that reads it.

    Attributes:
        name: dotted path of the first module that makes these channels.
        channels: how many the unpruned network has.
        frozen: why its width stays as it is; None where it may change.
    """

    name: str
    channels: int
    frozen: str | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """An integer of a graph that follows widths: constant + sum of coefficient times width.

    Attributes:
        slot: which of the graph's integers, in the order of `integers`.
        constant: what does not depend on any width.
        terms: (group, coefficient) pairs, coefficients not 0.
    """

    slot: int
    constant: int
    terms: tuple[tuple[str, int], ...]

    def at(self, widths: Mapping[str, int]) -> int:
        """Its value; ``widths`` must name every group in its terms."""
        return self.constant + sum(coefficient * widths[group] for group, coefficient in self.terms)

    def to_json(self) -> list[Any]:
        """Slot, constant and terms."""
        return [self.slot, self.constant, [list(term) for term in self.terms]]

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Size:
        """Reads what `to_json` wrote."""
        slot, constant, terms = data
        return cls(int(slot), int(constant), tuple((str(name), int(factor)) for name, factor in terms))


def integers(graph: Graph) -> tuple[int, ...]:
    """Every integer of a graph that is a size or an argument, in a fixed order; numbers of values are none."""
    return tuple(_integers(graph))


def shape_slots(graph: Graph) -> dict[int, tuple[int, ...]]:
    """Which of a graph's integers are the sizes of a value's dimensions, by value; lists have none."""
    slots: dict[int, tuple[int, ...]] = {}
    slot = 0
    for value, type_ in enumerate((*graph.inputs, *graph.weights)):
        slots[value] = tuple(range(slot, slot + len(type_.shape)))
        slot += len(type_.shape)
    for position, operator in enumerate(graph.operators):
        for _, argument in operator.arguments:
            slot += sum(1 for _ in _argument_integers(argument))
        if len(operator.types) == 1:
            rank = len(operator.types[0].shape)
            slots[graph.first_result + position] = tuple(range(slot, slot + rank))
        slot += sum(len(type_.shape) for type_ in operator.types)
    return slots


def with_integers(graph: Graph, values: Sequence[int]) -> Graph:
    """The same graph with other integers, in the order of `integers`.

    Raises:
        ValueError: there are more or fewer than the graph has.
    """
    wanted = len(integers(graph))
    if len(values) != wanted:
        raise ValueError(f"this graph has {wanted} integers, got {len(values)}")
    rest = iter(values)
    return Graph(
        inputs=_resize_types(graph.inputs, rest),
        weights=_resize_types(graph.weights, rest),
        operators=tuple(_resize_operator(operator, rest) for operator in graph.operators),
        outputs=graph.outputs,
    )


def resized(graph: Graph, sizes: Sequence[Size], widths: Mapping[str, int]) -> Graph:
    """A graph at other widths.

    Args:
        graph: at full width.
        sizes: which of its integers follow widths.
        widths: of every group named in ``sizes``.
    """
    values = list(integers(graph))
    for size in sizes:
        values[size.slot] = size.at(widths)
    return with_integers(graph, values)


def full_widths(groups: Sequence[ChannelGroup], widths: Mapping[str, int]) -> dict[str, int]:
    """The width of every group, those that are not named at full width.

    Raises:
        UserError: a name that is no group, a frozen group that would change, or a width out of range.
    """
    known = {group.name: group for group in groups}
    for name, width in widths.items():
        if name not in known:
            raise unknown("channel group", name, tuple(known))
        group = known[name]
        if not 1 <= width <= group.channels:
            raise UserError(f"channel group {name!r} has {group.channels} channels, it cannot keep {width}")
        if group.frozen is not None and width != group.channels:
            raise UserError(f"channel group {name!r} stays {group.channels} wide: {group.frozen}")
    return {group.name: widths.get(group.name, group.channels) for group in groups}


def _integers(graph: Graph) -> Iterator[int]:
    for type_ in (*graph.inputs, *graph.weights):
        yield from type_.shape
    for operator in graph.operators:
        for _, argument in operator.arguments:
            yield from _argument_integers(argument)
        for type_ in operator.types:
            yield from type_.shape


def _argument_integers(argument: Argument) -> Iterator[int]:
    if isinstance(argument, tuple):
        for item in argument:
            yield from _argument_integers(item)
    elif isinstance(argument, int) and not isinstance(argument, bool):
        yield argument


def _resize_types(types: Sequence[TensorType], rest: Iterator[int]) -> tuple[TensorType, ...]:
    return tuple(TensorType(type_.dtype, tuple(itertools.islice(rest, len(type_.shape)))) for type_ in types)


def _resize_operator(operator: Operator, rest: Iterator[int]) -> Operator:
    arguments = tuple((name, _resize_argument(argument, rest)) for name, argument in operator.arguments)
    return Operator(operator.name, arguments, _resize_types(operator.types, rest))


def _resize_argument(argument: Argument, rest: Iterator[int]) -> Argument:
    if isinstance(argument, Value):
        return argument
    if isinstance(argument, tuple):
        return tuple([_resize_argument(item, rest) for item in argument])
    if isinstance(argument, int) and not isinstance(argument, bool):
        return next(rest)
    return argument
