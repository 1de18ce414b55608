"""Timing a setting's networks in another one: what is asked for, kept, and survived."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import made_up
import made_up_runs as made
import pytest
from test_profiler import KnowingSession, outline_of

from bench.elsewhere import lacking, time_elsewhere
from bench.session import Handle, MeasurementFailed
from bench.timing import Rule
from latency_tables.store import Store
from reports.results import Point

HERE = made_up.setting().digest


def chosen(name: str, *removed: str, **changes: object) -> Point:
    return made.point(id=name, setting="other", removed=removed, **changes)


def test_only_finished_networks_of_other_settings_that_lack_something_are_asked_for() -> None:
    points = [
        chosen("a", "block0"),
        chosen("whole"),
        chosen("known", "block0", elsewhere={HERE: made_up.exact(0.5)}),
        made.point(id="own", setting=HERE, removed=("block0",)),
        made.failed(id="failed", setting="other", removed=("block0",)),
        chosen("narrow", widths={"block1": 2}),
    ]
    assert [point.id for point in lacking(points, HERE)] == ["a", "narrow"]


def timed(session: Any, points: Sequence[Point], store: Store, said: list[str]) -> list[Point]:
    return list(time_elsewhere(points, outline_of(8), session, store, lambda *_: None, said.append))


def test_each_network_is_timed_once_and_stored(tmp_path: Path) -> None:
    store, session, said = Store(tmp_path / "lathe.db"), KnowingSession(), []
    points = [chosen("a", "block0"), chosen("b", "block0"), chosen("c", "block1", "block2")]
    found = timed(session, points, store, said)
    assert [point.elsewhere[HERE].value for point in found] == pytest.approx([22 / 25, 22 / 25, 19 / 25])
    assert session.comparisons == 2
    assert len(store.table(session.setting).networks) == 2
    assert timed(KnowingSession(), points, store, said)[0].elsewhere == found[0].elsewhere
    assert not said


def test_one_that_cannot_be_timed_costs_the_others_nothing(tmp_path: Path) -> None:
    class Refusing(KnowingSession):
        def interleave(self, handles: Sequence[Handle], rule: Rule | None = None) -> Any:
            if self.comparisons == 0:
                self.comparisons += 1
                raise MeasurementFailed("crash", "the worker ended with signal SIGSEGV.")
            return super().interleave(handles, rule)

    store, said = Store(tmp_path / "lathe.db"), []
    found = timed(Refusing(), [chosen("a", "block0"), chosen("b", "block1")], store, said)
    assert [point.id for point in found] == ["b"]
    assert said == ["a cannot be timed in eager: the worker ended with signal SIGSEGV."]
