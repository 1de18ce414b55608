"""What a person is told after profiling: parts whose samples are doubtful, and a machine that moved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import made_up
import made_up_runs
import numpy as np
import pytest

from bench.anchor import Move
from bench.doubt_views import doubts, spoiled_beneath
from bench.point_views import show_point, show_points
from bench.profiler import NETWORK_RULE, Profiled
from bench.spoiled import spoiled_parts
from bench.terminal import Terminal
from bench.verdict import judge
from bench.views import (
    closure_rows,
    measured_json,
    prediction_json,
    profile_json,
    show_closure,
    show_prediction,
    show_profile,
    show_table,
    table_json,
)
from bench.width_profiler import WidthsProfiled
from latency_tables.estimate import Estimate
from latency_tables.measurement import Measurement, Stop
from latency_tables.prediction import predict
from latency_tables.skeleton import Cut
from latency_tables.slow_minutes import is_spoiled
from latency_tables.table import Failure, LatencyTable

SKELETON = made_up.chain([4, 4])


def table_with_doubts() -> LatencyTable:
    first, second, *others = SKELETON.parts
    drifting = replace(made_up.cell(1.0), samples_s=tuple(np.linspace(1.0, 1.2, 30).tolist()))
    cells: dict[str, Measurement | Failure] = {part.key: made_up.cell(1.0) for part in others}
    return LatencyTable(made_up.setting(), {**cells, first.key: drifting, second.key: Failure("crash", "")})


def test_doubts_are_counted_by_part() -> None:
    assert doubts(SKELETON, table_with_doubts()) == {"drift": 1, "dependence": 1}
    assert doubts(SKELETON, LatencyTable(made_up.setting(), {})) == {}


def test_a_person_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    moves = (
        Move("2026-01-01T00:00:00+00:00", made_up.exact(1.25), 7, True),
        Move("2026-01-01T00:01:00+00:00", made_up.exact(0.8), 3, False),
        Move("2026-01-02T00:00:00+00:00", made_up.exact(1.5), 0, True),
        Move("2026-01-02T00:01:00+00:00", made_up.exact(1.1), 0, False),
    )
    done = Profiled(parts=5, measured=4, failed=(), networks=0, complete=True, moves=moves)
    show_profile(Terminal(), SKELETON, done, None, table_with_doubts())
    said = capsys.readouterr().out
    assert "the anchor moved to 1.25 times its latency (2026-01-01T00:00:00+00:00); 7 parts" in said
    assert "it stayed there" in said
    assert "since an earlier profile the anchor moved to 1.50 times its latency (2026-01-02" in said
    assert "not sure that it stayed" in said
    assert "the anchor moved to 1.10 times its latency (2026-01-02T00:01:00+00:00); 0 parts" in said
    assert "drift: in the samples of 1 of 5 parts" in said


def test_a_person_is_told_of_doubtful_networks_and_of_parts_timed_far_apart(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, *others = SKELETON.parts
    cells: dict[str, Measurement | Failure] = {
        part.key: replace(made_up.cell(1.0), host={"cores": {"mode": "near"}}) for part in others
    }
    cells[first.key] = replace(made_up.cell(1.0), host={"cores": {"mode": "far"}})
    whole = made_up.network(SKELETON, (), 1.0, 1.0)
    table = LatencyTable(made_up.setting(), cells, (replace(whole, doubts=("drift",)), whole))
    done = Profiled(parts=5, measured=5, failed=(), networks=2, complete=True)
    show_profile(Terminal(), SKELETON, done, None, table)
    said = capsys.readouterr().out
    assert "drift: in the ratios of 1 timings of whole networks" in said
    assert f"1 of {len(SKELETON.parts)} parts were timed while the cores lay far apart" in said


def test_of_many_moves_not_each_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    moves = [Move("2026-01-01T00:00:00+00:00", made_up.exact(1 + n / 10), 10 - n, n < 4) for n in range(1, 7)]
    between = Move("2026-01-02T00:00:00+00:00", made_up.exact(1.5), 0, True)

    def said(*told: Move) -> str:
        done = Profiled(parts=5, measured=5, failed=(), networks=0, complete=True, moves=told)
        show_profile(Terminal(), SKELETON, done, None, LatencyTable(made_up.setting(), {}))
        return " ".join(capsys.readouterr().out.split())

    assert "the anchor moved 6 times, to 1.10 to 1.60 times its latency; 39 times a part" in said(
        *moves, between
    )
    assert "after 3 of these moves it is not sure" in said(*moves, between)
    assert "restless" not in said(*(replace(move, settled=True) for move in moves))
    assert "since an earlier profile the anchor moved to 1.50" in said(*moves, between)
    assert "restless" not in said(*moves[1:], between)
    assert said(*moves[1:], between).count("it stayed there") == 2


def test_a_person_is_told_what_was_disturbed_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    busy = replace(made_up.cell(1.0), host={"disturbance": "foreign load"})
    cells: dict[str, Measurement | Failure] = {part.key: busy for part in SKELETON.parts}
    cells[SKELETON.parts[0].key] = made_up.cell(1.0)
    whole = made_up.network(SKELETON, (), 1.0, 1.0)
    networks = (replace(whole, disturbance="steal time"), replace(whole, far=True), whole)
    table = LatencyTable(made_up.setting(), cells, networks)
    done = Profiled(parts=5, measured=5, failed=(), networks=3, complete=True)
    show_profile(Terminal(), SKELETON, done, None, table)
    said = " ".join(capsys.readouterr().out.split())
    assert "4 of 5 parts were disturbed in every attempt (foreign load: 4)" in said
    assert "run it when the machine is quiet" in said
    assert "disturbed by steal time: 1 of 3 timings of whole networks" in said
    assert "1 of 3 timings of whole networks were made while the cores lay far apart" in said
    told = profile_json(SKELETON, done, None, table)
    counts = ("taken_far", "taken_disturbed", "networks_far", "networks_disturbed")
    assert [told[name] for name in counts] == [0, 4, 1, 1]


def test_a_person_is_told_of_parts_that_the_anchor_condemned(capsys: pytest.CaptureFixture[str]) -> None:
    cells: dict[str, Measurement | Failure] = {part.key: made_up.cell(1.0) for part in SKELETON.parts}
    unsettled = {"anchor": {"level": 1.2, "settled": False}}
    cells[SKELETON.parts[0].key] = replace(made_up.cell(1.0), host=unsettled)
    table = LatencyTable(made_up.setting(), cells)
    done = Profiled(parts=5, measured=5, failed=(), networks=0, complete=True)
    show_profile(Terminal(), SKELETON, done, None, table)
    assert "1 of 5 parts were timed while the anchor moved" in " ".join(capsys.readouterr().out.split())
    assert profile_json(SKELETON, done, None, table)["taken_unsettled"] == 1


def test_spoiled_timings_are_left_out_of_the_closure() -> None:
    cells: dict[str, Measurement | Failure] = {part.key: made_up.cell(1.0) for part in SKELETON.parts}
    good = made_up.network(SKELETON, ["block0"], 2.0, 3.0)
    slow = made_up.network(SKELETON, ["block0"], 2.0, 4.0)
    networks = (
        made_up.network(SKELETON, (), 3.0, 3.0),
        good,
        slow,
        replace(good, disturbance="foreign load"),
    )
    rows = closure_rows(SKELETON, LatencyTable(made_up.setting(), cells, networks))
    assert [row["measured_ratio"] for row in rows] == pytest.approx([2 / 3])


def test_what_was_seen_of_a_gpu_is_told_and_asks_for_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    heat = "throttled: power cap in {} of 12 samples, which count since too few others are left"

    def seen(count: int) -> dict[str, object]:
        remarks = ["1 other process on the GPU", heat.format(count)]
        return {"gpu": {"throttled": {}, "other_processes": 1, "remarks": remarks}}

    cells: dict[str, Measurement | Failure] = {
        part.key: replace(made_up.cell(1.0), host=seen(i + 7)) for i, part in enumerate(SKELETON.parts)
    }
    capped = {"throttled: power cap": 4, "steal": 9}
    cells[SKELETON.parts[0].key] = replace(made_up.cell(1.0), dropped=capped)
    whole = made_up.network(SKELETON, (), 1.0, 1.0)
    shared = replace(whole, facts=seen(8), dropped={"throttled: power cap": 2}, unpruned_dropped=capped)
    table = LatencyTable(made_up.setting(), cells, (shared, whole))
    done = Profiled(parts=5, measured=5, failed=(), networks=2, complete=True)
    show_profile(Terminal(), SKELETON, done, None, table)
    said = " ".join(capsys.readouterr().out.split())
    assert "1 other process on the GPU: while 4 of 5 parts were timed; they are not timed again" in said
    assert "throttled: power cap: while 4 of 5 parts were timed" in said
    assert "1 other process on the GPU: during 1 of 2 timings of whole networks; they count" in said
    assert "throttled: power cap: 4 samples of parts were left out for that" in said
    assert "throttled: power cap: 6 samples of whole networks were left out for that" in said
    told = profile_json(SKELETON, done, None, table)
    assert told["dropped_throttled"] == {"throttled: power cap": 4}
    assert told["networks_dropped_throttled"] == {"throttled: power cap": 6}
    assert told["gpu_remarks"] == {"1 other process on the GPU": 4, "throttled: power cap": 4}
    assert told["networks_gpu_remarks"] == {"1 other process on the GPU": 1, "throttled: power cap": 1}
    assert spoiled_parts(SKELETON.parts, table) == []
    assert not is_spoiled(shared, None, near=True)
    assert shared.meanwhile == f"1 other process on the GPU; {heat.format(8)}"


def test_the_noise_floor_stands_beside_the_closure(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"cut": "less 1 block", "removed": ["block0"], "widths": {}, "fitted": True}
    rows = [row | {"predicted_ratio": 0.5, "measured_ratio": ratio, "error": 0.0} for ratio in (0.50, 0.51)]
    show_closure(Terminal(), rows)
    assert "by 2.0% in the mean (1 network)" in " ".join(capsys.readouterr().out.split())
    show_closure(Terminal(), rows[:1])
    assert "in the mean" not in capsys.readouterr().out


def test_what_a_runtime_said_of_a_pruned_network_alone_stands_with_its_point(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_point(
        Terminal(), made_up_runs.point(remarks=("left to Other: 2 nodes", "graph break: why (1 times)"))
    )
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("runtime")]
    assert said == ["runtime   left to Other: 2 nodes", "runtime   graph break: why (1 times)"]


def test_a_runtime_is_named_as_a_whole_with_its_precision(capsys: pytest.CaptureFixture[str]) -> None:
    point = made_up_runs.point(id="torch-tensorrt-ttmpd-0.7x-s0")
    other = replace(point, id="onnxruntime-int8-kd-0.7x-s0", method="kd")
    show_points(Terminal(), [point, other])
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows if "0.7x" in row] == ["torch-tensorrt", "onnxruntime-int8"]


def test_time_that_was_over_and_parts_that_failed_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    def said(done: Profiled, over_widths: WidthsProfiled | None) -> str:
        cells: dict[str, Measurement | Failure] = {part.key: made_up.cell(1.0) for part in SKELETON.parts}
        if ("linear", "it crashed") in done.failed:
            cells[SKELETON.parts[0].key] = Failure("it crashed", "")
        show_profile(Terminal(), SKELETON, done, over_widths, LatencyTable(made_up.setting(), cells))
        return capsys.readouterr().out

    nothing = WidthsProfiled(0, {}, (), complete=False)
    well = Profiled(parts=5, measured=5, failed=(), networks=2, complete=True)
    broken = replace(well, failed=(("linear", "it crashed"),))
    text = said(broken, nothing)
    assert "time was over" not in text
    assert "parts at full width failed" in text
    assert "failed: linear: it crashed" in text
    assert "the same command with --retry-failed" in text
    text = said(replace(well, complete=False), nothing)
    assert "time was over" in text
    assert "--retry-failed" not in text and "full width" not in text
    assert "time was over" in said(well, nothing)
    # The next profile tries a whole network again as it is.
    lost = said(replace(well, failed=(("the network less 1 block", "it hung"),)), nothing)
    assert "time was over" in lost and "it hung" in lost
    assert "--retry-failed" not in lost and "full width" not in lost
    assert "time was over" in said(replace(broken, complete=False), nothing)
    failed = tuple((f"linear at {width}", "it crashed") for width in range(7))
    text = said(well, WidthsProfiled(2, {"sweep": 9}, (*failed, ("mean at 4", "it hung")), complete=True))
    assert "9 cells timed now (9 of the sweeps), 8 failed" in text
    assert (
        "failed: linear at 0, linear at 1, linear at 2, linear at 3, linear at 4 and 2 more: it crashed"
        in text
    )
    assert "failed: mean at 4: it hung" in text
    assert text.count("--retry-failed") == 1
    data = profile_json(SKELETON, well, WidthsProfiled(2, {}, failed[:1], complete=True), table_with_doubts())
    assert data["widths"]["failed"] == [{"kind": "linear at 0", "reason": "it crashed"}]


def test_a_table_shows_what_speaks_against_its_cells(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drifting, failed, far, spoiled, plain = (part.key for part in SKELETON.parts)
    hosts: dict[str, dict[str, Any]] = {
        far: {"cores": {"mode": "far"}},
        spoiled: {"disturbance": "foreign load", "anchor": {"level": 1.2, "settled": False}},
        plain: {"cores": {"mode": "near"}, "anchor": {"level": 1.0, "settled": True}},
    }
    cells = {**table_with_doubts().cells}
    cells |= {key: replace(made_up.cell(1.0), host=host, dropped={"steal": 3}) for key, host in hosts.items()}
    table = LatencyTable(made_up.setting(), cells)
    kinds = {part.key: (part.kind, part.grain.value) for part in SKELETON.parts}
    told = {cell["key"]: cell for cell in table_json(table, kinds)["cells"]}
    assert told[failed].keys() == {"key", "kind", "grain", "created", "latency_s", "reason"}
    names = ("created", "dropped", "disturbance", "far", "settled", "doubts")
    created = made_up.cell(1.0).created
    assert {key: [told[key][name] for name in names] for key in (drifting, far, spoiled, plain)} == {
        drifting: [created, {}, None, False, None, ["drift", "dependence"]],
        far: [created, {"steal": 3}, None, True, None, []],
        spoiled: [created, {"steal": 3}, "foreign load", False, False, []],
        plain: [created, {"steal": 3}, None, False, True, []],
    }
    monkeypatch.setenv("COLUMNS", "200")
    show_table(Terminal(), table, kinds)
    lines = capsys.readouterr().out.splitlines()
    for words in ("drift, dependence", "far", "disturbed, unsettled"):
        assert sum(f" {words} " in line for line in lines) == 1
    assert sum("precision" in line for line in lines) == 4


def test_a_network_timed_is_held_against_its_prediction_in_seconds_and_in_ratio_with_what_to_doubt(
    capsys: pytest.CaptureFixture[str],
) -> None:
    latencies = dict.fromkeys((part.key for part in SKELETON.parts), 1.0)
    cuts: tuple[list[str], ...] = ([], ["block0"], ["block0", "block1"])
    known = [made_up.network(SKELETON, removed, 3.0 - len(removed), 3.0) for removed in cuts]
    prediction = predict(SKELETON, made_up.table(SKELETON, latencies, known), ["block1"])
    measured = replace(made_up.network(SKELETON, ["block1"], 1.6, 2.0), stop=Stop.TIME, rounds=7)
    show_prediction(Terminal(), SKELETON, made_up.setting(), prediction, measured)
    said = capsys.readouterr().out
    assert "measured  1.6 s (1.6 to 1.6); the prediction is off by +25.0%" in said
    assert "measured 0.800 (0.800 to 0.800); the prediction is off by -16.7%" in said
    assert "sampling stopped after 7 rounds (time)" in said
    assert "beside the unpruned network: faster\n" in said
    assert not any(word in said for word in ("disturbed", "far apart", "claims too much"))
    told = measured_json(prediction, measured)
    assert told["predicted_ratio"] == pytest.approx(2 / 3)
    low, high = told["predicted_ratio_interval"]
    assert low < 2 / 3 < high
    assert (told["measured_ratio"], told["measured_ratio_interval"]) == (0.8, [0.8, 0.8])
    timing = {"stop": "time", "rounds": 7, "disturbance": None, "far": False, "doubts": []}
    assert (told["measured_s"], told["timing"]) == (1.6, timing)
    spoiled = replace(measured, disturbance="foreign load", far=True, doubts=("drift",))
    show_prediction(Terminal(), SKELETON, made_up.setting(), prediction, spoiled)
    said = capsys.readouterr().out
    assert "disturbed by foreign load" in said and "the cores lay far apart" in said
    assert "drift in the ratios to the unpruned network" in said
    timing |= {"disturbance": "foreign load", "far": True, "doubts": ["drift"]}
    assert measured_json(prediction, spoiled)["timing"] == timing


def test_a_prediction_says_on_which_spoiled_cells_it_rests(capsys: pytest.CaptureFixture[str]) -> None:
    skeleton = made_up.chain([4, 5])
    whole = made_up.network(skeleton, [], 3.0, 3.0)
    block = skeleton.blocks[0]
    layer = next(layer for layer in skeleton.layers if layer.block is None)
    cells: dict[str, Measurement | Failure] = {part.key: made_up.cell(1.0) for part in skeleton.parts}
    cells[block.part.key] = replace(made_up.cell(1.0), host={"disturbance": "foreign load"})
    cells[layer.part.key] = replace(made_up.cell(1.0), host={"anchor": {"settled": False}})
    table = LatencyTable(made_up.setting(), cells, (whole,))
    assert set(spoiled_beneath(skeleton, table, Cut.of([]))) == {block.name, layer.name}
    assert spoiled_beneath(skeleton, table, Cut.of([block.name])) == [layer.name]
    prediction = predict(skeleton, table)
    show_prediction(Terminal(), skeleton, made_up.setting(), prediction, None, [block.name, layer.name])
    said = " ".join(capsys.readouterr().out.split())
    assert "it rests on 2 layers and blocks that something disturbed when they were timed" in said
    assert f"moved ({block.name}, {layer.name}); `lathe profile" in said
    show_prediction(Terminal(), skeleton, made_up.setting(), prediction, None)
    assert "rests on" not in capsys.readouterr().out
    assert prediction_json(skeleton, made_up.setting(), prediction, ["a"])["spoiled"] == ["a"]


@pytest.mark.parametrize(
    ("low", "high", "verdict", "words"),
    [
        (0.90, 0.98, "faster", "faster"),
        (1.03, 1.10, "slower", "slower"),
        (0.985, 0.999, "same", "same (surely within 2% of it)"),
        (0.97, 1.01, "cannot tell", "cannot tell whether it is faster or slower"),
    ],
)
def test_a_network_timed_is_called_faster_slower_same_or_neither(
    low: float, high: float, verdict: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ratio = Estimate((low + high) / 2, low, high)
    assert judge(ratio, NETWORK_RULE).value == verdict  # as of the comparison itself
    known = made_up.network(SKELETON, [], 3.0, 3.0)
    latencies = dict.fromkeys((part.key for part in SKELETON.parts), 1.0)
    prediction = predict(SKELETON, made_up.table(SKELETON, latencies, [known]), ["block1"])
    measured = replace(made_up.network(SKELETON, ["block1"], 2.0 * ratio.value, 2.0), ratio=ratio)
    assert measured_json(prediction, measured)["verdict"] == verdict
    show_prediction(Terminal(), SKELETON, made_up.setting(), prediction, measured)
    assert f"beside the unpruned network: {words}\n" in capsys.readouterr().out


def test_samples_of_a_slowed_core_are_told_by_their_number(capsys: pytest.CaptureFixture[str]) -> None:
    slowed = "taken while the core was slowed from outside"
    cells: dict[str, Measurement | Failure] = {
        part.key: replace(made_up.cell(1.0), dropped={slowed: 3, "steal": 9}) for part in SKELETON.parts
    }
    whole = replace(
        made_up.network(SKELETON, (), 1.0, 1.0), dropped={slowed: 2}, unpruned_dropped={slowed: 5}
    )
    table = LatencyTable(made_up.setting(), cells, (whole,))
    done = Profiled(parts=5, measured=5, failed=(), networks=1, complete=True)
    show_profile(Terminal(), SKELETON, done, None, table)
    said = " ".join(capsys.readouterr().out.split())
    assert f"{slowed}: 15 samples of parts were left out for that; what is left counts" in said
    assert f"{slowed}: 7 samples of whole networks were left out for that" in said
    told = profile_json(SKELETON, done, None, table)
    assert (told["dropped_slowed"], told["networks_dropped_slowed"]) == (15, 7)
    assert told["dropped_throttled"] == {}
