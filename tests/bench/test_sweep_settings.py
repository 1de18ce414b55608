"""A sweep over runtimes of which each may have a precision of its own."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_job import write_job
from typer.testing import CliRunner, Result

from bench import fact_views, sweep
from bench.cli import app
from bench.pruner import make_point
from bench.recipes import recipes_of
from bench.session import MeasurementFailed, Session
from bench.sweep_config import SweepConfig, make_config
from bench.workbench import Gallery, ImageChoice, NetworkChoice, Subject
from latency_tables.errors import UserError
from latency_tables.store import Store
from latency_tables.table import LatencyTable
from reports.results import Facts, Point
from reports.run_folder import read_run

onnxruntime = pytest.importorskip("onnxruntime")


def config(*runtimes: str, **changes: Any) -> SweepConfig:
    fields = {"network": "cifar/resnet20", "images": "digits", "runtimes": list(runtimes)}
    return make_config({**fields, **changes}, "a test")


def settings(asked: SweepConfig) -> list[tuple[str, str, str]]:
    """Runtime, precision and name of each."""
    return [(choice.runtime, choice.precision, asked.name_of(choice)) for choice in asked.setting_choices()]


def test_an_entry_carries_its_precision_and_the_sweep_s_holds_for_the_others() -> None:
    assert settings(config("eager", "onnxruntime", "onnxruntime  int8", "openvino bf16")) == [
        ("eager", "fp32", "eager"),
        ("onnxruntime", "fp32", "onnxruntime"),
        ("onnxruntime", "int8", "onnxruntime-int8"),
        ("openvino", "bf16", "openvino-bf16"),
    ]


def test_in_the_sweep_s_own_precision_names_are_what_they_were() -> None:
    assert settings(config("onnxruntime", "onnxruntime fp32", precision="int8")) == [
        ("onnxruntime", "int8", "onnxruntime"),
        ("onnxruntime", "fp32", "onnxruntime-fp32"),
    ]
    asked = config("onnxruntime", "onnxruntime int8", methods=["snip", "last"], budgets=["80%", "0.7x"])
    recipes = [
        recipe
        for choice in asked.setting_choices()
        for recipe in recipes_of(asked, choice, 0, Path("out"), Path("run"), asked.pairs())
    ]
    assert [recipe.id for recipe in recipes] == [
        "onnxruntime-snip-80pct-s0",
        "onnxruntime-last-0.7x-s0",
        "onnxruntime-int8-snip-80pct-s0",
        "onnxruntime-int8-last-0.7x-s0",
    ]
    assert {recipe.lessons for recipe in recipes if recipe.method == "snip"} == {"snip-80pct-s0"}
    assert ["--precision int8" in recipe.command for recipe in recipes] == [False, False, True, True]


@pytest.mark.parametrize(
    ("runtimes", "changes", "message"),
    [
        (("onnxruntime", "onnxruntime fp32"), {}, "'onnxruntime' and 'onnxruntime fp32' .* the same setting"),
        (("eager", "eager"), {}, "one stands there twice"),
        (
            ("onnxruntime int9",),
            {},
            "precision for onnxruntime 'int9'.*'int8'.*Known: fp16, fp32, int8, tf32",
        ),
        (("eager", "onnxruntime"), {"precision": "int8"}, "precision for eager 'int8'"),
        (("int8 onnxruntime",), {}, "unknown runtime 'int8'"),
        (("onnxruntime int8 fast",), {}, 'a runtime, or one with its precision as in "onnxruntime int8"'),
        (("",), {}, "a runtime, or one with its precision"),
        (("onnxruntime int8",), {"precision": "bf16"}, "'bf16' holds for none of the runtimes"),
        (("eager", "openvino bf16"), {"device": "cuda"}, "kind of device for openvino 'cuda'.*Known: cpu"),
    ],
)
def test_what_makes_no_setting_is_refused(
    runtimes: tuple[str, ...], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        config(*runtimes, **changes)


def test_each_runtime_is_given_those_of_the_options_that_it_has() -> None:
    asked = config(
        "eager", "onnxruntime", "tensorrt fp16", device="cuda", options={"launch": "graph", "builds": "3"}
    )
    assert [dict(choice.options) for choice in asked.setting_choices()] == [
        {"launch": "graph"},
        {},
        {"builds": "3", "launch": "graph"},
    ]
    assert asked.left_out() == [
        "onnxruntime: no option launch, so timed without it",
        "eager, onnxruntime: no option builds, so timed without it",
    ]
    assert config("eager").left_out() == []


def test_an_option_that_no_runtime_has_is_refused() -> None:
    with pytest.raises(
        UserError,
        match=r"option of eager, onnxruntime \(cuda\) 'lunch'.*'launch'.*Known: cache, launch, layout, provider",
    ):
        config("eager", "onnxruntime", device="cuda", options={"launch": "graph", "lunch": "noon"})


EVERY = ["eager", "onnxruntime", "onnxruntime int8"]


def write_sweep(folder: Path, words: dict[str, str], runtimes: list[str], more: str = "") -> Path:
    file = folder / "small.toml"
    file.write_text(
        f"""
network = "{words["network"]}"
weights = "{words["weights"]}"
images = "{words["images"]}"
calibration = 60
methods = ["last"]
budgets = ["0.9x"]
runtimes = {json.dumps(runtimes)}
iterations = 2
controls = false
{more}
"""
    )
    return file


def run(file: Path, patch: pytest.MonkeyPatch, stop_at: str = "") -> tuple[Result, list[str]]:
    """Runs a sweep to its end, or to the point of which the name begins so; and the points that it made."""
    made: list[str] = []

    def watched(shop: Any, recipe: Any) -> Point:
        if stop_at and recipe.id.startswith(stop_at):
            raise KeyboardInterrupt
        made.append(recipe.id)
        return make_point(shop, recipe)

    def told(_: object, table: LatencyTable) -> dict[str, Any]:
        return {"ran_in_floats": {"MatMul": 2}} if table.setting.precision == "int8" else {}

    patch.setattr(sweep, "make_point", watched)
    patch.setattr(fact_views, "_of_unpruned", told)
    return CliRunner().invoke(app, ["sweep", str(file), "--out", str(file.parent)]), made


@pytest.fixture(scope="module")
def swept(calm: None, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A sweep in three settings of two runtimes, stopped before the points of the third, and taken up again."""
    folder = tmp_path_factory.mktemp("settings")
    words = write_job(folder)
    file = write_sweep(folder, words, EVERY)
    with pytest.MonkeyPatch.context() as patch:
        stopped, before = run(file, patch, stop_at="onnxruntime-int8")
        ended, after = run(file, patch)
    assert stopped.exit_code == 130, stopped.output
    assert ended.exit_code == 0, ended.output
    record, points = read_run(folder / "runs" / "small")
    by_precision = {
        (record.settings[digest]["runtime"], record.settings[digest]["precision"]): digest
        for digest in record.settings
    }
    return SimpleNamespace(
        file=file,
        words=words,
        folder=folder / "runs" / "small",
        made=(before, after),
        said=ended.output,
        run=record,
        points={point.id: point for point in points},
        digests=by_precision,
    )


PRUNED = {
    "eager-last-0.9x-s0": ("eager", "fp32"),
    "onnxruntime-last-0.9x-s0": ("onnxruntime", "fp32"),
    "onnxruntime-int8-last-0.9x-s0": ("onnxruntime", "int8"),
}


def test_a_stopped_sweep_makes_what_is_missing(swept: SimpleNamespace) -> None:
    first, second, third = PRUNED
    assert swept.made == ([first, second], [third])
    unpruned = {name.replace("last-0.9x", "unpruned") for name in PRUNED}
    assert swept.points.keys() == {*PRUNED, *unpruned}
    assert {point.status for point in swept.points.values()} == {"done"}


def test_each_setting_has_a_table_and_its_points(swept: SimpleNamespace) -> None:
    store = Store(swept.file.parent / "lathe.db")
    tables = {(table.runtime, table.precision): table.digest for table in store.settings()}
    assert tables == swept.digests
    assert len(set(tables.values())) == 3
    assert {name: swept.points[name].setting for name in PRUNED} == {
        name: tables[setting] for name, setting in PRUNED.items()
    }
    assert all(store.table(setting).networks for setting in store.settings())


def test_every_network_is_timed_in_every_other_setting(swept: SimpleNamespace) -> None:
    for name, own in PRUNED.items():
        others = {digest for setting, digest in swept.digests.items() if setting != own}
        assert swept.points[name].elsewhere.keys() == others


def test_an_accuracy_in_int8_is_what_the_delivered_file_gives(swept: SimpleNamespace) -> None:
    point = swept.points["onnxruntime-int8-last-0.9x-s0"]
    path = swept.folder / point.artefacts["onnx"]
    assert b"QuantizeLinear" in path.read_bytes()
    assert b"QuantizeLinear" not in (swept.folder / "onnxruntime-last-0.9x-s0" / "network.onnx").read_bytes()
    subject = Subject(NetworkChoice(swept.words["network"]), 1)
    report = Gallery(ImageChoice(swept.words["images"], None, 60), subject.network).part(0).report
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = subject.network.preprocess(report.pixels).contiguous().numpy()
    outputs = np.concatenate([session.run(None, {"images": image[None]})[0] for image in images])
    assert point.accuracy.value == pytest.approx(float((outputs.argmax(1) == report.labels).mean()))
    assert point.accuracy_before == swept.points["onnxruntime-int8-unpruned-s0"].accuracy


def test_what_a_runtime_told_is_said_once_and_stands_in_the_record_and_on_the_page(
    swept: SimpleNamespace,
) -> None:
    assert swept.said.count("computed in floats, not in integers, of the unpruned network: 2 MatMul") == 1
    digest = swept.digests["onnxruntime", "int8"]
    assert swept.run.facts == {digest: Facts({}, {"MatMul": 2}, {}, (), None)}
    ran = CliRunner().invoke(app, ["report", str(swept.folder), "--json"])
    assert ran.exit_code == 0, ran.output
    page = " ".join(Path(json.loads(ran.stdout)["html"]).read_text().split())
    assert "2 nodes of the unpruned network ran in floats, not integers (2 MatMul)" in page
    for other in swept.run.settings.values():
        assert f"The same networks in {other['label']}" in page


def test_a_folder_of_before_goes_on(swept: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    path = swept.folder / "run.json"
    record = json.loads(path.read_text())
    record["format"] = 5
    del record["facts"]
    path.write_text(json.dumps(record))
    ran, made = run(swept.file, monkeypatch)
    assert (ran.exit_code, made) == (0, [])
    assert read_run(swept.folder)[0].facts == swept.run.facts


def test_two_precisions_under_one_name_are_refused(
    swept: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = swept.file.read_text()
    try:
        write_sweep(swept.file.parent, swept.words, ["onnxruntime"], 'precision = "int8"')
        ran, made = run(swept.file, monkeypatch)
    finally:
        swept.file.write_text(before)
    assert isinstance(ran.exception, UserError)
    said = str(ran.exception)
    assert "holds points of onnxruntime in fp32, asked for are some in int8" in said
    assert '"onnxruntime int8"' in said
    assert made == []


def test_a_runtime_that_refuses_the_network_costs_its_own_points(
    calm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = sweep.profile_depth

    def refused(outline: Any, session: Session, store: Store, **named: Any) -> Any:
        if session.setting.runtime == "onnxruntime":
            raise MeasurementFailed("unsupported", "ONNX Runtime cannot run the operator Bessel.")
        return profile(outline, session, store, **named)

    monkeypatch.setattr(sweep, "profile_depth", refused)
    words = write_job(tmp_path)
    file = write_sweep(tmp_path, words, ["onnxruntime", "eager"])
    ran, made = run(file, monkeypatch)
    assert ran.exit_code == 1, ran.output
    assert made == ["eager-last-0.9x-s0"]
    said = " ".join(ran.output.split())
    assert "all points in onnxruntime on" in said
    assert "cannot run the operator Bessel. The same command tries again." in said
    points = {point.id: point for point in read_run(tmp_path / "runs" / "small")[1]}
    failed = points["onnxruntime-last-0.9x-s0"]
    assert failed.status == "failed" and "the operator Bessel" in failed.reason
    eager = points["eager-last-0.9x-s0"]
    assert eager.status == "done", eager.reason
    assert eager.elsewhere == {}
    again, made = run(file, monkeypatch)
    assert (again.exit_code, made) == (1, []), "what is there stays"
    write_sweep(tmp_path, words, ["onnxruntime"])
    alone, made = run(file, monkeypatch)
    assert isinstance(alone.exception, MeasurementFailed) and "Bessel" in str(alone.exception)
    assert made == []
    monkeypatch.setattr(sweep, "profile_depth", profile)
    write_sweep(tmp_path, words, ["onnxruntime", "eager"])
    mended, made = run(file, monkeypatch)
    assert (mended.exit_code, made) == (0, ["onnxruntime-last-0.9x-s0"]), mended.output
