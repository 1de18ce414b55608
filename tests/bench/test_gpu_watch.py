from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fake_nvml import FakeNvml

import bench.worker
import latency_tables
import pruning
import reports
from bench.gpu_watch import Blind, GpuLook, GpuSeen, GpuWatch, watch_gpu
from latency_tables.errors import LatheError
from latency_tables.setting import Device, Setting


def look(reasons: int = 0, processes: tuple[int, ...] = (7,), clock_hz: float = 1.9e9) -> GpuLook:
    return GpuLook(clock_hz, 2.6e9, 41.0, 300.0, reasons, processes)


@pytest.mark.parametrize(
    ("reasons", "throttle"),
    [
        (0x00, None),
        (0x01, None),  # idle
        (0x02, None),  # clocks that a person has set
        (0x04, "throttled: power cap"),
        (0x20 | 0x08, "throttled: hardware slowdown, heat, by software"),
        (0x40, "throttled: heat, by hardware"),
        (0x80, "throttled: power brake"),
    ],
)
def test_only_what_slows_it_down_is_throttling(reasons: int, throttle: str | None) -> None:
    assert look(reasons).throttle == throttle


def test_it_looks_after_each_sample_and_tells_what_it_saw() -> None:
    looks = iter([look(), look(0x40, (7, 9), 1.2e9), look(0, (7, 9, 11), 1.5e9), look()])
    watch = GpuWatch(lambda: next(looks), own=7, parent=1)
    watch.start()
    assert [watch.cause() for _ in range(3)] == [None, "throttled: heat, by hardware", None]
    seen = watch.stop()
    assert seen.company == "2 other processes on the GPU"
    told = seen.to_json()
    assert told["sm_clock_hz"] == [1.2e9, 1.5e9, 1.9e9]
    assert told["throttled"] == {"throttled: heat, by hardware": 1}
    assert (told["looks"], told["other_processes"]) == (3, 2)
    watch.start()
    watch.cause()
    assert watch.stop().company is None


@pytest.mark.parametrize(
    ("processes", "others", "company"),
    [
        ((7,), 0, None),
        ((7, 8), 1, "1 other process on the GPU"),
        ((), None, None),
        ((5001,), None, None),
        ((5001, 5002), None, None),
    ],
)
def test_others_are_unknown_where_our_own_process_is_not_listed(
    processes: tuple[int, ...], others: int | None, company: str | None
) -> None:
    watch = GpuWatch(lambda: look(0, processes), own=7, parent=1)
    watch.start()
    watch.cause()
    seen = watch.stop()
    assert seen.company == company
    assert seen.to_json()["other_processes"] == others


def test_the_process_that_waits_for_ours_is_no_other() -> None:
    watch = GpuWatch(lambda: look(0, (7, 8, 9)), own=7, parent=8)
    watch.start()
    watch.cause()
    assert watch.stop().others == 1
    assert (GpuWatch(look).own, GpuWatch(look).parent) == (os.getpid(), os.getppid())


def test_where_nothing_can_be_seen_the_measurement_says_why() -> None:
    watch = Blind("no NVML")
    watch.start()
    assert watch.cause() is None  # type: ignore[func-returns-value]
    assert watch.stop() == GpuSeen(unseen="no NVML")
    assert watch.stop().to_json() == {"unseen": "no NVML"}
    assert watch.stop().company is None


def test_nvml_is_asked_in_its_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml("pynvml"))
    watch = watch_gpu("abc")
    watch.start()
    assert watch.cause() == "throttled: power cap"
    (found,) = watch.stop().looks
    assert found == GpuLook(1.98e9, 2.619e9, 37.0, None, 4, (2, 3))
    assert watch.stop().to_json()["power_w"] is None
    assert watch_gpu("other") == Blind("NVML refuses: not found")


def test_the_worker_watches_the_gpu_that_pytorch_sees(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml("pynvml"))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid="abc"))
    on_cpu, on_gpu = (
        Setting(Device(kind, "made up", 2, 2**30), "eager", (), "fp32", 1, 1) for kind in ("cpu", "cuda")
    )
    assert bench.worker._gpu_watch(on_cpu) is None
    handed: list[object] = []

    def made(
        setting: Setting,
        repeats: int,
        watch: object,
        sense: object,
        gpu: object,
        core: object,
        *,
        until_s: float,
    ) -> None:
        assert core is None
        handed.append(gpu)
        raise LatheError("seen.")

    first = json.dumps({"setting": on_gpu.to_json(), "repeats": 0, "until_s": None}).encode()
    with monkeypatch.context() as patch:  # pytest's own capture needs what is patched
        patch.setattr(os, "dup2", lambda *_: None)
        patch.setattr(bench.worker, "_read", lambda source, requests: requests.put(first))
        patch.setattr(bench.worker, "Worker", made)
        bench.worker.main()
    assert json.loads(capfd.readouterr().out) == {"reason": "refused", "message": "seen."}
    (watch,) = handed
    assert isinstance(watch, GpuWatch)
    assert watch.cause() == "throttled: power cap"


def test_without_nvml_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    # Not lathe's extra for GPUs, which would put another ONNX Runtime beside the one that is there.
    assert watch_gpu("abc").stop().unseen.endswith("`pip install nvidia-ml-py` brings it")


def test_no_setting_of_the_card_is_ever_changed() -> None:
    packages = [Path(package.__file__).parent for package in (bench, latency_tables, pruning, reports)]
    text = "\n".join(path.read_text() for folder in packages for path in folder.rglob("*.py"))
    assert "nvmlDeviceGet" in text
    assert re.findall(r"nvml\w*(?:Set|Reset|Clear|Freeze)\w*", text) == []


def refuse(self: FakeNvml, handle: str, *words: int) -> None:
    raise self.NVMLError_NotSupported("not supported")


CLOCKS = {"sm_clock_hz": None, "memory_clock_hz": None}


@pytest.mark.parametrize(
    ("function", "changes"),
    [
        ("nvmlDeviceGetGraphicsRunningProcesses", {"processes": (3,)}),
        ("nvmlDeviceGetComputeRunningProcesses", {"processes": (2, 3)}),
        ("nvmlDeviceGetClockInfo", CLOCKS),
        ("nvmlDeviceGetTemperature", {"temperature_c": None}),
        ("nvmlDeviceGetCurrentClocksEventReasons", {"reasons": None}),
    ],
)
@pytest.mark.parametrize("missing", [False, True])
def test_what_a_device_does_not_tell_hides_nothing_else(
    monkeypatch: pytest.MonkeyPatch, function: str, changes: dict[str, Any], missing: bool
) -> None:
    if missing:
        monkeypatch.delattr(FakeNvml, function)
    else:
        monkeypatch.setattr(FakeNvml, function, refuse)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml("pynvml"))
    watch = watch_gpu("abc")
    watch.start()
    watch.cause()
    seen = watch.stop()
    assert seen.looks == (replace(GpuLook(1.98e9, 2.619e9, 37.0, None, 4, (2, 3)), **changes),)
    told = seen.to_json()
    assert {name for name, value in told.items() if value is None} - {"other_processes", "power_w"} == {
        {"reasons": "throttled"}.get(name, name) for name, value in changes.items() if value is None
    }


def test_the_temperature_is_asked_for_by_the_function_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeNvml, "nvmlDeviceGetTemperatureV", lambda self, handle, sensor: 44, raising=False)
    monkeypatch.setattr(FakeNvml, "nvmlDeviceGetTemperature", refuse)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml("pynvml"))
    watch = watch_gpu("abc")
    watch.start()
    watch.cause()
    assert watch.stop().looks[0].temperature_c == 44.0
