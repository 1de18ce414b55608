from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hand_graphs import conv_relu

import bench.worker
from bench.attempt import DISTURBED, MOVED, ON_SLOWED_CORE
from bench.core_distance import CoreDistance, Mode
from bench.core_watch import SLOWED, CoreSeen
from bench.foreign_load import MIN_WINDOW_S, Load
from bench.gpu_watch import GpuLook, GpuSeen, GpuWatch
from bench.runtimes.base import Array, Availability, Loaded, Order, Runtime
from bench.timing import FIRST_OF_BLOCK, Rule
from bench.wire import measurement_from_json, rule_to_json
from bench.worker import Worker, describe_failure, is_device_lost
from latency_tables.errors import LatheError, UserError
from latency_tables.graph import Graph
from latency_tables.measurement import FACTS
from latency_tables.setting import Device, Setting

QUIET, UNKNOWN = Load(0.5, 0.01, 0.0), Load(0.1, None, None)
NEAR, FAR = CoreDistance(Mode.NEAR, 1e-7), CoreDistance(Mode.FAR, 4e-7)
ASLEEP = CoreDistance(Mode.UNKNOWN, None, "busy")
RULE = rule_to_json(Rule(min_samples=6, max_samples=6, warmup_max_runs=2, min_rounds=2, max_rounds=2))


class FakeWatch:
    def __init__(self, loads: Sequence[Load]) -> None:
        self.loads = list(loads)
        self.afresh: list[bool] = []

    def start(self, *, afresh: bool = False) -> None:
        self.afresh.append(afresh)

    def stop(self) -> Load:
        return self.loads.pop(0)


class Ready(Loaded):
    def run(self) -> None:
        sum(range(1000))

    def _infer(self, inputs: Sequence[Array]) -> list[Array]:
        return list(inputs)

    def _close(self) -> None:
        pass


class Ideal(Runtime):
    name = "ideal"
    device_kinds = ("cpu", "cuda")

    @classmethod
    def availability(cls, device_kind: str) -> Availability:
        return Availability(True)

    @classmethod
    def versions(cls) -> tuple[tuple[str, str], ...]:
        return ()

    def _load(self, order: Order) -> Loaded:
        return Ready(order.graph)


@pytest.fixture(autouse=True)
def _ideal_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.worker, "get_runtime", lambda name: Ideal)


LOAD = {
    "do": "load",
    "graph": conv_relu().to_json(),
    "weights": None,
    "artefact": None,
    "calibration": None,
    "alone": False,
}


def busy(cores: float) -> Load:
    return Load(0.5, cores, 0.0)


def make_worker(
    loads: Sequence[Load],
    threads: int = 1,
    repeats: int = 2,
    cores: Sequence[CoreDistance] = (),
    kind: str = "cpu",
    until_s: float = math.inf,
) -> tuple[Worker, FakeWatch, list[float]]:
    watch, slept = FakeWatch(loads), []
    setting = Setting(Device(kind, "ideal", 2, 2**30), "ideal", (), "fp32", 1, threads)
    sense = iter(cores).__next__  # asked more often than this, it fails
    clock = {"now_s": lambda: 0.0, "sleep": slept.append}
    made = Worker(setting, repeats, watch, sense, **clock, until_s=until_s)  # type: ignore[arg-type]
    made.serve(LOAD)
    return made, watch, slept


@pytest.mark.parametrize("load", [QUIET, UNKNOWN, busy(0.14)])
def test_a_quiet_measurement_is_taken_once(load: Load) -> None:
    made, watch, slept = make_worker([load])
    found = measurement_from_json(made.serve({"do": "measure", "handle": 1, "rule": RULE})["measurement"])
    assert found.host == {**load.to_json(), "disturbance": None, "attempts": 1}
    assert found.dropped == {}
    assert (watch.afresh, slept) == ([False], [])


class FakeCore:
    """In each attempt it tells of as many samples that the core was slowed, from the first on."""

    def __init__(self, slowed: Sequence[int]) -> None:
        self.slowed, self.left, self.asked = list(slowed), 0, 0
        self.agains: list[bool] = []

    def start(self, *, again: bool = False) -> None:
        self.agains.append(again)
        self.left, self.asked = self.slowed.pop(0), 0

    def cause(self) -> str | None:
        self.asked += 1
        return SLOWED if self.asked <= self.left else None

    def stop(self) -> CoreSeen:
        return CoreSeen(self.asked + 1, min(self.asked, self.left), 20e-6, 28e-6)


@pytest.mark.parametrize(
    ("slowed", "kept", "disturbance", "attempts", "lost"),
    [
        ([0], 6, None, 1, {}),
        ([2], 6, None, 1, {SLOWED: 2}),
        ([99, 2], 6, None, 2, {SLOWED: 2, ON_SLOWED_CORE: 24}),
        # The least slowed of three counts, with the samples that were slowed.
        ([99, 20, 99], 24, "slowed core", 3, {ON_SLOWED_CORE: 24 + 24}),
    ],
)
def test_what_is_timed_on_a_slowed_core_alone_is_timed_again(
    slowed: list[int], kept: int, disturbance: str | None, attempts: int, lost: dict[str, int]
) -> None:
    setting = Setting(Device("cpu", "ideal", 2, 2**30), "ideal", (), "fp32", 1, 1)
    watch, core = FakeWatch([QUIET] * 3), FakeCore(slowed)
    made = Worker(setting, 2, watch, lambda: None, None, core, lambda: 0.0, lambda _: None)  # type: ignore[arg-type]
    made.serve(LOAD)
    rule = rule_to_json(Rule(target=100.0, min_samples=6, check_every=1, warmup_max_runs=2))
    found = measurement_from_json(made.serve({"do": "measure", "handle": 1, "rule": rule})["measurement"])
    assert (found.disturbance, found.host["attempts"]) == (disturbance, attempts)
    assert (len(found.samples_s), found.dropped) == (kept, lost)
    assert core.agains == [False, True, True][:attempts]
    assert found.host["core"] == {
        "readings": (kept if attempts == 3 else kept + 2 * (slowed != [0])) + 1,
        "slowed": {1: slowed[0], 2: 2, 3: 20}[attempts],
        "quick_s": 20e-6,
        "slowest_s": 28e-6,
    }


@pytest.mark.parametrize(
    ("kind", "threads", "watched"), [("cpu", 1, True), ("cpu", 2, False), ("cuda", 1, False)]
)
def test_the_core_is_looked_at_where_it_is_the_only_one(kind: str, threads: int, watched: bool) -> None:
    setting = Setting(Device(kind, "ideal", 2, 2**30), "ideal", (), "fp32", 1, threads)
    assert (bench.worker._core_watch(setting) is not None) is watched


def test_beyond_the_end_of_the_time_nobody_waits_for_cores_to_come_near() -> None:
    made, _, slept = make_worker([QUIET], threads=2, cores=[FAR, FAR], until_s=0.0)
    found = measurement_from_json(made.serve({"do": "measure", "handle": 1, "rule": RULE})["measurement"])
    assert (found.host["cores"]["mode"], slept) == ("far", [])


def test_a_disturbed_measurement_is_taken_again() -> None:
    made, watch, slept = make_worker([busy(0.9), QUIET])
    found = measurement_from_json(made.serve({"do": "measure", "handle": 1, "rule": RULE})["measurement"])
    assert found.host == {**QUIET.to_json(), "disturbance": None, "attempts": 2}
    assert found.dropped == {DISTURBED: 6}
    assert len(found.samples_s) == 6
    assert (watch.afresh, slept) == ([False, True], [MIN_WINDOW_S])


def test_the_least_disturbed_attempt_is_kept_and_flagged() -> None:
    made, watch, _ = make_worker([busy(0.9), busy(0.3), busy(0.6)])
    found = measurement_from_json(made.serve({"do": "measure", "handle": 1, "rule": RULE})["measurement"])
    assert found.host == {**busy(0.3).to_json(), "disturbance": "foreign load", "attempts": 3}
    assert found.dropped == {DISTURBED: 12}
    assert watch.loads == []


def test_stolen_time_disturbs_as_well() -> None:
    made, _, _ = make_worker([Load(0.5, 0.0, 0.4)], repeats=0)
    found = measurement_from_json(made.serve({"do": "measure", "handle": 1, "rule": RULE})["measurement"])
    assert found.host["disturbance"] == "steal time"


def test_more_threads_bear_more() -> None:
    assert busy(0.2).disturbance(1) == "foreign load"
    assert busy(0.2).disturbance(2) is None


def test_a_disturbed_comparison_is_taken_again_as_a_whole() -> None:
    made, _, _ = make_worker([busy(0.9), QUIET])
    made.serve(LOAD)
    answer = made.serve({"do": "interleave", "handles": [1, 2], "rule": RULE})
    for found in map(measurement_from_json, answer["measurements"]):
        assert found.dropped == {FIRST_OF_BLOCK: 2, DISTURBED: 10}
        assert found.host["attempts"] == 2
    assert len(answer["comparisons"]) == 1


def test_the_cores_are_asked_before_and_after_where_two_are_used() -> None:
    made, _, _ = make_worker([QUIET], threads=2, cores=[NEAR, NEAR])
    found = measurement_from_json(made.serve({"do": "measure", "handle": 1, "rule": RULE})["measurement"])
    assert found.host["cores"] == {"mode": "near", "before_s": 1e-7, "after_s": 1e-7, "reason": None}
    assert (found.host["attempts"], found.dropped) == (1, {})


@pytest.mark.parametrize(("threads", "kind"), [(1, "cpu"), (2, "cuda")])
def test_the_cores_are_not_asked_where_it_does_not_matter(threads: int, kind: str) -> None:
    made, _, _ = make_worker([QUIET], threads=threads, kind=kind)
    found = measurement_from_json(made.serve({"do": "measure", "handle": 1, "rule": RULE})["measurement"])
    assert "cores" not in found.host


@pytest.mark.parametrize("do", ["measure", "interleave"])
def test_what_was_taken_while_the_cores_moved_is_taken_again(do: str) -> None:
    # Before the second attempt it waits until they are near again.
    made, watch, slept = make_worker([QUIET, QUIET], threads=2, cores=[NEAR, FAR, FAR, FAR, NEAR, NEAR])
    made.serve(LOAD)
    which = {"handle": 1} if do == "measure" else {"handles": [1, 2]}
    answer = made.serve({"do": do, **which, "rule": RULE})
    for found in map(measurement_from_json, answer.get("measurements") or [answer["measurement"]]):
        assert found.host["cores"] == {"mode": "near", "before_s": 1e-7, "after_s": 1e-7, "reason": None}
        assert (found.host["attempts"], found.host["disturbance"]) == (2, None)
        assert slept[:2] == [1.0, 1.0]
        assert found.dropped == ({MOVED: 6} if do == "measure" else {FIRST_OF_BLOCK: 2, MOVED: 10})
    assert watch.afresh == [False, True]


def test_cores_that_keep_moving_are_named_and_kept_apart() -> None:
    made, _, _ = make_worker([QUIET, QUIET], threads=2, repeats=1, cores=[NEAR, FAR, NEAR, FAR])
    found = measurement_from_json(made.serve({"do": "measure", "handle": 1, "rule": RULE})["measurement"])
    assert found.host["cores"]["mode"] == "moved"
    assert found.host["disturbance"] == "cores moved"
    assert found.dropped == {MOVED: 6}


def test_a_loaded_attempt_is_better_than_a_mixed_one() -> None:
    cores = [NEAR, FAR, NEAR, NEAR]
    made, _, _ = make_worker([QUIET, busy(0.9)], threads=2, repeats=1, cores=cores)
    found = measurement_from_json(made.serve({"do": "measure", "handle": 1, "rule": RULE})["measurement"])
    assert (found.host["cores"]["mode"], found.host["disturbance"]) == ("near", "foreign load")
    assert found.dropped == {MOVED: 6}


def test_cores_that_cannot_be_asked_spoil_nothing() -> None:
    made, _, _ = make_worker([QUIET], threads=2, cores=[NEAR, ASLEEP])
    found = measurement_from_json(made.serve({"do": "measure", "handle": 1, "rule": RULE})["measurement"])
    assert found.host["cores"] == {"mode": "unknown", "before_s": 1e-7, "after_s": None, "reason": "busy"}
    assert (found.host["disturbance"], found.host["attempts"]) == (None, 1)


def test_failures_are_described() -> None:
    told = describe_failure(MemoryError("x."))
    assert told["reason"] == "out of memory"
    assert told["message"].startswith("MemoryError: x. Choose a smaller --batch")
    assert describe_failure(UserError("no.")) == {"reason": "refused", "message": "no."}
    assert describe_failure(KeyError("k")) == {"reason": "failed", "message": "KeyError: 'k'"}


def test_the_worker_imports_nothing_it_does_not_need() -> None:
    code = (
        "import sys, json, bench.worker, bench.runtimes.eager, bench.runtimes.onnxruntime, onnxruntime\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True, cwd=Path("/"))
    loaded = set(json.loads(done.stdout))
    unwanted = {
        "sqlalchemy",
        "pandas",
        "typer",
        "rich",
        "pydantic",
        "scipy",
        "matplotlib",
        "sklearn",
    }
    assert loaded & (unwanted | {"pruning", "reports", "timm", "torchvision"}) == set()
    assert {"bench", "latency_tables", "torch", "numpy"} <= loaded


def test_importing_bench_and_its_registry_is_cheap() -> None:
    code = "import sys, bench, bench.runtimes, bench.timing; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "False"


def test_what_was_seen_when_it_was_made_ready_stands_in_every_measurement_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def compiled(self: Ready, graph: Graph) -> None:
        Loaded.__init__(self, graph)
        self.facts = {"compile_s": 2.5}

    monkeypatch.setattr(Ready, "__init__", compiled)
    made, _, _ = make_worker([QUIET] * 2)
    found = measurement_from_json(made.serve({"do": "measure", "handle": 1, "rule": RULE})["measurement"])
    assert found.host[FACTS] == {"compile_s": 2.5}
    made.serve(LOAD)
    told = made.serve({"do": "interleave", "handles": [1, 2], "rule": RULE})["measurements"]
    assert [measurement_from_json(one).host[FACTS] for one in told] == [{"compile_s": 2.5}] * 2


class FakeGpu:
    """Throttled in every third sample; beside another process where one is wanted."""

    def __init__(self, others: int = 0) -> None:
        self.others = others
        self.looks = 0

    def start(self) -> None:
        self.looks = 0

    def cause(self) -> str | None:
        self.looks += 1
        return "throttled: heat" if self.looks % 3 == 0 else None

    def stop(self) -> GpuSeen:
        return GpuSeen(others=self.others, unseen="made up")


@pytest.mark.parametrize(("others", "remarks"), [(0, []), (1, ["1 other process on the GPU"])])
def test_a_gpu_is_looked_at_after_each_sample(others: int, remarks: list[str]) -> None:
    setting = Setting(Device("cuda", "ideal", 2, 2**30), "ideal", (), "fp32", 1, 1)
    watch = FakeWatch([QUIET])
    made = Worker(setting, 2, watch, lambda: None, FakeGpu(others), now_s=lambda: 0.0)  # type: ignore[arg-type]
    made.serve(LOAD)
    rule = rule_to_json(Rule(min_samples=6, max_samples=12, target=1e-9, warmup_max_runs=2))
    found = measurement_from_json(made.serve({"do": "measure", "handle": 1, "rule": rule})["measurement"])
    assert found.dropped["throttled: heat"] == (len(found.samples_s) + found.dropped["throttled: heat"]) // 3
    assert found.host["gpu"] == {"unseen": "made up", "remarks": remarks}
    assert (found.host["disturbance"], found.host["attempts"]) == (None, 1), (
        "others may only hold memory there"
    )
    assert found.meanwhile == ("; ".join(remarks) or None)


@pytest.mark.parametrize(
    ("error", "reason", "lost"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "failed", True),
        (RuntimeError("CUDA failure 700: an illegal memory access was encountered"), "failed", True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "out of memory", False),
        (RuntimeError("CUDA error: out of memory"), "out of memory", False),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
            "out of memory",
            False,
        ),
        (
            RuntimeError("Exception from src/inference/src/cpp/core.cpp:126: std::bad_alloc"),
            "out of memory",
            False,
        ),
        (
            RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Failed to allocate memory for requested buffer"),
            "out of memory",
            False,
        ),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
            "out of memory",
            False,
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "out of memory", False),
        (LatheError("TensorRT cannot build the network: Error Code 2: OutOfMemory"), "out of memory", False),
        (LatheError("it cannot be captured: CUDA error: not permitted. Choose another."), "refused", False),
        (RuntimeError("shapes do not match"), "failed", False),
    ],
)
def test_a_device_is_lost_after_an_error_of_cuda_s_but_not_for_want_of_memory(
    error: Exception, reason: str, lost: bool
) -> None:
    told = describe_failure(error)
    assert (told["reason"], is_device_lost(told)) == (reason, lost)


def throttling(share: int, others: int = 0) -> GpuWatch:
    """A device that is throttled at each look but every so many, and shared with others."""
    looks = itertools.count(1)
    processes = (7, *range(100, 100 + others))

    def look() -> GpuLook:
        reasons = 0 if next(looks) % share == 0 else 0x40
        return GpuLook(1.9e9, 2.6e9, 90.0, 700.0, reasons, processes)

    return GpuWatch(look, own=7)


@pytest.mark.parametrize(
    ("share", "others", "meanwhile"),
    [
        (4, 0, "throttled: heat, by hardware in 9 of 12 samples, which count since too few others are left"),
        (
            4,
            1,
            "1 other process on the GPU; throttled: heat, by hardware in 9 of 12 samples, which count since too "
            "few others are left",
        ),
        (2, 0, None),
        (1, 0, None),
    ],
)
def test_throttled_samples_that_count_are_told_and_spoil_nothing(
    share: int, others: int, meanwhile: str | None
) -> None:
    setting = Setting(Device("cuda", "ideal", 2, 2**30), "ideal", (), "fp32", 1, 1)
    made = Worker(setting, 0, FakeWatch([QUIET]), lambda: None, throttling(share, others), now_s=lambda: 0.0)  # type: ignore[arg-type]
    made.serve(LOAD)
    rule = Rule(min_samples=6, max_samples=12, target=1e-9, warmup_max_runs=2)
    found = measurement_from_json(
        made.serve({"do": "measure", "handle": 1, "rule": rule_to_json(rule)})["measurement"]
    )
    assert (found.disturbance, found.meanwhile) == (None, meanwhile)
    assert len(found.samples_s) == (6 if share == 2 else 12)


def test_throttled_rounds_that_count_are_told_too() -> None:
    setting = Setting(Device("cuda", "ideal", 2, 2**30), "ideal", (), "fp32", 1, 1)
    made = Worker(setting, 0, FakeWatch([QUIET]), lambda: None, throttling(100), now_s=lambda: 0.0)  # type: ignore[arg-type]
    for _ in range(2):
        made.serve(LOAD)
    told = made.serve({"do": "interleave", "handles": [1, 2], "rule": RULE})["measurements"]
    for found in map(measurement_from_json, told):
        assert found.disturbance is None
        assert (found.meanwhile or "").startswith("throttled: heat, by hardware in ")


@pytest.mark.parametrize(("cores", "disturbance"), [(0.5, None), (0.7, "foreign load")])
def test_beside_a_gpu_others_spoil_only_what_would_be_too_much_on_all_cores(
    monkeypatch: pytest.MonkeyPatch, cores: float, disturbance: str | None
) -> None:
    monkeypatch.setattr("bench.worker.usable_cpus", lambda: frozenset(range(4)))
    setting = Setting(Device("cuda", "ideal", 2, 2**30), "ideal", (), "fp32", 1, 1)
    watch = FakeWatch([Load(1.0, cores, 0.0)])
    made = Worker(setting, 0, watch, lambda: None, FakeGpu(), now_s=lambda: 0.0)  # type: ignore[arg-type]
    made.serve(LOAD)
    found = measurement_from_json(made.serve({"do": "measure", "handle": 1, "rule": RULE})["measurement"])
    assert (found.host["disturbance"], found.host["foreign_cores"]) == (disturbance, cores)
