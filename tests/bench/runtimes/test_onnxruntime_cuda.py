"""What is asked of ONNX Runtime on a CUDA device, and what it does there, told by stand-ins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hand_graphs import conv_relu, linear_add
from test_conformance import TOLERANCE, pool_and_two_outputs

import bench.runtimes.base as base
import bench.runtimes.cuda as cuda
import bench.runtimes.onnxruntime as adapter
from bench.host import cpu_device
from bench.runtimes import make_setting
from bench.runtimes.base import Availability, UnsupportedOperatorError, random_arrays
from bench.runtimes.onnx_placement import ran_elsewhere
from bench.runtimes.onnxruntime import OnnxRuntime
from bench.runtimes.torch_graph import random_weights
from bench.session import MeasurementFailed, Session
from bench.worker_environment import worker_environment
from latency_tables.errors import LatheError, UserError
from latency_tables.graph import Graph
from latency_tables.setting import Device, Setting

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
        OnnxRuntime(setting(TENSORRT, precision))
    assert asked == [[(TENSORRT, {"trt_fp16_enable": fp16}), (CUDA, {"use_tf32": tf32})]]


@pytest.mark.parametrize(("precision", "override"), [("fp32", "0"), ("fp16", "0"), ("tf32", None)])
def test_tf32_is_off_in_the_whole_process_unless_it_is_the_precision(
    precision: str, override: str | None
) -> None:
    options = OnnxRuntime.options("cuda", 1, precision)
    named = Setting(cpu_device(), "onnxruntime", (), precision, 1, 1, options=tuple(sorted(options.items())))
    assert worker_environment(named, {}).get("NVIDIA_TF32_OVERRIDE") == override
    assert "env.NVIDIA_TF32_OVERRIDE" not in OnnxRuntime.options("cpu", 1, "fp32")


@pytest.mark.parametrize("make", [conv_relu, linear_add, pool_and_two_outputs])
def test_a_file_in_fp16_is_bound_and_fed_in_its_own_type(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], Graph]
) -> None:
    # Its CPU provider turns most of it into fp32 and back, which is why it is not timed so there.
    monkeypatch.setattr(OnnxRuntime, "lacks", classmethod(lambda cls, precision, kind: ""))
    graph = make()
    weights, inputs = random_weights(graph, seed=6), random_arrays(graph.inputs, seed=5)
    with OnnxRuntime(setting(CPU)).load(graph, weights) as plain:
        wanted = plain.infer(inputs)
    with OnnxRuntime(setting(CPU, "fp16")).load(graph, weights) as loaded:
        loaded.run()
        bound = loaded._binding.get_outputs()  # type: ignore[attr-defined]
        assert {value.data_type() for value in bound} == {"tensor(float16)"}
        for found, exact in zip(loaded.infer(inputs), wanted, strict=True):
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, exact, rtol=TOLERANCE["fp16"], atol=TOLERANCE["fp16"])


def event(name: str, operator: str, provider: str, *shape: int) -> dict[str, Any]:
    told = {"op_name": operator, "provider": provider, "output_type_shape": [{"float": list(shape)}]}
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": 5, "args": told}


CONVOLUTION = event("/o0/Conv", "Conv", CUDA, 1, 8, 8, 8)


def test_shapes_reckoned_on_the_cpu_are_allowed_and_told() -> None:
    told = [CONVOLUTION, event("/o1/Shape", "Shape", CPU, 4), event("/o1/Gather", "Gather", CPU)]
    assert ran_elsewhere(told, CUDA) == {CPU: ["/o1/Shape", "/o1/Gather"]}
    assert ran_elsewhere([CONVOLUTION], CUDA) == {}


def test_what_the_cpu_computed_is_named() -> None:
    told = [CONVOLUTION, event("/o1/Det", "Det", CPU, 1, 1000), event("/o2/Shape", "Shape", CPU, 4)]
    with pytest.raises(
        UnsupportedOperatorError, match=r"Provider cannot run the operator Det.*the CPU \(nodes /o1/Det\)"
    ):
        ran_elsewhere(told, CUDA)


def test_what_tensorrt_leaves_to_cuda_is_told_but_not_the_whole_network() -> None:
    engine = event("TRTKernel_graph_0", "TRTKernel_graph_0", TENSORRT, 1, 8, 8, 8)
    assert ran_elsewhere([engine, CONVOLUTION], TENSORRT) == {CUDA: ["/o0/Conv"]}
    with pytest.raises(
        UnsupportedOperatorError, match=r"TensorrtExecutionProvider .* operator Conv: it takes no node"
    ):
        ran_elsewhere([CONVOLUTION], TENSORRT)


def test_many_nodes_are_counted_instead_of_named() -> None:
    told = [event(f"/o{place}/Conv", "Conv", CPU, 1, 100) for place in range(8)]
    with pytest.raises(UnsupportedOperatorError, match=r"/o4/Conv and 3 more\)"):
        ran_elsewhere(told, CUDA)


@pytest.fixture
def without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that says it has CUDA and runs everything on the CPU, as where no node is taken."""
    real = onnxruntime.InferenceSession

    class Pretends:
        def __init__(self, model: bytes, options: Any, providers: list[Any]) -> None:
            self._session = real(model, options, providers=[CPU])

        def get_providers(self) -> list[str]:
            return [CUDA, CPU]

        def __getattr__(self, name: str) -> Any:
            return getattr(self._session, name)

        def io_binding(self) -> Any:
            return self._session.io_binding()

        def run_with_iobinding(self, binding: Any) -> None:
            self._session.run_with_iobinding(binding)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Pretends)


@pytest.mark.usefixtures("without_cuda")
def test_a_network_that_runs_on_the_cpu_is_not_timed_as_cuda() -> None:
    with pytest.raises(UnsupportedOperatorError, match="ONNX Runtime leaves it to the CPU") as caught:
        OnnxRuntime(setting(CUDA)).load(conv_relu())
    assert caught.value.operator == "Conv"


@pytest.mark.usefixtures("without_cuda")
def test_the_session_that_was_looked_into_is_the_one_that_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "ran_elsewhere", lambda events, provider: {provider: [len(events)]})
    with OnnxRuntime(setting(CUDA)).load(conv_relu()) as loaded:
        assert loaded.facts["ran_elsewhere"][CUDA][0] >= 1
        assert "lathe profile --runtime eager" in loaded.facts["launch_unknown"]
        loaded.run()
    with OnnxRuntime(setting(CUDA)).load(conv_relu(), alone=True) as part:
        assert "launch_unknown" not in part.facts, "of whole networks only"


@pytest.mark.parametrize("sees", [True, False])
def test_whether_a_device_is_there_is_for_pytorch_to_say(monkeypatch: pytest.MonkeyPatch, sees: bool) -> None:
    # Its file may have any number in a container, and under Windows's Linux there is none.
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(Path, "exists", lambda self: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: sees)
    found = OnnxRuntime.availability("cuda")
    assert found.usable == sees
    assert sees or "sees no CUDA device" in found.reason


@pytest.mark.parametrize(
    ("provider", "needs"),
    [
        (CUDA, "needs the libraries of CUDA 13.0, cuDNN 9 where the loader looks"),
        (TENSORRT, "CUDA 13.0, cuDNN 9 and TensorRT's libnvinfer where the loader looks"),
    ],
)
def test_broken_libraries_of_a_provider_tell_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, provider: str, needs: str
) -> None:
    class FallenBack:
        def __init__(self, model: object, options: object, providers: list[Any]) -> None: ...

        def get_providers(self) -> list[str]:
            return [CPU]

    monkeypatch.setattr(onnxruntime, "InferenceSession", FallenBack)
    monkeypatch.setattr(onnxruntime, "cuda_version", "13.0", raising=False)
    with pytest.raises(LatheError, match=f"took {CPU}: .*{needs}.*onnxruntime-gpu"):
        OnnxRuntime(setting(provider))


def test_where_a_provider_does_not_work_no_part_is_kept_as_a_failure() -> None:
    # This build has no such provider, so its session falls back as one with broken libraries does.
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this build has it")
    with (
        Session(setting(CUDA), repeats=0) as session,
        pytest.raises(
            LatheError, match=f"measures does not start: .* asked for {CUDA} but took {CPU}"
        ) as caught,
    ):
        session.measure(conv_relu())
    assert not isinstance(caught.value, MeasurementFailed)


@pytest.mark.usefixtures("without_cuda")
def test_on_cuda_its_account_of_nodes_is_not_given_out() -> None:
    # It counts how long the processor took to launch them.
    gpu = Device("cuda", "NVIDIA H100", 132, 2**36, "580.65", ("sm_90",))
    there = replace(setting(CUDA), device=gpu)
    with (
        Session(there) as session,
        pytest.raises(
            UserError, match="onnxruntime does not tell what its nodes take on cuda; these do: tensorrt"
        ),
    ):
        session.node_profile(conv_relu())
    runtime = OnnxRuntime(setting(CUDA))
    runtime.setting = there
    with pytest.raises(LatheError, match="does not tell what its nodes take on cuda"):
        runtime.node_profile(conv_relu())


@pytest.mark.parametrize("there", [{"tensorrt-cu13": "11.0.0.29"}, {}])
def test_under_tensorrt_s_provider_its_version_is_part_of_the_setting(
    monkeypatch: pytest.MonkeyPatch, there: dict[str, str]
) -> None:
    gpu = Device("cuda", "NVIDIA H100", 132, 2**36, "580.65", ("sm_90",))
    monkeypatch.setattr(cuda, "cuda_device", lambda root: gpu)
    monkeypatch.setattr(adapter, "came_later", lambda precision: "")
    monkeypatch.setattr(OnnxRuntime, "availability", classmethod(lambda cls, kind: Availability(True)))
    real = base.version

    def version(package: str) -> str:
        if package.startswith("tensorrt") and package not in there:
            raise PackageNotFoundError
        return there.get(package) or real(package)

    monkeypatch.setattr(base, "version", version)
    assert "tensorrt" not in dict(make_setting("onnxruntime", device_kind="cuda").versions)
    found = make_setting("onnxruntime", device_kind="cuda", asked={"provider": TENSORRT}).versions
    assert dict(found).get("tensorrt") == there.get("tensorrt-cu13")
    assert list(found) == sorted(found)
