"""The conformance tests once more, for runtimes on a GPU that is not there."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")

import test_conformance
from hand_graphs import conv_relu
from stand_in_gpu import PROPERTIES, stood_in, told
from test_conformance import RULE, reference, words_of  # noqa: F401 - a fixture of the tests below

from bench.devices import RuntimeRecord, runtime_records
from bench.runtimes import make_setting
from bench.session import Session
from latency_tables.measurement import FACTS

WORKER = (sys.executable, "-P", str(Path(__file__).with_name("stand_in_worker.py")))
#: What is asked of each: its own choices, and others where another way of its own leads to them, several at once.
ASKED = {
    "eager": [("fp32", {}), ("fp16", {"launch": "graph", "cache": "cold"})],
    "compile": [("fp32", {})],
    "onnxruntime": [("fp32", {}), ("fp16", {"provider": "TensorrtExecutionProvider"})],
    "tensorrt": [("fp32", {}), ("int8", {"launch": "graph", "builds": "3"})],
    "torch-tensorrt": [("fp32", {})],
}

# All tests that ask for a session, which is one of those below here.
globals().update(
    {
        name: test
        for name, test in vars(test_conformance).items()
        if name.startswith("test_") and "session" in inspect.signature(test).parameters
    }
)


def records() -> dict[str, RuntimeRecord]:
    return {record.runtime: record for record in runtime_records() if record.device_kind == "cuda"}


@pytest.fixture(scope="module", autouse=True)
def gpu() -> Iterator[None]:
    with told():
        yield


@pytest.fixture(
    scope="module",
    params=[(name, *one) for name, asked in ASKED.items() for one in asked],
    ids=lambda asked: " ".join([*asked[:2], *map("=".join, asked[2].items())]),
)
def session(
    request: pytest.FixtureRequest, gpu: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Session]:
    runtime, precision, option = request.param
    if runtime == "compile" and not records()[runtime].usable:
        pytest.skip(records()[runtime].reason)  # it wants a C++ compiler on any device
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("engines")))
        setting = make_setting(runtime, device_kind="cuda", precision=precision, asked=option)
        with Session(setting, repeats=0, command=WORKER) as opened:
            yield opened


def test_every_runtime_for_gpus_is_asked() -> None:
    found = records()
    assert set(ASKED) == set(found)
    for name in set(ASKED) - {"compile"}:
        assert found[name].usable, found[name].reason
        assert {precision for precision, _ in ASKED[name]} <= set(found[name].precisions)


def test_the_gpu_is_looked_at_after_each_sample(session: Session) -> None:
    found = session.measure(conv_relu(), rule=RULE)
    seen = found.host["gpu"]
    assert seen["looks"] >= len(found.samples_s)
    assert (seen["temperature_c"], seen["throttled"], seen["other_processes"]) == ([37.0] * 3, {}, 0)
    assert session.setting.device.name == PROPERTIES.name


def test_a_whole_network_tells_what_launching_it_costs_or_why_nobody_knows(session: Session) -> None:
    handle = session.load(conv_relu())
    told_of = session.measure_loaded(handle, RULE).host[FACTS]
    if session.setting.runtime == "onnxruntime":
        assert "timed from the outside" in told_of["launch_unknown"]
    else:
        assert min(told_of["launch"].values()) > 0
        assert set(told_of["launch"]) == {"queued_s", "issued_s"}


def test_the_stand_in_is_one() -> None:
    import torch

    with stood_in():
        there = torch.ones(2, 3).to("cuda")
        assert there.device.type == "cuda"
        with pytest.raises(RuntimeError, match="same device"):
            there + torch.ones(2, 3)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        end.record()
        with pytest.raises(RuntimeError, match="not ready"):
            start.elapsed_time(end)
        torch.cuda.synchronize()
        assert start.elapsed_time(end) > 0
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            doubled = (2 * there).relu()
        there.copy_(torch.full((2, 3), 5.0))
        assert float(doubled.cpu().sum()) == 12.0
        graph.replay()
        assert float(doubled.cpu().sum()) == 60.0
        with pytest.raises(RuntimeError, match="capturing"), torch.cuda.graph(graph):
            there.copy_(torch.ones(2, 3))
