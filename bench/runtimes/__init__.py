"""The runtimes that can be measured: one file each, one interface (`bench.runtimes.base`)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from latency_tables.errors import UserError, unknown

if TYPE_CHECKING:
    from bench.runtimes.base import Runtime
    from latency_tables.setting import Setting

#: Where each runtime's class is; it is imported only when asked for.
RUNTIMES: dict[str, str] = {
    "eager": "bench.runtimes.eager:Eager",
    "compile": "bench.runtimes.compiled:Compile",
    "onnxruntime": "bench.runtimes.onnxruntime:OnnxRuntime",
    "openvino": "bench.runtimes.openvino:OpenVino",
    "tensorrt": "bench.runtimes.tensorrt:TensorRt",
    "torch-tensorrt": "bench.runtimes.torch_tensorrt:TorchTensorRt",
}

# glibc returns large blocks to the system at once and takes them back page by page; with large activations a
# run is then mostly page faults, which do not add up from part to part.
_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
}

#: Options whose names begin so are environment variables of the process that measures.
ENVIRONMENT_PREFIX = "env."


def get_runtime(name: str) -> type[Runtime]:
    """The class of a runtime.

    Raises:
        UserError: there is none of that name.
    """
    if name not in RUNTIMES:
        raise unknown("runtime", name, RUNTIMES)
    module, _, attribute = RUNTIMES[name].partition(":")
    found: type[Runtime] = getattr(importlib.import_module(module), attribute)
    return found


def make_setting(
    runtime: str,
    *,
    device_kind: str = "cpu",
    threads: int = 1,
    batch: int = 1,
    precision: str = "fp32",
    asked: Mapping[str, str] | None = None,
    root: Path = Path("/"),
) -> Setting:
    """Everything a latency measured here with that runtime will be valid for.

    Args:
        runtime: one of `RUNTIMES`.
        device_kind: "cpu" or "cuda".
        threads: threads inside an operator, at least 1, at most the cores that may be used.
        batch: images in one forward pass, at least 1.
        precision: as in "fp32".
        asked: options other than the runtime's own choices, by name, as in {"launch": "graph"}.
        root: where /proc and /sys are.

    Returns:
        The setting.

    Raises:
        UserError: an unknown name, a number out of range, or the runtime is not usable on that device.
    """
    from bench.host import cpu_device
    from bench.runtimes import pinning
    from latency_tables.setting import Setting

    found = get_runtime(runtime)
    if device_kind not in found.device_kinds:
        raise unknown(f"kind of device for {runtime}", device_kind, found.device_kinds)
    availability = found.availability(device_kind)
    if not availability.usable:
        raise UserError(
            f"{runtime} ({device_kind}) is not usable: {availability.reason}. {availability.remedy}"
        )
    if precision not in found.precisions:
        raise unknown(f"precision for {runtime} ({device_kind})", precision, found.able(device_kind))
    found.require_precision(precision, device_kind)
    cpu = cpu_device(root)
    if not 1 <= threads <= cpu.cores:
        raise UserError(
            f"threads must be from 1 to {cpu.cores}, the cores that may be used here; got {threads}."
        )
    if batch < 1:
        raise UserError(f"batch must be at least 1, got {batch}.")
    device, versions = cpu, found.versions()
    if device_kind == "cuda":
        from bench.runtimes.cuda import cuda_device, cudnn_version

        # Its kernels are what most runtimes call there, and it is renewed on its own.
        device, versions = cuda_device(root), tuple(sorted((*versions, ("cudnn", cudnn_version()))))
    chosen = _chosen(found, device_kind, asked or {})
    layout = chosen.pop("layout", "nchw")
    pinned = pinning.wanted(device_kind, threads)
    environment = {**_ENVIRONMENT, **(pinning.ENVIRONMENT if pinned and found.openmp else {})}
    options = {
        "batch_norm": "folded",
        "cache": "warm",
        **{ENVIRONMENT_PREFIX + name: value for name, value in environment.items()},
        **({pinning.OPTION: pinning.PINNED} if pinned else {}),
        **found.options(device_kind, threads, precision),
        **chosen,
    }
    return Setting(
        device=device,
        runtime=runtime,
        versions=tuple(sorted((*versions, *found.versions_with(chosen)))),
        precision=precision,
        batch=batch,
        threads=threads,
        layout=layout,
        options=tuple(sorted(options.items())),
    )


def _chosen(runtime: type[Runtime], device_kind: str, asked: Mapping[str, str]) -> dict[str, str]:
    """A runtime's own choices, but where others are asked for."""
    choices = runtime.choices(device_kind)
    for name, value in asked.items():
        if name not in choices:
            raise unknown(f"option of {runtime.name} ({device_kind})", name, choices)
        if value not in choices[name]:
            raise unknown(f"value of {runtime.name}'s option {name}", value, choices[name])
    return {name: asked.get(name, values[0]) for name, values in choices.items()}
