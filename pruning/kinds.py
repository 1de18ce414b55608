"""What kinds of operators there are, for telling layers and blocks apart."""

from __future__ import annotations

import torch

from latency_tables.graph import Operator

#: They compute nothing: they rename, view or move.
MOVES = frozenset({
    "chunk", "clone", "contiguous", "expand", "flatten", "getitem", "movedim", "narrow", "permute", "repeat",
    "reshape", "roll", "select", "slice", "split", "split_with_sizes", "squeeze", "t", "transpose", "unbind",
    "unflatten", "unsqueeze", "view",
})  # fmt: skip
#: In front of a convolution or a pooling, runtimes merge them into the operator that they serve.
PADS = frozenset({"constant_pad_nd", "pad", "zero_pad2d"})
#: Where two paths meet.
SUMS = frozenset({"add"})
#: Runtimes add a residual to their output in the same step.
CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d", "conv_transpose2d"})
#: Products of two activations.
ATTENTION_PRODUCTS = frozenset({"baddbmm", "bmm", "einsum", "matmul"})
#: What stands between two products in an attention core.
SOFTMAX = frozenset({"softmax"})
#: They keep the shape, and do little to what passes through.
NORMS = frozenset({"batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm"})

# Pointwise, though PyTorch does not tag them so.
_UNTAGGED_POINTWISE = frozenset({"hardswish", "to", "type_as"})
_OWN_NAMESPACES = frozenset({"aten", "getitem"})


def is_foreign(operator: Operator) -> bool:
    """Whether it comes from outside PyTorch's own set, so that nothing is known of it but its name and types."""
    return operator.name.split(".")[0] not in _OWN_NAMESPACES


def is_pointwise(operator: Operator) -> bool:
    """Whether each output element depends on one element of each operand (PyTorch's own tag says so)."""
    if is_foreign(operator) or operator.name.count(".") != 2:
        return False
    if operator.short_name in _UNTAGGED_POINTWISE:
        return True
    _, name, overload = operator.name.split(".")
    target = getattr(getattr(torch.ops.aten, name, None), overload, None)
    return target is not None and torch.Tag.pointwise in target.tags
