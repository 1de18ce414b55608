"""What an NVIDIA device does while something is timed on it: clocks, heat, throttling, other processes.

It is only looked at; no setting of the card is ever changed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Protocol

from latency_tables.measurement import THROTTLED

# Bits of NVML's clock event reasons (nvml.h, nvmlClocksEventReason...) that mean: slower than asked for. An idle
# device and clocks that a person has set are none of them.
_THROTTLES = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "heat, by software",
    0x40: "heat, by hardware",
    0x80: "power brake",
}


@dataclass(frozen=True, slots=True)
class GpuLook:
    """One look at the device; what it, its driver or NVML's package does not tell is None.

    Attributes:
        sm_clock_hz: of the streaming multiprocessors.
        memory_clock_hz: of its memory.
        temperature_c: of the chip, degrees Celsius.
        power_w: drawn.
        reasons: NVML's bits for why clocks are not higher.
        processes: that compute or draw on it, ours included where the driver's numbers are known here.
    """

    sm_clock_hz: float | None
    memory_clock_hz: float | None
    temperature_c: float | None
    power_w: float | None
    reasons: int | None
    processes: tuple[int, ...]

    @property
    def throttle(self) -> str | None:
        """Why it is throttled, in words; None: it is not, or does not tell."""
        found = [words for bit, words in _THROTTLES.items() if (self.reasons or 0) & bit]
        return THROTTLED + ", ".join(found) if found else None


class Watch(Protocol):
    """Looks at the device from `start` to `stop`."""

    def start(self) -> None:
        """A measurement begins."""

    def cause(self) -> str | None:
        """Looks after a sample: why it is not to be trusted, or None."""

    def stop(self) -> GpuSeen:
        """What was seen since the start."""


@dataclass(frozen=True, slots=True)
class GpuSeen:
    """What was seen during a measurement.

    Attributes:
        looks: one after each sample.
        others: other processes on the device, the most seen at once; None: it cannot be told.
        unseen: why nothing could be looked at; "" where it could.
    """

    looks: tuple[GpuLook, ...] = ()
    others: int | None = None
    unseen: str = ""

    @property
    def company(self) -> str | None:
        """That others are on the device, in words; None: nobody, or it cannot be told."""
        if not self.others:
            return None
        return f"{self.others} other process{'es' if self.others > 1 else ''} on the GPU"

    def to_json(self) -> dict[str, Any]:
        """Plain values: of the clocks and powers the lowest, the median and the highest; None: not told."""
        if self.unseen or not self.looks:
            return {"unseen": self.unseen or "no sample was taken"}
        reasons = any(look.reasons is not None for look in self.looks)
        return {
            "sm_clock_hz": _range([look.sm_clock_hz for look in self.looks]),
            "memory_clock_hz": _range([look.memory_clock_hz for look in self.looks]),
            "temperature_c": _range([look.temperature_c for look in self.looks]),
            "power_w": _range([look.power_w for look in self.looks]),
            "throttled": dict(Counter(look.throttle for look in self.looks if look.throttle))
            if reasons
            else None,
            "looks": len(self.looks),
            "other_processes": self.others,
        }


@dataclass(slots=True)
class GpuWatch:
    """Looks at a device after each sample.

    Args:
        look: takes a look.
        own: this process, as the device's driver counts it.
        parent: the one that waits for it; it asked the device what it is, and may still have a place on it.
    """

    look: Callable[[], GpuLook]
    own: int = field(default_factory=os.getpid)
    parent: int = field(default_factory=os.getppid)
    _looks: list[GpuLook] = field(default_factory=list, init=False)

    def start(self) -> None:
        """A measurement begins."""
        self._looks = []

    def cause(self) -> str | None:
        """Looks after a sample: why it is not to be trusted, or None."""
        self._looks.append(self.look())
        return self._looks[-1].throttle

    def stop(self) -> GpuSeen:
        """What was seen since the start."""
        # In a container the driver lists no processes, or by numbers that are unknown here. Ours is on the device,
        # so a list without it tells nothing of others.
        counts = [
            len(set(look.processes) - {self.own, self.parent})
            for look in self._looks
            if self.own in look.processes
        ]
        return GpuSeen(tuple(self._looks), max(counts, default=None))


@dataclass(frozen=True, slots=True)
class Blind:
    """Where the device cannot be looked at; every measurement says why."""

    reason: str

    def start(self) -> None:
        """A measurement begins."""

    def cause(self) -> None:
        """Nothing is known against any sample."""

    def stop(self) -> GpuSeen:
        """That nothing was seen."""
        return GpuSeen(unseen=self.reason)


def watch_gpu(uuid: str) -> Watch:
    """A watch on the device with that UUID, through NVML.

    Args:
        uuid: as PyTorch tells it, without "GPU-" before.
    """
    try:
        import pynvml
    except ImportError:
        return Blind("the package nvidia-ml-py is not installed; `pip install nvidia-ml-py` brings it")
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except pynvml.NVMLError as error:
        return Blind(f"NVML refuses: {error}")
    return GpuWatch(_looker(pynvml, handle))


def _looker(nvml: Any, handle: Any) -> Callable[[], GpuLook]:
    def told(function: str, *words: int) -> Any:
        """What a function of NVML's tells of the device; None where it refuses, or the package lacks it."""
        try:
            return getattr(nvml, function)(handle, *words)
        except (nvml.NVMLError, AttributeError):
            return None

    def scaled(unit: float, value: float | None) -> float | None:
        return None if value is None else unit * value

    def temperature_c() -> float | None:
        sensor = nvml.NVML_TEMPERATURE_GPU
        found = told("nvmlDeviceGetTemperatureV", sensor)
        # Older drivers know only this one, which CUDA 14 is to be without.
        return scaled(1.0, told("nvmlDeviceGetTemperature", sensor) if found is None else found)

    def processes() -> tuple[int, ...]:
        kinds = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses")
        return tuple(sorted({process.pid for kind in kinds for process in told(kind) or ()}))

    def look() -> GpuLook:
        return GpuLook(
            sm_clock_hz=scaled(1e6, told("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM)),
            memory_clock_hz=scaled(1e6, told("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM)),
            temperature_c=temperature_c(),
            power_w=scaled(1e-3, told("nvmlDeviceGetPowerUsage")),
            reasons=told("nvmlDeviceGetCurrentClocksEventReasons"),
            processes=processes(),
        )

    return look


def _range(values: list[float | None]) -> list[float] | None:
    known = [value for value in values if value is not None]
    return [min(known), median(known), max(known)] if known else None
