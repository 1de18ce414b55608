"""Runtimes beside each other: one that refuses costs its cells and not the page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import runtimes_cpu

from bench.workbench import SettingChoice
from latency_tables.closure import Closure, HeldOut
from latency_tables.errors import LatheError
from latency_tables.estimate import Estimate
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


def test_the_page_has_each_row_as_soon_as_it_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def breaks(network: str, choice: SettingChoice, folder: Path) -> Closure:
        if network == "b":
            raise KeyboardInterrupt
        return closure(network, choice, folder)

    monkeypatch.setattr(runtimes_cpu, "closure", breaks)
    monkeypatch.setattr(runtimes_cpu, "origin", lambda script, scale: "Somewhere.")
    monkeypatch.setattr(sys, "argv", ["runtimes_cpu.py", "--part", "closure", "--out", str(tmp_path)])
    with pytest.raises(KeyboardInterrupt):
        runtimes_cpu.main()
    assert "| a | eager fp32 |" in (tmp_path / "runtimes_cpu.md").read_text()


def test_a_runtime_that_refuses_a_whole_network_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def latencies(
        item: runtimes_cpu.Item, threads: int, batch: int, folder: Path
    ) -> dict[str, list[float] | str]:
        return {"onnxruntime fp32": [2e-3] * 8, "openvino fp32": "it was\nrefused", "eager fp32": [1e-3] * 8}

    monkeypatch.setattr(runtimes_cpu, "latencies", latencies)
    rows = [line for line in runtimes_cpu.latency_lines(Path("x")) if line.startswith("| a")]
    assert rows == [
        "| a | 1 | 1 | 2 (1.00, 1.00 to 1.00) | refused: it was refused | 1 (0.50, 0.50 to 0.50) |"
    ]
