from __future__ import annotations

import json
from typing import Any

import pytest

from bench.fact_views import facts_json, facts_of, launch_cost, remarks, say_facts, show_facts
from bench.terminal import Terminal
from latency_tables.estimate import Estimate
from latency_tables.graph import Graph
from latency_tables.rows import network_of, network_text
from latency_tables.setting import Device, Setting
from latency_tables.skeleton import Skeleton
from latency_tables.table import LatencyTable, NetworkMeasurement
from reports.results import Facts

SKELETON = Skeleton("net", Graph((), (), (), ()), (), ())
SETTING = Setting(Device("cuda", "NVIDIA H100", 132, 2**36), "tensorrt", (), "fp16", 1, 1)


def network(
    facts: dict[str, Any], removed: tuple[str, ...] = (), skeleton: str = SKELETON.digest
) -> NetworkMeasurement:
    one = Estimate(1e-3, 1e-3, 1e-3)
    return NetworkMeasurement(
        skeleton, removed, one, one, one, "fit", "2026-01-01T00:00:00+00:00", facts=facts
    )


def table(*networks: NetworkMeasurement) -> LatencyTable:
    return LatencyTable(SETTING, {}, networks)


def test_what_runtimes_told_comes_back_from_a_store_s_text() -> None:
    told = network({"compile_s": 2.5, "graph_breaks": {"why": 1}})
    assert network_of(json.loads(network_text(told))) == told
    old = json.loads(network_text(told))
    del old["facts"]
    assert network_of(old).facts == {}


def test_everything_is_told_in_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    known = table(
        network({"compile_s": 30.0}),
        network({"compile_s": 12.0}, ("a",)),
        network({"compile_s": 99.0}, skeleton="another"),
        network({"compile_s": 0.4, "cached": True}, ("b",)),
        network(
            {
                "compile_s": 25.04,
                "cached": False,
                "graph_breaks": {"data dependent [x]": 2},
                "builds_s": [1.1e-3, 1e-3, 1.05e-3],
                "launch": {"queued_s": 0.9e-3, "issued_s": 3.2e-3},
                "ran_elsewhere": {"CUDAExecutionProvider": ["/o0/Conv", "/o3/Erf"]},
                "ran_in_floats": {"MatMul": 24, "Conv": 1},
                "run_by_pytorch": ["_run_on_gpu_1", "_run_on_gpu_3"],
                "gpu": {"unseen": "no NVML"},
            }
        ),
    )
    show_facts(Terminal(), SKELETON, known)
    lines = capsys.readouterr().out.splitlines()
    printed = " ".join(" ".join(lines).split())
    assert "compiling a whole network took 12.0 to 30.0 s, which is no part of its latency" in printed
    assert "out of the compiler's cache it took 0.4 to 0.4 s (1 times)" in printed
    assert "graph break: data dependent [x] (2 times)" in printed
    assert "3 builds of the unpruned network are 10.0% apart, 1 ms to 1.1 ms" in printed
    assert "takes 900 µs of work, and 3.2 ms as it is issued" in printed
    assert "narrower layers will hardly make it faster at batch 1" in printed
    assert "left to PyTorch, of the unpruned network: _run_on_gpu_1, _run_on_gpu_3" in printed
    assert "nobody watched the GPU, so throttling and others on it went unseen: no NVML" in printed
    assert "left to CUDAExecutionProvider: 2 nodes of the unpruned network: /o0/Conv, /o3/Erf" in printed
    assert "in floats, not in integers, of the unpruned network: 24 MatMul, 1 Conv" in printed
    told = facts_json(SKELETON, known)
    assert (told["compile_s"], told["compile_cached_s"]) == ([30.0, 12.0, 25.04], [0.4])
    assert told["run_by_pytorch"] == ["_run_on_gpu_1", "_run_on_gpu_3"]
    assert told["gpu"] == {"unseen": "no NVML"}
    assert launch_cost(SKELETON, known) == {"queued_s": 0.9e-3, "issued_s": 3.2e-3}
    say_facts(Terminal(), SKELETON, known)
    remarks = capsys.readouterr()
    assert remarks.out == ""
    assert remarks.err.splitlines()[0] == f"net in {SETTING.label}:"
    assert [line.strip() for line in remarks.err.splitlines()[1:]] == [line.strip() for line in lines]
    assert facts_of(SKELETON, known) == Facts(
        graph_breaks={"data dependent [x]": 2},
        ran_in_floats={"MatMul": 24, "Conv": 1},
        ran_elsewhere={"CUDAExecutionProvider": ("/o0/Conv", "/o3/Erf")},
        builds_s=(1.1e-3, 1e-3, 1.05e-3),
        launch_unknown=None,
    )


def test_why_launches_were_not_measured_reaches_the_report() -> None:
    told = facts_of(SKELETON, table(network({"launch_unknown": "more than the queue holds"})))
    assert told == Facts({}, {}, {}, (), "more than the queue holds")


def test_where_nothing_is_told_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = table(network({}))
    show_facts(Terminal(), SKELETON, nothing)
    say_facts(Terminal(), SKELETON, nothing)
    assert capsys.readouterr() == ("", "")
    one_build = table(
        network({"builds_s": [1e-3]})
    )  # a profile says that there was one; no finding comes of it
    assert facts_of(SKELETON, nothing) is facts_of(SKELETON, one_build) is None
    assert facts_json(SKELETON, table()) == {
        "compile_s": [],
        "compile_cached_s": [],
        "unkept": None,
        "graph_breaks": {},
        "builds_s": [],
        "launch": None,
        "launch_unknown": None,
        "ran_elsewhere": {},
        "ran_in_floats": {},
        "run_by_pytorch": [],
        "gpu": None,
    }
    assert launch_cost(SKELETON, table()) is None


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (
            {"unkept": "[Errno 28] No space left on device"},
            "engines of parts could not be kept, so each is built anew wherever it is loaded: [Errno 28] No space",
        ),
        (
            {"launch": {"queued_s": 1e-3, "issued_s": 1.2e-3}},
            "takes 1 ms of work, and 1.2 ms as it is issued",
        ),
        (
            {"launch_unknown": "more than the queue holds. Choose --option launch=graph."},
            "what launching costs the unpruned network is not known: more than the queue holds. Choose --option",
        ),
        (
            {"builds_s": [1e-3]},
            "each network was built once, so how far builds of it differ is in no interval",
        ),
        (
            {"gpu": {"throttled": None, "other_processes": 0}},
            "whether the GPU was throttled is not known",
        ),
        ({"gpu": {"throttled": {}, "other_processes": None}}, "whether others used the GPU is not known"),
        ({"gpu": {"throttled": {}, "other_processes": 0}}, ""),
        (
            {
                "gpu": {
                    "throttled": {},
                    "other_processes": 0,
                    "sm_clock_hz": [1.41e9, 1.9e9, 1.98e9],
                    "memory_clock_hz": None,
                    "temperature_c": [45.0, 45.0, 45.0],
                    "power_w": [212.4, 300.0, 350.0],
                }
            },
            "the GPU while the unpruned network was timed: clock 1410 to 1980 MHz, chip 45 °C, power 212 to 350 W",
        ),
    ],
)
def test_each_sentence_has_its_own_cause(
    capsys: pytest.CaptureFixture[str], facts: dict[str, Any], says: str
) -> None:
    show_facts(Terminal(), SKELETON, table(network(facts)))
    printed = capsys.readouterr().out
    assert says in printed
    assert printed.count("\n") == bool(says)


def remarked(pruned: dict[str, Any], unpruned: dict[str, Any]) -> tuple[str, ...]:
    """What is said of a pruned network beside an unpruned one, which was timed before with nothing told of it."""
    cut = network(pruned, ("a",))
    foreign = network({"run_by_pytorch": ["x"] * 9}, skeleton="another")
    return remarks(cut, table(network({}), network(unpruned), cut, foreign))


BOUND, AT_WORK = {"queued_s": 1e-3, "issued_s": 3e-3}, {"queued_s": 1e-3, "issued_s": 1.2e-3}


@pytest.mark.parametrize(
    ("pruned", "unpruned", "says"),
    [
        ({"graph_breaks": {"why\n  so": 2}}, {}, ("graph break: why so (2 times)",)),
        ({"graph_breaks": {"why": 2}}, {"graph_breaks": {"why": 2, "else": 1}}, ()),
        (
            {"graph_breaks": {"why": 2, "b": 1}},
            {"graph_breaks": {"why": 1, "b": 1}},
            ("break: why (2 times)",),
        ),
        ({"ran_in_floats": {"Add": 3}}, {"ran_in_floats": {"Add": 4}}, ()),
        (
            {"ran_in_floats": {"Add": 5, "Conv": 1}},
            {"ran_in_floats": {"Add": 4, "Conv": 1}},
            ("in floats, not in integers, of the pruned network: 5 Add",),
        ),
        ({"ran_elsewhere": {"Other": ["/o7/Conv"]}}, {"ran_elsewhere": {"Other": ["/o9/Conv"]}}, ()),
        (
            {"ran_elsewhere": {"Other": ["/o7/Conv", "/o8/Erf"]}},
            {"ran_elsewhere": {"Other": ["/o9/Conv"]}},
            ("left to Other: 2 nodes of the pruned network: /o7/Conv, /o8/Erf",),
        ),
        ({"run_by_pytorch": ["m1"]}, {"run_by_pytorch": ["m4"]}, ()),
        ({"run_by_pytorch": ["m1"]}, {}, ("left to PyTorch, of the pruned network: m1",)),
        ({"builds_s": [1e-3]}, {"builds_s": [1e-3]}, ()),
        (
            {"builds_s": [1e-3, 1.1e-3, 1.05e-3]},
            {"builds_s": [1e-3, 1.1e-3, 1.05e-3]},
            ("3 builds of the pruned network are 10.0% apart, 1 ms to 1.1 ms",),
        ),
        (
            {"launch": BOUND},
            {"launch": AT_WORK},
            ("the pruned network takes 1 ms of work, and 3 ms as it is issued", "launching is what it costs"),
        ),
        ({"launch": BOUND}, {}, ("the pruned network takes", "launching is what it costs")),
        ({"launch": BOUND}, {"launch": BOUND}, ()),
        ({"launch": AT_WORK}, {"launch": BOUND}, ()),
        (
            {"launch_unknown": "full"},
            {"launch": AT_WORK},
            ("what launching costs the pruned network is not known: full",),
        ),
        ({"launch_unknown": "full"}, {"launch_unknown": "full"}, ()),
        ({"compile_s": 3.0, "gpu": {"unseen": "no NVML"}}, {}, ()),
    ],
)
def test_of_a_pruned_network_only_news_is_said(
    pruned: dict[str, Any], unpruned: dict[str, Any], says: tuple[str, ...]
) -> None:
    said = remarked(pruned, unpruned)
    assert len(said) == len(says)
    for line, words in zip(said, says, strict=True):
        assert words in line
        assert line == line.strip()
