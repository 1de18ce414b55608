"""lathe beside runtimes' own tools: each process is started as it should be, and no two lie alike in memory."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path

import own_tools
import pytest
import torch

from latency_tables.graph import Graph


def test_a_script_runs_as_it_would_in_a_process_that_holds_some_bytes_from_before(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nframe = sys._getframe()\nwhile frame.f_back:\n    frame = frame.f_back\n"
        "print(sys.argv, __name__, len(frame.f_globals['held']))\n"
    )
    told = own_tools.run([*own_tools.holding(script, 1234), "-a", "b"], "eager")
    assert told == f"{[str(script), '-a', 'b']} __main__ 1234\n"


def test_lathe_and_its_rival_lie_elsewhere_in_each_pair_and_take_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: list[tuple[str, int]] = []

    def by_lathe(graph: Graph, runtime: str, bytes_held: int) -> float:
        held.append((runtime, bytes_held))
        return 2.0

    def by_tool(graph: Graph, folder: Path, bytes_held: int) -> float:
        held.append(("tool", bytes_held))
        return 1.0

    monkeypatch.setattr(own_tools, "by_lathe", by_lathe)
    rivalry, rng = own_tools.Rivalry("eager", "a tool", "torch", by_tool), random.Random(0)  # noqa: S311  no secret
    graph = Graph((), (), (), ())
    pairs = [own_tools._pair(graph, rivalry, Path(), rng, swapped=swapped) for swapped in (False, True)]
    assert pairs == [(1.0, 2.0), (1.0, 2.0)]
    assert [who for who, _ in held] == ["tool", "eager", "eager", "tool"]
    assert len({count for _, count in held}) == 4


@pytest.mark.parametrize(
    ("ratios", "met"),
    [
        ([1.019] * 10, "yes"),
        ([1.021] * 10, "no"),
        ([0.95, 1.05] * 5, "yes"),
        ([0.97] * 10, "no"),
    ],
)
def test_a_row_is_met_within_two_percent_or_with_one_inside(ratios: list[float], met: str) -> None:
    rivalry = own_tools.RIVALRIES[1]
    row = own_tools._row("timm/resnet50", rivalry, [(1e-3, ratio * 1e-3) for ratio in ratios])
    assert row.endswith(f"| {met} |")
    assert f"| torch.utils.benchmark {torch.__version__} |" in row


def test_a_page_s_rows_are_read_back_and_written_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(own_tools, "origin", lambda script, scale: "Somewhere.")
    rows = {
        ("timm/resnet50", rivalry.runtime): own_tools._row("timm/resnet50", rivalry, [(1e-3, 1e-3)] * 10)
        for rivalry in own_tools.RIVALRIES
        if rivalry.runtime == "eager"
    }
    page = tmp_path / "own_tools.md"
    own_tools.write_page(page, list(rows.values()), "short")
    assert own_tools.rows_of(page.read_text()) == rows


def test_what_was_timed_is_written_before_the_next_tool_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def breaks(graph: Graph, folder: Path, held: int) -> float:
        raise RuntimeError("it told no median")

    fine = own_tools.Rivalry("eager", "a tool", "torch", lambda *_: 1e-3)
    monkeypatch.setattr(own_tools, "RIVALRIES", (fine, replace(fine, runtime="onnxruntime", run=breaks)))
    monkeypatch.setattr(own_tools, "by_lathe", lambda *_: 1e-3)
    monkeypatch.setattr(own_tools, "origin", lambda script, scale: "Somewhere.")
    monkeypatch.setattr(own_tools, "RESULTS", tmp_path)
    words = ["own_tools.py", "--networks", "cifar/resnet8-mlperf", "--pairs", "6"]
    monkeypatch.setattr(sys, "argv", [*words, "--runtimes", "eager", "onnxruntime"])
    with pytest.raises(RuntimeError, match="no median"):
        own_tools.main()
    assert list(own_tools.rows_of((tmp_path / "own_tools.md").read_text())) == [
        ("cifar/resnet8-mlperf", "eager")
    ]
