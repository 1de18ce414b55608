"""The record behind a table's report, from stores filled by sessions that know their latencies."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up
import numpy as np
import pytest
from cli_driver import Lathe
from test_profiler import outline_of
from test_width_profiler import OUTLINE, SKELETON, WIDTH, WeighingSession, run, widen

from bench import cli
from bench.profiler import time_network
from bench.table_report import build_record
from bench.width_curves import WidthCurves, axis_names
from bench.workbench import Subject
from latency_tables import cells_frame, networks_frame
from latency_tables.context import coefficients
from latency_tables.costs import Costs
from latency_tables.errors import UserError
from latency_tables.estimate import Estimate
from latency_tables.family import families
from latency_tables.graph import Graph, Operator, TensorType, Value
from latency_tables.interpolation import Stairs, Surface
from latency_tables.measurement import FACTS, REORDERING, Measurement
from latency_tables.part import Grain, Part
from latency_tables.skeleton import Cut, Layer, Skeleton
from latency_tables.store import Store
from latency_tables.table import Failure, LatencyTable
from latency_tables.widths import ChannelGroup, Size, shape_slots
from reports import read_table

NARROW = Cut((), (("block1", WIDTH // 2),))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> LatencyTable:
    store = Store(tmp_path_factory.mktemp("store") / "lathe.db")
    run(WeighingSession(), store, OUTLINE)
    widen(WeighingSession(), store)
    return store.table(made_up.setting())


def two_widths(b: int = 48) -> Skeleton:
    """x -> linear to a -> linear from a to b -> linear from b: the one in the middle has two widths that vary."""
    sizes_of = {"a": 64, "b": b}
    shapes = [(64, 8), (b, 64), (3, b)]
    weights = tuple(TensorType("float32", shape) for shape in shapes)
    results = [TensorType("float32", (1, shape[0])) for shape in shapes]
    operators = tuple(
        Operator(
            "aten.linear.default",
            (("input", Value(0 if i == 0 else 3 + i)), ("weight", Value(1 + i))),
            (results[i],),
        )
        for i in range(3)
    )
    graph = Graph((TensorType("float32", (1, 8)),), weights, operators, (6,))
    slots = shape_slots(graph)
    follows = {"a": (slots[1][0], slots[2][1], slots[4][1]), "b": (slots[2][0], slots[3][1], slots[5][1])}
    sizes = sorted(
        (Size(slot, 0, ((name, 1),)) for name, places in follows.items() for slot in places),
        key=lambda size: size.slot,
    )
    return Skeleton(
        name="two",
        graph=graph,
        layers=tuple(
            Layer(name, Part("linear", Grain.LAYER, graph.select((i,))[0]), (i,), None)
            for i, name in enumerate(("first", "middle", "last"))
        ),
        blocks=(),
        groups=tuple(ChannelGroup(name, width) for name, width in sizes_of.items()),
        sizes=tuple(sizes),
    )


def test_the_shares_add_up_and_each_layer_has_its_interval(table: LatencyTable) -> None:
    record = build_record(SKELETON, table)
    assert [layer.name for layer in record.layers] == [layer.name for layer in SKELETON.layers]
    total = sum(layer.latency_s.value for layer in record.layers)
    assert total + record.constant_s == pytest.approx(record.unpruned_s.value)
    for layer, place in zip(record.layers, SKELETON.layers, strict=True):
        alone = table.latency_s(place.part)
        assert layer.alone_s == alone
        assert layer.latency_s.high / layer.latency_s.value == pytest.approx(alone.high / alone.value)
    assert record.setting["versions"] == {"torch": "2.13.0"}
    assert record.digest == table.setting.digest


def test_a_row_for_each_network_predicted_without_a_look_at_it(table: LatencyTable) -> None:
    record = build_record(SKELETON, table)
    fitted = {n.cut for n in table.measured_networks(SKELETON, "fit") if n.cut}
    held = {n.cut for n in table.measured_networks(SKELETON, "closure")}
    assert [row.fitted for row in record.closure] == [False] * len(held) + [True] * len(fitted)
    assert {row.name for row in record.closure} == {cut.words for cut in fitted | held}
    # The same cut once fitted on and once held out: the second row is blind to the first.
    wrong = next(n for n in table.networks if n.cut and n.role == "fit")
    judge = replace(wrong, role="closure", ratio=Estimate(0.2, 0.19, 0.21))
    more = replace(table, networks=(*table.networks, judge, replace(judge, ratio=Estimate(0.4, 0.4, 0.5))))
    (row,) = [r for r in build_record(SKELETON, more).closure if r.passes == 2]
    assert row.measured.to_json() == pytest.approx([0.3, 0.19, 0.5])
    assert not row.fitted
    assert row.noise == pytest.approx(1.0)
    blind = coefficients(SKELETON, table, blind_to=wrong.cut)
    expected = blind.interval(wrong.removed, dict(wrong.widths)).value / blind.unpruned_s.value
    assert row.predicted.value == pytest.approx(expected)
    assert (row.blocks, row.groups) == (len(wrong.removed), len(wrong.widths))


def test_spoiled_timings_are_no_part_of_a_row_and_networks_with_no_others_are_counted(
    table: LatencyTable,
) -> None:
    before = build_record(SKELETON, table)
    held = table.measured_networks(SKELETON, "closure")[0]
    odd = Estimate(0.2, 0.19, 0.21)
    slow = replace(held, unpruned_s=held.unpruned_s.scaled(1.2), ratio=odd)
    fitted = next(n for n in table.measured_networks(SKELETON, "fit") if n.cut)
    busy = replace(fitted, role="closure", disturbance="foreign load", ratio=odd)
    after = build_record(SKELETON, replace(table, networks=(*table.networks, slow, busy)))
    assert after.closure == before.closure
    assert any(note.startswith("1 measured networks are not shown") for note in after.notes)
    assert not any("are not shown" in note for note in before.notes)


def test_a_staircase_is_what_the_table_answers(table: LatencyTable) -> None:
    record = build_record(SKELETON, table)
    (staircase,) = record.staircases  # each layer of this network has one width that varies
    assert (staircase.layer[-2:], staircase.kind, staircase.fixed) == (".a", "linear", "")
    assert staircase.axis == "channels out"
    assert staircase.error is not None and staircase.checks > 0
    costs = Costs(SKELETON, table)
    block = staircase.layer.partition(".")[0]
    place = [layer.name for layer in SKELETON.layers].index(staircase.layer)
    assert staircase.curve[-1].width == staircase.points[-1].width == WIDTH
    for answer in staircase.curve:
        cost = costs.layers_at({block: answer.width})[place]
        assert answer.latency_s.value == pytest.approx(cost.alone_s)
        assert answer.origin == cost.origin.value
        assert answer.latency_s.low <= answer.latency_s.value <= answer.latency_s.high
    measured = {answer.width for answer in staircase.curve if answer.origin == "measured"}
    assert {point.width for point in staircase.points} <= measured
    assert any("one width that varies" in note for note in record.notes)


def test_a_staircase_leaves_out_what_a_part_alone_only_lays_out_anew(table: LatencyTable) -> None:
    cells = {
        key: replace(cell, host={FACTS: {REORDERING: 0.5}})
        for key, cell in table.cells.items()
        if isinstance(cell, Measurement)
    }
    (plain,), record = (
        build_record(SKELETON, table).staircases,
        build_record(SKELETON, replace(table, cells=cells)),
    )
    (told,) = record.staircases
    assert [point.width for point in told.points] == [point.width for point in plain.points]
    for one, other in zip(told.points, plain.points, strict=True):
        assert one.latency_s.value == pytest.approx(0.5 * other.latency_s.value)
    assert any("only lays out anew, as predictions do" in note for note in record.notes)


def test_a_layer_with_two_widths_has_two_staircases_and_a_heat_map() -> None:
    skeleton = two_widths()
    middle = families(skeleton)[1]
    assert axis_names(middle) == ("channels in", "channels out")
    assert [axis_names(family) for family in families(skeleton)[::2]] == [("channels out",), ("channels in",)]
    places = [(a, b) for a in (16, 40, 64) for b in (12, 48)] + [(28, 48), (28, 30)]
    cells: dict[str, Any] = {part.key: made_up.cell(1e-4) for part in skeleton.parts}
    cells |= {middle.at(place).key: made_up.cell(1e-8 * place[0] * place[1]) for place in places}
    whole = made_up.network(skeleton, [], 1e-3, 1e-3)
    table = LatencyTable(made_up.setting(), cells, (whole,))
    record = build_record(skeleton, table)
    assert [(s.layer, s.axis, s.fixed) for s in record.staircases] == [
        ("middle", "channels in", "channels out: 48"),
        ("middle", "channels out", "channels in: 64"),
    ]
    inward = record.staircases[0]
    assert [(p.width, p.role) for p in inward.points] == [
        (16, "anchor"),
        (28, "anchor"),
        (40, "anchor"),
        (64, "anchor"),
    ]
    assert inward.error == pytest.approx(0.0, abs=1e-12) and inward.checks == 1
    (heat,) = record.heat_maps
    assert (heat.across, heat.up) == ("channels in", "channels out")
    assert {(place.column, place.row) for place in heat.measured} == {
        *places,
        (8, 64),
        (48, 3),
    }  # the other two layers are of its family
    assert (heat.columns[0], heat.columns[-1], heat.rows[0], heat.rows[-1]) == (16, 64, 12, 48)
    assert len(heat.columns) <= 27 and 40 in heat.columns
    expected = 1e-8 * np.array(heat.columns)[None, :] * np.array(heat.rows)[:, None]
    np.testing.assert_allclose(heat.latency_s, expected)
    # No network with anything cut was measured, and no network has blocks.
    assert record.closure == ()
    assert any("how far predictions are off" in note for note in record.notes)


def test_below_the_first_step_the_curve_is_what_the_table_answers() -> None:
    middle, stairs = families(two_widths(16))[1], (Stairs(16, 2),) * 2
    out_s = {4: 1.0, 8: 1.1, 12: 3.0, 16: 4.0}
    points = {(a, b): 1e-6 * a * out_s[b] for a in (16, 32, 64) for b in (4, 12, 16)}
    points[64, 8] = 1e-6 * 64 * out_s[8]  # on the line, not of the grid
    surface = Surface(points, stairs)
    cells = {place: made_up.exact(latency_s) for place, latency_s in points.items()}
    curves = WidthCurves(
        layer="middle", family=middle, surface=surface, stairs=stairs, cells=cells, error=0.02, checks=3
    )
    curve = curves.staircases([])[1].curve
    assert [answer.width for answer in curve] == [4, 6, 8, 10, 12, 14, 16]
    assert [answer.width for answer in curve if answer.origin == "measured"] == sorted(out_s)
    answered = surface.at(np.array([(64, answer.width) for answer in curve]))
    np.testing.assert_allclose([answer.latency_s.value for answer in curve], answered)
    assert curve[2].latency_s.value == pytest.approx(64e-6 * 1.1)


def test_where_the_other_width_follows_no_steps_the_curve_is_what_was_measured() -> None:
    middle, stairs = families(two_widths(18))[1], (Stairs(16, 4),) * 2
    points = {(a, b): 1e-6 * a * b for a in (16, 32, 64) for b in (4, 16)} | {(64, 18): 1e-3, (32, 18): 6e-4}
    cells = {place: made_up.exact(latency_s) for place, latency_s in points.items()}
    curves = WidthCurves(
        layer="middle",
        family=middle,
        surface=Surface(points, stairs),
        stairs=stairs,
        cells=cells,
        error=0.02,
        checks=3,
    )
    inward, _ = curves.staircases([])
    assert {answer.origin for answer in inward.curve} == {"measured"}
    assert {32, 64} <= {answer.width for answer in inward.curve}


def test_the_error_of_interpolation_is_open_where_nothing_checks_it() -> None:
    skeleton = two_widths()
    middle = families(skeleton)[1]
    cells: dict[str, Any] = {part.key: made_up.cell(1e-4) for part in skeleton.parts}
    cells |= {middle.at(place).key: made_up.cell(1e-4) for place in [(16, 48), (16, 12), (64, 12)]}
    table = LatencyTable(made_up.setting(), cells, (made_up.network(skeleton, [], 1e-3, 1e-3),))
    staircase = build_record(skeleton, table).staircases[0]
    assert (staircase.error, staircase.checks) == (None, 0)
    between = [answer.latency_s for answer in staircase.curve if answer.origin == "interpolated"]
    assert between and {(e.low, e.high) for e in between} == {(-np.inf, np.inf)}


def test_a_table_without_widths_says_why_there_is_no_staircase(tmp_path: Path) -> None:
    store = Store(tmp_path / "lathe.db")
    run(WeighingSession(), store, OUTLINE)
    table = store.table(made_up.setting())
    record = build_record(SKELETON, table, part="block0.b")
    assert (record.staircases, record.heat_maps) == ((), ())
    assert any("the layer block0.b was not measured" in note for note in record.notes)
    # The head is of the family of the blocks' first layers; without it every width stands alone.
    others = {key: cell for key, cell in table.cells.items() if key != SKELETON.layers[-1].part.key}
    headless = replace(SKELETON, layers=SKELETON.layers[:-1])
    record = build_record(headless, replace(table, cells=others))
    assert (record.staircases, record.heat_maps) == ((), ())
    assert any(
        note.startswith("No staircase and no heat map: no layer was measured") for note in record.notes
    )
    assert any("networks are not predicted" in note for note in record.notes)
    bare = replace(SKELETON, groups=(), sizes=())
    assert any("chain was timed at full width alone" in note for note in build_record(bare, table).notes)
    stiff = replace(bare, groups=tuple(replace(g, frozen="nothing reads it") for g in SKELETON.groups))
    deep = replace(table, networks=tuple(network for network in table.networks if not network.widths))
    assert any("no width of chain may vary" in note for note in build_record(stiff, deep).notes)


def test_a_layer_named_is_the_one_shown(table: LatencyTable) -> None:
    record = build_record(SKELETON, table, part="block2.a")
    assert [s.layer for s in record.staircases] == ["block2.a"]
    assert [s.axis for s in record.staircases] == ["channels out"]
    assert [(t.name, t.kind) for t in record.traces] == [("block2.a", "linear")]
    none = build_record(SKELETON, table, part="head")
    assert none.staircases == () and none.traces[0].name == "head"
    assert any("the layer head was not measured" in note for note in none.notes)
    with pytest.raises(UserError, match=r"unknown layer of chain 'block2\.d'.*block2\.a"):
        build_record(SKELETON, table, part="block2.d")


def test_the_trace_is_of_the_most_expensive_part_with_what_was_left_out(table: LatencyTable) -> None:
    block = SKELETON.blocks[0]
    cell = table.cells[block.part.key]
    assert not isinstance(cell, Failure)
    samples = tuple(1e-3 * (1 + 0.01 * i) for i in range(40))
    odd = replace(cell, samples_s=samples, dropped={"steal": 3}, host={"disturbance": "1.2 cores"}, inner=4)
    (trace,) = build_record(SKELETON, replace(table, cells={**table.cells, block.part.key: odd})).traces
    assert (trace.name, trace.samples_s, trace.dropped, trace.inner) == (block.name, samples, {"steal": 3}, 4)
    assert trace.disturbance == "1.2 cores" and "drift" in trace.findings[0]
    assert trace.latency_s == odd.latency_s


def test_frames_come_from_the_package_itself(table: LatencyTable) -> None:
    assert len(cells_frame(table)) == len(table.cells)
    assert len(networks_frame(table)) == len(table.networks)


def test_the_command_draws_from_a_store_or_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "lathe.db")
    run(WeighingSession(), store, OUTLINE)
    time_network(OUTLINE, WeighingSession(), NARROW, "closure")  # type: ignore[arg-type]
    store.close()

    class Known:
        outline = wide = OUTLINE
        outline_for = Subject.outline_for

        def __init__(self, choice: Any, batch: int) -> None:
            assert (choice.name, batch) == ("a net/of:mine", 1)

    monkeypatch.setattr("bench.workbench.Subject", Known)
    words = ["lathe", "table", "report", "a net/of:mine", "--table", made_up.setting().digest]
    for more in (["--json"], []):
        monkeypatch.setattr(sys, "argv", [*words, "--out", str(tmp_path), *more])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        assert not end.value.code, captured.err
        folder = tmp_path / "tables" / f"a-net-of-mine-{made_up.setting().digest}"
        record = read_table(folder)
        if more:
            found = json.loads(captured.out)
            assert found["html"] == str(folder / "index.html")
            assert found["notes"] == list(record.notes)
            assert all(Path(image).stat().st_size > 1000 for image in found["images"])
        else:
            assert captured.out.split("\n")[0] == str(folder / "index.html")
            assert "o heat map" in captured.err
    assert record.command.startswith("lathe table report 'a net/of:mine' --table")


def test_a_network_whose_channels_cannot_be_traced_is_drawn_over_depth(
    lathe: Lathe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = outline_of(4, WIDTH)
    store = Store(tmp_path / "lathe.db")
    run(WeighingSession(), store, plain)
    store.close()

    class Untraceable:
        outline = plain
        outline_for = Subject.outline_for

        def __init__(self, *_: object) -> None:
            pass

        @property
        def wide(self) -> Any:
            raise UserError("Torch-Pruning cannot trace it")

    monkeypatch.setattr("bench.workbench.Subject", Untraceable)
    words = ["table", "report", "chain", "--table", made_up.setting().digest, "--out", tmp_path, "--json"]
    answer = lathe(*words)
    assert answer.status == 0, answer.err
    (note,) = [note for note in json.loads(answer.out)["notes"] if "heat map" in note]
    assert "chain was timed at full width alone. `lathe profile --widths`" in note


def test_between_measured_widths_the_band_is_the_error_that_checks_showed() -> None:
    skeleton = two_widths()
    middle = families(skeleton)[1]
    cells: dict[str, Any] = {part.key: made_up.cell(1e-4) for part in skeleton.parts}
    cells |= {middle.at(place).key: made_up.cell(1e-4) for place in [(16, 48), (16, 12), (64, 12)]}
    cells[middle.at((40, 30)).key] = made_up.cell(1.25e-4)  # interpolated: 1e-4, 20 % too little
    table = LatencyTable(made_up.setting(), cells, (made_up.network(skeleton, [], 1e-3, 1e-3),))
    staircase = build_record(skeleton, table).staircases[0]
    assert (staircase.error, staircase.checks) == (pytest.approx(0.2), 1)
    answers = {answer.width: answer for answer in staircase.curve}
    assert answers[28].origin == "interpolated"
    assert answers[28].latency_s.to_json() == pytest.approx([1e-4, 1e-4 * (1 - 0.392), 1e-4 * 1.392])
    assert answers[64].origin == "measured"
    assert answers[64].latency_s.to_json() == pytest.approx([1e-4] * 3)
