"""What can be measured here, and whether now is a good moment: the data behind ``lathe devices``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
class Survey:
    """Everything ``lathe devices`` shows.

    Attributes:
        device: the CPU and its memory.
        host: what the machine is doing.
        runtimes: all that lathe knows, usable or not.
    """

    device: Device
    host: HostState
    runtimes: tuple[RuntimeRecord, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "device": asdict(self.device),
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
    return Survey(cpu_device(root), look(root, window_s=window_s), runtime_records())


def runtime_records() -> tuple[RuntimeRecord, ...]:
    """Every runtime on every kind of device it knows, usable or not."""
    records = []
    for name in RUNTIMES:
        runtime = get_runtime(name)
        for device_kind in runtime.device_kinds:
            found = runtime.availability(device_kind)
            able = [p for p in runtime.precisions if found.usable and not runtime.lacks(p, device_kind)]
            records.append(
                RuntimeRecord(
                    name=f"{name} ({device_kind})",
                    runtime=name,
                    device_kind=device_kind,
                    usable=found.usable,
                    reason=found.reason,
                    remedy=found.remedy,
                    versions=runtime.versions(),
                    precisions=tuple(able),
                    remark=runtime.remark,
                )
            )
    return tuple(records)
