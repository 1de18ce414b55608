"""What ONNX Runtime raises, in a session of the adapter's or of its own quantiser's."""

from __future__ import annotations

import pytest
import torch

from bench.runtimes.base import UnsupportedOperatorError
from bench.runtimes.onnx_refusals import refusals_told
from bench.runtimes.onnxruntime import OnnxRuntime
from bench.workbench import SettingChoice
from bench.worker import describe_failure, is_device_lost
from latency_tables.errors import LatheError
from latency_tables.graph import Graph, Operator, TensorType, Value

pytest.importorskip("onnxruntime")

from onnxruntime.capi import onnxruntime_pybind11_state as states


def test_an_operator_that_the_quantiser_cannot_run_is_named() -> None:
    doubles = TensorType("float64", (2, 4))
    elu = Operator("aten.elu.default", (("self", Value(0)),), (doubles,))
    runtime = OnnxRuntime(SettingChoice("onnxruntime", precision="int8").make())
    with pytest.raises(UnsupportedOperatorError, match="Choose another runtime, or replace the op") as caught:
        runtime.load(Graph((doubles,), (), (elu,), (1,)))
    assert caught.value.operator == "Elu"


@pytest.mark.parametrize("name", ["EPFail", "Fail", "InvalidArgument", "InvalidGraph", "RuntimeException"])
def test_its_exceptions_become_refusals(name: str) -> None:
    with pytest.raises(LatheError, match="refuses the network: no such thing"), refusals_told():
        raise getattr(states, name)("no such thing")


def test_a_lost_device_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lost)
    with pytest.raises(RuntimeError) as broken, refusals_told():
        raise states.EPFail("CUDA failure 700: an illegal memory access was encountered")
    assert is_device_lost(describe_failure(broken.value))
