from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import pytest
import torch
from hand_graphs import conv_relu, linear_add, one_operator

from bench.runtimes.base import UnsupportedOperatorError
from bench.runtimes.onnx_export import OPSET, export_onnx
from bench.runtimes.torch_graph import build_module
from latency_tables.errors import LatheError
from latency_tables.graph import Value


def shapes(values: object) -> list[tuple[str, list[int]]]:
    return [(v.name, [d.dim_value for d in v.type.tensor_type.shape.dim]) for v in values]  # type: ignore[attr-defined]


def test_one_input_is_called_images_and_its_batch_is_fixed() -> None:
    model = onnx.load_from_string(export_onnx(build_module(conv_relu()), (torch.ones(1, 4, 8, 8),)))
    onnx.checker.check_model(model)
    assert shapes(model.graph.input) == [("images", [1, 4, 8, 8])]
    assert shapes(model.graph.output) == [("output", [1, 4, 8, 8])]
    assert model.opset_import[0].version == OPSET
    assert [node.op_type for node in model.graph.node] == ["Conv", "Relu"]


def test_several_inputs_are_numbered() -> None:
    inputs = (torch.ones(2, 5), torch.ones(2, 3))
    model = onnx.load_from_string(export_onnx(build_module(linear_add()), inputs))
    assert shapes(model.graph.input) == [("input0", [2, 5]), ("input1", [2, 3])]


def test_an_ordinary_network_is_exported_as_for_inference(tmp_path: Path) -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Dropout()
    ).train()
    path = tmp_path / "deep" / "net.onnx"
    content = export_onnx(network, (torch.ones(1, 3, 8, 8),), path=path)
    assert path.read_bytes() == content
    assert {node.op_type for node in onnx.load_from_string(content).graph.node} <= {"Conv"}
    assert network.training


def test_nothing_is_said() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export_onnx(build_module(conv_relu()), (torch.ones(1, 4, 8, 8),))


def test_an_operator_without_equivalent_is_named() -> None:
    module = build_module(one_operator("aten.special_i0.default", ("self", Value(0))))
    with pytest.raises(UnsupportedOperatorError, match=r"aten\.i0") as caught:
        export_onnx(module, (torch.ones(2, 4),))
    assert caught.value.operator == "aten.i0"


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LatheError, match="cannot write"):
        export_onnx(build_module(conv_relu()), (torch.ones(1, 4, 8, 8),), path=tmp_path / "file" / "net.onnx")
