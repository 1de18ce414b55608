from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hand_graphs import conv_relu, linear_add
from onnx import numpy_helper
from torch import nn

from bench.runtimes import onnxruntime as adapter
from bench.runtimes.base import random_arrays
from bench.runtimes.onnx_export import export_graph
from bench.runtimes.onnx_int8 import (
    MAX_CALIBRATION,
    MIN_CALIBRATION,
    calibration_feeds,
    overflows,
    quantise,
)
from bench.runtimes.onnxruntime import OnnxRuntime
from bench.workbench import SettingChoice
from latency_tables.errors import LatheError
from pruning.capture import capture

onnxruntime = pytest.importorskip("onnxruntime")


def images(count: int) -> list[np.ndarray]:
    return [np.random.default_rng(1).standard_normal((count, 4, 8, 8)).astype(np.float32)]


def zero_points(content: bytes) -> dict[str, np.ndarray]:
    """What the zero points of the quantising operators are, by the name of the value."""
    file = onnx.load_from_string(content)
    held = {each.name: numpy_helper.to_array(each) for each in file.graph.initializer}
    kinds = ("QuantizeLinear", "DequantizeLinear")
    return {node.output[0]: held[node.input[2]] for node in file.graph.node if node.op_type in kinds}


def test_the_file_computes_in_integers_between_its_pairs(tmp_path: Path) -> None:
    graph, path = conv_relu(), tmp_path / "a.onnx"
    content = quantise(export_graph(graph, None), calibration_feeds(graph, images(64)), path=path)
    assert path.read_bytes() == content
    kinds = [node.op_type for node in onnx.load_from_string(content).graph.node]
    assert kinds.count("QuantizeLinear") >= 2
    assert {point.dtype.name for point in zero_points(content).values()} == {"uint8", "int8", "int32"}
    plain = onnxruntime.InferenceSession(export_graph(graph, None), providers=["CPUExecutionProvider"])
    own = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    image = images(1)[0]
    [wanted], [found] = plain.run(None, {"images": image}), own.run(None, {"images": image})
    step = np.abs(wanted).max() / 127
    assert 0 < np.abs(found - wanted).max() < 4 * step


def test_weights_have_a_scale_for_each_channel() -> None:
    graph = conv_relu(channels=8)
    arrays = [np.random.default_rng(2).standard_normal((64, 8, 8, 8)).astype(np.float32)]
    content = quantise(export_graph(graph, None), calibration_feeds(graph, arrays))
    assert any(point.shape == (8,) and point.dtype == np.int8 for point in zero_points(content).values())


def test_for_tensorrt_everything_is_around_zero_and_biases_stay_floats() -> None:
    graph = conv_relu()
    content = quantise(export_graph(graph, None), calibration_feeds(graph, images(64)), symmetric=True)
    points = zero_points(content)
    assert points
    assert {point.dtype.name for point in points.values()} == {"int8"}
    assert all((point == 0).all() for point in points.values())


def test_seven_bits_where_products_overflow() -> None:
    assert overflows(["avx2", "fma"])
    assert not overflows(["avx2", "avx512_vnni"])
    graph = conv_relu()
    largest = []
    for reduce_range in (False, True):
        feeds = calibration_feeds(graph, images(64))
        file = onnx.load_from_string(quantise(export_graph(graph, None), feeds, reduce_range=reduce_range))
        weights = [numpy_helper.to_array(each) for each in file.graph.initializer]
        largest.append(max(np.abs(w.astype(int)).max() for w in weights if w.dtype == np.int8))
    assert largest == [127, 64]


@pytest.mark.parametrize(("count", "passes"), [(MIN_CALIBRATION, 32), (100, 100), (1000, MAX_CALIBRATION)])
def test_images_are_cut_into_passes(count: int, passes: int) -> None:
    feeds = calibration_feeds(conv_relu(), images(count))
    assert len(feeds) == passes
    assert all(feed["images"].shape == (1, 4, 8, 8) for feed in feeds)
    np.testing.assert_array_equal(feeds[3]["images"], images(count)[0][3:4])


def test_a_network_that_takes_more_than_there_are_gets_some_twice() -> None:
    graph = linear_add()
    arrays = [np.arange(33 * 5, dtype=np.float32).reshape(33, 5), np.zeros((33, 3), np.float32)]
    feeds = calibration_feeds(graph, arrays)
    assert len(feeds) == 16
    assert [feed["input0"].shape for feed in feeds] == [(2, 5)] * 16


def test_too_few_images_are_refused_with_the_way_out() -> None:
    with pytest.raises(LatheError, match=r"at least 32 calibration images .* got 31. Give more with --calib"):
        calibration_feeds(conv_relu(), images(31))


def test_for_timing_alone_one_random_batch_does() -> None:
    graph = linear_add()
    (feed,) = calibration_feeds(graph, None)
    assert list(feed) == ["input0", "input1"]
    np.testing.assert_array_equal(feed["input0"], random_arrays(graph.inputs)[0])


def test_nothing_is_logged_and_logging_is_as_before(caplog: pytest.LogCaptureFixture) -> None:
    graph = conv_relu()
    with caplog.at_level(logging.WARNING):
        quantise(export_graph(graph, None), calibration_feeds(graph, None))
        assert caplog.records == []
        logging.getLogger("x").warning("heard")
    assert [record.message for record in caplog.records] == ["heard"]


def test_what_cannot_be_quantised_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no range for x")

    monkeypatch.setattr("onnxruntime.quantization.quantize_static", fail)
    graph = conv_relu()
    with pytest.raises(LatheError, match="cannot quantise the network: RuntimeError: no range for x"):
        quantise(export_graph(graph, None), calibration_feeds(graph, None))


def test_equal_constants_do_not_keep_operators_in_floats(tmp_path: Path) -> None:
    block = [nn.Conv2d(8, 8, 3, padding=1) for _ in range(3)]
    for one in block:
        nn.init.zeros_(one.bias)
    network = nn.Sequential(
        block[0], nn.ReLU(), block[1], nn.ReLU(), block[2], nn.Flatten(), nn.Linear(512, 8)
    )
    nn.init.zeros_(network[-1].bias)  # equal to the others
    captured = capture(network.eval(), torch.zeros(1, 8, 8, 8))
    plain = export_graph(captured.graph, captured.weights)
    assert "Identity" in {node.op_type for node in onnx.load_from_string(plain).graph.node}
    arrays = [np.random.default_rng(2).standard_normal((64, 8, 8, 8)).astype(np.float32)]
    content = quantise(plain, calibration_feeds(captured.graph, arrays))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "as_run.onnx")
    own = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "as_run.onnx").graph.node]
    assert kinds.count("QLinearConv") == 3 and kinds.count("QGemm") == 1
    assert not {"Conv", "Gemm", "MatMul"} & set(kinds)
    image = arrays[0][:1]
    [found] = own.run(None, {"images": image})
    wanted = network(torch.from_numpy(image)).detach().numpy()
    assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()


def test_what_stays_in_floats_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = conv_relu()
    setting = SettingChoice("onnxruntime", precision="int8").make()
    with OnnxRuntime(setting).load(graph) as loaded:
        assert loaded.facts == {}
    monkeypatch.setattr(adapter, "quantise", lambda content, *_, **__: content)
    with OnnxRuntime(setting).load(graph) as loaded:
        (counts,) = loaded.facts["ran_in_floats"].items()
        assert counts in (("Conv", 1), ("FusedConv", 1))
