"""`lathe table` as a user meets it, on stores made by hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import made_up
import pytest

from bench import cli
from bench.tables import require_table
from latency_tables.errors import UserError
from latency_tables.setting import Setting
from latency_tables.shipped import shipped_tables
from latency_tables.store import Store
from latency_tables.table import Failure

Lathe = Callable[..., str]

SKELETON = made_up.chain([4, 5])
OLD = made_up.setting()
NEW = made_up.setting(versions=(("torch", "2.14.0"),), runtime="onnxruntime")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    store = Store(tmp_path / "lathe.db")
    for place, part in enumerate(SKELETON.parts):
        store.put(OLD, part, made_up.cell(1e-3))
        store.put(NEW, part, Failure("hung", "2026") if place == 1 else made_up.cell(1e-3 / (1 + place)))
    store.put_network(OLD, "chain", made_up.network(SKELETON, ["block1"], 1e-3, 2e-3))
    store.close()
    return tmp_path


@pytest.fixture
def lathe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, workspace: Path) -> Lathe:
    def run(*words: object, status: int = 0, out: Path = workspace) -> str:
        monkeypatch.setattr(sys, "argv", ["lathe", "table", *map(str, words), "--out", str(out)])
        monkeypatch.setenv("COLUMNS", "400")
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        assert (end.value.code or 0) == status, captured.err
        assert "Traceback" not in captured.err
        return captured.err if status == 2 else captured.out

    return run


def test_diff_says_what_differs_and_which_parts_are_faster(lathe: Lathe) -> None:
    found = json.loads(lathe("diff", OLD.digest, NEW.digest, "--json"))
    assert [entry["field"] for entry in found["fields"]] == ["runtime", "versions.torch"]
    assert [part["verdict"] for part in found["parts"]][:3] == ["same", None, "faster"]
    assert found["parts"][1]["reason"] == "second: failed: hung"
    assert found["parts"][2]["ratio"] == pytest.approx(1 / 3)
    assert found["counts"]["not compared"] == 1
    assert found["parts"][0]["kind"] == "linear"
    back = json.loads(lathe("diff", NEW.digest, OLD.digest, "--json"))
    assert back["counts"] == found["counts"] | {"faster": 0, "slower": found["counts"]["faster"]}
    text = lathe("diff", "eager", "onnxruntime on")
    assert "versions.torch: '2.13.0' in A, '2.14.0' in B" in text
    assert "not compared (second: failed: hung)" in text


def test_a_name_that_fits_no_table_or_several(lathe: Lathe) -> None:
    assert OLD.digest in lathe("diff", "eage", OLD.digest[:-1], status=2)
    store = Store(Path(sys.argv[-1]) / "lathe.db")
    store.put(made_up.setting(threads=2), SKELETON.parts[0], made_up.cell(1e-3))
    store.close()
    assert "could be any of 2 tables" in lathe("show", "eager", status=2)


def test_tables_of_before_and_after_an_upgrade_do_not_look_alike(lathe: Lathe, workspace: Path) -> None:
    upgraded = made_up.setting(versions=NEW.versions)
    store = Store(workspace / "lathe.db")
    store.put(upgraded, SKELETON.parts[0], made_up.cell(1e-3))
    store.close()
    before, after = (f"{OLD.label} (versions.torch '2.{minor}.0')" for minor in (13, 14))
    listed = {one["setting"]: one["label"] for one in json.loads(lathe("list", "--json"))}
    assert listed.items() >= {OLD.digest: before, upgraded.digest: after, NEW.digest: NEW.label}.items()
    heads = lathe("diff", before, after).splitlines()[:2]
    assert heads == [f"A: {before}", f"B: {after}"]
    refused = lathe("show", OLD.label, status=2)
    assert f"{OLD.digest} ({before}); {upgraded.digest} ({after})" in refused


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_export_then_import_elsewhere(lathe: Lathe, workspace: Path, tmp_path: Path, suffix: str) -> None:
    file, elsewhere = tmp_path / f"table{suffix}", tmp_path / "elsewhere"
    counts = json.loads(lathe("export", OLD.digest, file, "--json"))
    assert (counts["cells"], counts["networks"]) == (len(SKELETON.parts), 1)
    for new in (counts["cells"], 0):
        added = json.loads(lathe("import", file, "--json", out=elsewhere))
        assert (added["setting"], added["cells"]) == (OLD.digest, new)
    there, here = Store(elsewhere / "lathe.db"), Store(workspace / "lathe.db")
    assert there.table(OLD) == here.table(OLD)
    # A file stands for a table without any workspace.
    found = json.loads(lathe("diff", file, NEW.digest, "--json"))
    assert found["counts"] == json.loads(lathe("diff", OLD.digest, NEW.digest, "--json"))["counts"]


def test_an_import_tells_of_cells_that_it_replaces(lathe: Lathe, tmp_path: Path) -> None:
    elsewhere, file = tmp_path / "elsewhere", tmp_path / "table.csv"
    lathe("export", OLD.digest, file)
    assert "newer one" not in lathe("import", file, out=tmp_path / "empty")
    for name in ("elsewhere", "again"):
        store = Store(tmp_path / name / "lathe.db")
        store.put(OLD, SKELETON.parts[0], replace(made_up.cell(5e-3), created="2025-01-01"))
        store.close()
    told = json.loads(lathe("import", file, "--json", out=elsewhere))
    assert (told["cells"], told["replaced"]) == (len(SKELETON.parts), 1)
    assert "1 parts that had a cell here now have a newer one" in lathe(
        "import", file, out=tmp_path / "again"
    )


def test_a_shipped_table_is_shown_and_exported_by_the_name_in_the_list(
    lathe: Lathe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "shipped" / "board-eager.parquet"
    shipped.parent.mkdir()
    lathe("export", OLD.digest, shipped)
    store = Store(tmp_path / "lathe.db")
    store.put(OLD, SKELETON.parts[0], made_up.cell(2e-3))
    store.close()
    lathe("export", OLD.digest, shipped)  # with a history: two measurements of one part
    monkeypatch.setattr("bench.tables.shipped_tables", lambda: {"board-eager": shipped})
    [listed] = [one for one in json.loads(lathe("list", "--json", out=tmp_path / "none")) if one["shipped"]]
    assert listed["cells"] == len(SKELETON.parts)
    shown = json.loads(lathe("show", listed["name"], "--json", out=tmp_path / "none"))
    assert len(shown["cells"]) == len(SKELETON.parts)
    counts = json.loads(lathe("export", listed["name"], tmp_path / "a.csv", "--json", out=tmp_path / "none"))
    assert counts["cells"] == len(SKELETON.parts) + 1
    begun = json.loads(lathe("show", OLD.label[:12], "--json", out=tmp_path / "none"))
    assert begun == shown
    wrong = lathe("show", "board-eagr", status=2, out=tmp_path / "none")
    assert "Did you mean 'board-eager'" in wrong
    assert "holds no latency table yet" in wrong
    # What was measured here comes before what came with lathe.
    assert len(json.loads(lathe("show", OLD.label[:12], "--json"))["cells"]) == len(SKELETON.parts)
    assert not (tmp_path / "none").exists()


def test_a_bad_file_is_refused_and_leaves_no_workspace(lathe: Lathe, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("latency\n1\n")
    assert "no table of lathe" in lathe("import", tmp_path / "a.csv", status=2, out=tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    assert "ends in .parquet or .csv" in lathe("export", OLD.digest, tmp_path / "a.txt", status=2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": made_up.Device("cpu", "Other CPU", 2, 2**34, features=("avx2",))}, "device.name"),
        ({"runtime": "onnxruntime"}, "runtime"),
        ({"versions": (("torch", "2.14.0"),)}, "versions.torch is '2.13.0' there and '2.14.0' here"),
        ({"precision": "fp16"}, "precision is 'fp32' there and 'fp16' here"),
        ({"batch": 8}, "batch is 1 there and 8 here"),
        ({"threads": 2}, "threads is 1 there and 2 here"),
        ({"layout": "nhwc"}, "layout is 'nchw' there and 'nhwc' here"),
    ],
)
def test_a_table_of_another_setting_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    store = Store(tmp_path / "lathe.db")
    store.put(OLD, SKELETON.parts[0], made_up.cell(1e-3))
    asked: Setting = made_up.setting(**changes)
    with pytest.raises(UserError, match=message):
        require_table(store, asked)
    assert require_table(store, OLD).cells


def test_a_table_shows_how_far_off_its_predictions_are(
    lathe: Lathe, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert json.loads(lathe("show", OLD.digest, "--json"))["closure"] == []
    assert "Closure" not in lathe("show", OLD.digest)
    store = Store(workspace / "lathe.db")
    for removed, ratio, role in (
        ((), 1.0, "fit"),
        (["block0"], 0.6, "closure"),
        (["block0"], 0.66, "closure"),
    ):
        store.put_network(OLD, "chain", made_up.network(SKELETON, removed, 2e-3 * ratio, 2e-3, role))
    store.close()
    # The network would have to be built.
    unknown = {"network": "chain", "networks": None, "mean_abs_error": None, "noise_floor": None}
    assert json.loads(lathe("show", OLD.digest, "--json"))["closure"][0].items() >= unknown.items()
    assert f"`lathe table report chain --table {OLD.digest}` tells" in lathe("show", OLD.digest)
    monkeypatch.setattr("bench.table_views.skeleton_at_hand", lambda *_: SKELETON)
    [told] = json.loads(lathe("show", OLD.digest, "--json"))["closure"]
    assert (told["network"], told["networks"]) == ("chain", 1)
    assert told["noise_floor"] == pytest.approx(0.1)
    assert told["mean_abs_error"] > 0
    shown = lathe("show", OLD.digest)
    assert "chain: 1 networks: mean absolute error" in shown
    assert "noise floor 10.0%" in shown


def test_a_table_that_does_not_predict_a_network_says_why(
    lathe: Lathe, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(workspace / "lathe.db")
    for removed, role in (([], "fit"), (["block0"], "closure"), (["block0"], "closure")):
        store.put_network(
            NEW, "chain", made_up.network(SKELETON, removed, 0.6 if removed else 1.0, 1.0, role)
        )
    store.close()
    monkeypatch.setattr("bench.table_views.skeleton_at_hand", lambda *_: SKELETON)
    [told] = json.loads(lathe("show", NEW.digest, "--json"))["closure"]
    assert told["networks"] is None
    assert "could not be measured (hung)" in told["reason"]
    assert "chain: " + told["reason"] in " ".join(lathe("show", NEW.digest).split())


def test_a_shipped_table_shows_its_closure_without_building_a_network(
    lathe: Lathe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("bench.skeletons.Subject")
    name = next(name for name in shipped_tables() if "-eager-" in name)
    found = json.loads(lathe("show", name, "--json", out=tmp_path / "none"))["closure"]
    assert {one["network"] for one in found} >= {"timm/resnet50", "timm/mobilenetv2_100", "cifar/resnet56"}
    assert all(one["networks"] > 1 and 0 < one["mean_abs_error"] < 0.05 for one in found)
    assert all(0 < one["noise_floor"] < 0.05 for one in found)
