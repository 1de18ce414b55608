"""Torch-TensorRT's adapter against a package that stands in for it, on the CPU."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fake_torch_tensorrt import Compiled, Engine, FakeTorchTensorRt
from hand_graphs import conv_relu

from bench.host import cpu_device
from bench.runtimes.base import Availability, Order, UnsupportedOperatorError, random_arrays
from bench.runtimes.eager import Eager
from bench.runtimes.torch_graph import build_module
from bench.runtimes.torch_tensorrt import TorchTensorRt, TorchTensorRtLoaded, timings_path
from bench.worker import describe_failure, is_device_lost
from latency_tables.errors import LatheError
from latency_tables.setting import Device, Setting

SETTING = Setting(cpu_device(), "torch-tensorrt", (), "fp32", 1, 1)


def left() -> torch.fx.GraphModule:
    """Stands for a part that stays PyTorch's."""
    return torch.fx.symbolic_trace(torch.nn.Identity())


def use(monkeypatch: pytest.MonkeyPatch, compile_: Callable[..., torch.nn.Module]) -> None:
    monkeypatch.setitem(sys.modules, "torch_tensorrt", FakeTorchTensorRt(compile_))


def load() -> TorchTensorRtLoaded:
    order = Order(conv_relu(), None, None, None, alone=True)
    return TorchTensorRtLoaded(order, SETTING)


def test_what_pytorch_still_runs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_(exported: Any, inputs: Any, **options: Any) -> torch.nn.Module:
        parts = {"_run_on_acc_0": Engine(), "_run_on_gpu_1": left(), "_run_on_acc_2": left()}
        return Compiled(exported.module(), parts)

    use(monkeypatch, compile_)
    loaded = load()
    assert loaded.facts["run_by_pytorch"] == ["_run_on_gpu_1", "_run_on_acc_2"]
    assert loaded.facts["compile_s"] > 0
    inputs = random_arrays(conv_relu().inputs, seed=4)
    (output,) = loaded.infer(inputs)
    with torch.inference_mode():
        (wanted,) = build_module(conv_relu())(*map(torch.from_numpy, inputs))
    np.testing.assert_allclose(output, wanted.numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_types_are_the_network_s_and_a_single_operator_is_compiled(
    monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    asked: list[dict[str, Any]] = []

    def compile_(exported: Any, inputs: Any, **options: Any) -> torch.nn.Module:
        asked.append(options)
        return Compiled(exported.module(), {"_run_on_acc_0": Engine()})

    use(monkeypatch, compile_)
    monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(allow_tf32=precision == "tf32"))
    load()
    tf32_off = precision == "fp32"
    kept = str(timings_path(SETTING))
    wanted = {"use_explicit_typing": True, "min_block_size": 1, "disable_tf32": tf32_off}
    assert asked == [{**wanted, "timing_cache_path": kept}]


def test_timings_of_another_device_or_version_lie_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    newer = replace(SETTING, versions=(("tensorrt", "12.0"),))
    other = replace(SETTING, device=replace(SETTING.device, name="another"))
    driven = replace(SETTING, device=replace(SETTING.device, driver="590.1"))
    paths = [timings_path(setting) for setting in (SETTING, newer, other, driven)]
    assert len(set(paths)) == 4
    assert all(path.parent.is_relative_to(tmp_path) and path.parent.is_dir() for path in paths)
    assert timings_path(SETTING) == paths[0]


@pytest.mark.parametrize("names", [[], ["_run_on_gpu_0"], ["_run_on_acc_0"]])
def test_without_an_engine_it_is_not_timed(monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    def compile_(exported: Any, inputs: Any, **options: Any) -> torch.nn.Module:
        return Compiled(exported.module(), {name: left() for name in names})

    use(monkeypatch, compile_)
    with pytest.raises(UnsupportedOperatorError, match=r"aten\.conv2d\.default, aten\.relu\.default: .*none"):
        load()


def test_what_cannot_be_exported_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise torch._dynamo.exc.Unsupported("no such thing")

    import torch._dynamo

    use(monkeypatch, lambda *_, **__: pytest.fail("nothing to compile"))
    monkeypatch.setattr(torch.export, "export", refuse)
    with pytest.raises(LatheError, match="Torch-TensorRT refuses the network: no such thing"):
        load()


def test_an_error_of_the_compiler_s_is_a_refusal_unless_the_device_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = "CUDA error: an illegal memory access was encountered"

    def fail(*_: object, **__: object) -> torch.nn.Module:
        raise RuntimeError(said)

    def lost() -> None:
        raise RuntimeError(said)

    use(monkeypatch, fail)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    with pytest.raises(LatheError, match="Torch-TensorRT refuses the network: CUDA error") as refused:
        load()
    assert not is_device_lost(describe_failure(refused.value))
    monkeypatch.setattr(torch.cuda, "synchronize", lost)
    with pytest.raises(RuntimeError) as broken:
        load()
    assert is_device_lost(describe_failure(broken.value))


def test_without_the_package_or_its_libraries_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delitem(sys.modules, "torch_tensorrt", raising=False)
    with monkeypatch.context() as patched:
        patched.setattr("importlib.util.find_spec", lambda name: None)
        assert TorchTensorRt.availability("cuda").reason == "the package torch-tensorrt is not installed"
    (tmp_path / "torch_tensorrt.py").write_text(
        "raise Exception('libnvinfer.so.10: cannot open shared object')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = TorchTensorRt.availability("cuda")
    assert (found.usable, found.reason) == (
        False,
        "torch_tensorrt cannot be imported: libnvinfer.so.10: cannot open shared object",
    )
    assert "libnvinfer" in found.remedy


def test_it_leaves_the_default_stream_on_which_tensorrt_would_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    streams: list[str] = []
    monkeypatch.setattr(torch.cuda, "Stream", lambda: "its own")
    monkeypatch.setattr(torch.cuda, "set_stream", streams.append)
    monkeypatch.setattr(
        TorchTensorRt, "availability", classmethod(lambda cls, kind: Availability(usable=True))
    )
    # What is global in PyTorch stays as it is for the other tests.
    monkeypatch.setattr(Eager, "_prepare", lambda self: None)
    gpu = Device("cuda", "NVIDIA H100", 132, 2**36, "580.65", ("sm_90",))
    TorchTensorRt(Setting(gpu, "torch-tensorrt", (), "fp32", 1, 1))
    assert streams == ["its own"]
