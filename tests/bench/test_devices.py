from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import bench.devices
from bench.devices import Survey, gpu_record, runtime_records, survey
from bench.gpu_watch import GpuWatch
from bench.host import cpu_device, look
from bench.runtimes import RUNTIMES, get_runtime
from bench.terminal import Terminal
from bench.views import show_devices


def test_the_survey_is_plain_data() -> None:
    data = json.loads(json.dumps(survey(window_s=0.0).to_json(), allow_nan=False))
    assert set(data) == {"device", "gpu", "host", "runtimes"}
    assert data["device"]["kind"] == "cpu"
    assert isinstance(data["host"]["findings"], list)
    usable = {record["name"]: record["usable"] for record in data["runtimes"]}
    assert usable["eager (cpu)"] is True
    assert {"eager (cuda)", "onnxruntime (cpu)", "onnxruntime (cuda)"} < set(usable)
    for record in data["runtimes"]:
        assert {"name", "usable", "reason", "remedy", "versions"} <= set(record)


def test_every_registered_runtime_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "another", RUNTIMES["eager"])
    names = [record.name for record in runtime_records()]
    assert [name for name in names if name.startswith("another")] == ["another (cpu)", "another (cuda)"]
    assert bench.devices.RUNTIMES is RUNTIMES


def test_what_has_not_run_on_hardware_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "600")
    show_devices(Terminal(), survey(window_s=0.0))
    lines = capsys.readouterr().out.splitlines()
    told = {name: line for name in RUNTIMES for line in lines if line.startswith(f"{name} (cuda)")}
    assert (
        "(written against the real bindings of 10.15 and 11.0, not yet run on hardware)" in told["tensorrt"]
    )
    assert set(told) == {name for name in RUNTIMES if "cuda" in get_runtime(name).device_kinds}
    assert all("not yet run on hardware" in line for line in told.values())
    assert not any("not yet run" in line for line in lines if "(cpu)" in line)


@pytest.mark.parametrize("watched", [True, False])
def test_a_gpu_is_named_and_whether_it_can_be_watched(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, watched: bool
) -> None:
    properties = SimpleNamespace(
        name="NVIDIA H100", multi_processor_count=132, total_memory=79 * 2**30, major=9, minor=0, uuid="abc"
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    if watched:
        monkeypatch.setattr(bench.devices, "watch_gpu", lambda uuid: GpuWatch(lambda: None))  # type: ignore[arg-type, return-value]
    version = tmp_path / "proc/driver/nvidia/version"
    version.parent.mkdir(parents=True)
    version.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Release Build")
    found = Survey(cpu_device(), gpu_record(tmp_path), look(window_s=0.0), ())
    show_devices(Terminal(), found)
    printed = capsys.readouterr().out
    assert "NVIDIA H100: 79 GiB, driver 580.65.06, sm_90" in printed
    assert ("go unseen while something is timed" in printed) != watched
    assert ("pip install nvidia-ml-py" in printed) != watched
    told = json.loads(json.dumps(found.to_json()))["gpu"]
    assert (told["device"]["name"], told["unseen"] == "") == ("NVIDIA H100", watched)
