"""Layouts of memory beside each other: what a row says of made-up times, and which process is told what."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import heap_layout
import pytest

from bench.workbench import NetworkChoice, Subject

NETWORK = "cifar/resnet8-mlperf"


def cells(line: str) -> list[str]:
    return line.strip("| ").split(" | ")


def rounds(effect: float, noise: float) -> list[list[float]]:
    """Milliseconds of eight rounds: every second layout slower, the machine a tenth slower from round to round."""
    rng = random.Random(0)  # noqa: S311  no secret
    layouts = range(len(heap_layout.PADS))
    return [
        [1e-3 * 1.1**place * (1 + effect * (layout % 2)) * (1 + rng.gauss(0, noise)) for layout in layouts]
        for place in range(8)
    ]


def test_a_layout_that_matters_is_told_from_chance_though_the_machine_slows_down() -> None:
    told = cells(heap_layout.row("a", "eager", rounds(0.05, 0.005)))
    assert 0.04 < float(told[6].rstrip("%")) / 100 < 0.06
    assert float(told[8]) < 1e-4


def test_layouts_that_do_not_matter_are_left_to_chance() -> None:
    told = cells(heap_layout.row("a", "eager", rounds(0.0, 0.02)))
    assert float(told[8]) > 0.05
    assert 0.005 < float(told[7].rstrip("%")) / 100 < 0.06


def test_each_layout_is_a_process_once_in_each_round_and_other_rows_stay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, int]] = []

    def run(command: list[str], runtime: str) -> str:
        *_, named, pad = command
        assert named == runtime
        asked.append((runtime, int(pad)))
        return f"{0.001 + 1e-9 * int(pad)}\n"

    monkeypatch.setattr(heap_layout, "run", run)
    monkeypatch.setattr(heap_layout, "RESULTS", tmp_path)
    monkeypatch.setattr(heap_layout, "origin", lambda script, scale: f"{script} {scale}.")
    for runtime in ("eager", "onnxruntime"):
        words = ["--networks", NETWORK, "--runtimes", runtime, "--rounds", "2"]
        monkeypatch.setattr(sys, "argv", ["heap_layout.py", *words])
        heap_layout.main()
    assert sorted(asked[:16]) == sorted([("eager", pad) for pad in heap_layout.PADS] * 2)
    assert asked[:8] != asked[8:16], "in random order"
    lines = (tmp_path / "heap_layout.md").read_text().splitlines()
    rows = [cells(line) for line in lines if line.startswith(f"| {NETWORK}")]
    assert [row[1] for row in rows] == ["eager", "onnxruntime"]
    assert rows[0][6] == "12.0%", "the largest median over the smallest"


def test_the_loop_tells_seconds_of_a_real_network(tmp_path: Path) -> None:
    path = tmp_path / "graph.json"
    graph = Subject(NetworkChoice(NETWORK), 1).outline.skeleton.graph
    path.write_text(json.dumps(graph.to_json()))
    text = heap_layout._LOOP.replace(f"+ {heap_layout.SECONDS}", "+ 0.05")
    assert "+ 0.05" in text
    told = heap_layout.run([sys.executable, "-c", text, str(path), "eager", "5000"], "eager")
    assert 1e-6 < float(told) < 1
