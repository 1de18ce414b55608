"""What can be measured here, and whether now is a good moment: the data behind ``lathe devices``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.gpu_watch import Blind, watch_gpu
from bench.host import HostState, cpu_device, look
from bench.runtimes import RUNTIMES, get_runtime
from latency_tables.setting import Device


@dataclass(frozen=True, slots=True)
class RuntimeRecord:
    """One runtime on one kind of device.

    Attributes:
        name: both, as in "eager (cpu)".
        runtime: the runtime alone.
        device_kind: the kind of device alone.
        usable: it can measure here.
        reason: why not; "" when usable.
        remedy: what to do about it; "" when usable.
        versions: (library, version) pairs.
        precisions: in which it can compute here; none when it is not usable.
        remark: what to know before trusting it; "" where there is nothing.
    """

    name: str
    runtime: str
    device_kind: str
    usable: bool
    reason: str
    remedy: str
    versions: tuple[tuple[str, str], ...]
    precisions: tuple[str, ...]
    remark: str


@dataclass(frozen=True, slots=True)
class GpuRecord:
    """The CUDA device that lathe measures on.

    Attributes:
        device: what it is.
        unseen: why clocks, heat and throttling go unseen while something is timed; "" where NVML tells them.
    """

    device: Device
    unseen: str


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything ``lathe devices`` shows.

    Attributes:
        device: the CPU and its memory.
        gpu: the CUDA device; None: PyTorch sees none.
        host: what the machine is doing.
        runtimes: all that lathe knows, usable or not.
    """

    device: Device
    gpu: GpuRecord | None
    host: HostState
    runtimes: tuple[RuntimeRecord, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "device": asdict(self.device),
            "gpu": None if self.gpu is None else asdict(self.gpu),
            "host": self.host.to_json(),
            "runtimes": [{**asdict(record), "versions": dict(record.versions)} for record in self.runtimes],
        }


def survey(root: Path = Path("/"), *, window_s: float = 1.0) -> Survey:
    """Looks at the machine and at every runtime.

    Args:
        root: where /proc and /sys are.
        window_s: how long others' work is watched, seconds.

    Returns:
        What was found.

    Raises:
        LatheError: the machine does not tell what it is.
    """
    return Survey(cpu_device(root), gpu_record(root), look(root, window_s=window_s), runtime_records())


def gpu_record(root: Path = Path("/")) -> GpuRecord | None:
    """The CUDA device that PyTorch sees first, and whether it can be watched; None where there is none.

    Args:
        root: where /proc is.
    """
    import torch

    if not torch.cuda.is_available():
        return None
    from bench.runtimes.cuda import cuda_device, device_uuid

    watch = watch_gpu(device_uuid())
    return GpuRecord(cuda_device(root), watch.reason if isinstance(watch, Blind) else "")


def runtime_records() -> tuple[RuntimeRecord, ...]:
    """Every runtime on every kind of device it knows, usable or not."""
    records = []
    for name in RUNTIMES:
        runtime = get_runtime(name)
        for device_kind in runtime.device_kinds:
            found = runtime.availability(device_kind)
            records.append(
                RuntimeRecord(
                    name=f"{name} ({device_kind})",
                    runtime=name,
                    device_kind=device_kind,
                    usable=found.usable,
                    reason=found.reason,
                    remedy=found.remedy,
                    versions=runtime.versions(),
                    precisions=runtime.able(device_kind) if found.usable else (),
                    remark=runtime.remarks.get(device_kind, ""),
                )
            )
    return tuple(records)
