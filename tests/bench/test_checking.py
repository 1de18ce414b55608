"""Tables checked with a session that knows its latencies, and whose machine can change."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import made_up
import numpy as np
import pytest
from cli_driver import Lathe

from bench import table_views
from bench.checking import ANCHOR_EVERY, Checked, check_cells, check_networks
from bench.profiler import profile
from bench.session import Handle, MeasurementFailed
from bench.timing import Comparison, Rule, Verdict
from bench.workbench import Subject
from latency_tables.context import coefficients
from latency_tables.errors import UserError
from latency_tables.graph import Graph
from latency_tables.measurement import Measurement
from latency_tables.random_plans import draw_plans
from latency_tables.skeleton import Skeleton
from latency_tables.store import Store
from pruning.outline import Outline

WIDTHS = [4, 5, 6, 7, 8, 9, 10, 11]


def outline_of(widths: Sequence[int]) -> Outline:
    skeleton = made_up.chain(widths)
    return Outline(skeleton, tuple(np.zeros(type_.shape, np.float32) for type_ in skeleton.graph.weights))


def cost_s(graph: Graph) -> float:
    return 1e-6 * sum(np.prod(operator.types[0].shape) for operator in graph.operators)


class ChangingSession:
    """Costs come from shapes; `slower` multiplies those of graphs by their text, `ratios` adds noise in order."""

    opened = 0

    def __init__(
        self, slower: Any = lambda _graph, _turn: 1.0, setting: Any = None, noise: float = 0.0
    ) -> None:
        self.setting = setting or made_up.setting()
        self.slower, self.noise = slower, noise
        self.turn = 0
        self.measured: list[str] = []
        self.loaded: dict[int, Graph] = {}

    def __enter__(self) -> Self:
        ChangingSession.opened += 1
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def measure(self, graph: Graph, weights: Any = None, rule: Rule | None = None) -> Measurement:
        factor = self.slower(graph, self.turn)
        self.turn += 1
        self.measured.append(graph.text)
        if factor is None:
            raise MeasurementFailed("crash", "the worker ended with signal SIGSEGV.")
        return made_up.cell(cost_s(graph) * factor)

    def load(self, graph: Graph, weights: Any = None, artefact: Path | None = None) -> Handle:
        self.loaded[len(self.loaded)] = graph
        return Handle(len(self.loaded) - 1, 1)

    def unload(self, handle: Handle) -> None:
        pass

    def interleave(self, handles: Sequence[Handle], rule: Rule | None = None) -> Any:
        first, second = (cost_s(self.loaded[handle.number]) for handle in handles)
        second *= 1 + self.noise
        ratio = made_up.exact(second / first)
        return (made_up.cell(first), made_up.cell(second)), (Comparison(ratio, Verdict.CANNOT_TELL, 10),)


@pytest.fixture
def outline() -> Outline:
    return outline_of(WIDTHS)


@pytest.fixture
def store(tmp_path: Path, outline: Outline) -> Store:
    store = Store(tmp_path / "lathe.db")
    profile(outline, ChangingSession(), store)  # type: ignore[arg-type]
    return store


def check(
    skeleton: Skeleton, store: Store, session: ChangingSession, count: int = 12, seed: int = 0
) -> Checked:
    return check_cells(skeleton, store.table(made_up.setting()), session, count, seed)  # type: ignore[arg-type]


def test_an_unchanged_machine_and_the_anchor_between(outline: Outline, store: Store) -> None:
    session = ChangingSession()
    checked = check(outline.skeleton, store, session)
    assert (checked.holds, checked.proportions_hold, checked.moved) == (True, True, False)
    assert checked.anchor_ratio == pytest.approx(1.0)
    assert {cell.verdict for cell in checked.cells} == {Verdict.SAME}
    anchor = checked.anchor.graph.text
    assert [place for place, text in enumerate(session.measured) if text == anchor] == [
        0,
        ANCHOR_EVERY + 1,
        2 * ANCHOR_EVERY + 2,
        len(session.measured) - 1,
    ]
    assert cost_s(checked.anchor.graph) == max(cost_s(part.graph) for part in outline.skeleton.parts)
    assert "The table holds today: of 12 parts 12 same" in table_views.sentence(checked)


def test_parts_at_other_widths_are_drawn_where_the_skeleton_has_groups(store: Store) -> None:
    grouped = made_up.chain(WIDTHS, grouped=True)
    setting = made_up.setting()
    narrower = {layer.part for layer in grouped.narrowed({"block0": 2}).layers} - set(grouped.parts)
    assert narrower
    for part in narrower:
        store.put(setting, part, made_up.cell(cost_s(part.graph)))

    def drawn(skeleton: Skeleton) -> set[str]:
        return {cell.part.key for cell in check(skeleton, store, ChangingSession(), count=10_000).cells}

    keys = {part.key for part in narrower}
    assert keys <= drawn(grouped)
    assert not keys & drawn(made_up.chain(WIDTHS))


def test_the_sample_is_seeded_and_without_repeats(outline: Outline, store: Store) -> None:
    def drawn(seed: int, count: int = 6) -> list[str]:
        return [
            cell.part.key for cell in check(outline.skeleton, store, ChangingSession(), count, seed).cells
        ]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    everything = drawn(3, 10_000)
    assert len(everything) == len(set(everything)) == len(outline.skeleton.parts) - 1


def test_a_machine_that_is_slower_as_a_whole(outline: Outline, store: Store) -> None:
    checked = check(outline.skeleton, store, ChangingSession(lambda *_: 1.3))
    assert (checked.holds, checked.proportions_hold) == (False, True)
    assert {cell.verdict for cell in checked.cells} == {Verdict.SLOWER}
    assert "ratios hold and seconds do not" in table_views.sentence(checked)


def test_two_changed_parts_of_twelve_break_a_table_and_one_does_not(outline: Outline, store: Store) -> None:
    drawn = [cell.part.graph.text for cell in check(outline.skeleton, store, ChangingSession()).cells]
    for changed, holds in ((1, True), (2, False)):
        texts = drawn[:changed]
        session = ChangingSession(lambda graph, _, texts=texts: 0.5 if graph.text in texts else 1.0)
        checked = check(outline.skeleton, store, session)
        assert [cell.verdict for cell in checked.cells].count(Verdict.FASTER) == changed
        assert checked.holds is holds


def test_parts_that_fail_today_count_as_changed(outline: Outline, store: Store) -> None:
    drawn = [cell.part.graph.text for cell in check(outline.skeleton, store, ChangingSession()).cells][:2]
    checked = check(
        outline.skeleton, store, ChangingSession(lambda graph, _: None if graph.text in drawn else 1.0)
    )
    assert checked.holds is False
    assert [cell.remark for cell in checked.cells][:2] == ["the worker ended with signal SIGSEGV."] * 2


def test_a_machine_that_changes_meanwhile_cannot_tell(outline: Outline, store: Store) -> None:
    checked = check(outline.skeleton, store, ChangingSession(lambda _, turn: 1.0 if turn < 8 else 1.5))
    assert (checked.holds, checked.moved) == (None, True)
    assert "the machine changed while it was measured" in table_views.sentence(checked)


def test_disturbed_parts_say_nothing(outline: Outline, store: Store) -> None:
    class Disturbed(ChangingSession):
        def measure(self, graph: Graph, weights: Any = None, rule: Rule | None = None) -> Measurement:
            return replace(super().measure(graph), host={"disturbance": "foreign load"})

    checked = check(outline.skeleton, store, Disturbed(lambda graph, _: 2.0 if graph.text else 1.0))
    assert {cell.verdict for cell in checked.cells} == {Verdict.CANNOT_TELL}
    assert checked.cells[0].remark == "disturbed by foreign load"
    assert checked.holds is None


def test_a_cell_that_was_disturbed_when_it_was_stored_says_nothing(outline: Outline, store: Store) -> None:
    anchor, drawn = (found := check(outline.skeleton, store, ChangingSession())).anchor, found.cells[0].part
    for part in (anchor, drawn):
        busy = replace(made_up.cell(2 * cost_s(part.graph)), host={"disturbance": "foreign load"})
        store.put(made_up.setting(), part, busy)
    checked = check(outline.skeleton, store, ChangingSession(), 10_000)
    assert (checked.anchor != anchor, checked.anchor_ratio) == (True, pytest.approx(1.0))
    told = {cell.part: cell for cell in checked.cells}
    for part in (anchor, drawn):
        assert told[part].remark == "in the table: disturbed by foreign load"
        assert told[part].verdict is told[part].to_anchor is Verdict.CANNOT_TELL
    assert checked.holds is True


class LoadedSession(ChangingSession):
    """Others work on the machine in some turns, which then take three times as long."""

    def __init__(self, loaded: Callable[[int], bool]) -> None:
        super().__init__(lambda _graph, turn: 3.0 if loaded(turn) else 1.0)
        self.loaded_in = loaded

    def measure(self, graph: Graph, weights: Any = None, rule: Rule | None = None) -> Measurement:
        cause = "foreign load" if self.loaded_in(self.turn) else None
        return replace(super().measure(graph), host={"disturbance": cause})


def test_a_reading_of_the_anchor_that_was_disturbed_does_not_count(outline: Outline, store: Store) -> None:
    once = check(outline.skeleton, store, LoadedSession(lambda turn: turn == ANCHOR_EVERY + 1))
    assert (once.holds, once.moved, once.anchor_ratio) == (True, False, pytest.approx(1.0))
    readings = (0, ANCHOR_EVERY + 1, 2 * (ANCHOR_EVERY + 1), 2 * (ANCHOR_EVERY + 1) + 3)
    never = check(outline.skeleton, store, LoadedSession(lambda turn: turn in readings))
    assert (never.holds, never.proportions_hold, never.anchor_ratio) == (None, None, None)
    assert {(cell.verdict, cell.to_anchor) for cell in never.cells} == {(Verdict.SAME, Verdict.CANNOT_TELL)}
    assert "cannot be told: something spoiled every reading of the anchor" in table_views.sentence(never)
    assert table_views.check_json(made_up.setting(), never, None)["anchor_ratio"] is None


def test_cores_that_lie_otherwise_than_in_the_table_say_nothing(outline: Outline, store: Store) -> None:
    class Far(ChangingSession):
        def measure(self, graph: Graph, weights: Any = None, rule: Rule | None = None) -> Measurement:
            return replace(super().measure(graph), host={"cores": {"mode": "far"}})

    checked = check(outline.skeleton, store, Far(lambda graph, _: 1.5))
    assert {cell.verdict for cell in checked.cells} == {Verdict.CANNOT_TELL}
    assert checked.cells[0].remark == "the cores lie far apart today, unlike in the table"


def test_little_work_on_several_threads_is_timed_as_the_table_was(tmp_path: Path, outline: Outline) -> None:
    store, setting = Store(tmp_path / "two.db"), made_up.setting(threads=2)
    profile(outline, ChangingSession(setting=setting), store)  # type: ignore[arg-type]
    # Every third load is one in which the other thread works; alone each of the others would be a change.
    sleepy = ChangingSession(lambda _graph, turn: 1.0 if turn % 3 == 2 else 1.6, setting=setting)
    checked = check_cells(outline.skeleton, store.table(setting), sleepy, 12, 0)  # type: ignore[arg-type]
    assert {cell.verdict for cell in checked.cells} == {Verdict.SAME}


def test_another_setting_or_network_is_refused(outline: Outline, store: Store) -> None:
    with pytest.raises(UserError, match="threads is 1 there and 2 here"):
        check(outline.skeleton, store, ChangingSession(setting=made_up.setting(threads=2)))
    with pytest.raises(UserError, match="holds no part"):
        check(replace(outline.skeleton, layers=(), blocks=()), store, ChangingSession())


def test_held_out_networks_are_predicted_blind_and_timed_in_two_processes(
    outline: Outline, store: Store
) -> None:
    table, skeleton = store.table(made_up.setting()), outline.skeleton
    ChangingSession.opened = 0
    noises = iter([0.03, -0.01])

    def open_session() -> Any:
        return ChangingSession(noise=next(noises))

    closure = check_networks(outline, store, open_session, table, 6, 0)
    assert ChangingSession.opened == 2
    assert len(closure.networks) == len({network.cut.removed for network in closure.networks}) == 6
    whole = cost_s(skeleton.graph)
    for network in closure.networks:
        graph, _ = skeleton.without(network.cut.removed)
        assert network.measured.value == pytest.approx(1.03 * cost_s(graph) / whole)
        assert network.again.value == pytest.approx(0.99 * cost_s(graph) / whole)
        fit = coefficients(skeleton, table, blind_to=network.cut)
        foreseen = fit.latency_s(network.cut.removed) / fit.unpruned_s.value
        assert network.predicted.value == pytest.approx(foreseen)
    assert closure.noise_floor == pytest.approx(1 - 0.99 / 1.03)
    assert closure.mean_abs_error == pytest.approx(1 - 1 / 1.03)  # costs add up here
    stored = store.table(made_up.setting()).networks[len(table.networks) :]
    assert [network.role for network in stored] == ["closure"] * 12


def test_a_prediction_does_not_look_at_the_network_it_is_for(outline: Outline, store: Store) -> None:
    def predicted() -> list[float]:
        table = store.table(made_up.setting())
        closure = check_networks(outline, store, ChangingSession, table, 1, 0)  # type: ignore[arg-type]
        return [network.predicted.value for network in closure.networks]

    before = predicted()
    (plan,) = draw_plans(outline.skeleton, 1, 0)
    wrong = made_up.network(outline.skeleton, plan.removed, 0.9, 1.0)
    unpruned_s = cost_s(outline.skeleton.graph)
    wrong = replace(wrong, unpruned_s=made_up.exact(unpruned_s), latency_s=made_up.exact(0.9 * unpruned_s))
    store.put_network(made_up.setting(), "chain", wrong)
    assert predicted() == pytest.approx(before)
    other = made_up.network(outline.skeleton, outline.skeleton.removable[:1], 0.5, 1.0)
    store.put_network(made_up.setting(), "chain", replace(other, unpruned_s=made_up.exact(unpruned_s)))
    assert predicted() != pytest.approx(before)


def test_a_network_without_removable_blocks_has_no_closure(store: Store) -> None:
    words: list[Any] = [outline_of([]), store, ChangingSession, store.table(made_up.setting()), 3, 0]
    with pytest.raises(UserError, match=r"no block that can be taken out\. Add --widths"):
        check_networks(*words)
    with pytest.raises(UserError, match="no block and no channel"):
        check_networks(*words, widths=True)


def test_what_is_printed_and_the_json_agree(
    outline: Outline, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.terminal import Terminal

    checked = check(outline.skeleton, store, ChangingSession())
    table = store.table(made_up.setting())
    closure = check_networks(outline, store, ChangingSession, table, 4, 0)  # type: ignore[arg-type]
    data = table_views.check_json(made_up.setting(), checked, closure)
    for name in ("mean_abs_error", "within_5pct", "within_10pct", "noise_floor"):
        assert 0 <= data[name] <= 1
    assert (data["within_5pct"], data["interval_coverage"] is not None) == (1.0, True)
    assert data["holds"] is True
    assert table_views.check_json(made_up.setting(), checked, None)["mean_abs_error"] is None
    table_views.show_check(Terminal(), made_up.setting(), checked, closure)
    assert "The table holds today" in capsys.readouterr().out


EQUAL = [32] * 8


class Known:
    """A chain of equal blocks in the place of a network."""

    def __init__(self, *_: object) -> None:
        self.outline = outline_of(EQUAL)
        self.wide = replace(self.outline, skeleton=made_up.chain(EQUAL, grouped=True))

    outline_for = Subject.outline_for


@pytest.fixture
def equal(tmp_path: Path) -> Store:
    store = Store(tmp_path / "equal" / "lathe.db")
    profile(outline_of(EQUAL), ChangingSession(), store)  # type: ignore[arg-type]
    return store


@pytest.fixture
def command(lathe: Lathe, equal: Store, monkeypatch: pytest.MonkeyPatch) -> Lathe:
    """Holds networks out, on a table over depth."""
    monkeypatch.setattr("bench.session.Session", lambda setting: ChangingSession(setting=setting))
    monkeypatch.setattr("bench.workbench.Subject", Known)
    monkeypatch.setattr("bench.workbench.SettingChoice.make", lambda _: made_up.setting())
    return lambda *words: lathe(
        "table", "check", "chain", "--held-out", 3, *words, "--out", equal.path.parent
    )


def test_the_command_holds_networks_out(command: Lathe) -> None:
    told = json.loads(command("--json").out)
    assert (told["holds"], told["closure_unknown"], len(told["networks"])) == (True, None, 3)
    assert told["mean_abs_error"] == pytest.approx(0.0, abs=1e-9)  # costs add up here
    assert told["noise_floor"] == pytest.approx(0.0)
    assert [network["widths"] for network in told["networks"]] == [{}] * 3
    answer = command()
    assert answer.status == 0
    assert "3 networks: mean absolute error 0.0%, noise floor 0.0%" in answer.out


def test_what_was_found_out_about_parts_is_told_where_networks_cannot_be_predicted(command: Lathe) -> None:
    answer = command("--widths")
    assert answer.status == 1
    assert "The table holds today" in answer.out
    assert "how far off predictions are was not found out: " in answer.err
    assert "lathe profile --widths" in answer.err
    answer = command("--widths", "--json")
    told = json.loads(answer.out)
    assert answer.status == 1
    assert (told["holds"], told["networks"], told["noise_floor"]) == (True, [], None)
    assert "were not measured near these widths" in told["closure_unknown"]


def test_held_out_networks_are_predicted_from_narrower_ones_as_well(command: Lathe, equal: Store) -> None:
    grouped, setting, narrow = made_up.chain(EQUAL, grouped=True), made_up.setting(), {"block7": 8}
    for part in grouped.narrowed(narrow).parts:
        equal.put(setting, part, made_up.cell(cost_s(part.graph)))
    whole_s = cost_s(grouped.graph)
    odd = made_up.network(grouped, (), 0.8 * whole_s, whole_s)
    equal.put_network(setting, "chain", replace(odd, widths=tuple(narrow.items())))
    table = equal.table(setting)
    network = json.loads(command("--json").out)["networks"][0]
    blind = [
        coefficients(skeleton, table, blind_to=draw_plans(grouped, 1, 0, ("blocks",))[0])
        for skeleton in (grouped, made_up.chain(EQUAL))
    ]
    with_it, without = (fit.ratio(network["removed"]).value for fit in blind)
    assert network["predicted_ratio"] == pytest.approx(with_it)
    assert with_it != pytest.approx(without)
