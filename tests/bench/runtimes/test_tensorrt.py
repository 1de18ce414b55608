"""The adapter against a package that stands in for TensorRT and a device that stands in for the GPU."""

from __future__ import annotations

import contextlib
import itertools
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch

pytest.importorskip("onnxruntime")

from fake_tensorrt import BuilderFlag, Context, Engine, FakeTensorRt
from hand_graphs import conv_relu, linear_add, one_operator
from tensorrt_contract import Call, signatures

import bench.runtimes.cuda as cuda
import bench.runtimes.tensorrt as adapter
from bench.runtimes.base import UnsupportedOperatorError, random_arrays
from bench.runtimes.onnx_int8 import MIN_CALIBRATION
from bench.runtimes.tensorrt import TensorRt
from bench.runtimes.torch_graph import build_module, random_weights
from bench.timing import WallClock
from bench.worker import describe_failure, is_device_lost
from latency_tables.errors import LatheError, UserError
from latency_tables.graph import Value
from latency_tables.setting import Device, Setting

GPU = Device("cuda", "NVIDIA H100", 132, 2**36, "580.65", ("sm_90",))
CHOSEN = {"launch": "queued", "cache": "warm", "builds": "1"}


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeTensorRt]:
    package = FakeTensorRt()
    monkeypatch.setitem(sys.modules, "tensorrt", package)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(major=9))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(adapter, "DEVICE", "cpu")

    def stream(number: int) -> SimpleNamespace:
        return SimpleNamespace(cuda_stream=number, wait_stream=lambda other: None)

    @contextlib.contextmanager
    def aside(chosen: SimpleNamespace) -> Iterator[None]:
        streams.append(chosen)
        yield
        streams.pop()

    streams = [stream(0)]
    monkeypatch.setattr(torch.cuda, "Stream", lambda: stream(7))
    monkeypatch.setattr(torch.cuda, "set_stream", streams.append)
    monkeypatch.setattr(torch.cuda, "stream", aside)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: streams[-1])
    monkeypatch.setattr(adapter, "CudaClock", lambda **_: WallClock())
    monkeypatch.setattr(adapter, "cache_flush", lambda: flush)
    monkeypatch.setattr(cuda, "launch_cost", lambda run: run() or {"queued_s": 1.0, "issued_s": 2.0})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield package


def flush() -> None:
    """Stands for what empties the cache."""


def setting(precision: str = "fp32", **options: str) -> Setting:
    chosen = tuple(sorted({**CHOSEN, **options}.items()))
    return Setting(GPU, "tensorrt", (), precision, 1, 1, options=chosen)


@pytest.mark.parametrize(
    ("precision", "atol"), [("fp32", 1e-4), ("tf32", 1e-4), ("fp16", 2e-2), ("int8", 0.1)]
)
@pytest.mark.parametrize("make", [conv_relu, linear_add])
def test_computes_what_eager_computes_in_every_precision(
    package: FakeTensorRt, make: Any, precision: str, atol: float
) -> None:
    graph = make()
    weights, inputs = random_weights(graph, 3), random_arrays(graph.inputs, 4)
    wanted = [out.numpy() for out in build_module(graph, weights)(*map(torch.from_numpy, inputs))]
    images = [np.concatenate([array] * MIN_CALIBRATION) for array in inputs]
    with TensorRt(setting(precision)).load(graph, weights, calibration=images) as loaded:
        found = loaded.infer(inputs)
        assert [array.dtype for array in found] == [array.dtype for array in wanted]
        for got, expected in zip(found, wanted, strict=True):
            np.testing.assert_allclose(got, expected, atol=atol, rtol=atol)
        loaded.run()


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "int8"])
def test_types_stand_in_the_file_and_no_precision_is_asked_of_the_builder(
    package: FakeTensorRt, tmp_path: Path, precision: str
) -> None:
    path = tmp_path / "a.onnx"
    TensorRt(setting(precision)).load(conv_relu(), artefact=path)
    (config,) = package.configs
    assert (BuilderFlag.TF32 in config.flags) == (precision == "tf32")
    file = onnx.load(path)
    half = onnx.TensorProto.FLOAT16 if precision == "fp16" else onnx.TensorProto.FLOAT
    assert file.graph.input[0].type.tensor_type.elem_type == half
    kinds = [node.op_type for node in file.graph.node]
    assert ("QuantizeLinear" in kinds) == (precision == "int8")


def test_it_runs_on_the_stream_that_the_clock_s_events_stand_in(package: FakeTensorRt) -> None:
    assert adapter.stream() == 0
    with TensorRt(setting()).load(conv_relu()) as loaded:
        loaded.run()
        assert adapter.stream() == 7


def test_parts_are_kept_and_use_the_timings_of_earlier_builds(package: FakeTensorRt) -> None:
    for _ in range(2):
        TensorRt(setting()).load(conv_relu(), alone=True)
    assert [config.timings for config in package.configs] == [b""], "the second was in the cache"
    TensorRt(setting()).load(linear_add(), alone=True)
    assert package.configs[-1].timings == b"t"
    TensorRt(setting("tf32")).load(conv_relu(), alone=True)
    assert len(package.configs) == 3, "an engine of another precision is another engine"


def test_where_nothing_can_be_kept_parts_are_timed_all_the_same_and_the_reason_is_told(
    package: FakeTensorRt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    runtime = TensorRt(setting())
    for loaded in (runtime.load(conv_relu(), alone=True), runtime.load(conv_relu())):
        loaded.run()
        assert "Not a directory" in loaded.facts["unkept"]


def test_launch_graph_captures_a_pass_and_replays_it(
    package: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[str] = []
    real = Context.execute_async_v3

    def counted(self: Context, stream: int) -> bool:
        passes.append("pass")
        return real(self, stream)

    @contextlib.contextmanager
    def graph(captured: object) -> Iterator[None]:
        passes.append("capture")
        yield
        passes.append("captured")

    replayed = SimpleNamespace(replay=lambda: passes.append("replay"))
    monkeypatch.setattr(Context, "execute_async_v3", counted)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: replayed)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    with TensorRt(setting(launch="graph")).load(conv_relu(), alone=True) as loaded:
        assert passes == ["pass"] * 3 + ["capture", "pass", "captured"]
        loaded.run()
        assert passes[-1] == "replay"
        assert loaded.facts == {}, "it is a part alone"
    passes.clear()
    with TensorRt(setting(launch="graph")).load(conv_relu()) as loaded:
        assert passes[-1] == "replay", "what launching costs is told of what is timed"
        assert passes.count("replay") == adapter._JUDGED + 1, "its build was judged by replays as well"
        assert loaded.facts["launch"] == {"queued_s": 1.0, "issued_s": 2.0}


def test_a_network_that_cannot_be_captured_is_refused_with_a_way_out(
    package: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def graph(captured: object) -> Iterator[None]:
        yield
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    with pytest.raises(LatheError, match=r"cannot be captured .* not permitted.*launch=queued"):
        TensorRt(setting(launch="graph")).load(conv_relu(), alone=True)


def test_a_pass_that_is_not_issued_tells_a_lost_device_from_a_refusal(
    package: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = TensorRt(setting()).load(conv_relu(), alone=True)
    monkeypatch.setattr(Context, "execute_async_v3", lambda self, stream: False)
    with pytest.raises(LatheError, match="could not issue a forward pass") as refused:
        loaded.run()
    assert not is_device_lost(describe_failure(refused.value))

    def lost() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", lost)
    with pytest.raises(RuntimeError) as broken:
        loaded.run()
    assert is_device_lost(describe_failure(broken.value))


@pytest.mark.parametrize("kept", ["unreadable", "of another device", None])
def test_timings_that_cannot_be_used_are_begun_afresh(package: FakeTensorRt, kept: str | None) -> None:
    runtime = TensorRt(setting())
    runtime.load(conv_relu(), alone=True)
    (path,) = adapter.cache_folder().glob("*.timings")
    if kept is None:
        path.write_bytes(path.read_bytes()[:-1])
    else:
        runtime._cache.write("timings", kept.encode())
    for _ in range(2):
        TensorRt(setting()).load(linear_add(), alone=True)
    assert package.configs[-1].timings == b""
    TensorRt(setting()).load(conv_relu(8), alone=True)
    assert package.configs[-1].timings == b"t", "the file was written anew"


def test_a_whole_network_is_built_anew_and_the_builds_are_kept_apart(package: FakeTensorRt) -> None:
    loaded = TensorRt(setting(builds="3")).load(conv_relu())
    assert len(package.configs) == 3
    assert all(config.timings is None for config in package.configs)
    assert all(BuilderFlag.DISABLE_TIMING_CACHE in config.flags for config in package.configs)
    assert len(loaded.facts["builds_s"]) == 3
    assert loaded.facts["compile_s"] > 0


def test_of_three_unequal_builds_the_middle_one_is_timed(
    package: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes_s = {1: 3e-3, 2: 1e-3, 3: 2e-3}

    class Clock:
        def __init__(self, **_: object) -> None: ...

        def elapsed_s(self, run: Any, repeats: int) -> float:
            return repeats * takes_s[run.__self__._built._engine.build]

    monkeypatch.setattr(adapter, "CudaClock", Clock)
    loaded = TensorRt(setting(builds="3")).load(conv_relu())
    assert loaded.facts["builds_s"] == [3e-3, 1e-3, 2e-3]
    assert loaded._built._engine.build == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("cache", ["warm", "cold"])
@pytest.mark.parametrize("launch", ["queued", "issued", "graph"])
def test_every_clock_of_a_network_is_the_setting_s(
    package: FakeTensorRt, monkeypatch: pytest.MonkeyPatch, launch: str, cache: str
) -> None:
    asked: list[dict[str, object]] = []

    def clock(**arguments: object) -> WallClock:
        asked.append(arguments)
        return WallClock()

    monkeypatch.setattr(adapter, "CudaClock", clock)
    monkeypatch.setattr(adapter, "capture", lambda forward: SimpleNamespace(replay=forward))
    TensorRt(setting(launch=launch, cache=cache)).load(conv_relu())
    TensorRt(setting(launch=launch, cache=cache)).load(conv_relu(), alone=True)
    wanted = {"queued": launch != "issued", "flush": flush if cache == "cold" else None}
    assert asked == [wanted] * 3, "of its build, of the network and of a part alone"


def test_compiling_takes_what_one_build_takes_and_one_engine_at_a_time_is_on_the_device(
    package: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: weakref.WeakSet[Engine] = weakref.WeakSet()
    at_once: list[int] = []
    real = Engine.__init__

    def counted(self: Engine, plan: bytes) -> None:
        real(self, plan)
        alive.add(self)
        at_once.append(len(alive))

    seconds = itertools.count()
    monkeypatch.setattr(Engine, "__init__", counted)
    monkeypatch.setattr(adapter, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    loaded = TensorRt(setting(builds="3")).load(conv_relu())
    assert loaded.facts["compile_s"] == 1
    assert at_once == [1, 1, 1, 1], "those that are judged, and the middle one again"


class ShortQueue(WallClock):
    """The clock of a device whose queue does not hold a single run."""

    def __init__(self, *, queued: bool, flush: object) -> None:
        self.queued = queued

    def elapsed_s(self, run: Any, repeats: int) -> float:
        if self.queued:
            raise LatheError("a single run issues more work than the queue holds. Choose launch=issued.")
        return super().elapsed_s(run, repeats)


@pytest.mark.parametrize("builds", ["1", "3"])
def test_builds_are_judged_as_the_middle_one_will_be_timed(
    package: FakeTensorRt, monkeypatch: pytest.MonkeyPatch, builds: str
) -> None:
    monkeypatch.setattr(adapter, "CudaClock", ShortQueue)
    loaded = TensorRt(setting(launch="issued", builds=builds)).load(conv_relu())
    assert len(loaded.facts["builds_s"]) == int(builds)
    with pytest.raises(LatheError, match="launch=issued"):
        TensorRt(setting(launch="queued", builds=builds)).load(conv_relu())


def test_an_operator_without_importer_is_named(package: FakeTensorRt) -> None:
    gelu = one_operator("aten.gelu.default", ("self", Value(0)))
    with pytest.raises(UnsupportedOperatorError, match="TensorRT cannot run the operator Erf: no importer"):
        TensorRt(setting()).load(gelu)


def test_what_it_logs_is_what_the_user_hears(package: FakeTensorRt) -> None:
    package.fails_to_build = "no implementation for /o0/Conv"
    with pytest.raises(LatheError, match=r"cannot build the network: no implementation for /o0/Conv$"):
        TensorRt(setting()).load(conv_relu())


def test_layers_are_brought_home_by_name_and_the_rest_is_of_none(package: FakeTensorRt) -> None:
    found = TensorRt(setting()).node_profile(conv_relu())
    assert [(node.operators, round(node.seconds, 6)) for node in found.nodes] == [
        ((0,), 0.001),
        ((1,), 0.002),
        ((), 0.0005),
    ]


def test_the_whole_run_beside_layers_is_over_before_they_are_reported(
    package: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[int] = []

    class Clock:
        def __init__(self, **_: object) -> None: ...

        def elapsed_s(self, run: Any, repeats: int) -> float:
            def count() -> int:
                return sum(map(len, run.__self__._context.profiler.seconds.values()))

            reported.append(count())
            run()
            assert count() == reported[-1]
            return 1.0

    monkeypatch.setattr(adapter, "CudaClock", Clock)
    assert TensorRt(setting()).node_profile(conv_relu()).whole_s == 1.0
    assert reported[:3] == [0, 3, 6], "after each run, before the next one"


def test_layers_that_are_not_reported_are_told(
    package: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Context, "report_to_profiler", lambda self: False)
    with pytest.raises(LatheError, match="does not tell what its layers took"):
        TensorRt(setting()).node_profile(conv_relu())


def test_an_engine_of_another_version_is_refused(package: FakeTensorRt) -> None:
    runtime = TensorRt(setting())
    runtime.load(conv_relu(), alone=True)
    (engine,) = adapter.cache_folder().glob("*.engine")
    engine.write_bytes(engine.read_bytes().replace(b'"11.0.0"', b'"10.15.1"'))
    with pytest.raises(LatheError, match=r"tensorrt is '10\.15\.1' there and '11\.0\.0' here"):
        TensorRt(setting()).load(conv_relu(), alone=True)


def test_without_the_package_or_its_libraries_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("importlib.util.find_spec", lambda name: None)
        found = TensorRt.availability("cuda")
        assert (found.usable, found.reason) == (False, "the package tensorrt is not installed")
        assert "lathe[tensorrt]" in found.remedy
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    found = TensorRt.availability("cuda")
    assert not found.usable
    assert "cannot be imported" in found.reason


OVERLOADED = """make(*args, **kwargs)
Overloaded function.

1. make(self: t.Builder, network: t.Net[int, str], config: t.Config) -> t.Memory

    Makes it.

2. make(self: t.Builder, plan: Buffer, flags: typing.SupportsInt = <t.Flag.OF: 0>) -> t.Memory
"""


@pytest.mark.parametrize(
    ("positional", "named", "fits"),
    [
        (2, (), True),
        (1, ("config",), True),
        (1, (), True),
        (1, ("flags",), True),
        (0, (), False),
        (3, (), False),
        (1, ("network",), False),
        (2, ("flags",), False),
    ],
)
def test_the_contract_tells_a_call_that_fits_from_one_that_does_not(
    positional: int, named: tuple[str, ...], fits: bool
) -> None:
    known = signatures(OVERLOADED, "make")
    assert [signature.names for signature in known] == [("network", "config"), ("plan", "flags")]
    call = Call(positional, frozenset(named))
    assert any(signature.takes(call) for signature in known) == fits


def test_on_a_cpu_it_is_refused() -> None:
    with pytest.raises(UserError, match="kind of device"):
        TensorRt(Setting(Device("cpu", "x", 1, 2**30), "tensorrt", (), "fp32", 1, 1))
