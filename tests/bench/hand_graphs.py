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
