"""A graph record made into a PyTorch module.

The names in a record come from a data file, so they are looked up in two closed sets only, ATen's operators and
torchvision's; nothing else that Python could call is within their reach.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from bench.runtimes.base import SEED, Array, UnsupportedOperatorError, random_arrays
from latency_tables.errors import LatheError
from latency_tables.graph import Argument, Graph, Operator, Value

# Operators that touch files.
_REFUSED = frozenset({"from_file"})

_SHIFTS = frozenset({"bias", "running_mean"})


#: What the modules of operators are called in a scoped module, before their places in the graph.
SCOPE = "o"


class _Applied(torch.nn.Module):
    """An operator as a module, so that what is traced of it carries the module's name."""

    def __init__(self, target: Any) -> None:
        super().__init__()
        self._target = target

    def forward(self, *positional: Any, **named: Any) -> Any:
        return self._target(*positional, **named)


def build_module(
    graph: Graph,
    weights: Sequence[Array] | None = None,
    device: str = "cpu",
    *,
    dtype: torch.dtype = torch.float32,
    scoped: bool = False,
) -> fx.GraphModule:
    """Makes a module that computes a graph, in evaluation mode, its weights registered as buffers.

    Operators that write in place are refused: each timed run would start from what the last one left.

    Args:
        graph: what to compute; one positional argument per input.
        weights: one array for each weight, of its type and shape; None: `random_weights`.
        device: where the weights lie and new tensors are made.
        dtype: what takes the place of float32, in the weights and where an operator names it.
        scoped: whether each operator is a module of its own, called `SCOPE` and its place in the graph; it is then
            a little slower, and an exported file tells from which operator each of its nodes comes.

    Returns:
        The module; it returns a tuple with one tensor per output.

    Raises:
        UnsupportedOperatorError: an operator that this PyTorch does not have or that is refused.
        LatheError: arguments that the operator does not have.
    """
    arrays = random_weights(graph) if weights is None else weights
    root = torch.nn.Module()
    for index, array in enumerate(arrays):
        tensor = torch.tensor(np.asarray(array), device=device)
        root.register_buffer(f"w{index}", tensor.to(dtype) if tensor.dtype == torch.float32 else tensor)
    made = fx.Graph()
    nodes = [made.placeholder(f"x{index}") for index in range(len(graph.inputs))]
    nodes += [made.get_attr(f"w{index}") for index in range(len(graph.weights))]
    for place, applied in enumerate(graph.operators):
        if applied.name == "getitem":
            (_, source), (_, item) = applied.arguments
            if not isinstance(item, int):
                raise LatheError(f"getitem takes a list and a number, got {item!r} for the number.")
            nodes.append(made.call_function(operator.getitem, (_resolve(source, nodes), item)))
            continue
        target = _find(applied.name)
        positional, named = _bind(applied, target, nodes, device, dtype)
        if scoped:
            root.add_module(f"{SCOPE}{place}", _Applied(target))
            nodes.append(made.call_module(f"{SCOPE}{place}", positional, named))
        else:
            nodes.append(made.call_function(target, positional, named))
    made.output(tuple(nodes[value] for value in graph.outputs))
    return fx.GraphModule(root, made).eval()


def random_weights(graph: Graph, seed: int = SEED) -> list[Array]:
    """Seeded weights with which activations neither explode nor fade into slow denormal numbers.

    Args:
        graph: whose weights; what reads a weight tells what it is.
        seed: of the random numbers.

    Returns:
        One array for each weight: with two or more dimensions, normal with variance 1 / fan-in; shifts (biases,
        running means) near 0; other vectors (scales, running variances) near 1; integers 0; truth values True.
    """
    roles: dict[int, str] = {}
    for applied in graph.operators:
        for name, argument in applied.arguments:
            if isinstance(argument, Value):
                roles.setdefault(argument.index - len(graph.inputs), name)
    arrays = random_arrays(graph.weights, seed)
    for index, array in enumerate(arrays):
        if array.dtype.kind != "f":
            continue
        if array.ndim >= 2:
            array /= np.sqrt(np.prod(array.shape[1:]))
        elif roles.get(index) in _SHIFTS:
            array *= 0.1
        else:
            array[...] = 1 + 0.1 * np.tanh(array)
    return arrays


def _find(name: str) -> Any:
    """The operator of that full name, as in "aten.conv2d.default"."""
    parts = name.split(".")
    if len(parts) == 3 and parts[0] in ("aten", "torchvision") and parts[1] not in _REFUSED:
        if parts[0] == "torchvision":
            _register_torchvision()
        packet = getattr(getattr(torch.ops, parts[0]), parts[1], None)
        found = getattr(packet, parts[2], None) if isinstance(packet, torch._ops.OpOverloadPacket) else None
        if isinstance(found, torch._ops.OpOverload):
            if found._schema.is_mutable:
                raise UnsupportedOperatorError(name, "PyTorch", "it writes in place, and graphs are pure")
            return found
    raise UnsupportedOperatorError(name, "PyTorch", f"version {torch.__version__} has no such operator")


def _register_torchvision() -> None:
    try:
        import torchvision  # noqa: F401 - importing it registers its operators
    except (ImportError, RuntimeError):
        return  # the operator is then missing, and the error says so by its name


def _bind(
    applied: Operator, target: Any, nodes: Sequence[fx.Node], device: str, dtype: torch.dtype
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments by name, into those by position (as many as the schema allows) and by name."""
    given = {name: _resolve(argument, nodes) for name, argument in applied.arguments}
    given = {name: dtype if value is torch.float32 else value for name, value in given.items()}
    positional: list[Any] = []
    named: dict[str, Any] = {}
    gap = False
    for declared in target._schema.arguments:
        if declared.name == "device" and device != "cpu":
            named["device"] = torch.device(device)
        elif declared.name not in given:
            gap = True
        elif gap or declared.kwarg_only:
            named[declared.name] = given.pop(declared.name)
        else:
            positional.append(given.pop(declared.name))
    if given:
        raise LatheError(f"the operator {applied.name} has no argument named {' or '.join(given)}.")
    return tuple(positional), named


def _resolve(argument: Argument, nodes: Sequence[fx.Node]) -> Any:
    if isinstance(argument, Value):
        return nodes[argument.index]
    if isinstance(argument, tuple):
        return [_resolve(item, nodes) for item in argument]
    if isinstance(argument, str) and argument.startswith("torch."):
        found = getattr(torch, argument.removeprefix("torch."), None)
        if not isinstance(found, torch.dtype | torch.memory_format | torch.layout):
            raise LatheError(f"{argument!r} in the graph is neither a type, a memory format nor a layout.")
        return found
    return argument
