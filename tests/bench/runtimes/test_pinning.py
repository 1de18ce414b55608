from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hand_graphs import conv_relu

import bench.worker
from bench.runtimes import make_setting
from bench.runtimes.pinning import OPTION, PINNED, apart, bind_caller, is_pinned, wanted
from bench.session import Session
from bench.timing import Rule
from latency_tables.errors import LatheError
from latency_tables.setting import Setting

needs_two = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2, reason="one core only"
)


@pytest.fixture
def _cores_as_before() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, before)


def write_siblings(root: Path, siblings: dict[int, str]) -> None:
    for cpu, text in siblings.items():
        path = root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        path.parent.mkdir(parents=True)
        path.write_text(text + "\n")


@pytest.mark.parametrize(
    ("siblings", "order"),
    [
        ({}, [0, 1, 2, 3]),
        ({0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}, [0, 2, 1, 3]),
        ({0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}, [0, 1, 2, 3]),
        ({0: "0", 1: "1", 2: "2", 3: "3"}, [0, 1, 2, 3]),
    ],
)
def test_those_that_share_a_core_come_last(
    tmp_path: Path, siblings: dict[int, str], order: list[int]
) -> None:
    write_siblings(tmp_path, siblings)
    assert apart({3, 2, 1, 0}, tmp_path) == order


def test_only_several_threads_of_a_cpu_are_bound() -> None:
    assert not wanted("cpu", 1)
    assert not wanted("cuda", 2)
    assert not is_pinned(make_setting("eager"))
    assert "env.OMP_PROC_BIND" not in dict(make_setting("eager").options)
    assert bind_caller(make_setting("onnxruntime")) == []


@needs_two
@pytest.mark.usefixtures("_cores_as_before")
def test_the_caller_is_bound_to_the_first_core() -> None:
    setting = make_setting("onnxruntime", threads=2)
    assert dict(setting.options)["threads"] == PINNED
    before = apart(os.sched_getaffinity(0))
    assert bind_caller(setting) == before[:2]
    assert os.sched_getaffinity(0) == {before[0]}


@pytest.mark.parametrize(("bound", "asked"), [(True, {2, 3}), (False, {2, 3, 4, 5, 6, 7})])
def test_a_worker_asks_about_the_cores_that_its_threads_are_bound_to(
    monkeypatch: pytest.MonkeyPatch, bound: bool, asked: set[int]
) -> None:
    setting = replace(make_setting("eager"), threads=2, options=((OPTION, PINNED),) if bound else ())
    handed: list[object] = []

    def made(
        _: Setting,
        repeats: int,
        watch: object,
        sense: partial[object],
        gpu: object,
        core: object,
        *,
        until_s: float,
    ) -> None:
        handed.extend((*sense.args, until_s))
        raise LatheError("seen.")

    first = json.dumps({"setting": setting.to_json(), "repeats": 0, "until_s": 12.5}).encode()
    with monkeypatch.context() as patch:  # pytest's own capture needs what is patched
        patch.setattr(os, "dup2", lambda *_: None)
        patch.setattr(os, "sched_setaffinity", None, raising=False)
        patch.setattr(os, "sched_getaffinity", lambda _: {2, 3, 4, 5, 6, 7}, raising=False)
        patch.setattr("bench.runtimes.pinning.apart", sorted)
        patch.setattr(bench.worker, "_read", lambda source, requests: requests.put(first))
        patch.setattr(bench.worker, "Worker", made)
        bench.worker.main()
    assert handed == [asked, 12.5]


def cores_of_threads(process: int) -> dict[int, set[int]]:
    found = {}
    for path in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            found[int(path.name)] = os.sched_getaffinity(int(path.name))
    return found


@needs_two
@pytest.mark.parametrize("runtime", ["eager", "onnxruntime", "openvino"])
def test_a_worker_with_bound_threads_measures(runtime: str) -> None:
    pytest.importorskip("onnxruntime" if runtime == "eager" else runtime)
    before = os.sched_getaffinity(0)
    setting = make_setting(runtime, threads=2)
    assert dict(setting.options).get("env.OMP_PLACES") == ("cores" if runtime == "eager" else None)
    with Session(setting, repeats=0) as session:
        handle = session.load(conv_relu(16, 32))
        found = session.measure_loaded(handle, rule=Rule(max_time_s=0.2, warmup_max_time_s=0.1))
        assert session._process is not None
        worker = session._process.pid
        bound = cores_of_threads(worker)
    assert min(found.samples_s) > 0
    assert os.sched_getaffinity(0) == before
    first, second = apart(before)[:2]
    if runtime != "openvino":  # which binds its threads only while they compute
        assert first in bound[worker] and second not in bound[worker]
        assert any(second in cores and first not in cores for cores in bound.values())
