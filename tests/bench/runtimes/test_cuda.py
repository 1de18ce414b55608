from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.runtimes.cuda import CudaClock, cuda_device, launch_cost
from bench.timing import Rule, measure
from latency_tables.errors import LatheError
from latency_tables.setting import Device


class FakeDevice:
    """A queue that a device works off on its own, while the processor takes its time to issue work.

    Args:
        run_ms: work of a run on the device.
        issue_ms: what the processor takes to issue a run.
        room: runs that may wait in the queue; to issue one more, the processor waits for the device.
    """

    def __init__(self, run_ms: float, issue_ms: float = 0.0, room: int = 1 << 30) -> None:
        self.run_ms, self.issue_ms, self.room = run_ms, issue_ms, room
        self.host_ms = 0.0  # the processor's time
        self.free_ms = 0.0  # when the device will have done all that is queued
        self.ends: list[float] = []
        self.waits = 0
        self.runs = 0
        self.pauses: list[float] = []

    def _queue(self, work_ms: float) -> None:
        self.free_ms = max(self.free_ms, self.host_ms) + work_ms
        self.ends.append(self.free_ms)
        waiting = [end for end in self.ends if end > self.host_ms]
        if len(waiting) > self.room:
            self.host_ms = waiting[-self.room - 1]

    def run(self) -> None:
        self.runs += 1
        self.host_ms += self.issue_ms
        self._queue(self.run_ms)

    def synchronize(self) -> None:
        self.waits += 1
        self.host_ms = max(self.host_ms, self.free_ms)

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._queue(1e3 * seconds)

    def event(self) -> FakeEvent:
        return FakeEvent(self)


class FakeEvent:
    def __init__(self, device: FakeDevice) -> None:
        self.device = device
        self.at_ms = math.nan

    def record(self) -> None:
        self.at_ms = max(self.device.free_ms, self.device.host_ms)

    def query(self) -> bool:
        return self.device.host_ms >= self.at_ms

    def elapsed_time(self, end: FakeEvent) -> float:
        assert self.device.host_ms >= end.at_ms, "read before the device was done"
        return end.at_ms - self.at_ms


def clock_of(device: FakeDevice, **arguments: Any) -> CudaClock:
    return CudaClock(queue=device, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("queued", [True, False])
def test_device_time_is_counted_not_the_time_to_issue(queued: bool) -> None:
    device = FakeDevice(run_ms=4.0)
    assert clock_of(device, queued=queued).elapsed_s(device.run, 3) == pytest.approx(0.012)
    assert bool(device.pauses) is queued


@pytest.mark.parametrize("queued", [True, False])
def test_earlier_work_does_not_count(queued: bool) -> None:
    device = FakeDevice(run_ms=4.0)
    device.free_ms = 100.0
    assert clock_of(device, queued=queued).elapsed_s(device.run, 1) == pytest.approx(0.004)


def test_gaps_between_launches_count_only_when_issued_as_they_come() -> None:
    device = FakeDevice(run_ms=0.01, issue_ms=0.2)
    assert clock_of(device, queued=False).elapsed_s(device.run, 10) == pytest.approx(0.00201)
    assert clock_of(device).elapsed_s(device.run, 10) == pytest.approx(0.0001)


def test_the_pause_grows_until_everything_is_queued_behind_it() -> None:
    device = FakeDevice(run_ms=0.01, issue_ms=3.0)
    clock = clock_of(device)
    assert clock.elapsed_s(device.run, 4) == pytest.approx(0.00004)
    assert max(device.pauses) > 0.012
    pauses = len(device.pauses)
    clock.elapsed_s(device.run, 4)
    assert len(device.pauses) == pauses + 1, "a pause that was long enough stays"


def test_what_does_not_fit_into_the_queue_is_timed_in_portions() -> None:
    device = FakeDevice(run_ms=0.5, issue_ms=0.01, room=20)
    clock = clock_of(device)
    assert clock.elapsed_s(device.run, 64) == pytest.approx(0.032)
    pauses = len(device.pauses)
    assert clock.elapsed_s(device.run, 64) == pytest.approx(0.032)
    assert max(device.pauses[pauses:]) < 0.05, "portions that fit wait no longer than they need"


def test_a_run_that_never_fits_is_refused_with_a_way_out() -> None:
    device = FakeDevice(run_ms=0.5, room=3)

    def large() -> None:
        for _ in range(10):
            device.run()

    with pytest.raises(LatheError, match="launch=graph"):
        clock_of(device).elapsed_s(large, 2)


def test_a_cold_cache_is_made_before_each_run_and_not_counted() -> None:
    device = FakeDevice(run_ms=1.0)
    flushed: list[int] = []

    def flush() -> None:
        flushed.append(device.runs)
        device._queue(50.0)

    assert clock_of(device, flush=flush).elapsed_s(device.run, 3) == pytest.approx(0.003)
    assert flushed == [0, 1, 2]


def test_emptying_the_cache_hides_no_gap_between_launches() -> None:
    device = FakeDevice(run_ms=0.01, issue_ms=0.2)
    clock = clock_of(device, queued=False, flush=lambda: device._queue(50.0))
    assert clock.elapsed_s(device.run, 3) == pytest.approx(3 * 0.00021)


def test_the_cost_of_launching_is_what_issuing_adds() -> None:
    bound, busy = FakeDevice(run_ms=0.2, issue_ms=1.0), FakeDevice(run_ms=5.0, issue_ms=1.0)
    found = launch_cost(bound.run, bound)  # type: ignore[arg-type]
    assert found == {"queued_s": pytest.approx(0.0002), "issued_s": pytest.approx(0.0012)}
    found = launch_cost(busy.run, busy)  # type: ignore[arg-type]
    assert found["issued_s"] < 1.3 * found["queued_s"]


@pytest.mark.parametrize(("run_ms", "runs"), [(100.0, 2 * 3), (0.2, 2 * 15)])
def test_the_cost_of_launching_takes_few_passes_where_they_are_long(run_ms: float, runs: int) -> None:
    device = FakeDevice(run_ms)
    assert launch_cost(device.run, device)["queued_s"] == pytest.approx(run_ms * 1e-3)  # type: ignore[arg-type]
    assert device.runs == runs


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
