from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bench.runtimes.cuda import CudaClock, cuda_device
from bench.timing import Rule, measure
from latency_tables.setting import Device


class FakeDevice:
    """A queue that a device works off on its own: issuing is free, working takes milliseconds."""

    def __init__(self, run_ms: float) -> None:
        self.run_ms = run_ms
        self.device_ms = 0.0
        self.waits = 0
        self.queued = 0.0

    def run(self) -> None:
        self.queued += self.run_ms

    def synchronize(self) -> None:
        self.waits += 1
        self.device_ms += self.queued
        self.queued = 0.0

    def event(self) -> FakeEvent:
        return FakeEvent(self)


class FakeEvent:
    def __init__(self, device: FakeDevice) -> None:
        self.device = device
        self.at_ms: float | None = None

    def record(self) -> None:
        self.at_ms = self.device.device_ms + self.device.queued

    def elapsed_time(self, end: FakeEvent) -> float:
        assert self.device.queued == 0, "read before the device was done"
        assert self.at_ms is not None
        assert end.at_ms is not None
        return end.at_ms - self.at_ms


def clock_of(device: FakeDevice) -> CudaClock:
    return CudaClock(device.event, device.synchronize)  # type: ignore[arg-type]


def test_device_time_is_counted_not_the_time_to_issue() -> None:
    device = FakeDevice(run_ms=4.0)
    assert clock_of(device).elapsed_s(device.run, 3) == pytest.approx(0.012)
    assert device.waits == 2


def test_earlier_work_does_not_count() -> None:
    device = FakeDevice(run_ms=4.0)
    device.queued = 100.0
    assert clock_of(device).elapsed_s(device.run, 1) == pytest.approx(0.004)


def test_measuring_goes_by_device_time() -> None:
    device = FakeDevice(run_ms=2.0)
    assert measure(device.run, clock_of(device), Rule()).latency_s.value == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar 5 2024\nGCC version: 12.3",
            "550.54.15",
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n", "580.65.06"),
        (None, "unknown"),
    ],
)
def test_the_device_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None, driver: str
) -> None:
    properties = SimpleNamespace(
        name="NVIDIA H100", multi_processor_count=132, total_memory=int(79.3 * 2**30), major=9, minor=0
    )
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    if text is not None:
        path = tmp_path / "proc/driver/nvidia/version"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert cuda_device(tmp_path) == Device("cuda", "NVIDIA H100", 132, 317 * 2**28, driver, ("sm_90",))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_real_events() -> None:
    matrix = torch.randn(2048, 2048, device="cuda")
    assert 0 < CudaClock().elapsed_s(lambda: matrix @ matrix, 3) < 1
