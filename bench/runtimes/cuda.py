"""What a CUDA device is, and the clock that waits for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch

from bench.timing import WallClock
from latency_tables.setting import Device


class CudaClock(WallClock):
    """Times with the device's own events, which stand in the same queue as the work.

    Args:
        event: makes an event that can be recorded and compared with a later one, in milliseconds.
        synchronize: waits until the device has nothing left to do.
    """

    def __init__(
        self,
        event: Callable[[], torch.cuda.Event] | None = None,
        synchronize: Callable[[], None] | None = None,
    ) -> None:
        self._event = event or _event
        self._synchronize = synchronize or torch.cuda.synchronize

    def elapsed_s(self, run: Callable[[], object], repeats: int) -> float:
        """Seconds of device time from before the first run to after the last; waits for the end."""
        start, end = self._event(), self._event()
        self._synchronize()
        start.record()
        for _ in range(repeats):
            run()
        end.record()
        self._synchronize()
        milliseconds: float = start.elapsed_time(end)
        return milliseconds * 1e-3


def _event() -> torch.cuda.Event:
    event: torch.cuda.Event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    return event


def cuda_device(root: Path = Path("/")) -> Device:
    """The first CUDA device that PyTorch sees.

    Args:
        root: where /proc is.

    Returns:
        The device; its driver is "unknown" where the kernel module does not tell.
    """
    properties = torch.cuda.get_device_properties(0)
    try:
        text = (root / "proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", text)
    return Device(
        kind="cuda",
        name=properties.name,
        cores=properties.multi_processor_count,
        memory_bytes=round(properties.total_memory / 2**28) * 2**28,
        driver=found.group(1) if found else "unknown",
        features=(f"sm_{properties.major}{properties.minor}",),
    )
