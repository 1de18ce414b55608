"""Small graphs, written by hand, for everything that measures."""

from __future__ import annotations

from latency_tables.graph import Graph, Operator, TensorType, Value


def tensor(*shape: int) -> TensorType:
    return TensorType("float32", shape)


def conv_relu(channels: int = 4, size: int = 8) -> Graph:
    """conv2d (3x3, padding 1, with bias), then relu written in place."""
    image = tensor(1, channels, size, size)
    return Graph(
        inputs=(image,),
        weights=(tensor(channels, channels, 3, 3), tensor(channels)),
        operators=(
            Operator(
                "aten.conv2d.default",
                (("input", Value(0)), ("weight", Value(1)), ("bias", Value(2)), ("padding", (1, 1))),
                (image,),
            ),
            Operator("aten.relu.default", (("self", Value(3)),), (image,)),
        ),
        outputs=(4,),
    )


def linear_add() -> Graph:
    """Two inputs: a linear layer on the first, added to the second."""
    return Graph(
        inputs=(tensor(2, 5), tensor(2, 3)),
        weights=(tensor(3, 5), tensor(3)),
        operators=(
            Operator(
                "aten.linear.default",
                (("input", Value(0)), ("weight", Value(2)), ("bias", Value(3))),
                (tensor(2, 3),),
            ),
            Operator("aten.add.Tensor", (("self", Value(4)), ("other", Value(1))), (tensor(2, 3),)),
        ),
        outputs=(5,),
    )


def one_operator(name: str, *arguments: tuple[str, object], shape: tuple[int, ...] = (2, 4)) -> Graph:
    """A single operator on one input."""
    return Graph((tensor(*shape),), (), (Operator(name, arguments, (tensor(*shape),)),), (1,))


def pool_and_two_outputs() -> Graph:
    """Strings, constants, a list of tensors, several outputs."""
    image, half, pooled = (
        TensorType("float32", shape) for shape in [(1, 4, 6, 6), (1, 2, 6, 6), (1, 2, 1, 1)]
    )
    return Graph(
        (image,),
        (),
        (
            Operator("aten.gelu.default", (("self", Value(0)), ("approximate", "tanh")), (image,)),
            Operator("aten.to.dtype", (("self", Value(1)), ("dtype", "torch.float32")), (image,)),
            Operator("aten.chunk.default", (("self", Value(2)), ("chunks", 2), ("dim", 1)), (half, half)),
            Operator("getitem", (("self", Value(3)), ("index", 0)), (half,)),
            Operator("getitem", (("self", Value(3)), ("index", 1)), (half,)),
            Operator("aten.mean.dim", (("self", Value(5)), ("dim", (2, 3)), ("keepdim", True)), (pooled,)),
        ),
        (4, 6),
    )
