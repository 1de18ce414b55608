"""Profiling with a session that knows its latencies: what is timed, stored, resumed, and what a failure costs."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up
import numpy as np
import pytest

from bench.asked_networks import PASSES, RETRIES, pending_networks, wanted_networks
from bench.profiler import (
    SLOWER,
    SLOWER_MINUTE,
    profile,
    time_network,
    time_part,
)
from bench.session import Handle, MeasurementFailed
from bench.timing import Comparison, Rule, Verdict
from latency_tables.closure import closure_of
from latency_tables.context import coefficients
from latency_tables.diagnosis import Doubt, Finding
from latency_tables.graph import Graph
from latency_tables.measurement import FACTS, GPU, Measurement, Stop
from latency_tables.skeleton import Cut
from latency_tables.store import Store
from pruning.outline import Outline


def outline_of(blocks: int, width: int = 4, *, grouped: bool = False) -> Outline:
    skeleton = made_up.chain([width] * blocks, grouped=grouped)
    return Outline(skeleton, tuple(np.zeros(type_.shape, np.float32) for type_ in skeleton.graph.weights))


class KnowingSession:
    """Every operator costs a microsecond; graphs that hold a forbidden text crash; comparisons may be slow."""

    def __init__(
        self, forbidden: str = "", stop_after: int | None = None, slow: Collection[int] = ()
    ) -> None:
        self.setting = made_up.setting()
        self.forbidden, self.stop_after, self.slow = forbidden, stop_after, slow
        self.measured: list[str] = []
        self.loaded: dict[int, Graph] = {}
        self.comparisons = 0

    def measure(self, graph: Graph, weights: Any = None, rule: Rule | None = None) -> Measurement:
        if self.stop_after is not None and len(self.measured) == self.stop_after:
            raise KeyboardInterrupt
        self.measured.append(graph.text)
        if self.forbidden and self.forbidden in graph.text:
            raise MeasurementFailed("crash", "the worker ended with signal SIGSEGV.")
        return made_up.cell(1e-6 * len(graph.operators))

    def load(
        self, graph: Graph, weights: Sequence[Any] | None = None, artefact: Path | None = None
    ) -> Handle:
        assert weights is not None
        assert [np.shape(array) for array in weights] == [type_.shape for type_ in graph.weights]
        self.loaded[len(self.loaded)] = graph
        return Handle(len(self.loaded) - 1, 1)

    def unload(self, handle: Handle) -> None:
        pass

    def interleave(self, handles: Sequence[Handle], rule: Rule | None = None) -> Any:
        self.comparisons += 1
        first, second = (1e-6 * len(self.loaded[handle.number].operators) for handle in handles)
        if self.comparisons in self.slow:  # the larger network suffers more
            first *= 1.2
        ratio = made_up.exact(second / first)
        return (made_up.cell(first), made_up.cell(second)), (Comparison(ratio, Verdict.CANNOT_TELL, 10),)


def run(session: KnowingSession, store: Store, outline: Outline, **options: Any) -> Any:
    return profile(outline, session, store, **options)  # type: ignore[arg-type]


def test_each_distinct_part_is_timed_once_and_the_networks_put_them_in_context(tmp_path: Path) -> None:
    store, outline, session = Store(tmp_path / "lathe.db"), outline_of(8), KnowingSession()
    done = run(session, store, outline)
    assert (done.parts, done.measured, done.failed) == (5, 5, ())  # two linears, the sum, the head, the block
    assert len(set(session.measured)) == 5
    assert len(session.measured) == 6, (
        "the last reading of the anchor ends what was timed since the one before"
    )
    assert len(wanted_networks(outline.skeleton)) == 1 + 4 + 3
    assert done.networks == session.comparisons == 1 + PASSES * 4 + 3
    fit = coefficients(outline.skeleton, store.table(session.setting))
    for network in store.table(session.setting).networks:
        assert network.trace is not None
        assert network.trace.pruned_s == (network.latency_s.value,) * 10
        assert network.trace.unpruned_s == (network.unpruned_s.value,) * 10
    assert fit.slope == pytest.approx(1.0)
    assert fit.latency_s(["block0"]) == pytest.approx(22e-6)  # 25 operators, three of them in a block


def test_a_stopped_profile_goes_on_and_measures_nothing_twice(tmp_path: Path) -> None:
    store, outline = Store(tmp_path / "lathe.db"), outline_of(8)
    first = KnowingSession(stop_after=3)
    with pytest.raises(KeyboardInterrupt):
        run(first, store, outline)
    second = KnowingSession()
    assert run(second, store, outline).measured == 2
    anchor = first.measured[0]
    assert second.measured[0] == anchor, "it tells whether the machine is still what it was"
    assert set(first.measured) & set(second.measured) == {anchor}
    assert len(store.history(second.setting, outline.skeleton.parts[0])) == 1, "a reading is no new cell"
    third = KnowingSession()
    done = run(third, store, outline)
    assert (done.measured, done.networks, third.measured, third.comparisons) == (0, 0, [], 0)


def test_a_crash_costs_one_cell_with_its_reason(tmp_path: Path) -> None:
    store, outline = Store(tmp_path / "lathe.db"), outline_of(3)
    session = KnowingSession(forbidden="f32[3,8]")  # the head's weight
    done = run(session, store, outline)
    assert [reason for _, reason in done.failed] == ["the worker ended with signal SIGSEGV."]
    assert done.measured == done.parts - 1
    assert run(KnowingSession(), store, outline).measured == 0  # a failure is not tried again by itself
    assert run(KnowingSession(), store, outline, retry_failed=True).failed == ()


@pytest.mark.parametrize("blocks", [1, 2, 8])
def test_the_networks_asked_for_are_distinct_and_always_the_same(tmp_path: Path, blocks: int) -> None:
    outline = outline_of(blocks)
    table = Store(tmp_path / "lathe.db").table(made_up.setting())
    asked = pending_networks(outline, table)
    assert asked == pending_networks(outline, table)
    assert asked[0] == (Cut(), "fit")
    once = pending_networks(outline, table, passes=1)
    assert len({cut for cut, _ in once}) == len(once)
    fitted = [entry for entry in once if entry[1] == "fit" and entry[0]]
    assert asked == once + fitted * (PASSES - 1)
    assert not any(cut.widths for cut, _ in asked)


def test_where_widths_vary_networks_lack_channels_too(tmp_path: Path) -> None:
    store, outline = Store(tmp_path / "lathe.db"), outline_of(6, 32, grouped=True)
    run(KnowingSession(), store, outline)
    networks = store.table(made_up.setting()).networks
    assert [network.role for network in networks] == ["fit"] * 6 + ["closure"] * 3 + ["fit"] * 5 * (
        PASSES - 1
    )
    assert sum(bool(network.widths) for network in networks if network.role == "fit") == 3 * PASSES
    assert {bool(network.widths) for network in networks if network.role == "closure"} == {True, False}
    # Their widths are not in the table yet, so the fit does without them.
    assert coefficients(outline.skeleton, store.table(made_up.setting())).freedom == pytest.approx(
        3 + 2 - 1
    )  # two networks, one slope


def test_progress_ends_at_its_total(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    run(
        KnowingSession(),
        Store(tmp_path / "lathe.db"),
        outline_of(8),
        progress=lambda done, total, _: seen.append((done, total)),
    )
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]
    assert len({total for _, total in seen}) == 1


def test_networks_timed_in_a_slow_minute_are_timed_again_and_the_fit_does_not_see_it(tmp_path: Path) -> None:
    store, outline = Store(tmp_path / "lathe.db"), outline_of(8)
    session = KnowingSession(slow={3, 5})
    done = run(session, store, outline)
    assert done.complete
    assert done.networks == session.comparisons == 1 + PASSES * 4 + 3 + 2
    fit = coefficients(outline.skeleton, store.table(session.setting))
    assert fit.slope == pytest.approx(1.0)
    assert pending_networks(outline, store.table(session.setting)) == []


def test_a_network_timed_again_since_its_timing_was_spoiled_does_not_judge_predictions(
    tmp_path: Path,
) -> None:
    store, outline = Store(tmp_path / "lathe.db"), outline_of(8)
    session = KnowingSession(slow={6})  # after the unpruned network and four to fit on come those held out
    run(session, store, outline)
    table = store.table(session.setting)
    assert len(table.measured_networks(outline.skeleton, "closure")) == 3 + 1
    assert closure_of(outline.skeleton, table) is None


def test_a_machine_that_stays_slow_is_not_asked_for_ever(tmp_path: Path) -> None:
    store, outline = Store(tmp_path / "lathe.db"), outline_of(8)
    session = KnowingSession(slow=range(3, 1000))
    done = run(session, store, outline)
    assert done.complete
    distinct = len(wanted_networks(outline.skeleton))
    assert done.networks <= 1 + PASSES * 4 + 3 + RETRIES * distinct
    assert run(KnowingSession(), store, outline).networks == 0


def test_what_the_anchor_sends_back_is_not_timed_when_time_is_over(tmp_path: Path) -> None:
    class Slowing(KnowingSession):
        def measure(self, graph: Graph, weights: Any = None, rule: Rule | None = None) -> Measurement:
            cell = super().measure(graph, weights, rule)
            slower = 1.5 if len(self.measured) >= 5 else 1.0  # the anchor's first reading and what comes then
            return replace(cell, samples_s=tuple(slower * sample for sample in cell.samples_s))

    session = Slowing()
    store, clock = Store(tmp_path / "lathe.db"), lambda: 10.0 * len(session.measured)
    done = run(session, store, outline_of(8), deadline_s=45.0, now_s=clock)
    assert (len(session.measured), done.complete) == (5, False)
    [move] = done.moves
    assert (move.again, move.settled) == (0, False)
    assert all(
        cell.settled is False
        for cell in store.table(session.setting).cells.values()
        if isinstance(cell, Measurement)
    )


class SpoiledSession(KnowingSession):
    """Something is seen around some of the parts and comparisons, counted from 1; other parts have near cores."""

    def __init__(
        self, seen: dict[str, Any], parts: Collection[int] = (), comparisons: Collection[int] = ()
    ) -> None:
        super().__init__()
        self.seen, self.spoiled_parts, self.spoiled_comparisons = seen, parts, comparisons

    def measure(self, graph: Graph, weights: Any = None, rule: Rule | None = None) -> Measurement:
        cell = super().measure(graph, weights, rule)
        spoiled = len(self.measured) in self.spoiled_parts
        return replace(cell, host=self.seen if spoiled else {"cores": {"mode": "near"}})

    def interleave(self, handles: Sequence[Handle], rule: Rule | None = None) -> Any:
        timed, comparisons = super().interleave(handles, rule)
        if self.comparisons in self.spoiled_comparisons:
            timed = tuple(replace(one, host=self.seen) for one in timed)
        return timed, comparisons


BUSY, FAR = {"disturbance": "foreign load"}, {"cores": {"mode": "far"}}
ALL = range(1000)


@pytest.mark.parametrize("seen", [BUSY, FAR])
def test_a_part_that_was_spoiled_is_timed_again_by_each_later_profile_once(
    tmp_path: Path, seen: dict[str, Any]
) -> None:
    store, outline = Store(tmp_path / "lathe.db"), outline_of(8)
    run(SpoiledSession(seen, parts={1, 3}), store, outline)
    busy = SpoiledSession(seen, parts=ALL)
    assert run(busy, store, outline).measured == 2
    anchor, *again, last = busy.measured
    assert anchor == last and len({anchor, *again}) == 3, "and none that was spoiled is the anchor"
    assert run(KnowingSession(), store, outline).measured == 2
    quiet = KnowingSession()
    assert run(quiet, store, outline).measured == 0 == len(quiet.measured)


def test_while_networks_are_timed_the_anchor_is_read_until_it_can_tell(tmp_path: Path) -> None:
    session = SpoiledSession(BUSY, parts={6, 7})  # the reading that ends the parts, and once more
    run(session, Store(tmp_path / "lathe.db"), outline_of(8), now_s=lambda: 31.0 * session.comparisons)
    assert session.comparisons > 3
    assert session.measured[5:] == session.measured[:1] * 3


@pytest.mark.parametrize("seen", [BUSY, FAR])
def test_a_whole_network_that_was_spoiled_is_timed_again(tmp_path: Path, seen: dict[str, Any]) -> None:
    store, outline = Store(tmp_path / "lathe.db"), outline_of(8)
    session = SpoiledSession(seen, comparisons={3, 5})
    done = run(session, store, outline)
    assert done.complete
    assert done.networks == session.comparisons == 1 + PASSES * 4 + 3 + 2
    networks = store.table(session.setting).networks
    assert sum(network.disturbance is not None or network.far for network in networks) == 2
    assert run(KnowingSession(), store, outline).networks == 0


@pytest.mark.parametrize(("seen", "more"), [(BUSY, RETRIES), (FAR, 0)])
def test_where_every_network_is_spoiled_the_profile_ends(
    tmp_path: Path, seen: dict[str, Any], more: int
) -> None:
    """Cores that are always far apart spoil nothing."""
    store, outline = Store(tmp_path / "lathe.db"), outline_of(8)
    done = run(SpoiledSession(seen, comparisons=ALL), store, outline)
    assert done.complete
    assert done.networks == 1 + PASSES * 4 + 3 + more * len(wanted_networks(outline.skeleton))
    assert run(SpoiledSession(seen, comparisons=ALL), store, outline).networks == 0


class RefusingSession(KnowingSession):
    """Does not load networks of so many operators."""

    def __init__(self, operators: int) -> None:
        super().__init__()
        self.operators, self.refused = operators, 0

    def load(
        self, graph: Graph, weights: Sequence[Any] | None = None, artefact: Path | None = None
    ) -> Handle:
        if len(graph.operators) == self.operators:
            self.refused += 1
            raise MeasurementFailed("crash", "the worker ended with signal SIGSEGV.")
        return super().load(graph, weights, artefact)


def test_a_whole_network_that_fails_is_left_out_and_tried_again_by_the_next_profile(tmp_path: Path) -> None:
    store, outline = Store(tmp_path / "lathe.db"), outline_of(8)
    session = RefusingSession(25 - 3 * 3)
    done = run(session, store, outline)
    assert done.failed == (("the network less 3 blocks", "the worker ended with signal SIGSEGV."),)
    assert session.refused == 1, "nor is another pass over it tried"
    assert done.complete
    assert done.networks == session.comparisons == 1 + PASSES * 3 + 3
    assert coefficients(outline.skeleton, store.table(session.setting)).slope == pytest.approx(1.0)
    again = run(KnowingSession(), store, outline)
    assert (again.networks, again.failed, again.complete) == (PASSES, (), True)


def test_without_the_unpruned_network_a_profile_ends_and_keeps_the_parts(tmp_path: Path) -> None:
    store, outline = Store(tmp_path / "lathe.db"), outline_of(8)
    with pytest.raises(MeasurementFailed, match="SIGSEGV"):
        run(RefusingSession(25), store, outline)
    assert len(store.table(made_up.setting()).cells) == len(outline.skeleton.parts)


def test_a_single_timing_of_a_slow_minute_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr("bench.profiler._rest", rests.append)
    outline = outline_of(8)
    cut = Cut.of(outline.skeleton.removable[:4])
    quick = time_network(outline, KnowingSession(), cut, "fit")  # type: ignore[arg-type]
    assert not rests
    session = KnowingSession(slow={1})
    again = time_network(outline, session, cut, "fit", quick.unpruned_s.value)  # type: ignore[arg-type]
    assert (again.ratio, len(rests), session.comparisons) == (quick.ratio, 1, 2)
    assert again.dropped == again.unpruned_dropped == {SLOWER_MINUTE: 10}
    session = KnowingSession(slow=range(10))
    slow = time_network(outline, session, cut, "fit", quick.unpruned_s.value)  # type: ignore[arg-type]
    assert slow.ratio.value < quick.ratio.value
    assert (len(rests), session.comparisons) == (3, 3)
    assert slow.dropped == slow.unpruned_dropped == {SLOWER_MINUTE: 20}


def test_what_makes_a_networks_interval_doubtful_and_what_ended_sampling_is_kept_with_it() -> None:
    class Drifting(KnowingSession):
        def interleave(self, handles: Sequence[Handle], rule: Rule | None = None) -> Any:
            (first, second), (comparison,) = super().interleave(handles, rule)
            drift = Finding(Doubt.DRIFT, "it drifts", {})
            return (first, replace(second, dropped={"cause": 7})), (replace(comparison, findings=(drift,)),)

    outline = outline_of(3)
    found = time_network(outline, Drifting(), Cut.of(["block1"]), "fit")  # type: ignore[arg-type]
    assert (found.doubts, found.dropped) == (("drift",), {"cause": 7})
    assert (found.stop, found.rounds) == (Stop.PRECISION, 10)


def test_little_work_on_several_threads_is_loaded_three_times_and_the_quickest_counts() -> None:
    class Sleepy:
        """Loads in which all threads but one sleep."""

        def __init__(self, threads: int, *latencies_s: float) -> None:
            self.setting = made_up.setting(threads=threads)
            self.left = list(latencies_s)

        def measure(self, graph: Graph, rule: Rule | None = None) -> Measurement:
            return made_up.cell(self.left.pop(0))

    part = made_up.chain([4]).parts[0]

    def timed(session: Sleepy) -> Measurement:
        found = time_part(session, part)  # type: ignore[arg-type]
        assert isinstance(found, Measurement)
        return found

    for order in itertools.permutations((2e-5, 3e-5, 2.1e-5)):
        found = timed(Sleepy(2, *order))
        assert found.latency_s.value == 2e-5
        assert found.dropped == {SLOWER: 20}
    assert timed(Sleepy(1, 2e-5)).dropped == {}
    assert timed(Sleepy(2, 3e-4)).dropped == {}


@pytest.mark.parametrize(("kind", "sample_s"), [("cpu", 200e-6), ("cuda", 1e-3)])
def test_a_sample_on_a_gpu_is_long_beside_the_events_around_it(kind: str, sample_s: float) -> None:
    asked: list[Rule] = []

    class Asked(KnowingSession):
        def measure(self, graph: Graph, weights: Any = None, rule: Rule | None = None) -> Measurement:
            assert rule is not None
            asked.append(rule)
            return super().measure(graph, weights, rule)

    session = Asked()
    session.setting = replace(session.setting, device=replace(session.setting.device, kind=kind))
    time_part(session, made_up.chain([4]).parts[0])  # type: ignore[arg-type]
    assert [rule.min_sample_s for rule in asked] == [sample_s]


def test_what_the_gpu_did_is_kept_with_a_whole_network() -> None:
    class Watched(KnowingSession):
        def interleave(self, handles: Sequence[Handle], rule: Rule | None = None) -> Any:
            (reference, measured), comparisons = super().interleave(handles, rule)
            host = {FACTS: {"compile_s": 2.0}, GPU: {"unseen": "no NVML"}}
            return (reference, replace(measured, host=host)), comparisons

    timed = time_network(outline_of(2), Watched(), Cut(), "fit")  # type: ignore[arg-type]
    assert timed.facts == {"compile_s": 2.0, "gpu": {"unseen": "no NVML"}}
