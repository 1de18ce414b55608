"""Timing a setting's networks in another one: what is asked for, kept, and survived."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up
import made_up_runs as made
import pytest
from test_profiler import KnowingSession, outline_of

from bench.elsewhere import lacking, time_elsewhere
from bench.session import Handle, MeasurementFailed
from bench.timing import Comparison, Rule, Verdict
from latency_tables.skeleton import Cut
from latency_tables.store import Store
from pruning.outline import Outline
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


def timed(
    session: Any, points: Sequence[Point], store: Store, said: list[str], outline: Outline | None = None
) -> list[Point]:
    return list(
        time_elsewhere(points, outline or outline_of(8), session, store, lambda *_: None, said.append)
    )


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
    assert said == ["a cannot be timed in eager fp32: the worker ended with signal SIGSEGV."]


def test_what_was_timed_badly_is_no_fact_and_is_tried_again(tmp_path: Path) -> None:
    class Disturbed(KnowingSession):
        def interleave(self, handles: Sequence[Handle], rule: Rule | None = None) -> Any:
            cells, comparisons = super().interleave(handles, rule)
            noisy = {"disturbance": "foreign load"}
            return tuple(replace(cell, host={**cell.host, **noisy}) for cell in cells), comparisons

    store, said = Store(tmp_path / "lathe.db"), []
    points = [chosen("a", "block0")]
    assert timed(Disturbed(), points, store, said) == []
    assert said == [
        "a was not timed well enough in eager fp32 to be told: foreign load. The same command tries again."
    ]
    (found,) = timed(KnowingSession(), points, store, said)
    assert found.elsewhere[HERE].value == pytest.approx(22 / 25)


def test_a_narrower_network_is_timed_with_its_own_widths(tmp_path: Path) -> None:
    class ByWeight(KnowingSession):
        """Every weight costs a microsecond."""

        def interleave(self, handles: Sequence[Handle], rule: Rule | None = None) -> Any:
            self.comparisons += 1
            first, second = (
                1e-6 * sum(math.prod(type_.shape) for type_ in self.loaded[handle.number].weights)
                for handle in handles
            )
            comparison = Comparison(made_up.exact(second / first), Verdict.CANNOT_TELL, 10)
            return (made_up.cell(first), made_up.cell(second)), (comparison,)

    store, session, said = Store(tmp_path / "lathe.db"), ByWeight(), []
    points = [
        chosen("shorter", "block0"),
        chosen("narrower", widths={"block1": 16}),
        chosen("both", "block0", widths={"block1": 16}),
        chosen("again", widths={"block1": 16}),
    ]
    found = timed(session, points, store, said, outline_of(4, 32, grouped=True))
    # A block has 8 * 32 weights twice, the head 3 * 8.
    whole, block = 4 * 512 + 24, 512
    shorter, narrower, both = (1 - gone / whole for gone in (block, block / 2, block * 3 / 2))
    assert [point.elsewhere[HERE].value for point in found] == pytest.approx(
        [shorter, narrower, both, narrower]
    )
    assert session.comparisons == 3
    assert {network.cut for network in store.table(session.setting).networks} == {
        Cut.of(point.removed, point.widths) for point in points
    }
    assert not said
