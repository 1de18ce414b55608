"""lathe beside runtimes' own tools: each process is started as it should be, and no two lie alike in memory."""

from __future__ import annotations

import random
from pathlib import Path

import own_tools
import pytest

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
    rivalry, rng = own_tools.Rivalry("eager", "a tool", by_tool), random.Random(0)  # noqa: S311  no secret
    graph = Graph((), (), (), ())
    pairs = [own_tools._pair(graph, rivalry, Path(), rng, swapped=swapped) for swapped in (False, True)]
    assert pairs == [(1.0, 2.0), (1.0, 2.0)]
    assert [who for who, _ in held] == ["tool", "eager", "eager", "tool"]
    assert len({count for _, count in held}) == 4
