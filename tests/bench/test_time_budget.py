"""Profiles on a restless machine: what is missing comes before what was spoiled, so that short ones get done."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import made_up
import pytest
from test_profiler import KnowingSession, outline_of, run
from test_width_profiler import OUTLINE, WeighingSession

from bench.asked_networks import pending_networks
from bench.profiler import profile
from bench.spoiled import spoiled_parts
from bench.timing import Rule
from bench.width_profiler import profile_widths, profile_with_widths
from latency_tables.graph import Graph
from latency_tables.measurement import Measurement
from latency_tables.store import Store


class Restless(WeighingSession):
    """Others disturb every second part; each part and each whole network takes a second."""

    def __init__(self) -> None:
        super().__init__()
        self.after: list[int] = []  # how many comparisons came before each part

    def measure(self, graph: Graph, weights: Any = None, rule: Rule | None = None) -> Measurement:
        cell = super().measure(graph, weights, rule)
        self.after.append(self.comparisons)
        created = f"2026-01-01T00:00:{len(self.measured):02}+00:00"
        busy = {"disturbance": "steal time"} if len(self.measured) % 2 == 0 else {}
        return replace(cell, host=busy, created=created)

    def now_s(self) -> float:
        return float(len(self.measured) + self.comparisons)


def test_a_profile_goes_on_with_what_is_missing_and_then_with_what_was_spoiled(tmp_path: Path) -> None:
    store, outline, first = Store(tmp_path / "lathe.db"), outline_of(8), Restless()
    run(first, store, outline, deadline_s=4.0, now_s=first.now_s)
    spoiled = spoiled_parts(outline.skeleton.parts, store.table(made_up.setting()))
    assert len(spoiled) == 2
    second = Restless()
    done = run(second, store, outline)
    assert done.complete
    assert len(set(first.measured) & set(second.measured[:2])) == 1, (
        "the anchor, and the part that was missing"
    )
    again = [
        place for place, text in enumerate(second.measured) if text in {one.graph.text for one in spoiled}
    ]
    assert [second.measured[place] for place in again] == [part.graph.text for part in spoiled]
    assert [second.after[place] for place in again] == [second.comparisons] * 2, "after all whole networks"


def test_without_time_for_them_spoiled_parts_do_not_keep_networks_from_being_timed(tmp_path: Path) -> None:
    store, outline = Store(tmp_path / "lathe.db"), outline_of(8)
    for _ in range(12):
        session = Restless()
        run(session, store, outline, deadline_s=3.0, now_s=session.now_s)
    assert pending_networks(outline, store.table(made_up.setting())) == []


def test_a_table_over_widths_is_whole_after_enough_short_profiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, store = Store(tmp_path / "quiet.db"), Store(tmp_path / "restless.db")
    profile_with_widths(OUTLINE, WeighingSession(), quiet)  # type: ignore[arg-type]
    wanted = quiet.table(made_up.setting())
    budget_s = 16.0
    for _ in range(round(2 * (len(wanted.cells) + len(wanted.networks)) / budget_s)):
        session = Restless()
        for name, each in (("profile", profile), ("profile_widths", profile_widths)):
            monkeypatch.setattr(f"bench.width_profiler.{name}", partial(each, now_s=session.now_s))
        profile_with_widths(OUTLINE, session, store, deadline_s=budget_s)  # type: ignore[arg-type]
    table = store.table(made_up.setting())
    assert wanted.cells.keys() <= table.cells.keys()
    assert pending_networks(OUTLINE, table) == []


class Busy(KnowingSession):
    """Others disturb everything, in this second."""

    def __init__(self, second: int) -> None:
        super().__init__()
        self.second = second

    def measure(self, graph: Graph, weights: Any = None, rule: Rule | None = None) -> Measurement:
        created = f"2026-01-01T00:00:{self.second:02}+00:00"
        return replace(super().measure(graph), host={"disturbance": "steal time"}, created=created)

    def now_s(self) -> float:
        return float(len(self.measured))


def test_those_spoiled_longest_ago_are_timed_again_first(tmp_path: Path) -> None:
    store, outline = Store(tmp_path / "lathe.db"), outline_of(8)
    run(Busy(0), store, outline)
    seen: list[str] = []
    for second in range(1, 6):
        session = Busy(second)
        run(session, store, outline, deadline_s=1.0, now_s=session.now_s)
        seen += session.measured
    assert len(seen) == len(set(seen)) == 5
