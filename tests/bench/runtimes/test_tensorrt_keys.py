"""What tables of runtimes on a GPU are found by; device and packages are stood in for."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from other_process import keys_elsewhere

import bench.runtimes.base as base
import bench.runtimes.cuda as cuda
from bench.runtimes import get_runtime, make_setting
from bench.runtimes.base import Availability
from latency_tables.setting import Device

GPU = Device("cuda", "NVIDIA H100", 132, 2**36, "580.65", ("sm_90",))
INSTALLED = {"tensorrt": "11.0.0.29", "torch-tensorrt": "2.11.0", "onnxruntime": "1.31.1"}
RUNTIMES = ("tensorrt", "torch-tensorrt", "eager", "compile", "onnxruntime")


def keys(installed: Mapping[str, str] = INSTALLED) -> dict[str, str]:
    """Of every precision, and of every option in fp32, by what is asked for."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "version", installed.__getitem__)
        patch.setattr(cuda, "cuda_device", lambda root: GPU)
        patch.setattr(cuda, "cudnn_version", lambda: "91002")
        for name in RUNTIMES:
            runtime = get_runtime(name)
            patch.setattr(runtime, "availability", classmethod(lambda cls, kind: Availability(True)))
            patch.setattr(runtime, "lacks", classmethod(lambda cls, precision, kind: ""))
            choices = runtime.choices("cuda").items()
            options = [{choice: value} for choice, values in choices for value in values[1:]]
            asked = [("fp32", option) for option in options]
            for precision, option in [*((each, {}) for each in runtime.precisions), *asked]:
                setting = make_setting(name, device_kind="cuda", precision=precision, asked=option)
                found[f"{name} {precision} {option}"] = setting.digest
    return found


def test_they_are_the_same_in_another_process_and_each_its_own() -> None:
    assert keys_elsewhere(__file__) == keys() == keys()
    assert len(set(keys().values())) == len(keys()) > 10


@pytest.mark.parametrize(
    ("package", "concerned"),
    [("tensorrt", {"tensorrt", "torch-tensorrt", "onnxruntime"}), ("torch-tensorrt", {"torch-tensorrt"})],
)
def test_another_version_has_tables_of_its_own(package: str, concerned: set[str]) -> None:
    before, after = keys(), keys({**INSTALLED, package: "99.0"})
    assert {asked.partition(" ")[0] for asked in before if after[asked] != before[asked]} == concerned
