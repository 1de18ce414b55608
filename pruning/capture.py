"""A PyTorch network → its graph as plain data and its weights, batch norm folded."""

from __future__ import annotations

import operator
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.export.graph_signature import InputKind
from torch.nn.utils.fusion import fuse_conv_bn_weights

from latency_tables.errors import UserError
from latency_tables.graph import Argument, Graph, Operator, TensorType, Value
from pruning.program import export

# In evaluation they hand their input on unchanged.
_NO_OPERATION = {
    "aten.alias.default",
    "aten.detach.default",
    "aten.detach_.default",
    "aten.dropout.default",
    "aten.dropout_.default",
    "aten.feature_dropout.default",
    "aten.lift_fresh_copy.default",
}
_CONVOLUTIONS = {"aten.conv1d.default", "aten.conv2d.default", "aten.conv3d.default"}
_BATCH_NORM = "aten.batch_norm.default"
_REPEAT = re.compile(r"@\d+$")
_FOREIGN_ARGUMENTS = {"device", "pin_memory"}  # where it runs is the setting's business


@dataclass(frozen=True)
class Capture:
    """A network's computation.

    Attributes:
        graph: operators as PyTorch's exporter names them, in-place ones in their pure form.
        weights: one array for each of the graph's weights.
        modules: for each operator, the dotted paths of the modules around it, outermost first; a module's
            second call in one forward pass carries the suffix "@1".
    """

    graph: Graph
    weights: tuple[np.ndarray, ...]
    modules: tuple[tuple[str, ...], ...]

    @property
    def norms(self) -> frozenset[str]:
        """Dotted paths of the batch norms that were not folded."""
        return frozenset(
            modules[-1]
            for operator_, modules in zip(self.graph.operators, self.modules, strict=True)
            if operator_.name == _BATCH_NORM and modules
        )


def capture(model: nn.Module, example: torch.Tensor, norms_kept: Collection[str] = ()) -> Capture:
    """Runs a network once through PyTorch's exporter and writes down what it computes.

    Args:
        model: in evaluation mode; left as it is.
        example: shape (batch, channels, height, width); its shape and type become the graph's.
        norms_kept: dotted paths of batch norms that stay as they are, even behind a convolution.

    Returns:
        The capture. Operators that depend on weights alone are evaluated into weights; convolution and
        batch norm become one convolution.

    Raises:
        UserError: the network cannot be exported (`pruning.program.export`), it has no single tensor in and out, or
            it draws random numbers.
    """
    return _Writer(export(model, example), norms_kept).write()


class _Writer:
    """Walks over an exported program and builds the graph with everything folded."""

    def __init__(self, program: torch.export.ExportedProgram, norms_kept: Collection[str]) -> None:
        self._program = program
        self._norms_kept = norms_kept
        self._constants: dict[torch.fx.Node, torch.Tensor] = {}
        self._alias: dict[torch.fx.Node, torch.fx.Node] = {}
        self._nodes: list[torch.fx.Node] = []
        self._inputs: list[torch.fx.Node] = []
        self._folded: dict[torch.fx.Node, tuple[torch.Tensor, torch.Tensor]] = {}

    def write(self) -> Capture:
        output: torch.fx.Node | None = None
        self._bind_inputs()
        for node in self._program.graph.nodes:
            if node.op == "call_function":
                self._add(node)
            elif node.op == "output":
                values = [value for value in node.args[0] if isinstance(value, torch.fx.Node)]
                if len(values) != 1 or not isinstance(values[0].meta["val"], torch.Tensor):
                    raise UserError(f"the network must return one tensor, it returns {len(values)} values")
                output = self._resolve(values[0])
            elif node.op != "placeholder":
                raise UserError(
                    f"the network has a {node.op} node ({node.target}); its control flow is not fixed. Choose one "
                    "of its branches, or write it with torch.where."
                )
        assert output is not None  # noqa: S101  every exported program has an output node
        return self._number(output)

    def _bind_inputs(self) -> None:
        tensors = {**dict(self._program.state_dict), **dict(self._program.constants)}
        nodes = {node.name: node for node in self._program.graph.nodes if node.op == "placeholder"}
        for spec in self._program.graph_signature.input_specs:
            node = nodes[cast(Any, spec.arg).name]
            if spec.kind == InputKind.USER_INPUT:
                self._inputs.append(node)
            else:
                tensor = tensors[cast(str, spec.target)]
                self._constants[node] = cast(torch.Tensor, tensor).detach()

    def _resolve(self, node: torch.fx.Node) -> torch.fx.Node:
        while node in self._alias:
            node = self._alias[node]
        return node

    def _chain(self, node: torch.fx.Node) -> list[torch.fx.Node]:
        """A node and those whose values it merely hands on."""
        chain = [node]
        while chain[-1] in self._alias:
            chain.append(self._alias[chain[-1]])
        return chain

    def _add(self, node: torch.fx.Node) -> None:
        name = _name(node)
        reads = [self._resolve(argument) for argument in node.all_input_nodes]
        if "_assert" in name or name.startswith("aten.sym_"):
            return
        if reads and (name in _NO_OPERATION or _keeps_type(node, reads[0])):
            self._alias[node] = reads[0]
            return
        if all(argument in self._constants for argument in reads):
            if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
                raise UserError(
                    f"the network draws random numbers when it is run ({name}), so two of its runs differ. Draw "
                    "them once, in its constructor, and keep them as a buffer."
                )
            self._constants[node] = self._evaluate(node)
            return
        if name == _BATCH_NORM and self._fold(node):
            return
        self._nodes.append(node)

    def _evaluate(self, node: torch.fx.Node) -> torch.Tensor:
        def value(argument: torch.fx.Node) -> torch.Tensor:
            return self._constants[self._resolve(argument)]

        args, kwargs = torch.fx.node.map_arg((node.args, dict(node.kwargs)), value)
        with torch.no_grad():
            return cast(torch.Tensor, cast(Any, node.target)(*args, **kwargs))

    def _fold(self, node: torch.fx.Node) -> bool:
        """Merges a batch norm into the convolution before it; False where there is none of its own."""
        arguments = _named_arguments(node)
        source = self._resolve(arguments["input"])
        if _name(source) not in _CONVOLUTIONS or arguments.get("training", False):
            return False
        if any(len(reader.users) != 1 for reader in self._chain(arguments["input"])):
            return False
        if _modules(node)[-1:] and _modules(node)[-1] in self._norms_kept:
            return False
        convolution = _named_arguments(source)
        weight_node = self._resolve(convolution["weight"])
        bias_node = convolution.get("bias")
        if weight_node not in self._constants:
            return False

        def constant(name: str) -> Any:
            argument = arguments.get(name)
            return None if argument is None else self._constants[self._resolve(argument)]

        bias = None if bias_node is None else self._constants[self._resolve(bias_node)]
        # Of several batch norms in a row each is merged into what the ones before it made.
        weight, bias = self._folded.get(source, (self._constants[weight_node], bias))
        weight, bias = fuse_conv_bn_weights(
            weight,
            cast(Any, bias),
            constant("running_mean"),
            constant("running_var"),
            arguments.get("eps", 1e-5),
            constant("weight"),
            constant("bias"),
        )
        self._folded[source] = (weight.detach(), bias.detach())
        self._alias[node] = source
        return True

    def _number(self, output: torch.fx.Node) -> Capture:
        weights: dict[int, tuple[int, torch.Tensor]] = {}  # by identity: a shared weight stays one weight
        drafts = [(node, self._draft(node, weights)) for node in self._nodes]
        n_inputs = len(self._inputs)
        index = {node: position for position, node in enumerate(self._inputs)}
        first = n_inputs + len(weights)
        index |= {node: first + position for position, node in enumerate(self._nodes)}

        def argument(value: Any) -> Argument:
            if isinstance(value, torch.fx.Node):
                return Value(index[value])
            if isinstance(value, torch.Tensor):
                return Value(n_inputs + weights[id(value)][0])
            if isinstance(value, list | tuple):
                return tuple(argument(item) for item in value)
            if value is None or isinstance(value, bool | int | float | str):
                return value
            if isinstance(value, torch.dtype | torch.memory_format | torch.layout):
                return str(value)
            raise UserError(
                f"an operator's argument {value!r} ({type(value).__name__}) cannot be written down"
            )

        if output not in index:
            raise UserError("the network's output does not depend on its input")
        operators = tuple(
            Operator(
                name=_pure_name(node),
                arguments=tuple((name, argument(value)) for name, value in draft.items()),
                types=_types(node),
            )
            for node, draft in drafts
        )
        graph = Graph(
            inputs=tuple(_type(node.meta["val"]) for node in self._inputs),
            weights=tuple(_type(tensor) for _, tensor in weights.values()),
            operators=operators,
            outputs=(index[output],),
        )
        return Capture(
            graph=graph,
            weights=tuple(tensor.contiguous().numpy(force=True) for _, tensor in weights.values()),
            modules=tuple(_modules(node) for node, _ in drafts),
        )

    def _draft(self, node: torch.fx.Node, weights: dict[int, tuple[int, torch.Tensor]]) -> dict[str, Any]:
        """The operator's arguments with constants as tensors and everything else resolved."""

        def settle(value: torch.fx.Node) -> Any:
            value = self._resolve(value)
            return self._constants.get(value, value)

        draft = {name: torch.fx.node.map_arg(value, settle) for name, value in _named_arguments(node).items()}
        if node in self._folded:
            draft["weight"], draft["bias"] = self._folded[node]
            # Schema order, for the text to be canonical: the bias may be new.
            draft = {name: draft[name] for name in _schema_names(node) if name in draft}
        for tensor in _tensors(draft):
            weights.setdefault(id(tensor), (len(weights), tensor))
        return draft


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, list | tuple) else []


def _keeps_type(node: torch.fx.Node, read: torch.fx.Node) -> bool:
    """Whether it converts to the type that there is already, and so hands its input on."""
    if not _name(node).startswith("aten.to.") or _named_arguments(node).get("copy", False):
        return False
    return _types(node) == _types(read)


def _name(node: torch.fx.Node) -> str:
    return "getitem" if node.target is operator.getitem else str(node.target)


def _pure_name(node: torch.fx.Node) -> str:
    """The operator's name; an in-place one gets the name of its pure form.

    The exporter has already led every later reader to the result, and a part that overwrites its input could not
    be run twice on the same input.
    """
    name = _name(node)
    if node.target is operator.getitem or not cast(Any, node.target)._schema.is_mutable:
        return name
    namespace, called, overload = name.split(".")
    packet = getattr(torch.ops.aten, called.removesuffix("_"), None)
    if (
        namespace != "aten"
        or not called.endswith("_")
        or packet is None
        or overload not in packet.overloads()
    ):
        raise UserError(
            f"the network changes a tensor in place with {name}, which has no pure form. Write it so that it "
            "returns a new tensor."
        )
    return f"{namespace}.{called.removesuffix('_')}.{overload}"


def _schema_names(node: torch.fx.Node) -> list[str]:
    if node.target is operator.getitem:
        return ["input", "index"]
    return [argument.name for argument in cast(Any, node.target)._schema.arguments]


def _named_arguments(node: torch.fx.Node) -> dict[str, Any]:
    """Arguments by schema name, in schema order, without those that equal their default."""
    if node.target is operator.getitem:
        return dict(zip(["input", "index"], node.args, strict=True))
    named: dict[str, Any] = {}
    for position, argument in enumerate(cast(Any, node.target)._schema.arguments):
        if argument.name in _FOREIGN_ARGUMENTS:
            continue
        if position < len(node.args):
            value: Any = node.args[position]
        elif argument.name in node.kwargs:
            value = node.kwargs[argument.name]
        else:
            continue
        if not argument.has_default_value() or not _same(value, argument.default_value):
            named[argument.name] = value
    return named


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, torch.fx.Node) or (isinstance(value, list | tuple) and _holds_node(value)):
        return False
    as_list = list(value) if isinstance(value, tuple) else value
    return bool(type(as_list) is type(default) and as_list == default)


def _holds_node(values: list[Any] | tuple[Any, ...]) -> bool:
    return any(isinstance(value, torch.fx.Node) for value in values)


def _type(tensor: torch.Tensor) -> TensorType:
    return TensorType(str(tensor.dtype).removeprefix("torch."), tuple(int(size) for size in tensor.shape))


def _types(node: torch.fx.Node) -> tuple[TensorType, ...]:
    value = node.meta["val"]
    return tuple(_type(item) for item in value) if isinstance(value, list | tuple) else (_type(value),)


def _modules(node: torch.fx.Node) -> tuple[str, ...]:
    stack = node.meta.get("nn_module_stack") or {}
    # The exporter numbers a module's further calls in the key alone.
    return tuple(
        f"{path}{repeat.group() if (repeat := _REPEAT.search(key)) else ''}"
        for key, (path, _) in stack.items()
        if path
    )
