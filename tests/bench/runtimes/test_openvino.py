"""What OpenVINO cannot do is said, and nothing of it speaks to anybody."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from hand_graphs import conv_relu
from onnx import TensorProto, helper

import bench.runtimes.openvino as adapter
from bench.host import cpu_device
from bench.runtimes import make_setting, pinning
from bench.runtimes.base import UnsupportedOperatorError
from bench.runtimes.onnx_export import export_graph
from bench.runtimes.openvino import OpenVino
from latency_tables.errors import LatheError, UserError
from latency_tables.setting import Setting

openvino = pytest.importorskip("openvino")
HERE = Setting(cpu_device(), "openvino", (), "fp32", 1, 1)


def test_an_operator_that_it_does_not_know_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("NoSuchThing", ["x"], ["y"])], "g", ends[:1], ends[1:])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    monkeypatch.setattr(adapter, "export_graph", lambda *_, **__: content)
    with pytest.raises(
        UnsupportedOperatorError, match="OpenVINO cannot run the operator NoSuchThing"
    ) as caught:
        OpenVino(HERE).load(conv_relu())
    assert caught.value.operator.startswith("NoSuchThing")


def test_a_precision_that_the_cpu_lacks_is_refused_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Core:
        available_devices = ("CPU",)

        def get_property(self, device: str, name: str) -> list[str]:
            assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
            return ["FP32", "INT8"]

    monkeypatch.setattr(adapter, "_import_openvino", lambda: SimpleNamespace(Core=Core))
    assert make_setting("openvino").precision == "fp32"
    with pytest.raises(UserError, match=r"this CPU has no bf16, .*\. Choose --precision fp32\.$"):
        make_setting("openvino", precision="bf16")


def test_its_telemetry_is_not_imported() -> None:
    look = (
        "import sys; from bench.runtimes.openvino import OpenVino; assert OpenVino.availability('cpu').usable; "
        "sys.exit(any(name.startswith('openvino_telemetry.') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_asked_of_it_is_what_it_compiled_for(threads: int) -> None:
    if threads > HERE.device.cores:
        pytest.skip(f"{HERE.device.cores} core here")
    compiled = OpenVino(replace(HERE, threads=threads))._compiled(export_graph(conv_relu(), None))
    asked = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": openvino.Type.f32,
    }
    assert {name: compiled.get_property(name) for name in asked} == asked


@pytest.mark.skipif(bool(OpenVino.lacks("bf16", "cpu")), reason="this CPU has no bf16")
def test_bf16_is_asked_for_by_name_and_kept() -> None:
    compiled = OpenVino(replace(HERE, precision="bf16"))._compiled(export_graph(conv_relu(), None))
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.bf16


class Grudging:
    """A core whose compiled model uses another number of threads than it was asked for."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.asked: dict[str, object] = {}

    def read_model(self, content: bytes, weights: bytes) -> None: ...

    def compile_model(self, model: None, device: str, asked: dict[str, object]) -> Grudging:
        self.asked = asked
        return self

    def get_property(self, name: str) -> int:
        assert name == "INFERENCE_NUM_THREADS"
        return self.threads


@pytest.mark.parametrize(("threads", "pinned"), [(1, False), (2, True)])
def test_another_number_of_threads_than_asked_for_is_refused(threads: int, pinned: bool) -> None:
    options = ((pinning.OPTION, pinning.PINNED),) if pinned else ()
    runtime = OpenVino(replace(HERE, threads=threads, options=options))
    runtime._core = core = Grudging(threads=4)
    with pytest.raises(LatheError, match=f"asked for {threads} threads but took 4"):
        runtime.load(conv_relu())
    assert core.asked == {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": pinned,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    core.threads = threads
    assert runtime._compiled(b"") is core


def test_what_settling_took_is_in_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO's own numbers are means over all runs since it was compiled, the slow first ones among them."""
    settling, counted = adapter.NODE_RUNS // 3, adapter.NODE_RUNS - adapter.NODE_RUNS // 3
    means_us = iter([{"conv": 900, "relu": 3}, {"conv": 400, "relu": 3}])

    class Loaded:
        clock = SimpleNamespace(elapsed_s=lambda run, repeats: 160e-6 * repeats)
        run = None
        node_totals_s = adapter.OpenVinoLoaded.node_totals_s

        def __init__(self, *_: object) -> None:
            self._request = self

        def __enter__(self) -> Loaded:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        @property
        def profiling_info(self) -> list[SimpleNamespace]:
            return [
                SimpleNamespace(node_name=name, node_type="any", real_time=timedelta(microseconds=mean))
                for name, mean in next(means_us).items()
            ]

    class Model:
        def get_runtime_model(self) -> Model:
            return self

        def get_ordered_ops(self) -> list[object]:
            return []

    monkeypatch.setattr(adapter, "OpenVinoLoaded", Loaded)
    monkeypatch.setattr(OpenVino, "_compiled", lambda *_: Model())
    found = OpenVino(HERE).node_profile(conv_relu())
    expected = (adapter.NODE_RUNS * 400 - settling * 900) / counted * 1e-6
    assert {node.name: node.seconds for node in found.nodes} == pytest.approx(
        {"conv": expected, "relu": 3e-6}
    )
    assert found.whole_s == pytest.approx(160e-6)
