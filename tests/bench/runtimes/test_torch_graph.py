from __future__ import annotations

import numpy as np
import pytest
import torch
from hand_graphs import conv_relu, one_operator, tensor

from bench.runtimes.base import UnsupportedOperatorError, random_arrays, require_types
from bench.runtimes.torch_graph import build_module, random_weights
from latency_tables.errors import LatheError
from latency_tables.graph import Graph, Operator, TensorType, Value


def test_computes_what_pytorch_computes() -> None:
    graph = conv_relu()
    weights = random_weights(graph, seed=1)
    image = torch.randn(1, 4, 8, 8)
    [output] = build_module(graph, weights)(image)
    kernel, bias = map(torch.tensor, weights)
    torch.testing.assert_close(output, torch.nn.functional.conv2d(image, kernel, bias, padding=1).relu())


def test_weights_become_buffers_and_the_mode_is_evaluation() -> None:
    module = build_module(conv_relu())
    assert [name for name, _ in module.named_buffers()] == ["w0", "w1"]
    assert not list(module.parameters())
    assert not module.training


@pytest.mark.parametrize(
    "name",
    [
        "os.system.default",
        "builtins.eval.default",
        "aten.no_such_thing.default",
        "aten.relu.no_such_overload",
        "aten.relu.__class__",
        "aten.__class__.default",
        "aten.from_file.default",
        "torch.save.default",
        "aten.relu",
        "relu",
        "aten.relu.default.extra",
        "torchvision.no_such_thing.default",
    ],
)
def test_names_outside_the_two_sets_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedOperatorError) as caught:
        build_module(one_operator(name, ("self", Value(0))))
    assert caught.value.operator == name
    assert name in str(caught.value)


def test_unknown_arguments_are_refused() -> None:
    with pytest.raises(LatheError, match=r"aten\.relu\.default has no argument named inplace"):
        build_module(one_operator("aten.relu.default", ("self", Value(0)), ("inplace", True)))


@pytest.mark.parametrize("text", ["torch.save", "torch.nn", "torch.no_such_thing", "torch.device"])
def test_strings_reach_only_types_formats_and_layouts(text: str) -> None:
    with pytest.raises(LatheError, match=text):
        build_module(one_operator("aten.to.dtype", ("self", Value(0)), ("dtype", text)))


def test_types_and_formats_are_understood() -> None:
    [output] = build_module(one_operator("aten.to.dtype", ("self", Value(0)), ("dtype", "torch.float64")))(
        torch.ones(2, 4)
    )
    assert output.dtype is torch.float64
    graph = one_operator("aten.clone.default", ("self", Value(0)), ("memory_format", "torch.channels_last"))
    [output] = build_module(graph)(torch.ones(1, 2, 3, 3))
    assert output.is_contiguous(memory_format=torch.channels_last)


def test_getitem_takes_a_number_only() -> None:
    graph = one_operator("getitem", ("self", Value(0)), ("index", "__class__"))
    with pytest.raises(LatheError, match="__class__"):
        build_module(graph)


@pytest.mark.parametrize(("name", "argument"), [("aten.relu_.default", "self"), ("aten.relu.out", "out")])
def test_what_writes_in_place_is_refused(name: str, argument: str) -> None:
    with pytest.raises(UnsupportedOperatorError, match="in place") as refused:
        build_module(one_operator(name, ("self", Value(0)), (argument, Value(0))))
    assert refused.value.operator == name


def test_new_tensors_lie_on_the_device() -> None:
    graph = Graph((), (), (Operator("aten.zeros.default", (("size", (2, 3)),), (tensor(2, 3),)),), (0,))
    [output] = build_module(graph, device="meta")()
    assert output.device.type == "meta"
    [output] = build_module(graph)()
    assert output.device.type == "cpu"


def deep(depth: int) -> Graph:
    """Convolution, batch norm and relu, many times over."""
    image, vector = tensor(1, 16, 8, 8), tensor(16)
    operators: list[Operator] = []
    first = 1 + 5 * depth
    for i in range(depth):
        kernel, scale, shift, mean, variance = (Value(1 + 5 * i + k) for k in range(5))
        source = Value(first + 3 * i - 1) if i else Value(0)
        names = ("weight", "bias", "running_mean", "running_var")
        norm = (("input", Value(first + 3 * i)), *zip(names, (scale, shift, mean, variance), strict=True))
        numbers = (("training", False), ("momentum", 0.1), ("eps", 1e-5), ("cudnn_enabled", False))
        operators += [
            Operator(
                "aten.conv2d.default", (("input", source), ("weight", kernel), ("padding", (1, 1))), (image,)
            ),
            Operator("aten.batch_norm.default", (*norm, *numbers), (image,)),
            Operator("aten.relu.default", (("self", Value(first + 3 * i + 1)),), (image,)),
        ]
    weights = (tensor(16, 16, 3, 3), vector, vector, vector, vector) * depth
    return Graph((image,), weights, tuple(operators), (first + 3 * depth - 1,))


def test_random_weights_keep_deep_activations_in_range() -> None:
    graph = deep(60)
    [output] = build_module(graph)(*map(torch.tensor, random_arrays(graph.inputs)))
    assert 1e-3 < output.abs().mean() < 1e3


def test_random_weights_know_their_role() -> None:
    graph = deep(1)
    kernel, scale, shift, mean, variance = random_weights(graph)
    assert kernel.std() == pytest.approx((16 * 9) ** -0.5, rel=0.1)
    for near_one in (scale, variance):
        assert ((near_one > 0.8) & (near_one < 1.2)).all()
    for near_zero in (shift, mean):
        assert np.abs(near_zero).max() < 0.5
        assert abs(near_zero.mean()) < 0.2
    again = random_weights(graph)
    np.testing.assert_array_equal(kernel, again[0])
    assert not np.array_equal(kernel, random_weights(graph, seed=1)[0])


def test_integers_are_valid_indices_and_truth_values_true() -> None:
    types = [TensorType("int64", (3,)), TensorType("bool", (2,)), TensorType("float64", (2,))]
    indices, truths, doubles = random_arrays(types)
    assert indices.tolist() == [0, 0, 0]
    assert truths.tolist() == [True, True]
    assert doubles.dtype == np.float64
    require_types("input", [indices, truths, doubles], types)


def test_types_that_do_not_fit_are_named() -> None:
    with pytest.raises(LatheError, match=r"input 0 of the graph is f32\[2,4\], but f32\[4,2\]"):
        require_types("input", [np.zeros((4, 2), np.float32)], [tensor(2, 4)])
