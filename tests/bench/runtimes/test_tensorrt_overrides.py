"""The contract with TensorRT's bindings covers what the adapter's own classes override; bindings are made up."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import tensorrt_contract as contract

import bench.runtimes


class ILogger:
    """A base class, documented as pybind11 does it."""

    def log(self) -> None:
        """log(self: t.ILogger, severity: t.ILogger.Severity, msg: str) -> None"""


class IProfiler:
    """Another one."""

    def report_layer_time(self) -> None:
        """report_layer_time(self: t.IProfiler, layer_name: str, ms: float) -> None"""


class Renamed:
    """A profiler of bindings in which the method has another name."""


class Reordered:
    """A profiler of bindings in which what is reported comes in another order."""

    def report_layer_time(self) -> None:
        """report_layer_time(self: t.IProfiler, ms: float, layer_name: str) -> None"""


@pytest.mark.parametrize(
    ("profiler", "says"),
    [
        (IProfiler, None),
        (Renamed, "IProfiler.report_layer_time"),
        (Reordered, "IProfiler.report_layer_time: the adapter's arguments ('layer_name', 'ms') are none of "),
    ],
)
def test_an_override_that_the_bindings_would_not_call_so_is_missing(
    monkeypatch: pytest.MonkeyPatch, profiler: type, says: str | None
) -> None:
    bindings = ModuleType("tensorrt_bindings")
    vars(bindings).update(__version__="11.0", ILogger=ILogger, IProfiler=profiler)
    monkeypatch.setitem(sys.modules, "tensorrt_bindings", bindings)
    found = contract.main(Path(bench.runtimes.__file__).parent / "tensorrt.py")
    told = [path for path in found["missing"] if path.startswith(contract.OVERRIDDEN)]
    assert bool(told) == (says is not None)
    assert says is None or any(path.startswith(says) for path in told)
    assert "ILogger.log" in found["checked"]


def test_a_method_that_the_adapter_does_not_override_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bindings = ModuleType("tensorrt_bindings")
    vars(bindings).update(__version__="11.0", ILogger=ILogger, IProfiler=IProfiler)
    monkeypatch.setitem(sys.modules, "tensorrt_bindings", bindings)
    source = tmp_path / "adapter.py"
    source.write_text("class Log(trt.ILogger):\n    def log(self, severity, msg): ...\n")
    assert [path.partition(":")[0] for path in contract.main(source)["missing"]] == [
        "ErrorCode.UNSUPPORTED_NODE",
        "IProfiler.report_layer_time",
    ]
