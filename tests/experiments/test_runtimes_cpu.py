"""Runtimes beside each other: one that refuses costs its cells and not the page."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import runtimes_cpu

from bench.workbench import SettingChoice
from latency_tables.closure import Closure, HeldOut
from latency_tables.errors import LatheError
from latency_tables.estimate import Estimate
from latency_tables.setting import Setting
from latency_tables.skeleton import Cut

RUNTIMES = (("onnxruntime", "fp32"), ("openvino", "fp32"), ("eager", "fp32"))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runtimes_cpu, "RUNTIMES", RUNTIMES)
    monkeypatch.setattr(runtimes_cpu, "NETWORKS", ("a", "b"))
    monkeypatch.setattr(runtimes_cpu, "THREADS", (1,))
    monkeypatch.setattr(runtimes_cpu, "BATCHES", (1,))
    monkeypatch.setattr(runtimes_cpu, "RESULTS", tmp_path)
    monkeypatch.setattr(runtimes_cpu, "choices", lambda *_: [SettingChoice(*words[:1]) for words in RUNTIMES])


def closure(network: str, choice: SettingChoice, folder: Path) -> Closure:
    if choice.runtime == "onnxruntime":
        raise LatheError("no kernel\nfor a | b")
    ratios = (0.5, 0.7, 0.6) if choice.runtime == "openvino" else (0.7, 0.5, 0.6)
    held = [Estimate(ratio, ratio - 0.01, ratio + 0.01) for ratio in ratios]
    return Closure(tuple(HeldOut(Cut.of([f"block{i}"]), one, one, one) for i, one in enumerate(held)))


def test_a_runtime_that_refuses_is_a_row_and_the_others_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes_cpu, "closure", closure)
    rows = [line for line in runtimes_cpu.closure_lines(Path("x")) if line.startswith("| a")]
    assert rows[0] == "| a | onnxruntime fp32 | refused: no kernel for a / b | | | | | |"
    assert rows[1].startswith("| a | openvino fp32 | 0.0% | 100% |") and rows[1].endswith("| 1.00 | yes |")
    assert rows[2].endswith("| -1.00 | no |")
    assert {row.count("|") for row in rows} == {9}


def test_a_run_that_is_interrupted_leaves_the_page_as_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def breaks(network: str, choice: SettingChoice, folder: Path) -> Closure:
        if network == "b":
            raise KeyboardInterrupt
        return closure(network, choice, folder)

    monkeypatch.setattr(runtimes_cpu, "closure", breaks)
    monkeypatch.setattr(runtimes_cpu, "latencies", lambda *_: {})
    monkeypatch.setattr(runtimes_cpu, "origin", lambda script, scale: "Somewhere.")
    monkeypatch.setattr(sys, "argv", ["runtimes_cpu.py", "--out", str(tmp_path)])
    page = tmp_path / "runtimes_cpu.md"
    page.write_text("whole")
    with pytest.raises(KeyboardInterrupt):
        runtimes_cpu.main()
    assert page.read_text() == "whole"
    monkeypatch.setattr(runtimes_cpu, "closure", closure)
    runtimes_cpu.main()
    assert "| b | eager fp32 |" in page.read_text()


def test_a_runtime_that_refuses_a_whole_network_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def latencies(
        item: runtimes_cpu.Item, threads: int, batch: int, folder: Path
    ) -> dict[str, runtimes_cpu.Rounds | str]:
        reference, own = (2e-3,) * 8, (1e-3,) * 8
        return {
            "onnxruntime fp32": runtimes_cpu.Rounds("a", reference, reference),
            "openvino fp32": "it was\nrefused",
            "eager fp32": runtimes_cpu.Rounds("b", own, reference),
        }

    monkeypatch.setattr(runtimes_cpu, "latencies", latencies)
    rows = [line for line in runtimes_cpu.latency_lines(Path("x")) if line.startswith("| a")]
    assert rows == [
        "| a | 1 | 1 | 2 (1.00, 1.00 to 1.00) | refused: it was refused | 1 (0.50, 0.50 to 0.50) |"
    ]


class Timer:
    """In place of a session: eager takes twice as long as the others, and OpenVINO may fail."""

    asked: ClassVar[list[str]] = []
    fails: ClassVar[set[str]] = set()

    def __init__(self, setting: Setting) -> None:
        self._runtime = setting.runtime

    def __enter__(self) -> Timer:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def load(self, *_: object) -> int:
        self.asked.append(self._runtime)
        return 1

    def measure_loaded(self, *_: object) -> SimpleNamespace:
        if self._runtime in self.fails:
            raise LatheError("it crashed")
        return SimpleNamespace(latency_s=SimpleNamespace(value=2e-3 if self._runtime == "eager" else 1e-3))


def test_what_failed_or_has_another_setting_now_is_timed_again_beside_the_reference(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    network = SimpleNamespace(outline=SimpleNamespace(without=lambda removed: (None, None)))
    monkeypatch.setattr(runtimes_cpu, "Subject", lambda *_: network)
    monkeypatch.setattr(runtimes_cpu, "Session", Timer)
    version = {"eager": "2.12"}

    class Choice(SettingChoice):
        def make(self) -> Setting:
            made = super().make()
            return replace(made, versions=(("it", version.get(self.runtime, "1")),))

    monkeypatch.setattr(runtimes_cpu, "choices", lambda *_: [Choice(*words[:1]) for words in RUNTIMES])

    def timed() -> tuple[list[str], dict[str, float | str]]:
        Timer.asked.clear()
        found = runtimes_cpu.latencies(runtimes_cpu.Item("a"), 1, 1, tmp_path)
        said = {
            label: one if isinstance(one, str) else one.seconds[0] / one.reference[0]
            for label, one in found.items()
        }
        return list(Timer.asked), said

    monkeypatch.setattr(Timer, "fails", {"openvino"})
    every = {"onnxruntime fp32": 1.0, "openvino fp32": "it crashed", "eager fp32": 2.0}
    assert timed() == (["onnxruntime", "openvino", "eager"], every)
    monkeypatch.setattr(Timer, "fails", set())
    every["openvino fp32"] = 1.0
    assert timed() == (["onnxruntime", "openvino"], every)
    assert timed() == ([], every)
    version["eager"] = "2.13"
    assert timed() == (["onnxruntime", "eager"], every)
    version["eager"] = "2.14"
    monkeypatch.setattr(Timer, "fails", {"onnxruntime"})
    lost = "nothing to compare with: it crashed"
    assert timed() == (["onnxruntime", "eager"], {**every, "eager fp32": lost}), "what was timed stays"
    monkeypatch.setattr(Timer, "fails", set())
    version["eager"] = "2.13"
    version["onnxruntime"] = "2"
    assert timed() == (["onnxruntime", "openvino", "eager"], every)
