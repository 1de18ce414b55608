"""A PyTorch network → an exported program without nesting, with shapes known, safe to be made pure."""

from __future__ import annotations

import operator
from typing import Any, cast

import torch
from torch import fx, nn
from torch.export.graph_signature import InputKind

from latency_tables.errors import UserError

# Where the nested graph stands among a wrapper's arguments; what comes after it are the nested graph's inputs.
_WRAPPERS = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4}
_SPLIT = "Give lathe a network without it, or compute it before or after the network."


def export(model: nn.Module, example: torch.Tensor) -> torch.export.ExportedProgram:
    """Runs a network once through PyTorch's exporter.

    Args:
        model: in evaluation mode; left as it is.
        example: what its forward takes.

    Returns:
        The program. Parts under ``torch.no_grad`` or a disabled ``torch.autocast`` stand in line with the others,
        and operators that read a tensor only for its shape or type (``reshape_as``) name the shape or type instead.

    Raises:
        UserError: the exporter cannot follow the network, its control flow or its shapes depend on values, or it
            changes a tensor in place that it still reads through another view.
    """
    try:
        with torch.no_grad():
            program = torch.export.export(model, (example,))
    except Exception as error:  # the exporter runs the user's code: anything may come out
        reason = str(error).strip().splitlines()
        raise UserError(
            f"the network cannot be captured by torch.export: {type(error).__name__}: "
            f"{reason[0] if reason else 'no reason given'}. Its forward must take one image tensor and have no "
            "branch, loop or shape that depends on the values in it: write such a branch with torch.where, or take "
            "it out of the network."
        ) from error
    _inline(program.graph_module)
    for node in program.graph.nodes:
        if node.op == "call_function":
            _require_known(node)
            _drop_examples(node)
    kept = {
        cast(Any, spec.arg).name: str(spec.target)
        for spec in program.graph_signature.input_specs
        if spec.kind != InputKind.USER_INPUT
    }
    _require_no_hidden_writes(program.graph, kept)
    return program


def _inline(module: fx.GraphModule) -> None:
    """Puts the operators of nested graphs in the wrappers' places."""
    for node in list(module.graph.nodes):
        if node.op != "call_function" or not isinstance(node.target, torch._ops.HigherOrderOperator):
            continue
        name = str(node.target)
        if name not in _WRAPPERS:
            raise UserError(
                f"the network's control flow is not fixed: it has the higher-order operator {name}. Choose one of "
                "its branches, or write it with torch.where."
            )
        if name == "wrap_with_autocast" and node.args[2] and node.args[0] == "cpu":
            raise UserError(
                "the network switches torch.autocast on for a part of itself, so that its precision is its own. "
                "Switch it off: the setting's precision says what is computed in."
            )
        place = _WRAPPERS[name]
        body = node.args[place]
        nested = getattr(module, body.target)
        _inline(nested)
        inner = [found for found in nested.graph.nodes if found.op == "placeholder"]
        values = dict(zip(inner, node.args[place + 1 :], strict=True))
        with module.graph.inserting_before(node):
            results: Any = module.graph.graph_copy(nested.graph, values)
        for user in list(node.users):
            if user.target is operator.getitem:
                user.replace_all_uses_with(results[user.args[1]])
                module.graph.erase_node(user)
        if node.users:
            node.replace_all_uses_with(results)
        module.graph.erase_node(node)
        if not body.users:
            module.graph.erase_node(body)


def _require_known(node: fx.Node) -> None:
    """Refuses what is no operator, and shapes that nobody knows."""
    if node.target is not operator.getitem and not isinstance(node.target, torch._ops.OpOverload):
        raise UserError(
            f"the network calls {node.target} on sizes or values, which is no tensor operator. {_SPLIT}"
        )
    value = node.meta.get("val")
    for tensor in value if isinstance(value, list | tuple) else [value]:
        if isinstance(tensor, torch.Tensor) and not all(type(size) is int for size in tensor.shape):
            raise UserError(
                f"the shape that {node.target} gives depends on the values in the image ({tuple(tensor.shape)}). "
                f"{_SPLIT}"
            )


def _drop_examples(node: fx.Node) -> None:
    """Names the shape or type where a tensor is read only for them."""
    aten = torch.ops.aten
    shape = list(node.meta["val"].shape) if isinstance(node.meta.get("val"), torch.Tensor) else []
    if node.target in (aten.reshape_as.default, aten.view_as.default):
        node.target, node.args = aten.reshape.default, (node.args[0], shape)
    elif node.target is aten.expand_as.default:
        node.target, node.args = aten.expand.default, (node.args[0], shape)
    elif node.target is aten.type_as.default:
        node.target, node.args = aten.to.dtype, (node.args[0], node.meta["val"].dtype)


def _require_no_hidden_writes(graph: fx.Graph, kept: dict[str, str]) -> None:
    """Refuses writes into what outlives a pass, and into a tensor that is read later through another view of it.

    The exporter leads later readers of the tensor itself to the result of the write, so that the operator may be
    replaced by its pure form; it does not lead those of a view's base, or of another view.

    Args:
        graph: flat.
        kept: the network's name of each buffer and weight, by the name of its node.
    """
    base: dict[fx.Node, fx.Node] = {}
    order = {node: place for place, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        base[node] = node
        if node.op != "call_function":
            continue
        if node.target is operator.getitem:
            base[node] = base[node.args[0]]
            continue
        for argument, declared in zip(node.args, node.target._schema.arguments, strict=False):
            if declared.alias_info is None or not isinstance(argument, fx.Node):
                continue
            base[node] = base[argument]
            if declared.alias_info.is_write:
                _require_harmless(node, base, order, kept)


def _require_harmless(
    node: fx.Node, base: dict[fx.Node, fx.Node], order: dict[fx.Node, int], kept: dict[str, str]
) -> None:
    written = base[node]
    if written.name in kept:
        raise UserError(
            f"the network changes {kept[written.name]!r} while it runs, so two passes would not be equal. Switch "
            "that off in evaluation mode."
        )
    for view in base:
        if view is node or base[view] is not written:
            continue
        if any(order[user] > order[node] for user in view.users):
            raise UserError(
                f"the network writes into a tensor with {node.target} and reads it again through {view.name}, "
                "another view of it; what it computes cannot be taken apart. Write the result to a new tensor "
                "(torch.cat, torch.where)."
            )
