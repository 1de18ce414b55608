"""Planning for a machine that is not at hand, by a made-up table of one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_up
import numpy as np
import onnxruntime
import pytest
import torch
from cli_driver import Answer, Lathe

from bench.workbench import NetworkChoice, Subject
from latency_tables.context import coefficients
from latency_tables.exchange import read_archive
from latency_tables.part import Grain
from latency_tables.shipped import shipped_skeleton, shipped_tables
from latency_tables.skeleton import Skeleton
from latency_tables.store import Store
from pruning import load

UNPRUNED_S = 1e-3
#: By how many blocks are out; off a straight line by a few percent, so that intervals have a width.
RATIOS = {1: 0.85, 2: 0.66, 3: 0.52, 4: 0.33}


@pytest.fixture(scope="session")
def skeleton(job: dict[str, str]) -> Skeleton:
    return Subject(NetworkChoice(job["network"]), 1).outline.skeleton


def write_table(
    folder: Path,
    skeleton: Skeleton,
    counts: Sequence[int] = tuple(RATIOS),
    precision: str = "fp32",
    facts: dict[str, Any] | None = None,
) -> None:
    """A store with every part and the network less so many blocks, for each of the counts."""
    store, there = Store(folder / "lathe.db"), made_up.setting(precision=precision)
    for part in skeleton.parts:
        store.put(there, part, made_up.cell(1.6e-4 if part.grain is Grain.BLOCK else 4e-5))
    for count in (0, *counts):
        seconds = UNPRUNED_S * (RATIOS[count] if count else 1.0)
        less = made_up.network(skeleton, skeleton.removable[:count], seconds, UNPRUNED_S)
        store.put_network(there, skeleton.name, replace(less, facts=facts or {}))
    store.close()


@pytest.fixture
def plan(lathe: Lathe, job: dict[str, str], tmp_path: Path) -> Lathe:
    def run(*flags: str, **changes: object) -> Answer:
        words = {
            "weights": job["weights"],
            "images": job["images"],
            "calibration": 40,
            "iterations": 4,
            "budget": "0.6x",
            "table": "eager",
            "out": tmp_path,
        } | changes
        said = [word for name, value in words.items() for word in (f"--{name}", value)]
        return lathe("plan", job["network"], *said, *flags)

    return run


def folders(out: Path) -> list[Path]:
    return sorted(path for path in (out / "plans").iterdir() if path.is_dir())


def test_the_upper_end_of_the_prediction_lies_within_the_budget(
    plan: Lathe, skeleton: Skeleton, tmp_path: Path
) -> None:
    write_table(tmp_path, skeleton)
    store = Store(tmp_path / "lathe.db")
    fit = coefficients(skeleton, store.table(made_up.setting()))
    # Two blocks are enough by the predicted value alone, and not by the end of its interval.
    two = fit.interval(skeleton.removable[:2])
    budget = (two.value + two.high) / 2 / UNPRUNED_S
    assert two.value < budget * UNPRUNED_S < two.high
    status = plan(budget=f"{budget:.4f}x").status
    (folder,) = folders(tmp_path)
    made = json.loads((folder / "plan.json").read_text())
    assert status == 0
    assert len(made["removed"]) == 3
    value, _, high = made["predicted_s"]
    assert value < high <= budget * UNPRUNED_S


def test_large_blocks_are_kept_while_it_heals(
    plan: Lathe, skeleton: Skeleton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path, skeleton)
    kept: list[bool] = []
    monkeypatch.setattr("bench.planning.keep_large_blocks", lambda: kept.append(True))
    assert plan(method="tmpd").status == 2  # refused at once, which is enough to see it
    assert kept


def test_what_is_written_is_the_healed_network(
    plan: Lathe, job: dict[str, str], skeleton: Skeleton, tmp_path: Path
) -> None:
    write_table(tmp_path, skeleton, facts={"ran_in_floats": {"MatMul": 2}})
    answer = plan()
    (folder,) = folders(tmp_path)
    assert answer.status == 0
    assert "predicted" in answer.out
    assert "computed in floats, not in integers, of the unpruned network: 2 MatMul" in answer.out
    assert str(folder) in answer.out
    scope: dict[str, object] = {}
    exec(Path(job["network"].partition(":")[0]).read_text(), scope)  # noqa: S102  our own text
    network = load(scope["make"], folder / "plan.json", folder / "weights.safetensors")  # type: ignore[arg-type]
    images = torch.rand(1, 3, 24, 24)
    session = onnxruntime.InferenceSession(folder / "network.onnx")
    (got,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.inference_mode():
        np.testing.assert_allclose(got, network(images).numpy(), atol=1e-4)
    leaflet = (folder / "README.md").read_text()
    assert "timed nowhere" in leaflet
    assert "lathe plan" in leaflet
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "network.onnx",
        "plan.json",
        "weights.safetensors",
    ]


def test_scripts_get_numbers_with_their_intervals(plan: Lathe, skeleton: Skeleton, tmp_path: Path) -> None:
    write_table(tmp_path, skeleton)
    answer = plan("--json")
    told = json.loads(answer.out)
    assert (answer.status, answer.err) == (0, "")
    assert len(told["removed"]) == 3
    assert told["budget_s"] == pytest.approx(0.6 * UNPRUNED_S)
    low, high = told["predicted_s_interval"]
    assert low < told["predicted_s"] < high < told["budget_s"]
    assert told["ratio"] == pytest.approx(told["predicted_s"] / UNPRUNED_S)
    assert 0 <= told["agreement_interval"][0] <= told["agreement"] <= 1
    assert told["setting"]["device"]["name"] == "Testing CPU"
    assert 0 <= told["accuracy_after_interval"][0] <= told["accuracy_after"] <= 1
    assert {(Path(told["folder"]) / file).exists() for file in told["files"].values()} == {True}


def test_other_words_get_another_folder_and_the_same_the_same(
    plan: Lathe, skeleton: Skeleton, tmp_path: Path
) -> None:
    write_table(tmp_path, skeleton)
    for seed in (0, 1, 1):
        assert plan(seed=seed).status == 0
    assert len(folders(tmp_path)) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "kd"}, "trains from scratch"),
        ({"method": "tmpd"}, "Did you mean 'ttmpd'"),
        ({"budget": "90%"}, "0.7x"),
        ({"name": ".."}, "plain name"),
        ({"name": "../../mine"}, "plain name"),
        ({"name": ".making"}, "plain name"),
        ({"seed": -1}, "--seed"),
        ({"iterations": 0}, "--iterations"),
        ({"calibration": 100000}, "100000"),
        ({"budget": "0.01x"}, "lowest"),
        ({"table": "onyx"}, "unknown table 'onyx'"),
        ({"images": "npz:/nowhere.npz"}, "/nowhere.npz"),
    ],
)
def test_a_mistake_gets_a_sentence_and_leaves_nothing(
    plan: Lathe, skeleton: Skeleton, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    write_table(tmp_path, skeleton)
    answer = plan(**changes)
    assert answer.status == 2
    assert message in answer.err
    assert not list((tmp_path / "plans").glob("*/*"))
    assert not list((tmp_path / "plans").glob(".making"))


def test_a_table_that_knows_too_little_is_refused(plan: Lathe, skeleton: Skeleton, tmp_path: Path) -> None:
    write_table(tmp_path, skeleton, counts=(2,))
    answer = plan()
    assert answer.status == 2
    assert "how far off" in answer.err


def test_how_fast_the_machine_was_matters_to_a_time_and_not_to_a_share(
    plan: Lathe, skeleton: Skeleton, tmp_path: Path
) -> None:
    write_table(tmp_path, skeleton)
    slow_s = 1.2 * UNPRUNED_S
    store = Store(tmp_path / "lathe.db")
    slow = made_up.network(skeleton, skeleton.removable[:1], RATIOS[1] * slow_s, slow_s)
    store.put_network(made_up.setting(), skeleton.name, slow)
    store.close()
    share = json.loads(plan("--json", budget="0.6x").out)
    time = json.loads(plan("--json", budget="600us").out)
    assert share["budget_s"] == pytest.approx(time["budget_s"])
    assert len(share["removed"]) == 3
    assert len(time["removed"]) == 4
    # As seconds a prediction is as uncertain as the unpruned network's own latency, whatever the budget was.
    assert share["predicted_s_interval"][1] > share["budget_s"] > share["ratio_interval"][1] * UNPRUNED_S


def test_what_fails_halfway_leaves_the_plan_that_was_there(
    plan: Lathe, skeleton: Skeleton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path, skeleton)
    assert plan(name="mine").status == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "plans" / "mine").iterdir()}

    def out_of_memory(*_: object, **__: object) -> None:
        raise RuntimeError("can't allocate memory")

    monkeypatch.setattr("bench.planning.write_onnx", out_of_memory)
    answer = plan(name="mine", seed=1)
    assert answer.status == 1
    assert "can't allocate memory" in answer.err
    assert {path.name: path.read_bytes() for path in (tmp_path / "plans" / "mine").iterdir()} == before
    assert not (tmp_path / "plans" / ".making").exists()


def test_a_kill_between_the_old_plan_and_the_new_one_loses_none(
    plan: Lathe, skeleton: Skeleton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path, skeleton)
    old = tmp_path / "plans" / ".making" / "old" / "mine"
    old.mkdir(parents=True)
    (old / "plan.json").write_text("old")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.planning.lay_down", stop)
    assert plan(name="other").status == 130
    assert (tmp_path / "plans" / "mine" / "plan.json").read_text() == "old"
    assert [folder.name for folder in folders(tmp_path)] == ["mine"]


def test_a_table_in_another_precision_says_what_was_judged_in_which(
    plan: Lathe, skeleton: Skeleton, tmp_path: Path
) -> None:
    write_table(tmp_path, skeleton, precision="int8")
    answer = plan()
    assert answer.status == 0
    assert "both in fp32" in answer.out
    assert "what int8 costs is not known here" in answer.out


def test_a_shipped_table_says_the_same_to_plan_and_predict(
    lathe: Lathe, job: dict[str, str], tmp_path: Path
) -> None:
    name = next(name for name in shipped_tables() if "-eager-" in name)
    words = ["cifar/resnet20", "--table", name, "--out", tmp_path, "--json"]
    images = ["--images", job["images"], "--calibration", 40, "--iterations", 1]
    made = json.loads(lathe("plan", *words, *images, "--budget", "0.8x", "--method", "last").out)
    told = json.loads(lathe("predict", *words, "--without", ",".join(made["removed"])).out)
    assert made["removed"]
    assert told["timed_whole"]
    said = [told["predicted_s"], *told["predicted_s_interval"]]
    assert said == pytest.approx([made["predicted_s"], *made["predicted_s_interval"]], rel=1e-9)
    # The networks that it was fitted on lack channels, too.
    skeleton = shipped_skeleton("cifar/resnet20", 1)
    assert skeleton is not None
    table = read_archive(shipped_tables()[name]).table()
    without_groups = coefficients(replace(skeleton, groups=(), sizes=()), table)
    assert said != pytest.approx(without_groups.interval(made["removed"]).to_json(), rel=1e-4)


def test_narrower_networks_count_for_plan_and_predict_alike(
    plan: Lathe, lathe: Lathe, job: dict[str, str], tmp_path: Path
) -> None:
    wide = Subject(NetworkChoice(job["network"]), 1).wide.skeleton
    inner = [group.name for group in wide.groups if group.name.endswith("conv1")]
    store, there = Store(tmp_path / "lathe.db"), made_up.setting()
    store.put_network(there, wide.name, made_up.network(wide, (), UNPRUNED_S, UNPRUNED_S))
    for width, ratio in ((16, 1.0), (12, 0.85), (8, 0.65)):
        widths = dict.fromkeys(inner, width) if width < 16 else {}
        for part in wide.narrowed(widths).parts:
            seconds = 1.6e-4 if part.grain is Grain.BLOCK else 1e-5 + 1e-8 * part.graph.weight_count
            store.put(there, part, made_up.cell(seconds))
        if widths:
            narrow = made_up.network(wide, (), ratio * UNPRUNED_S, UNPRUNED_S)
            store.put_network(there, wide.name, replace(narrow, widths=tuple(sorted(widths.items()))))
    store.close()
    made = json.loads(plan("--json", budget="0.7x").out)
    words = ["predict", job["network"], "--table", "eager", "--out", tmp_path, "--json"]
    told = json.loads(lathe(*words, "--without", ",".join(made["removed"])).out)
    low, high = told["predicted_s_interval"]
    assert 0 < low < told["predicted_s"] < high
    assert [told["predicted_s"], low, high] == pytest.approx(
        [made["predicted_s"], *made["predicted_s_interval"]]
    )


def test_a_network_of_known_parts_that_was_never_timed_is_predicted_and_not_planned_for(
    plan: Lathe, lathe: Lathe, job: dict[str, str], skeleton: Skeleton, tmp_path: Path
) -> None:
    store, there = Store(tmp_path / "lathe.db"), made_up.setting()
    for part in skeleton.parts:
        store.put(there, part, made_up.cell(1.6e-4 if part.grain is Grain.BLOCK else 4e-5))
    store.close()
    words = ["predict", job["network"], "--table", "eager", "--out", tmp_path]
    told = json.loads(lathe(*words, "--without", "blocks.1", "--json").out)
    outside = sum(layer.block is None for layer in skeleton.layers)
    assert told["predicted_s"] == pytest.approx(4 * 1.6e-4 + outside * 4e-5)
    assert (told["predicted_s_interval"], told["timed_whole"]) == ([None, None], False)
    said = lathe(*words).out
    assert "nothing fitted on this network" in said
    assert f"lathe profile {job['network']}" in said
    answer = plan()
    assert answer.status == 2
    assert "no measurement of the whole network" in answer.err


def test_a_table_of_another_network_with_a_shipped_ones_name_predicts_its_own(
    lathe: Lathe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a later version of a library makes the network in another way."""
    name, own, there = "cifar/resnet8-mlperf", made_up.chain([4, 5]), made_up.setting()
    shipped = shipped_skeleton(name, there.batch)
    assert shipped is not None
    store = Store(tmp_path / "lathe.db")
    for part in (*own.parts, *shipped.parts):
        store.put(there, part, made_up.cell(1e-4))
    store.put_network(there, name, made_up.network(own, (), UNPRUNED_S, UNPRUNED_S))
    store.close()
    file = tmp_path / "own.parquet"
    assert lathe("table", "export", "eager", file, "--out", tmp_path).status == 0
    made_here = SimpleNamespace(outline=SimpleNamespace(skeleton=own))
    monkeypatch.setattr("bench.skeletons.Subject", lambda *_: made_here)
    told = json.loads(lathe("predict", name, "--table", file, "--out", tmp_path, "--json").out)
    assert told["timed_whole"]
    assert told["predicted_s"] == pytest.approx(UNPRUNED_S)


def test_a_shipped_table_adds_up_a_network_of_its_parts(lathe: Lathe, tmp_path: Path) -> None:
    name = next(name for name in shipped_tables() if "-eager-" in name)
    told = [
        json.loads(lathe("predict", f"cifar/resnet{depth}", "--table", name, "--out", tmp_path, "--json").out)
        for depth in (32, 44, 56)
    ]
    assert [one["timed_whole"] for one in told] == [True, False, True]
    assert told[0]["predicted_s"] < told[1]["predicted_s"] < told[2]["predicted_s"]
    assert told[1]["predicted_s_interval"] == [None, None]
