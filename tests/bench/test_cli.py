"""The command line as a user meets it: real work on a small network, and one clear sentence for each mistake."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import interrupts
import numpy as np
import pytest
import safetensors.torch
import torch
from cli_driver import Lathe, prune_words

from bench import controls
from bench.lock import locked
from bench.runtimes import make_setting
from latency_tables.measurement import Measurement
from latency_tables.shipped import shipped_tables
from latency_tables.store import Store
from pruning import load
from reports import read_run


def test_devices_lists_every_runtime_usable_or_not(lathe: Lathe) -> None:
    answer = lathe("devices", "--json")
    runtimes = {record["name"]: record for record in json.loads(answer.out)["runtimes"]}
    assert answer.status == 0
    assert runtimes["eager (cpu)"]["usable"]
    for record in runtimes.values():
        assert record["usable"] or (record["reason"] and record["remedy"])
    assert "eager (cpu)" in lathe("devices").out


def test_profile_goes_on_where_it_stopped_and_predict_adds_up(
    lathe: Lathe, job: dict[str, str], workspace: Path
) -> None:
    again = json.loads(lathe("profile", job["network"], "--out", workspace, "--json").out)
    assert (again["measured"], again["networks"], again["failed"]) == (0, 0, [])
    assert {row["fitted"] for row in again["closure"]} == {True, False}
    predicted = json.loads(lathe("predict", job["network"], "--out", workspace, "--json").out)
    total = sum(layer["context_s"] for layer in predicted["layers"]) + predicted["constant_s"]
    assert total == pytest.approx(predicted["predicted_s"], rel=1e-9)
    less = lathe("predict", job["network"], "--without", "blocks.1,blocks.3", "--measure", "--out", workspace)
    assert less.status == 0
    assert "measured" in less.out


def test_tables_are_listed_and_shown(lathe: Lathe, workspace: Path) -> None:
    found = json.loads(lathe("table", "list", "--out", workspace, "--json").out)
    (table,) = (one for one in found if not one["shipped"])
    assert {one["name"] for one in found if one["shipped"]} == set(shipped_tables())
    shown = json.loads(lathe("table", "show", table["setting"], "--out", workspace, "--json").out)
    assert len(shown["cells"]) == table["cells"] > 0
    assert all(cell["latency_s"] > 0 for cell in shown["cells"])
    assert "conv2d+relu" in lathe("table", "show", table["setting"], "--out", workspace).out
    wrong = lathe("table", "show", table["setting"][:-1], "--out", workspace)
    assert wrong.status == 2
    assert table["setting"] in wrong.err


@pytest.mark.parametrize(
    ("method", "runtime"),
    [
        ("ttmpd", "onnxruntime"),
        ("ttmpd-once", "onnxruntime"),
        ("random", "onnxruntime"),
        ("ttmpd-no-latency", "eager"),
    ],
)
def test_prune_meets_its_budget_and_delivers_what_it_timed(
    lathe: Lathe, job: dict[str, str], workspace: Path, method: str, runtime: str
) -> None:
    words = prune_words(job, workspace, method=method, runtime=runtime, shift="contrast:2")
    words += ["--no-controls"] if method == "ttmpd-no-latency" else []
    answer = lathe(*words, "--json")
    result = json.loads(answer.out)
    assert answer.status == 0
    assert result["met"]
    assert result["ratio_interval"][1] <= 0.6
    for name in ("predicted_s", "measured_s", "accuracy_before", "accuracy_after"):
        low, high = result[f"{name}_interval"]
        assert low <= result[name] <= high
    low, high = result["budget_s_interval"]
    assert low <= result["budget_s"] <= high
    shared = {controls.UNPRUNED_ADAPTED, controls.UNPRUNED_HEALED}
    own = {controls.PRUNED_ADAPTED, controls.PRUNED_PLAIN_TEACHER, controls.PRUNED_RANDOM}
    wanted = {"ttmpd": shared | own, "ttmpd-once": shared | own, "random": shared, "ttmpd-no-latency": set()}[
        method
    ]
    assert set(result["controls"]) == wanted
    assert ("controls" in result["stages_s"]) == (own <= wanted)
    assert {
        "profile",
        "adapt",
        "pseudo labels",
        "score",
        "measure",
        "finetune",
        "deliver",
        "evaluate",
    } <= set(result["stages_s"])
    folder = Path(result["folder"])
    files = {name: folder / path for name, path in result["artefacts"].items()}
    scope: dict[str, object] = {}
    exec(Path(job["network"].split(":")[0]).read_text(), scope)  # noqa: S102  our own file
    model = load(scope["make"], files["plan"], files["weights"])  # type: ignore[arg-type]
    import onnxruntime

    x = torch.randn(1, 3, 24, 24)
    session = onnxruntime.InferenceSession(files["onnx"], providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"images": x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(got, model(x).numpy(), atol=1e-4)
    run, points = read_run(folder)
    assert {point.method for point in points} == {"unpruned", method}
    for point in points:
        assert point.trace is not None
        assert min(point.trace.pruned_s) <= point.measured_s.value <= max(point.trace.pruned_s)
        assert len(point.trace.unpruned_s) <= point.trace.unpruned_taken
    assert run.closure
    report = lathe("report", folder, "--json")
    assert Path(json.loads(report.out)["html"]).stat().st_size > 1000


def test_the_reproducing_command_makes_the_same_plan(
    lathe: Lathe, job: dict[str, str], workspace: Path
) -> None:
    import shlex

    first = json.loads(lathe(*prune_words(job, workspace, method="last"), "--json").out)
    words = shlex.split(first["command"])
    assert words[0] == "lathe"
    again = json.loads(lathe(*words[1:], "--json").out)
    assert again["removed"] == first["removed"]
    assert again["accuracy_after"] == first["accuracy_after"]


def test_images_without_classes_give_agreement_and_no_accuracy(
    lathe: Lathe, job: dict[str, str], workspace: Path, tmp_path: Path
) -> None:
    with np.load(job["images"].removeprefix("npz:")) as data:
        np.savez(tmp_path / "bare.npz", images=data["images"])
    unlabelled = {**job, "images": f"npz:{tmp_path / 'bare.npz'}"}
    result = json.loads(lathe(*prune_words(unlabelled, workspace, method="last"), "--json").out)
    assert result["accuracy_after"] is None
    assert 0 <= result["agreement"] <= 1


SWEEP = """
network = "{network}"
weights = "{weights}"
images = "{images}"
calibration = 40
methods = ["last", "random"]
budgets = ["0.7x", "0.01x"]
iterations = 2
"""


def test_a_sweep_keeps_failures_and_resumes(
    lathe: Lathe, job: dict[str, str], workspace: Path, tmp_path: Path
) -> None:
    config = tmp_path / "small.toml"
    config.write_text(SWEEP.format(**job))
    first = lathe("sweep", config, "--out", workspace, "--json")
    points = {point["id"]: point for point in json.loads(first.out)["points"]}
    assert first.status == 1  # two points asked for the impossible
    failed = [point for point in points.values() if point["status"] == "failed"]
    assert len(points) == 4
    assert len(failed) == 2
    assert all("lowest" in point["reason"] for point in failed)
    folder = workspace / "runs" / "small"
    kept = folder / "points" / "onnxruntime-last-0.7x-s0.json"
    before = kept.stat().st_mtime_ns
    (folder / "points" / "onnxruntime-random-0.7x-s0.json").unlink()
    second = json.loads(lathe("sweep", config, "--out", workspace, "--json").out)["points"]
    assert kept.stat().st_mtime_ns == before
    assert {point["id"]: point["status"] for point in second} == {i: p["status"] for i, p in points.items()}
    config.write_text(SWEEP.format(**job) + 'shift = "contrast:1"\n')
    mixed = lathe("sweep", config, "--out", workspace)
    assert mixed.status == 2
    assert "shift" in mixed.err
    assert lathe("report", folder).status == 0


def test_a_run_in_use_is_refused(lathe: Lathe, job: dict[str, str], workspace: Path) -> None:
    words = prune_words(job, workspace)
    with locked(workspace / "runs" / "mine"):
        answer = lathe(*words, "--name", "mine")
    assert answer.status == 2
    assert "in use by another process" in answer.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["profile", "cifar/resnet65"], "Did you mean 'cifar/resnet56'"),
        (["profile", "cifar/resnet20", "--runtime", "onnx"], "Did you mean 'onnxruntime'"),
        (["profile", "cifar/resnet20", "--threads", "999"], "threads must be from 1"),
        (["profile", "cifar/resnet20", "--precision", "fp33"], "fp32"),
        (["profile", "net.py:make"], "net.py"),
        (["predict", "cifar/resnet20"], "run `lathe profile` first"),
        (["predict", "cifar/resnet20", "--table", "x", "--batch", "1"], "leave --batch out"),
        (["table", "report", "cifar/resnet20", "--threads", "2", "--table", "x"], "leave --threads out"),
        (["report", "nowhere"], "nowhere"),
        (["sweep", "nowhere.toml"], "nowhere.toml"),
        (["profile", "cifar/resnet20", "--runtme", "eager"], "--runtime"),
        (["prun", "cifar/resnet20"], "prune"),
    ],
)
def test_wrong_words_get_one_sentence_and_status_2(
    lathe: Lathe, tmp_path: Path, words: list[str], message: str
) -> None:
    out = [] if words[0] == "prun" else ["--out", tmp_path / "out"]
    answer = lathe(*words, *out)
    assert answer.status == 2
    assert message in answer.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("runtime", ["eager", "compile", "onnxruntime", "tensorrt", "torch-tensorrt"])
def test_a_gpu_where_there_is_none_is_refused_and_nothing_is_written(
    lathe: Lathe, tmp_path: Path, runtime: str
) -> None:
    words = ["profile", "cifar/resnet20", "--runtime", runtime, "--device", "cuda", "--out", tmp_path / "out"]
    answer = lathe(*words)
    assert answer.status == 2
    assert f"{runtime} (cuda) is not usable: " in answer.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "tmpd"}, "Did you mean 'ttmpd'"),
        ({"shift": "gausian_noise:3"}, "gaussian_noise"),
        ({"shift": "contrast:9"}, "1"),
        ({"budget": "soon"}, "0.7x"),
        ({"budget": "0.01x"}, "lowest"),
        ({"images": "npz:/nowhere.npz"}, "/nowhere.npz"),
        ({"images": "zip:x"}, "npz"),
        ({"calibration": 100000}, "100000"),
        ({"calibration": 0}, "calibration"),
        ({"seed": -1}, "seeds"),
        ({"weights": "/nowhere.safetensors"}, "/nowhere.safetensors"),
        ({"runtime": "tensort"}, "unknown runtime"),
    ],
)
def test_wrong_prunings_get_one_sentence_and_status_2(
    lathe: Lathe, job: dict[str, str], workspace: Path, changes: dict[str, object], message: str
) -> None:
    answer = lathe(*prune_words(job, workspace, **changes))
    assert answer.status == 2
    assert message in answer.err
    assert not list(workspace.rglob("*.part*"))


def test_another_runtime_joins_a_run_and_other_weights_do_not(
    lathe: Lathe, job: dict[str, str], workspace: Path, tmp_path: Path
) -> None:
    words = prune_words(job, workspace, method="last", name="mine")
    assert lathe(*words).status == 0
    assert lathe(*prune_words(job, workspace, method="last", name="mine", runtime="eager")).status == 0
    run, points = read_run(workspace / "runs" / "mine")
    assert len(run.settings) == 2
    assert len(points) == 4
    state = safetensors.torch.load_file(job["weights"])
    other = tmp_path / "other.safetensors"
    safetensors.torch.save_file({**state, "head.bias": state["head.bias"] + 1}, other)
    answer = lathe(*prune_words(job, workspace, method="last", name="mine", weights=other))
    assert answer.status == 2
    assert "holds a run with weights" in answer.err
    # Without a name they get a folder of their own.
    assert lathe(*prune_words(job, workspace, method="last", weights=other)).status == 0


def test_looking_makes_nothing(lathe: Lathe, tmp_path: Path) -> None:
    answer = lathe("table", "list", "--out", tmp_path / "typo")
    assert answer.status == 0  # the tables that come with lathe can be listed all the same
    assert "holds no latency table yet" in answer.err
    answer = lathe("table", "show", "nothing", "--out", tmp_path / "typo")
    assert answer.status == 2
    assert "holds no latency table yet" in answer.err
    assert not (tmp_path / "typo").exists()


def test_weights_with_nan_and_weights_of_another_network(
    lathe: Lathe, job: dict[str, str], workspace: Path, tmp_path: Path
) -> None:
    state = safetensors.torch.load_file(job["weights"])
    bad = tmp_path / "bad.safetensors"
    safetensors.torch.save_file({**state, "head.bias": torch.full((3,), float("nan"))}, bad)
    answer = lathe(*prune_words(job, workspace, weights=bad))
    assert answer.status == 2
    assert "head.bias" in answer.err
    safetensors.torch.save_file({**state, "head.bias": torch.zeros(4)}, bad)
    answer = lathe(*prune_words(job, workspace, weights=bad))
    assert answer.status == 2
    assert "head.bias" in answer.err
    assert "4" in answer.err


def test_a_network_without_removable_blocks(lathe: Lathe, job: dict[str, str], workspace: Path) -> None:
    plain = {**job, "network": job["network"].replace(":make", ":plain")}
    words = prune_words(plain, workspace)
    at = words.index("--weights")
    answer = lathe(*words[:at], *words[at + 2 :])
    assert answer.status == 2
    assert "no block that can be removed" in answer.err


def test_a_table_of_another_setting_names_the_field(
    lathe: Lathe, job: dict[str, str], workspace: Path
) -> None:
    answer = lathe("predict", job["network"], "--batch", 2, "--out", workspace)
    assert answer.status == 2
    assert "batch is 1 there and 2 here" in answer.err


def test_a_sweep_with_wrong_fields_names_them_all(lathe: Lathe, tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text('network = "x"\nimages = "digits"\nthreads = 0\nbudgets = []\n')
    answer = lathe("sweep", config, "--out", tmp_path)
    assert answer.status == 2
    assert "threads" in answer.err
    assert "budgets" in answer.err
    config.write_text('network = "x"\nimages = "digits"\nbudget = ["0.5x"]\n')
    assert "Did you mean 'budgets'" in lathe("sweep", config, "--out", tmp_path).err
    config.write_text("network = \n")
    assert "not valid TOML" in lathe("sweep", config, "--out", tmp_path).err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_profile_keeps_its_cells_and_goes_on(
    lathe: Lathe, job: dict[str, str], tmp_path: Path, how: signal.Signals
) -> None:
    words = [
        sys.executable,
        "-c",
        "from bench.cli import main; main()",
        "profile",
        job["network"],
        "--out",
        str(tmp_path),
    ]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=interrupts.heard
    )
    setting = make_setting("onnxruntime")
    deadline = time.monotonic() + 60
    cells: set[str] = set()
    while not cells and time.monotonic() < deadline:
        time.sleep(0.02)
        if (tmp_path / "lathe.db").exists():
            cells = set(Store(tmp_path / "lathe.db").table(setting).cells)
    process.send_signal(how)
    _, err = process.communicate(timeout=30)
    assert process.returncode == (130 if how is signal.SIGINT else -how)
    if how is signal.SIGINT:
        assert "the same command goes on" in err
        assert "Traceback" not in err
    before = Store(tmp_path / "lathe.db").table(setting).cells
    assert cells <= set(before)
    # What others spoiled while that process timed it is timed again.
    busy = {
        key
        for key, cell in before.items()
        if isinstance(cell, Measurement) and (cell.disturbance is not None or cell.settled is False)
    }
    result = json.loads(lathe("profile", job["network"], "--out", tmp_path, "--json").out)
    assert result["measured"] == result["parts"] - len(before) + len(busy)
    after = Store(tmp_path / "lathe.db").table(setting).cells
    assert all(after[key] == before[key] for key in before if key not in busy)
