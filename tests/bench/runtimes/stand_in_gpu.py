"""A GPU that is not there: PyTorch, its compilers, ONNX Runtime and TensorRT see it, and the CPU does its work.

It has what adapters must get right on a device: tensors that refuse to meet the CPU's, streams, events that tell
nothing before they are waited for, and graphs that compute again what was captured, on the same places in memory.
How fast a device is, it does not tell.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_tensorrt
import onnxruntime
import pytest
import torch
from fake_nvml import FakeNvml
from fake_torch_tensorrt import FakeTorchTensorRt
from paper_device import Paper, Sheet
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("cuda", 0)
PROPERTIES = SimpleNamespace(
    name="NVIDIA stand-in",
    major=9,
    minor=0,
    multi_processor_count=8,
    total_memory=8 << 30,
    L2_cache_size=1 << 20,
    uuid="abc",
)
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
#: How long a compiler takes here.
COMPILE_S = 0.2
#: The share of a run that TensorRT's layers take here.
IN_LAYERS = 0.75


class FirstDevice(TorchFunctionMode):
    """ "cuda" is its first device, which a PyTorch without CUDA cannot look up, nor switch to for a copy."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def numbered(word: Any) -> Any:
            return DEVICE if isinstance(word, str | torch.device) and str(word) == "cuda" else word

        if func is torch.device:
            return func(*args, **(kwargs or {}))
        given = {name: numbered(word) for name, word in (kwargs or {}).items()}
        if func is torch.Tensor.copy_:
            func = torch.ops.aten.copy_.default
        return func(*map(numbered, args), **given)


class Gpu(Paper):
    """The device: what lies on it, and how far it has come."""

    def __init__(self) -> None:
        super().__init__(DEVICE)
        self.captured: list[Callable[[], object]] | None = None
        self.waits = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket is torch.ops.aten.to:
            # It comes whole in inference mode; elsewhere it was taken apart on the way.
            with self:
                return func.decompose(*args, **(kwargs or {}))
        found = super().__torch_dispatch__(func, types, args, kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs, found)) if isinstance(leaf, torch.Tensor)]
        there = [isinstance(tensor, Sheet) for tensor in tensors]
        if self.captured is not None and any(there):
            if not all(there):
                raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
            self._keep(func, args, kwargs or {}, found)
        return found

    def _keep(self, func: Any, args: Any, kwargs: Any, found: Any) -> None:
        """Of a kernel all that is captured; a view is none, since it lies where its base does."""
        returns = [returned.alias_info for returned in func._schema.returns]
        if any(alias is not None and not alias.is_write for alias in returns) or self.captured is None:
            return
        kwargs = {name: torch.device("cpu") if name == "device" else word for name, word in kwargs.items()}
        given, places = tree_map_only(Sheet, lambda sheet: sheet.inner, ((args, kwargs), found))

        def again() -> None:
            made = func(*given[0], **given[1])
            for place, tensor in zip(tree_leaves(places), tree_leaves(made), strict=True):
                if place is not tensor:
                    place.copy_(tensor)

        self.captured.append(again)

    def launch(self, work: Callable[[], object]) -> None:
        """Does what is no operator of PyTorch's, and keeps it where a graph is captured."""
        work()
        if self.captured is not None:
            self.captured.append(work)

    def wait(self) -> None:
        """All that was issued is done."""
        if self.captured is not None:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        self.waits += 1


class Stream:
    """One of several."""

    def __init__(self, cuda_stream: int = 7) -> None:
        self.cuda_stream = cuda_stream

    def wait_stream(self, other: Stream) -> None: ...


def torch_with(gpu: Gpu) -> dict[str, Any]:
    """What `torch.cuda` offers then."""
    streams = [Stream(0)]

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at_s, self.waits = time.perf_counter(), gpu.waits

        def query(self) -> bool:
            return gpu.waits > self.waits

        def elapsed_time(self, end: Event) -> float:
            if not end.query():
                raise RuntimeError("CUDA error: device not ready")
            return (end.at_s - self.at_s) * 1e3

    class Graph:
        def __init__(self) -> None:
            self.kernels: list[Callable[[], object]] = []

        def replay(self) -> None:
            with torch.inference_mode():
                for kernel in self.kernels:
                    kernel()

    @contextlib.contextmanager
    def graph(captured: Graph) -> Iterator[None]:
        gpu.captured = captured.kernels
        try:
            yield
        finally:
            gpu.captured = None

    @contextlib.contextmanager
    def stream(chosen: Stream) -> Iterator[None]:
        streams.append(chosen)
        yield
        streams.pop()

    return {
        "_lazy_init": lambda: None,
        "_sleep": lambda cycles: None,
        "is_initialized": lambda: True,
        "synchronize": gpu.wait,
        "Event": Event,
        "CUDAGraph": Graph,
        "graph": graph,
        "Stream": Stream,
        "stream": stream,
        "set_stream": streams.append,
        "current_stream": lambda: streams[-1],
    }


class OnnxSession(onnxruntime.InferenceSession):  # type: ignore[misc] # the package has no types
    """On the CPU, under the name of the provider that was asked for."""

    def __init__(self, model: Any, sess_options: Any = None, providers: Any = (CPU,), **more: Any) -> None:
        self._asked = [asked if isinstance(asked, str) else asked[0] for asked in providers]
        super().__init__(model, sess_options, [CPU], **more)

    def get_providers(self) -> list[str]:
        return [*self._asked, CPU]

    def end_profiling(self) -> str:
        path = Path(super().end_profiling())
        path.write_text(path.read_text().replace(CPU, self._asked[0]))
        return str(path)


def without_the_gpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same on a machine without it: PyTorch traces nothing that is looked at on the way."""

    def called(*args: Any, **kwargs: Any) -> Any:
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            return function(*args, **kwargs)

    return called


def onnxruntime_with_cuda() -> dict[str, Any]:
    """What the package offers then; its places on the device are on the CPU."""
    values = onnxruntime.OrtValue

    def from_numpy(array: Any, device: str, number: int) -> Any:
        assert (device, number) == ("cuda", 0)
        return values.ortvalue_from_numpy(array, "cpu", 0)

    def from_shape(shape: Any, dtype: Any, device: str, number: int) -> Any:
        assert (device, number) == ("cuda", 0)
        return values.ortvalue_from_shape_and_type(shape, dtype, "cpu", 0)

    made = SimpleNamespace(ortvalue_from_numpy=from_numpy, ortvalue_from_shape_and_type=from_shape)
    return {"InferenceSession": OnnxSession, "OrtValue": made}


def compile_(function: Callable[..., Any], *, dynamic: bool) -> Callable[..., Any]:
    """`torch.compile`, which counts what it compiled, takes its time and leaves it as it is."""
    from torch._dynamo.utils import counters

    assert not dynamic

    @functools.wraps(function)
    def compiled(*inputs: Any) -> Any:
        if not counters["stats"]["unique_graphs"]:
            counters["stats"]["unique_graphs"] = 1
            time.sleep(COMPILE_S)
        return function(*inputs)

    return compiled


def context_on(gpu: Gpu) -> type[fake_tensorrt.Context]:
    """TensorRT's context, whose passes are launched on the device and whose layers take shares of them."""

    class OnDevice(fake_tensorrt.Context):
        def execute_async_v3(self, stream: int) -> bool:
            started_s = time.perf_counter()
            gpu.launch(lambda: self._pass(stream))
            self.taken_s = time.perf_counter() - started_s
            return True

        def _pass(self, stream: int) -> None:
            super().execute_async_v3(stream)

        def layer_ms(self, number: int) -> float:
            return 1e3 * IN_LAYERS * self.taken_s / len(self.engine.nodes)

    return OnDevice


class Nvml(FakeNvml):
    """Nothing slows the device, and nobody else is on it."""

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: str) -> int:
        return 0

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Any]:
        return [SimpleNamespace(pid=os.getpid())]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: str) -> list[Any]:
        return []


@contextlib.contextmanager
def told() -> Iterator[None]:
    """While open, this process is told of the device and of the packages for it; nothing can be computed on it."""
    tensorrt = fake_tensorrt.FakeTensorRt()
    tensorrt.__spec__ = ModuleSpec("tensorrt", None)
    find_spec = importlib.util.find_spec

    def found(name: str, package: str | None = None) -> ModuleSpec | None:
        return ModuleSpec(name, None) if name == "triton" else find_spec(name, package)

    packages = {"tensorrt": tensorrt, "torch_tensorrt": FakeTorchTensorRt(), "pynvml": Nvml("pynvml")}
    with pytest.MonkeyPatch.context() as patch:
        for name, package in packages.items():
            patch.setitem(sys.modules, name, package)
        patch.setattr(importlib.util, "find_spec", found)
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "get_device_properties", lambda index: PROPERTIES)
        patch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
        yield


@contextlib.contextmanager
def made_on_the_cpu() -> Iterator[None]:
    """While open, what `torch.tensor` makes is made on the CPU and then brought where it is wanted."""
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


@contextlib.contextmanager
def stood_in() -> Iterator[None]:
    """While open, it is there; PyTorch takes it in this thread alone."""
    gpu = Gpu()
    with told(), pytest.MonkeyPatch.context() as patch:
        for name, offered in torch_with(gpu).items():
            patch.setattr(torch.cuda, name, offered)
        for name, offered in onnxruntime_with_cuda().items():
            patch.setattr(onnxruntime, name, offered)
        patch.setattr(torch, "compile", compile_)
        patch.setattr(fake_tensorrt, "Context", context_on(gpu))
        patch.setattr(Sheet, "data_ptr", lambda sheet: sheet.inner.data_ptr())
        patch.setattr(torch.onnx, "export", without_the_gpu(torch.onnx.export))
        with made_on_the_cpu(), gpu, FirstDevice():
            yield
