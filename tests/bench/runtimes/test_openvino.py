"""What OpenVINO cannot do is said, and nothing of it speaks to anybody."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
from hand_graphs import conv_relu
from onnx import TensorProto, helper

import bench.runtimes.openvino as adapter
from bench.host import cpu_device
from bench.runtimes import make_setting
from bench.runtimes.base import UnsupportedOperatorError
from bench.runtimes.openvino import OpenVino
from latency_tables.errors import UserError
from latency_tables.setting import Setting

pytest.importorskip("openvino")
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
    with pytest.raises(UserError, match="this CPU has no bf16: openvino computes here in FP32, INT8"):
        make_setting("openvino", precision="bf16")


def test_its_telemetry_is_not_imported() -> None:
    look = (
        "import sys; from bench.runtimes.openvino import OpenVino; assert OpenVino.availability('cpu').usable; "
        "sys.exit(any(name.startswith('openvino_telemetry.') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0
