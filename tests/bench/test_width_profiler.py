"""Profiling widths with a session that knows its latencies."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import made_up
import numpy as np
import pytest
from cli_driver import Lathe
from test_profiler import KnowingSession, outline_of, run

from bench.asked_networks import PASSES, wanted_networks
from bench.session import MeasurementFailed
from bench.timing import Rule
from bench.width_profiler import (
    Filled,
    WidthsProfiled,
    fill,
    find_kin,
    profile_widths,
    profile_with_widths,
)
from bench.workbench import Subject
from latency_tables.context import coefficients
from latency_tables.costs import Costs, Origin
from latency_tables.errors import UserError
from latency_tables.graph import Graph
from latency_tables.measurement import FACTS, REORDERING, Measurement
from latency_tables.prediction import predict
from latency_tables.random_plans import NARROWEST
from latency_tables.skeleton import Cut
from latency_tables.store import Store
from latency_tables.table import Failure

WIDTH = 96


class WeighingSession(KnowingSession):
    """A microsecond for each operator and a nanosecond for each weight."""

    def __init__(self, stop_after: int | None = None, fails_at: int | None = None) -> None:
        super().__init__(stop_after=stop_after)
        self.fails_at = fails_at

    def measure(self, graph: Graph, weights: Any = None, rule: Rule | None = None) -> Measurement:
        super().measure(graph, weights, rule)
        if any(self.fails_at in type_.shape for type_ in graph.weights):
            raise MeasurementFailed("crash", "the worker ended with signal SIGSEGV.")
        count = sum(int(np.prod(type_.shape)) for type_ in graph.weights)
        return made_up.cell(1e-6 * len(graph.operators) + 1e-9 * count)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path / "lathe.db")
    run(WeighingSession(), found, OUTLINE)
    return found


OUTLINE = outline_of(4, WIDTH, grouped=True)
SKELETON = OUTLINE.skeleton


def widen(session: WeighingSession, store: Store, **options: Any) -> WidthsProfiled:
    return profile_widths(SKELETON, session, store, **options)  # type: ignore[arg-type]


def test_every_width_that_a_search_may_ask_for_is_known_afterwards(store: Store) -> None:
    session = WeighingSession()
    done = widen(session, store)
    assert done.complete and done.failed == () and done.families == 2  # into the hidden width and out of it
    assert sum(done.measured.values()) == len(set(session.measured)) - 1, "the anchor is of the depth"
    costs = Costs(SKELETON, store.table(made_up.setting()))
    least = int(NARROWEST * WIDTH)
    widths = np.array([[w] * len(SKELETON.groups) for w in range(least, WIDTH + 1)])
    totals = costs.freed_by_many([set()] * len(widths), widths).sum(axis=1) * costs.whole_s
    assert np.isfinite(totals).all()
    # What is timed here is a line, and so is what lies between.
    np.testing.assert_allclose(np.diff(totals, 2), 0.0, atol=1e-9)
    # Now the networks that lack channels can be fitted on.
    assert (
        coefficients(SKELETON, store.table(made_up.setting())).freedom > 5
    )  # five networks, at most three slopes


def test_a_stopped_profile_goes_on_and_measures_nothing_twice(store: Store) -> None:
    first = WeighingSession(stop_after=7)
    with pytest.raises(KeyboardInterrupt):
        widen(first, store)
    second = WeighingSession()
    assert widen(second, store).complete
    assert set(first.measured) & set(second.measured) == {first.measured[0]}, "the anchor"
    third = WeighingSession()
    assert widen(third, store).measured == {} and third.measured == []


def test_time_ends_it_between_two_cells(store: Store) -> None:
    session = WeighingSession()
    done = widen(session, store, deadline_s=5.0, now_s=lambda: float(len(session.measured)))
    assert not done.complete
    assert len(session.measured) == 5, "nor is the anchor read when time is over"
    assert sum(done.measured.values()) == 4, "and the anchor once"


def test_what_the_anchor_sends_back_is_not_timed_when_time_is_over(store: Store) -> None:
    class Slowing(WeighingSession):
        def measure(self, graph: Graph, weights: Any = None, rule: Rule | None = None) -> Measurement:
            cell = super().measure(graph, weights, rule)
            slower = 1.5 if len(self.measured) >= 5 else 1.0  # the second reading of the anchor
            return replace(cell, samples_s=tuple(slower * sample for sample in cell.samples_s))

    session = Slowing()
    done = widen(session, store, deadline_s=45.0, now_s=lambda: 10.0 * len(session.measured))
    assert (len(session.measured), done.complete) == (5, False)
    assert [(move.again, move.settled) for move in done.moves] == [(0, False)]


class Reordering(WeighingSession):
    """Steps of 16, which what a part alone only lays out anew makes a straight line of, if it is not left out."""

    def __init__(self, *, hidden: bool) -> None:
        super().__init__()
        self.hidden = hidden

    def measure(self, graph: Graph, weights: Any = None, rule: Rule | None = None) -> Measurement:
        super().measure(graph, weights, rule)
        sizes = [type_.shape for type_ in graph.weights]
        counts_s = 1e-6 + 1e-8 * sum(
            math.prod(16 * math.ceil(size / 16) for size in shape) for shape in sizes
        )
        alone_s = max(counts_s, 1e-6 + 3e-8 * sum(math.prod(shape) for shape in sizes))
        if not self.hidden:
            return made_up.cell(counts_s)
        return replace(made_up.cell(alone_s), host={FACTS: {REORDERING: 1.0 - counts_s / alone_s}})


def test_steps_are_those_of_what_counts_in_a_network(tmp_path: Path) -> None:
    asked, costs = [], []
    for hidden in (False, True):
        session, store = Reordering(hidden=hidden), Store(tmp_path / f"{hidden}.db")
        run(session, store, OUTLINE)
        assert widen(session, store).complete
        asked.append(session.measured)
        costs.append(Costs(SKELETON, store.table(made_up.setting())))
    assert asked[0] == asked[1]
    widths = {group.name: 40 for group in SKELETON.groups}
    assert costs[1].total_s((), widths) == pytest.approx(costs[0].total_s((), widths))


def test_a_crash_costs_its_cell_with_the_reason(store: Store) -> None:
    done = widen(WeighingSession(fails_at=33), store)
    crash = ("linear at 33", "the worker ended with signal SIGSEGV.")
    assert done.complete and done.failed == (crash, crash)  # one in each of two sweeps
    failures = [c for c in store.table(made_up.setting()).cells.values() if isinstance(c, Failure)]
    assert [failure.reason for failure in failures] == ["the worker ended with signal SIGSEGV."] * 2
    again = WeighingSession()
    assert widen(again, store).failed == (crash, crash) and again.measured == []  # not tried again by itself
    retried = widen(WeighingSession(), store, retry_failed=True)
    assert (retried.measured, retried.failed) == ({"sweep": 2}, ())
    assert not [c for c in store.table(made_up.setting()).cells.values() if isinstance(c, Failure)]


def test_a_width_that_failed_is_foreseen_as_the_search_does_and_filled_on_demand(store: Store) -> None:
    widen(WeighingSession(fails_at=33), store)
    cut = Cut.of((), {"block0": 33})
    foreseen = predict(SKELETON, store.table(made_up.setting()), (), dict(cut.widths))
    assert Origin.INTERPOLATED in {share.origin for share in foreseen.shares}
    assert fill(SKELETON, cut, WeighingSession(), store).measured > 0  # type: ignore[arg-type]
    filled = predict(SKELETON, store.table(made_up.setting()), (), dict(cut.widths))
    assert {share.origin for share in filled.shares} == {Origin.MEASURED}


def test_layers_that_share_cells_are_one_entry_worth_their_sum(store: Store) -> None:
    kin = find_kin(SKELETON, store.table(made_up.setting()))
    assert [one.full for one in kin] == [((WIDTH,),)] * 2
    costs = Costs(SKELETON, store.table(made_up.setting()))
    blocks = sum(costs.blocks_s.values())
    sums = sum(
        latency
        for latency, layer in zip(costs.layers_s, SKELETON.layers, strict=True)
        if layer.name[-1] == "c"
    )
    assert sum(one.worth_s for one in kin) == pytest.approx(blocks - sums)


def test_progress_never_falls_back(store: Store) -> None:
    seen: list[tuple[int, int]] = []
    widen(WeighingSession(), store, progress=lambda done, total, _: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert all(done < total for done, total in seen)


def test_filling_measures_what_one_plan_lacks_and_no_more(store: Store) -> None:
    cut = Cut(("block3",), (("block0", 40), ("block3", 20)))
    with pytest.raises(UserError, match="lathe predict --fill"):
        predict(SKELETON, store.table(made_up.setting()), cut.removed, dict(cut.widths))
    session = WeighingSession()
    assert fill(SKELETON, cut, session, store) == Filled(2, ())  # type: ignore[arg-type]
    anchor, *filled, again = session.measured
    assert anchor == again and len({anchor, *filled}) == 3 == 1 + len(filled), "the anchor before and after"
    prediction = predict(SKELETON, store.table(made_up.setting()), cut.removed, dict(cut.widths))
    assert {share.origin for share in prediction.shares} == {Origin.MEASURED}
    assert fill(SKELETON, cut, session, store) == Filled(0, ())  # type: ignore[arg-type]
    assert len(session.measured) == 4, "nothing was lacking, so nothing was read"


def test_a_network_of_which_nothing_was_timed_is_filled_from_the_start(tmp_path: Path) -> None:
    fresh, session = Store(tmp_path / "fresh.db"), WeighingSession()
    assert fill(SKELETON, Cut(("block3",), ()), session, fresh).failed == ()  # type: ignore[arg-type]
    table = fresh.table(made_up.setting())
    assert {part.key for part in SKELETON.parts} == set(table.cells)
    assert not predict(SKELETON, table, ["block3"]).fit.timed
    assert fill(SKELETON, Cut((), (("block0", 40),)), session, fresh).failed == ()  # type: ignore[arg-type]
    narrower = predict(SKELETON, fresh.table(made_up.setting()), (), {"block0": 40})
    assert {share.origin for share in narrower.shares} == {Origin.MEASURED}


def test_what_is_filled_in_a_slow_minute_is_timed_again_when_it_is_over(tmp_path: Path) -> None:
    store, outline = Store(tmp_path / "lathe.db"), outline_of(4, 512, grouped=True)
    run(SlowMinutes(), store, outline)
    session = SlowMinutes(quick_from_s=2.0)  # the anchor, and one of two parts
    assert fill(outline.skeleton, Cut.of((), {"block0": 48}), session, store) == Filled(2, ())  # type: ignore[arg-type]
    filled = [
        store.cell(session.setting, layer.part)
        for layer in outline.skeleton.narrowed({"block0": 48}).layers
        if layer.name in ("block0.a", "block0.b")
    ]
    assert [cell.latency_s.value for cell in filled if isinstance(cell, Measurement)] == [4e-6] * 2


def test_the_whole_job_in_its_order(tmp_path: Path) -> None:
    fresh, session = Store(tmp_path / "fresh.db"), WeighingSession()
    done, over_widths = profile_with_widths(OUTLINE, session, fresh)  # type: ignore[arg-type]
    assert done.complete and over_widths.complete
    roles = list(wanted_networks(SKELETON).values())
    fitted = roles.count("fit") - 1
    assert fitted >= 4
    assert done.networks == session.comparisons == 1 + PASSES * fitted + roles.count("closure")
    table = fresh.table(made_up.setting())
    assert [n.role for n in table.networks[-fitted * (PASSES - 1) - 1 :]] == ["closure"] + [
        "fit"
    ] * fitted * (PASSES - 1)
    fit = coefficients(SKELETON, table)
    assert fit.freedom > 5
    for network in table.measured_networks(SKELETON, "closure"):
        assert fit.costs.knows(network.cut)


def test_without_time_nothing_is_begun(tmp_path: Path) -> None:
    session = WeighingSession()
    done, over_widths = profile_with_widths(OUTLINE, session, Store(tmp_path / "new.db"), deadline_s=0.0)  # type: ignore[arg-type]
    assert (done.measured, done.complete, over_widths.complete, session.measured) == (0, False, False, [])


class SlowMinutes(KnowingSession):
    """Timing takes a second, and latency rises in steps of 16. Until it is quick the machine hides the steps."""

    def __init__(self, quick_from_s: float = 0.0) -> None:
        super().__init__()
        self.now_s, self.quick_from_s = 0.0, quick_from_s

    def measure(self, graph: Graph, weights: Any = None, rule: Rule | None = None) -> Measurement:
        super().measure(graph, weights, rule)
        width = max((max(type_.shape) for type_ in graph.weights), default=0)
        quick = self.now_s >= self.quick_from_s
        self.now_s += 1.0
        steps = math.ceil(width / 16) if quick else width / 16
        return made_up.cell(1e-6 * (len(graph.operators) + steps) * (1.0 if quick else 1.3))


def widened(store: Store, quick_from_s: float) -> dict[str, float]:
    """Seconds by part after a profile on a machine that is slow at first."""
    outline = outline_of(4, 512, grouped=True)
    run(SlowMinutes(), store, outline)
    session = SlowMinutes(quick_from_s)
    done = profile_widths(outline.skeleton, session, store, now_s=lambda: session.now_s)  # type: ignore[arg-type]
    assert done.complete and bool(done.moves) is (quick_from_s > 0)
    table = store.table(session.setting)
    found = {key: table.estimate(key) for key in table.cells}
    return {key: latency_s.value for key, latency_s in found.items() if latency_s is not None}


@pytest.mark.parametrize("quick_from_s", [20.0, 36.0])
def test_after_sweeps_in_a_slow_minute_the_table_is_that_of_a_quiet_machine(
    tmp_path: Path, quick_from_s: float
) -> None:
    """It ends between two readings of the anchor, or just as the last sweep does."""
    quiet = widened(Store(tmp_path / "quiet.db"), 0.0)
    assert widened(Store(tmp_path / "slow.db"), quick_from_s) == quiet


def test_what_was_decided_by_a_slow_minute_is_looked_at_once_more(tmp_path: Path) -> None:
    quiet = widened(Store(tmp_path / "quiet.db"), 0.0)
    slow = widened(Store(tmp_path / "slow.db"), 50.0)
    assert len(slow) > len(quiet), "lines were begun on a grid without steps"
    assert quiet.items() <= slow.items()


def test_a_whole_network_that_fails_does_not_keep_the_widths_from_being_measured(tmp_path: Path) -> None:
    class Refusing(WeighingSession):
        def load(self, graph: Graph, *args: Any) -> Any:
            if len(graph.operators) == 4:  # three of four blocks out
                raise MeasurementFailed("crash", "the worker ended with signal SIGSEGV.")
            return super().load(graph, *args)

    done, over_widths = profile_with_widths(OUTLINE, Refusing(), Store(tmp_path / "new.db"))  # type: ignore[arg-type]
    assert done.complete and over_widths.complete
    assert "the network less 3 blocks" in dict(done.failed)


def test_a_width_that_was_disturbed_is_timed_again_by_a_later_profile(store: Store) -> None:
    class Busy(WeighingSession):
        def measure(self, graph: Graph, weights: Any = None, rule: Rule | None = None) -> Measurement:
            cell = super().measure(graph, weights, rule)
            at_33 = any(33 in type_.shape for type_ in graph.weights)
            return replace(cell, host={"disturbance": "steal time"}) if at_33 else cell

    widen(Busy(), store)
    for session, again in ((Busy(), 2), (WeighingSession(), 2), (WeighingSession(), 0)):
        done, over_widths = profile_with_widths(OUTLINE, session, store)  # type: ignore[arg-type]
        assert (done.measured, over_widths.measured) == (again, {}), "one in each of two sweeps"
        assert done.complete and over_widths.complete


def test_what_is_disturbed_throughout_is_timed_once_by_each_whole_job(tmp_path: Path) -> None:
    class Busy(WeighingSession):
        def measure(self, graph: Graph, weights: Any = None, rule: Rule | None = None) -> Measurement:
            return replace(super().measure(graph, weights, rule), host={"disturbance": "steal time"})

    store, first, second = Store(tmp_path / "new.db"), Busy(), Busy()
    for session in (first, second):
        done, over_widths = profile_with_widths(OUTLINE, session, store)  # type: ignore[arg-type]
        assert done.complete and over_widths.complete
    assert len(first.measured) == len(set(first.measured))
    assert sorted(second.measured) == sorted(first.measured)


class Opened(WeighingSession):
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Known:
    """What the command line finds behind any name."""

    outline = wide = OUTLINE
    outline_for = Subject.outline_for

    def __init__(self, *_: object) -> None:
        pass


def test_a_profile_with_cells_over_widths_that_failed_is_a_failure(
    lathe: Lathe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.workbench.Subject", Known)
    monkeypatch.setattr("bench.workbench.SettingChoice.make", lambda _: made_up.setting())
    words = ["profile", "chain", "--widths", "--out", tmp_path, "--json"]
    monkeypatch.setattr("bench.session.Session", lambda _, until_s: Opened(fails_at=33))
    failed = lathe(*words)
    told = json.loads(failed.out)
    assert (told["failed"], told["complete"], told["widths"]["complete"]) == ([], True, True)
    assert [one["kind"] for one in told["widths"]["failed"]] == ["linear at 33"] * 2
    assert failed.status == 1
    monkeypatch.setattr("bench.session.Session", lambda _, until_s: Opened())
    assert lathe(*words, "--retry-failed").status == 0


def test_a_fill_that_fails_tells_why_and_one_that_does_not_answers(
    store: Store, lathe: Lathe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.close()
    monkeypatch.setattr("bench.skeletons.Subject", Known)
    monkeypatch.setattr("bench.workbench.SettingChoice.make", lambda _: made_up.setting())
    words = ["predict", "chain", "--widths", "block0=40", "--fill", "--out", tmp_path]
    monkeypatch.setattr("bench.session.Session", lambda _: Opened(fails_at=40))
    failed = lathe(*words)
    assert failed.status == 1
    assert "0 cells measured, 2 failed" in failed.err
    assert "failed: linear: the worker ended with signal SIGSEGV." in failed.err
    assert "Tried and failed: linear at 40: the worker ended with signal SIGSEGV." in failed.err
    monkeypatch.setattr("bench.session.Session", lambda _: Opened())
    filled = lathe(*words, "--json")
    assert filled.status == 0
    assert json.loads(filled.out)["filled"] == {"measured": 2, "failed": []}


def test_fill_begins_where_nothing_was_measured(
    lathe: Lathe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.skeletons.Subject", Known)
    monkeypatch.setattr("bench.workbench.SettingChoice.make", lambda _: made_up.setting())
    words = ["predict", "chain", "--widths", "block0=40", "--out", tmp_path]
    assert lathe(*words).status == 2, "without being asked to, nothing is measured"
    monkeypatch.setattr("bench.session.Session", lambda _: Opened(fails_at=WIDTH))
    failed = lathe(*words, "--fill")
    assert failed.status == 1
    assert "SIGSEGV" in failed.err
    monkeypatch.setattr("bench.session.Session", lambda _: Opened())
    filled = json.loads(lathe(*words, "--fill", "--json").out)
    assert filled["filled"]["measured"] > 2
    assert not filled["timed_whole"]
    assert "interpolated" not in {layer["origin"] for layer in filled["layers"]}


def test_a_part_that_fails_at_full_width_keeps_widths_from_being_begun(tmp_path: Path) -> None:
    session = WeighingSession(fails_at=3)  # the head
    done, over_widths = profile_with_widths(OUTLINE, session, Store(tmp_path / "new.db"))  # type: ignore[arg-type]
    assert done.complete and [kind for kind, _ in done.failed] == ["linear"]
    assert over_widths == WidthsProfiled(0, {}, (), complete=False)
