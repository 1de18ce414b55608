"""What eager does for a CUDA device, with stand-ins for what only a device can do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hand_graphs import conv_relu, linear_add
from test_conformance import TOLERANCE, pool_and_two_outputs

import bench.runtimes.cuda as cuda
import bench.runtimes.eager as adapter
from bench.host import cpu_device
from bench.runtimes.base import Order, random_arrays
from bench.runtimes.cuda import CHOICES, DTYPES, CudaClock, cache_flush
from bench.runtimes.eager import Eager, EagerLoaded
from bench.runtimes.torch_graph import random_weights
from latency_tables.errors import LatheError
from latency_tables.graph import Graph
from latency_tables.setting import Setting


def loaded() -> EagerLoaded:
    order = Order(conv_relu(), None, None, None, alone=False)
    return EagerLoaded(order, Setting(cpu_device(), "eager", (), "fp32", 1, 1))


def cannot_be_queued(run: Callable[[], object]) -> dict[str, float]:
    raise LatheError(
        "a single run issues more work than the queue holds. Choose launch=graph, or launch=issued."
    )


@pytest.mark.parametrize("launch", ["queued", "issued"])
def test_a_network_that_cannot_be_queued_is_made_ready_without_the_cost_of_queueing(
    monkeypatch: pytest.MonkeyPatch, launch: str
) -> None:
    monkeypatch.setattr(cuda, "launch_cost", cannot_be_queued)
    large = loaded()
    large._on_cuda({"launch": launch, "cache": "warm"}, alone=False)
    assert set(large.facts) == {"launch_unknown"}
    assert large.facts["launch_unknown"].startswith("a single run issues more work than the queue holds")
    assert isinstance(large.clock, CudaClock)


def test_the_cost_of_launching_is_told_of_whole_networks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "launch_cost", lambda run: {"queued_s": 1.0, "issued_s": 2.0})
    for alone, facts in ((True, {}), (False, {"launch": {"queued_s": 1.0, "issued_s": 2.0}})):
        made = loaded()
        made._on_cuda({"launch": "queued", "cache": "warm"}, alone=alone)
        assert made.facts == facts


class FakeGraphs:
    """As much of CUDA's graphs and streams as a capture asks for; what is captured is run again by `replay`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refuses: str = "") -> None:
        self.log: list[str] = []
        self.refuses = refuses
        graphs = self

        class Stream:
            def __init__(self, name: str = "side") -> None:
                self.name = name

            def wait_stream(self, other: Stream) -> None:
                graphs.log.append(f"{self.name} waits for {other.name}")

        class Graph:
            replays: Callable[[], object] | None = None

            def replay(self) -> None:
                graphs.log.append("replay")
                assert self.replays is not None
                self.replays()

        @contextlib.contextmanager
        def stream(chosen: Stream) -> Iterator[None]:
            graphs.log.append(f"on {chosen.name}")
            yield
            graphs.log.append(f"off {chosen.name}")

        @contextlib.contextmanager
        def graph(captured: Graph) -> Iterator[None]:
            graphs.log.append("capture")
            yield
            if graphs.refuses:
                raise RuntimeError(graphs.refuses)

        current = Stream("current")
        monkeypatch.setattr(torch.cuda, "Stream", Stream)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: current)
        monkeypatch.setattr(torch.cuda, "stream", stream)
        monkeypatch.setattr(torch.cuda, "graph", graph)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda: self.log.append("synchronize"))


def test_a_graph_is_captured_after_runs_on_a_stream_aside_and_replayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeGraphs(monkeypatch)
    made = loaded()
    forward, passes = made._forward, []

    def counted(*inputs: torch.Tensor) -> object:
        passes.append(len(fake.log))
        return forward(*inputs)

    made._forward = counted
    made._on_cuda({"launch": "graph", "cache": "warm"}, alone=True)
    assert fake.log == [
        "side waits for current",
        "on side",
        "off side",
        "current waits for side",
        "synchronize",
        "capture",
    ]
    # Three where libraries choose their kernels, and the one that is captured.
    assert passes == [2, 2, 2, 6]
    made._captured.replays = lambda: made._outputs[0].copy_(forward(*made._inputs)[0])  # type: ignore[union-attr]
    made.run()
    assert fake.log[-1] == "replay"
    assert len(passes) == 4, "a replay does not go through Python"


def test_the_cost_of_launching_a_graph_is_that_of_its_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeGraphs(monkeypatch)
    made = loaded()

    def judged(run: Callable[[], object]) -> dict[str, float]:
        made._captured.replays = lambda: None  # type: ignore[union-attr]
        run()
        return {"queued_s": 1.0, "issued_s": 1.1}

    monkeypatch.setattr(cuda, "launch_cost", judged)
    made._on_cuda({"launch": "graph", "cache": "warm"}, alone=False)
    assert fake.log[-2:] == ["capture", "replay"]
    assert made.facts["launch"]["issued_s"] == 1.1


def test_what_broke_before_capturing_is_no_refusal_to_be_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeGraphs(monkeypatch)

    def lost() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", lost)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        loaded()._on_cuda({"launch": "graph", "cache": "warm"}, alone=True)


def test_results_of_a_captured_graph_are_those_of_the_inputs_given(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeGraphs(monkeypatch)
    graph = conv_relu()
    inputs = random_arrays(graph.inputs, seed=9)
    made, plain = loaded(), loaded()
    made._on_cuda({"launch": "graph", "cache": "warm"}, alone=True)
    made._captured.replays = lambda: made._outputs[0].copy_(made._forward(*made._inputs)[0])  # type: ignore[union-attr]
    np.testing.assert_array_equal(made.infer(inputs)[0], plain.infer(inputs)[0])


def test_a_network_that_cannot_be_captured_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeGraphs(monkeypatch, refuses="operation not permitted when stream is capturing")
    with pytest.raises(LatheError, match=r"cannot be captured .* not permitted.*launch=queued"):
        loaded()._on_cuda({"launch": "graph", "cache": "warm"}, alone=True)


def buffers_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What is made to empty the cache of a device of 1000 bytes, full of ones."""
    properties = SimpleNamespace(L2_cache_size=1000)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    real = torch.empty
    made: list[torch.Tensor] = []

    def empty(size: int, dtype: torch.dtype, device: str) -> torch.Tensor:
        assert device == "cuda"
        made.append(real(size, dtype=dtype).fill_(1))
        return made[-1]

    monkeypatch.setattr(torch, "empty", empty)
    return made


def test_a_cold_cache_is_emptied_by_writing_twice_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    made = buffers_on_the_cpu(monkeypatch)
    cache_flush()()
    assert (made[0].nbytes, int(made[0].sum())) == (2000, 0)


def test_a_cold_cache_is_made_ready_in_inference_mode_and_emptied_outside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffers = buffers_on_the_cpu(monkeypatch)
    clocks: list[dict[str, Any]] = []
    monkeypatch.setattr(adapter, "CudaClock", lambda **arguments: clocks.append(arguments))
    made = loaded()
    with torch.inference_mode():
        made._on_cuda({"launch": "queued", "cache": "cold"}, alone=True)
    clocks[0]["flush"]()
    assert int(buffers[0].sum()) == 0


@pytest.mark.parametrize("cache", CHOICES["cache"])
@pytest.mark.parametrize("launch", CHOICES["launch"])
def test_the_clock_queues_and_empties_the_cache_as_asked(
    monkeypatch: pytest.MonkeyPatch, launch: str, cache: str
) -> None:
    FakeGraphs(monkeypatch)
    clocks: list[dict[str, Any]] = []
    monkeypatch.setattr(adapter, "CudaClock", lambda **arguments: clocks.append(arguments))
    monkeypatch.setattr(adapter, "cache_flush", lambda: "empties it")
    loaded()._on_cuda({"launch": launch, "cache": cache}, alone=True)
    assert clocks == [
        {
            "queued": {"queued": True, "issued": False, "graph": True}[launch],
            "flush": {"warm": None, "cold": "empties it"}[cache],
        }
    ]


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("precision", list(DTYPES))
@pytest.mark.parametrize("make", [conv_relu, linear_add, pool_and_two_outputs])
def test_every_precision_and_layout_computes_what_fp32_computes(
    make: Callable[[], Graph], precision: str, layout: str
) -> None:
    graph = make()
    order = Order(graph, random_weights(graph, seed=6), None, None, alone=True)
    inputs = random_arrays(graph.inputs, seed=5)
    plain = EagerLoaded(order, Setting(cpu_device(), "eager", (), "fp32", 1, 1))
    made = EagerLoaded(order, Setting(cpu_device(), "eager", (), precision, 1, 1, layout=layout))
    for found, wanted in zip(made.infer(inputs), plain.infer(inputs), strict=True):
        assert found.dtype == wanted.dtype
        atol = TOLERANCE[precision]
        np.testing.assert_allclose(found, wanted, rtol=atol, atol=atol)
    made.run()
    placed = [*made._inputs, *made._module.buffers()]
    assert {tensor.dtype for tensor in placed} == {DTYPES[precision]}
    memory_format = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}[layout]
    assert all(tensor.is_contiguous(memory_format=memory_format) for tensor in placed if tensor.ndim == 4)


@pytest.fixture
def switches() -> Iterator[tuple[Any, Any]]:
    """Where PyTorch is told whether to use TensorFloat-32, left as they were."""
    places = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [place.allow_tf32 for place in places]
    yield places
    for place, used in zip(places, before, strict=True):
        place.allow_tf32 = used


@pytest.mark.parametrize("precision", list(DTYPES))
def test_tensorfloat_32_is_used_only_where_it_is_the_precision(
    monkeypatch: pytest.MonkeyPatch, switches: tuple[Any, Any], precision: str
) -> None:
    wanted = precision == "tf32"
    for place in switches:
        place.allow_tf32 = not wanted
    monkeypatch.setattr(Eager, "lacks", classmethod(lambda cls, precision, kind: ""))
    monkeypatch.setattr(torch, "get_num_interop_threads", lambda: 1)
    Eager(Setting(cpu_device(), "eager", (), precision, 1, 1))
    assert [place.allow_tf32 for place in switches] == [wanted, wanted]
