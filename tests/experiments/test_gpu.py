"""What is to run once on a lent GPU, here in eager on the CPU: its order, its ends, and what is left of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gpu
import gpu_page
import pytest
from calm import calm

from bench.runtimes.base import Availability
from bench.runtimes.eager import Eager
from bench.stopping import Rule
from bench.tables import STORE_FILE, open_store
from latency_tables.exchange import read_archive
from latency_tables.skeleton_file import read_skeleton
from latency_tables.table import Failure

SMALL = "cifar/resnet8-mlperf"
FOUND = {
    "setting": "s1",
    "unpruned_s": [1e-3, 0.9e-3, 1.1e-3],
    "held_out": 4,
    "excess_error": 0.02,
    "within_5pct": 1.0,
    "within_10pct": 1.0,
    "noise_floor": 0.001,
    "launch": {"queued_s": 1e-3, "issued_s": 2e-3},
}
MACHINE = {
    "device": "NVIDIA H100",
    "driver": "580.159",
    "torch": "2.11.0+cu130",
    "cuda": "13.0",
    "cudnn": "91002",
}


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Where the page goes; everything is small, on the CPU and quick."""
    for name, value in {
        "DEVICE": "cpu",
        "NETWORKS": {SMALL: 1.0},
        "CHEAP": SMALL,
        "MAIN": SMALL,
        "WAYS": (("eager", ()),),
        "PRECISIONS": ("fp32",),
        "BATCHES": (1,),
        "HELD_OUT": 1,
        "LONGEST_S": {"part": 0.02, "network": 0.05},
        "CHANNELS": (8, 16),
        "STAIR_RULE": Rule(max_time_s=0.02, warmup_max_time_s=0.02),
        "TESTS": ("--version",),
    }.items():
        monkeypatch.setattr(gpu, name, value)
    monkeypatch.setattr("bench.profiler.PART_RULE", Rule(max_time_s=0.02, warmup_max_time_s=0.02))
    monkeypatch.setattr("bench.profiler.NETWORK_RULE", Rule(max_time_s=0.05, warmup_max_time_s=0.02))
    monkeypatch.setattr("bench.profiler._rest", lambda seconds: None)
    monkeypatch.setattr(gpu_page, "RESULTS", tmp_path / "results")
    monkeypatch.setenv("PYTHONPATH", "")
    with calm():
        yield tmp_path / "results"


def main(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py", *map(str, words)])
    gpu.main()


def known(line: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"took_s": 1.0, "status": "done", **line, **changes}


def test_every_way_precision_and_batch_comes_early_and_resnet50_soon_after(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    todo = gpu.jobs(tmp_path, store)
    store.close()
    names = [job.name for job in todo]
    assert len(names) == len(set(names)) == 18 * 9 + 3
    first = [job.about for job in todo[:3]]
    assert {about["network"] for about in first} == {gpu.CHEAP}
    for field, wanted in (("way", 3), ("precision", 2), ("batch", 3)):
        assert len({about[field] for about in first}) == wanted
    main_network = [
        f"{way} {precision} b{batch} {gpu.MAIN}"
        for way in ("eager", "eager launch=graph")
        for precision in ("fp32", "fp16")
        for batch in (1, 32, 256)
    ]
    assert max(map(names.index, main_network)) < 20
    assert {names.index(name) for name in main_network if " b1 " in name} == {3, 4, 5, 6}
    assert names.index("tests") == 7, "they do not eat the first minutes"


def job(name: str, do: Callable[[float], dict[str, Any]], guess_s: float = 1.0) -> gpu.Job:
    return gpu.Job(name, {"what": "table", "network": name}, guess_s, do)


def test_a_failing_job_is_a_line_and_the_run_goes_on_and_tries_it_again_last(tmp_path: Path) -> None:
    path, mirrored, order = tmp_path / "gpu.jsonl", [], []

    def fails(until_s: float) -> dict[str, Any]:
        order.append("a")
        raise ZeroDivisionError("nobody foresaw it")

    def works(until_s: float) -> dict[str, Any]:
        order.append("b")
        return FOUND

    def copied() -> None:
        mirrored.append(len(gpu.read_lines(path)))

    todo = [job("a", fails), job("b", works), job("c", works)]
    gpu.run(todo[:2], path, 1e9, copied)
    assert [(line["job"], line["status"]) for line in gpu.read_lines(path)] == [
        ("a", "failed"),
        ("b", "done"),
    ]
    (failed, _) = gpu.read_lines(path)
    assert "nobody foresaw it" in failed["reason"] and "Traceback" in failed["trace"]
    assert mirrored == [1, 2]
    gpu.run(todo, path, 1e9, copied)
    assert order == ["a", "b", "b", "a"], "what failed is tried again, after what is new"


def test_nothing_is_begun_that_will_not_end_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, begun = tmp_path / "gpu.jsonl", []
    monkeypatch.setattr(gpu.time, "monotonic", lambda: 100.0)

    def do(until_s: float) -> dict[str, Any]:
        begun.append(until_s)
        return {}

    like = {"job": "before", "what": "table", "network": "long"}
    gpu.write_lines(path, [known(like, took_s=50.0), known(like, took_s=5.0, status="failed")])
    todo = [job("long", do), job("guessed", do, 31.0), job("short", do, 29.0)]
    gpu.run(todo, path, 130.0, lambda: None)
    assert [line["job"] for line in gpu.read_lines(path)[2:]] == ["short"]
    assert begun == [130.0]


def test_a_cut_line_is_redone(tmp_path: Path) -> None:
    path = tmp_path / "gpu.jsonl"
    whole = json.dumps(known({"job": "a", "what": "table"}))
    path.write_text(f"{whole}\n" + whole.replace('"a"', '"b"')[:40])
    again: list[str] = []

    def do(name: str) -> Callable[[float], dict[str, Any]]:
        return lambda until_s: again.append(name) or FOUND  # type: ignore[func-returns-value]

    gpu.run([job("a", do("a")), job("b", do("b"))], path, 1e9, lambda: None)
    assert again == ["b"]
    assert [line["job"] for line in gpu.read_lines(path)] == ["a", "b"]


def test_tests_that_take_too_long_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(words: list[str], *, stdout: Any, timeout: float, **_: Any) -> None:
        stdout.write("one passed\n")
        stdout.flush()
        raise subprocess.TimeoutExpired(words, timeout)

    monkeypatch.setattr(gpu.subprocess, "run", late)
    with pytest.raises(RuntimeError, match="they ended when 30 s were over: one passed"):
        gpu.cuda_tests(tmp_path, gpu.time.monotonic() + 30.2)


@pytest.mark.parametrize("status", [0, 1])
def test_tests_that_fail_are_no_job_that_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    def ends(words: list[str], *, stdout: Any, **_: Any) -> subprocess.CompletedProcess[str]:
        stdout.write("a line\n1 failed, 6 passed\n")
        stdout.flush()
        return subprocess.CompletedProcess(words, status)

    monkeypatch.setattr(gpu.subprocess, "run", ends)
    job = gpu.Job("tests", {"what": "tests"}, 1.0, partial(gpu.cuda_tests, tmp_path))
    path = tmp_path / "lines.jsonl"
    gpu.run([job], path, gpu.time.monotonic() + 60, lambda: None)
    (line,) = gpu.read_lines(path)
    if status:
        assert line["status"] == "failed"
        assert line["reason"].endswith("they ended with status 1: 1 failed, 6 passed")
    else:
        assert (line["status"], line["told"]) == ("done", ["a line", "1 failed, 6 passed"])


def test_a_setting_with_a_network_begun_and_not_ended_is_no_table_to_ship() -> None:
    about = {"what": "table", "way": "eager", "precision": "fp32", "batch": 1}
    first = known({**about, "job": "a", **FOUND})
    lines = [first, known({**about, "job": "b"}, status="unfinished")]
    assert gpu.complete(lines[:1]) == {"s1": [first]}
    assert gpu.complete(lines) == {}
    ended = known({**about, "job": "b", **FOUND})
    assert gpu.complete([*lines, ended]) == {"s1": [first, ended]}


def test_the_page_is_drawn_from_lines_alone(results: Path) -> None:
    table = {"job": "t", "what": "table", "way": "eager launch=graph", "precision": "fp16", "batch": 32}
    lines = [
        known(
            {"job": "machine", "what": "machine", "date": "2026-11-22", "python": "3.12.3", "commit": "abc"}
            | MACHINE
        )
        | {"host": "a processor, 16 cores"},
        known({**table, "network": "timm/resnet50", **FOUND}, status="failed", reason="it was tried before"),
        known({**table, "network": "timm/resnet50", **FOUND}),
        known({"job": "staircase fp16", "what": "staircase", "precision": "fp16", "batch": 32})
        | {"channels": [8, 16], "seconds": [1e-5, 1.2e-5]},
        known({"job": "tests", "what": "tests", "told": ["7 passed"]}),
        known({"job": "compile fp32 b1", "what": "table"}, status="failed", reason="no compiler."),
    ]
    gpu_page.draw(lines, "short")
    text = (results / "gpu.md").read_text()
    assert "NVIDIA H100, driver 580.159, PyTorch 2.11.0+cu130, CUDA 13.0, cuDNN 91002, Python 3.12.3" in text
    assert "commit abc" in text
    row = "| eager launch=graph | fp16 | 32 | timm/resnet50 | 1.000 | 2.00 | 4 | 2.0% | 100% | 100% | 0.1% |"
    assert row in text
    assert "8: 10.0, 16: 12.0." in text
    assert "The tests that need a CUDA device pass: 7 passed" in text
    assert "compile fp32 b1: failed. no compiler." in text
    assert "tried before" not in text


def test_without_a_gpu_it_says_so_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = Availability(False, "there is none", "Borrow one.")
    monkeypatch.setattr(Eager, "availability", classmethod(lambda cls, kind: lacking))
    with pytest.raises(SystemExit) as end:
        main(monkeypatch, "--out", tmp_path / "out", "--commit", "abc")
    assert end.value.code == 2
    assert capsys.readouterr().err == "eager (cuda) is not usable: there is none. Borrow one.\n"
    assert not (tmp_path / "out").exists()


def test_a_killed_run_goes_on_elsewhere_and_its_tables_come_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, results: Path
) -> None:
    mirror, name = tmp_path / "mirror", f"eager fp32 b1 {SMALL}"
    real = gpu.check_networks

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gpu, "check_networks", killed)
    with pytest.raises(KeyboardInterrupt):
        main(monkeypatch, "--out", tmp_path / "first", "--mirror", mirror, "--commit", "abc")
    assert [line["job"] for line in gpu.read_lines(mirror / gpu.LINES)] == ["machine"]
    monkeypatch.setattr(gpu, "check_networks", real)

    first = tmp_path / "first/experiments/gpu-short"
    store = open_store(first)
    (setting,) = store.settings()
    part = gpu.subject(SMALL, 1).outline.skeleton.parts[0]
    store.put(setting, part, Failure("timeout", "2026-01-01T00:00:00+00:00"))
    store.close()
    gpu.mirror(first, mirror)

    timed: list[int] = []
    profile = gpu.profile

    def watched(*words: Any, **named: Any) -> Any:
        done = profile(*words, **named)
        timed.append(done.measured + done.networks)
        return done

    monkeypatch.setattr(gpu, "profile", watched)
    main(monkeypatch, "--out", tmp_path / "second", "--mirror", mirror, "--resume", mirror, "--commit", "abc")
    lines = gpu.read_lines(mirror / gpu.LINES)
    assert [(line["job"], line["status"]) for line in lines] == [
        ("machine", "done"),
        (name, "done"),
        ("tests", "done"),
        ("staircase fp32", "done"),
    ]
    assert timed == [1], (
        "the parts that were timed before came with the mirror, and what failed is tried again"
    )
    assert lines[2]["status"] == "done"
    assert f"| eager | fp32 | 1 | {SMALL} |" in (results / "gpu.md").read_text()

    (results / "gpu.md").unlink()
    main(monkeypatch, "--out", tmp_path / "third", "--resume", mirror, "--home")
    assert f"| eager | fp32 | 1 | {SMALL} |" in (results / "gpu.md").read_text()
    devices = tmp_path / "third/experiments/gpu-short" / gpu.DEVICES
    (table,) = devices.glob("*.parquet")
    assert read_archive(table).setting.digest == lines[1]["setting"]
    skeleton = read_skeleton(devices / "skeletons" / "cifar-resnet8-mlperf-b1.skeleton")
    assert skeleton.digest == lines[1]["skeleton"]
    assert skeleton.groups, "at home there is time to find them"
    assert (tmp_path / "third/experiments/gpu-short" / STORE_FILE).exists()
