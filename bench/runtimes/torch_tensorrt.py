"""Torch-TensorRT: PyTorch's graph in TensorRT engines, with PyTorch between them where TensorRT has no converter.

Written against its documentation; it has not yet run on hardware.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from bench.runtimes.base import (
    Availability,
    Order,
    UnsupportedOperatorError,
    installed_version,
    torch_version,
)
from bench.runtimes.cuda import CHOICES, leave_default_stream, raise_if_lost
from bench.runtimes.eager import Eager, EagerLoaded
from bench.runtimes.engine_cache import EngineCache, cache_folder
from latency_tables.errors import LatheError
from latency_tables.setting import Setting

#: How the names of compiled parts begin.
_ENGINE = "_run_on_acc"


def timings_path(setting: Setting) -> Path:
    """Where it keeps what it timed while it chose kernels: a file for this device, driver and versions alone.

    Its own default is one file in /tmp for all of them, where others could have put theirs.
    """
    valid_for = {
        "device": setting.device.name,
        "driver": setting.device.driver or "",
        **dict(setting.versions),
    }
    path = EngineCache(cache_folder(), valid_for).path("torch-tensorrt-timings")
    with contextlib.suppress(OSError):  # it says itself where it cannot write, and compiles all the same
        path.parent.mkdir(parents=True, exist_ok=True)
    return path


class TorchTensorRtLoaded(EagerLoaded):
    """A graph compiled for its shapes and types; `facts` tell how long that took, and what PyTorch still runs.

    Args:
        order: what to make ready.
        setting: device, precision and options.
    """

    def __init__(self, order: Order, setting: Setting) -> None:
        self._timings = timings_path(setting)
        super().__init__(order, setting)

    def _made(self, module: torch.nn.Module) -> Callable[..., Any]:
        import torch_tensorrt

        started_s = time.perf_counter()
        try:
            exported = torch.export.export(module, tuple(self._inputs))
            compiled = torch_tensorrt.dynamo.compile(
                exported,
                list(self._inputs),
                use_explicit_typing=True,
                disable_tf32=not torch.backends.cuda.matmul.allow_tf32,
                min_block_size=1,
                timing_cache_path=str(self._timings),
            )
        except RuntimeError as error:
            raise_if_lost()
            raise LatheError(f"Torch-TensorRT refuses the network: {error}") from error
        parts = dict(compiled.named_children())
        # What it did not compile stays a module of PyTorch's, whatever its name says.
        engines = [
            name
            for name, part in parts.items()
            if name.startswith(_ENGINE) and not isinstance(part, torch.fx.GraphModule)
        ]
        if not engines:
            names = ", ".join(sorted({operator.name for operator in self.graph.operators}))
            detail = "it converts none of them to TensorRT, and PyTorch's own time would be kept as its"
            raise UnsupportedOperatorError(names, "Torch-TensorRT", detail)
        left = [name for name in parts if name not in engines]
        self.facts = {"compile_s": time.perf_counter() - started_s, "run_by_pytorch": left}
        forward: Callable[..., Any] = compiled
        return forward


class TorchTensorRt(Eager):
    """`torch_tensorrt` with the types of the network, in engines as large as it can make them."""

    name = "torch-tensorrt"
    device_kinds = ("cuda",)
    precisions = ("fp32", "tf32", "fp16")
    remarks: ClassVar[Mapping[str, str]] = {
        "cuda": "written against its documentation, not yet run on hardware"
    }

    @classmethod
    def availability(cls, device_kind: str) -> Availability:
        """Usable where the package finds its libraries, and PyTorch a device."""
        if importlib.util.find_spec("torch_tensorrt") is None:
            return Availability(
                False,
                "the package torch-tensorrt is not installed",
                "Install the release that belongs to this PyTorch: `pip install torch-tensorrt`.",
            )
        try:
            importlib.import_module("torch_tensorrt")
        except Exception as error:  # noqa: BLE001 - broken native libraries raise whatever they like
            return Availability(
                False,
                f"torch_tensorrt cannot be imported: {error}",
                "Install the release that belongs to this PyTorch. TensorRT's native libraries come from the "
                "vendor; see that libnvinfer is where the loader looks.",
            )
        return super().availability(device_kind)

    @classmethod
    def versions(cls) -> tuple[tuple[str, str], ...]:
        """The versions of all three."""
        trt = installed_version("tensorrt", "tensorrt-cu13", "tensorrt-cu12")
        own = installed_version("torch-tensorrt")
        return (("tensorrt", trt), ("torch", torch_version()), ("torch-tensorrt", own))

    @classmethod
    def choices(cls, device_kind: str) -> Mapping[str, tuple[str, ...]]:  # noqa: ARG003 - there is only CUDA
        """How launches are timed, and whether the cache is warm."""
        return {name: CHOICES[name] for name in ("launch", "cache")}

    def _prepare(self) -> None:
        super()._prepare()
        leave_default_stream()

    def _made_ready(self, order: Order) -> TorchTensorRtLoaded:
        return TorchTensorRtLoaded(order, self.setting)
