"""What is asked of ONNX Runtime on a CUDA device, and what it does there, told by stand-ins."""

from __future__ import annotations

from typing import Any

import pytest
from hand_graphs import conv_relu

from bench.host import cpu_device
from bench.runtimes.onnxruntime import OnnxRuntime
from bench.worker_environment import worker_environment
from latency_tables.errors import LatheError
from latency_tables.setting import Setting

onnxruntime = pytest.importorskip("onnxruntime")
CUDA, TENSORRT, CPU = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"


def setting(provider: str, precision: str = "fp32") -> Setting:
    return Setting(cpu_device(), "onnxruntime", (), precision, 1, 1, options=(("provider", provider),))


@pytest.mark.parametrize(
    ("precision", "tf32", "fp16"), [("fp32", "0", "0"), ("tf32", "1", "0"), ("fp16", "0", "1")]
)
def test_tensorrt_s_provider_is_asked_for_the_precision(
    monkeypatch: pytest.MonkeyPatch, precision: str, tf32: str, fp16: str
) -> None:
    asked: list[list[Any]] = []

    class Spy:
        def __init__(self, model: object, options: object, providers: list[Any]) -> None:
            asked.append(providers)

        def get_providers(self) -> list[str]:
            return [CPU]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Spy)
    monkeypatch.setattr(OnnxRuntime, "lacks", classmethod(lambda cls, precision, kind: ""))
    with pytest.raises(LatheError, match="took CPUExecutionProvider"):
        OnnxRuntime(setting(TENSORRT, precision)).load(conv_relu())
    assert asked == [[(TENSORRT, {"trt_fp16_enable": fp16}), (CUDA, {"use_tf32": tf32})]]


@pytest.mark.parametrize(("precision", "override"), [("fp32", "0"), ("fp16", "0"), ("tf32", None)])
def test_tf32_is_off_in_the_whole_process_unless_it_is_the_precision(
    precision: str, override: str | None
) -> None:
    options = OnnxRuntime.options("cuda", 1, precision)
    named = Setting(cpu_device(), "onnxruntime", (), precision, 1, 1, options=tuple(sorted(options.items())))
    assert worker_environment(named, {}).get("NVIDIA_TF32_OVERRIDE") == override
    assert "env.NVIDIA_TF32_OVERRIDE" not in OnnxRuntime.options("cpu", 1, "fp32")
