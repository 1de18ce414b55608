"""A computation as plain data: typed tensors in, operators in order, tensors out.

One record serves a single layer, a block and a whole network, so that the same code times all three. Nothing
in it needs a deep-learning framework: operators carry the names and attributes of PyTorch's ATen set
(``aten.conv2d.default``), which every runtime adapter translates for itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

# 1: ATen operators with named arguments; arguments equal to the schema's default are left out, so that a new
#    defaulted argument in a later PyTorch does not change the text of an old graph.
GRAPH_FORMAT = 1

_SHORT_DTYPES = {
    "float32": "f32",
    "float64": "f64",
    "float16": "f16",
    "bfloat16": "bf16",
    "int64": "i64",
    "int32": "i32",
    "uint8": "u8",
    "bool": "b1",
}


@dataclass(frozen=True, slots=True)
class TensorType:
    """Element type and shape of a tensor.

    Attributes:
        dtype: PyTorch's name without the prefix, as in "float32".
        shape: sizes of all dimensions, batch included.
    """

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{_SHORT_DTYPES.get(self.dtype, self.dtype)}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class Value:
    """A reference to a value: inputs are numbered first, then weights, then the operators' results."""

    index: int


Argument: TypeAlias = "Value | bool | int | float | str | tuple[Argument, ...] | None"


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator applied.

    Attributes:
        name: the full ATen name with its overload, as in "aten.conv2d.default", or "getitem".
        arguments: by schema name, in schema order; those equal to the schema's default are absent.
        types: what it returns: one tensor, or several for an operator that returns a list.
    """

    name: str
    arguments: tuple[tuple[str, Argument], ...]
    types: tuple[TensorType, ...]

    @property
    def short_name(self) -> str:
        """The name people use: "conv2d" for "aten.conv2d.default", "relu" for "aten.relu_.default"."""
        parts = self.name.split(".")
        return (parts[1] if len(parts) > 1 else parts[0]).rstrip("_")

    def values(self) -> Iterator[int]:
        """The values it reads, in order, with repeats."""
        for _, argument in self.arguments:
            yield from _values(argument)


@dataclass(frozen=True, slots=True)
class Graph:
    """Operators in an order in which each reads only what came before.

    Attributes:
        inputs: activations that come from outside; values 0 to n_inputs - 1.
        weights: constants, in the order of first use; the values after the inputs.
        operators: each makes the next value.
        outputs: the values handed to the outside.
    """

    inputs: tuple[TensorType, ...]
    weights: tuple[TensorType, ...]
    operators: tuple[Operator, ...]
    outputs: tuple[int, ...]

    @property
    def first_result(self) -> int:
        """The value that the first operator makes; operator i makes ``first_result + i``."""
        return len(self.inputs) + len(self.weights)

    @property
    def weight_count(self) -> int:
        """How many numbers the weights hold."""
        return sum(math.prod(type_.shape) for type_ in self.weights)

    def type_of(self, value: int) -> TensorType:
        """The type of a value.

        Raises:
            IndexError: there is no such value, or it is a list of tensors.
        """
        if value < len(self.inputs):
            return self.inputs[value]
        if value < self.first_result:
            return self.weights[value - len(self.inputs)]
        types = self.operators[value - self.first_result].types
        if len(types) != 1:
            raise IndexError(f"value {value} is a list of {len(types)} tensors")
        return types[0]

    def consumers(self) -> dict[int, list[int]]:
        """For each value, the operators (by position) that read it."""
        found: dict[int, list[int]] = {}
        for position, operator in enumerate(self.operators):
            for value in dict.fromkeys(operator.values()):
                found.setdefault(value, []).append(position)
        return found

    @property
    def text(self) -> str:
        """A readable, canonical form: equal texts are equal computations, and the other way round."""
        names = {index: f"%{index}" for index in range(len(self.inputs))}
        names |= {len(self.inputs) + index: f"w{index}" for index in range(len(self.weights))}
        names |= {self.first_result + i: f"%{len(self.inputs) + i}" for i in range(len(self.operators))}
        lines = ["(" + ", ".join(f"{names[i]}: {type_}" for i, type_ in enumerate(self.inputs)) + ")"]
        for position, operator in enumerate(self.operators):
            arguments = ", ".join(
                f"{name}={_argument_text(argument, names, self)}" for name, argument in operator.arguments
            )
            name = operator.name.removeprefix("aten.").removesuffix(".default")
            lines.append(f"{names[self.first_result + position]} = {name}({arguments})")
        lines.append("return " + ", ".join(names[value] for value in self.outputs))
        return "; ".join(lines)

    def select(self, positions: Collection[int]) -> tuple[Graph, tuple[int, ...]]:
        """Cuts out some operators as a graph of their own.

        What they read from outside becomes inputs and weights, in the order of first use; what others or the
        network's outputs read of them becomes outputs.

        Args:
            positions: operators to take.

        Returns:
            The graph, and for each of its weights the index in ``self.weights``.
        """
        chosen = sorted(positions)
        inside = {self.first_result + position for position in chosen}
        read = [value for position in chosen for value in self.operators[position].values()]
        outside = list(dict.fromkeys(value for value in read if value not in inside))
        inputs = [value for value in outside if not self._is_weight(value)]
        weights = [value for value in outside if self._is_weight(value)]
        order = [*inputs, *weights, *(self.first_result + position for position in chosen)]
        renumbered = {old: new for new, old in enumerate(order)}
        taken = set(chosen)
        read_elsewhere = {
            value
            for position, operator in enumerate(self.operators)
            if position not in taken
            for value in operator.values()
        } | set(self.outputs)
        outputs = [value for value in order if value in inside and value in read_elsewhere]
        graph = Graph(
            inputs=tuple(self.type_of(value) for value in inputs),
            weights=tuple(self.type_of(value) for value in weights),
            operators=tuple(_renumber(self.operators[position], renumbered) for position in chosen),
            outputs=tuple(renumbered[value] for value in outputs),
        )
        return graph, tuple(value - len(self.inputs) for value in weights)

    def without(
        self, positions: Collection[int], stand_in: Mapping[int, int]
    ) -> tuple[Graph, tuple[int, ...]]:
        """Takes operators out and joins the ends.

        Args:
            positions: operators that go.
            stand_in: for each value that is lost but still read, the value to read instead (chains are
                followed).

        Returns:
            The smaller graph with the same inputs and as many outputs, and for each of its weights the index
            in ``self.weights``.

        Raises:
            ValueError: something still reads a lost value that has no stand-in.
        """

        def resolve(value: int) -> int:
            while value in stand_in:
                value = stand_in[value]
            return value

        gone = set(positions)
        lost = {self.first_result + position for position in gone}
        kept = [position for position in range(len(self.operators)) if position not in gone]
        outputs = [resolve(value) for value in self.outputs]
        read = [resolve(value) for position in kept for value in self.operators[position].values()]
        dangling = lost.intersection([*read, *outputs])
        if dangling:
            raise ValueError(f"values {sorted(dangling)} are removed but still read")
        weights = [value for value in dict.fromkeys(read) if self._is_weight(value)]
        order = [
            *range(len(self.inputs)),
            *weights,
            *(self.first_result + position for position in kept),
        ]
        renumbered = {old: new for new, old in enumerate(order)}
        mapping = {
            value: renumbered[resolve(value)] for value in [*order, *stand_in] if resolve(value) in renumbered
        }
        graph = Graph(
            inputs=self.inputs,
            weights=tuple(self.type_of(value) for value in weights),
            operators=tuple(_renumber(self.operators[position], mapping) for position in kept),
            outputs=tuple(renumbered[value] for value in outputs),
        )
        return graph, tuple(value - len(self.inputs) for value in weights)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, strings and numbers, for a file or a pipe."""
        return {
            "format": GRAPH_FORMAT,
            "inputs": [[type_.dtype, list(type_.shape)] for type_ in self.inputs],
            "weights": [[type_.dtype, list(type_.shape)] for type_ in self.weights],
            "operators": [
                [
                    operator.name,
                    [[name, _argument_to_json(argument)] for name, argument in operator.arguments],
                    [[type_.dtype, list(type_.shape)] for type_ in operator.types],
                ]
                for operator in self.operators
            ],
            "outputs": list(self.outputs),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Graph:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: written in another format.
        """
        if data.get("format") != GRAPH_FORMAT:
            raise ValueError(
                f"graph format {data.get('format')!r} is not {GRAPH_FORMAT}; it was written by another "
                "version of lathe: measure again, or use that version"
            )
        return cls(
            inputs=_types(data["inputs"]),
            weights=_types(data["weights"]),
            operators=tuple(
                Operator(
                    name=name,
                    arguments=tuple((key, _argument_from_json(argument)) for key, argument in arguments),
                    types=_types(types),
                )
                for name, arguments, types in data["operators"]
            ),
            outputs=tuple(data["outputs"]),
        )

    def _is_weight(self, value: int) -> bool:
        return len(self.inputs) <= value < self.first_result


def _types(data: Sequence[tuple[str, Sequence[int]]]) -> tuple[TensorType, ...]:
    return tuple(TensorType(dtype, tuple(shape)) for dtype, shape in data)


def _values(argument: Argument) -> Iterator[int]:
    if isinstance(argument, Value):
        yield argument.index
    elif isinstance(argument, tuple):
        for item in argument:
            yield from _values(item)


def _map_values(argument: Argument, mapping: Mapping[int, int]) -> Argument:
    if isinstance(argument, Value):
        return Value(mapping[argument.index])
    if isinstance(argument, tuple):
        return tuple(_map_values(item, mapping) for item in argument)
    return argument


def _renumber(operator: Operator, mapping: Mapping[int, int]) -> Operator:
    arguments = tuple((name, _map_values(argument, mapping)) for name, argument in operator.arguments)
    return Operator(operator.name, arguments, operator.types)


def _argument_text(argument: Argument, names: Mapping[int, str], graph: Graph) -> str:
    if isinstance(argument, Value):
        name = names[argument.index]
        return f"{name}: {graph.type_of(argument.index)}" if name.startswith("w") else name
    if isinstance(argument, tuple):
        return "[" + ",".join(_argument_text(item, names, graph) for item in argument) + "]"
    return json.dumps(argument)


def _argument_to_json(argument: Argument) -> Any:
    if isinstance(argument, Value):
        return {"value": argument.index}
    if isinstance(argument, tuple):
        return [_argument_to_json(item) for item in argument]
    return argument


def _argument_from_json(data: Any) -> Argument:
    if isinstance(data, dict):
        return Value(int(data["value"]))
    if isinstance(data, list):
        return tuple(_argument_from_json(item) for item in data)
    if data is None or isinstance(data, bool | int | float | str):
        return data
    raise ValueError(f"{data!r} cannot be an operator's argument")
