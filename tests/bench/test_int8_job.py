"""A network pruned for eight-bit integers is judged by what the delivered file computes in them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_job import write_job

from bench import cli
from bench.profiler import compare
from bench.runtimes.onnx_int8 import MIN_CALIBRATION
from bench.served import Served, require_calibration
from bench.session import Session
from bench.workbench import Gallery, ImageChoice, NetworkChoice, SettingChoice, Subject
from latency_tables.errors import UserError
from latency_tables.table import NetworkMeasurement
from reports.results import UNPRUNED
from reports.run_folder import read_run

onnxruntime = pytest.importorskip("onnxruntime")


def prune(folder: Path, monkeypatch: pytest.MonkeyPatch, calibration: int) -> int:
    job = write_job(folder)
    words = ["prune", job["network"], "--weights", job["weights"], "--images", job["images"], "--json"]
    words += ["--precision", "int8", "--budget", "0.9x", "--method", "last", "--iterations", "2"]
    words += [
        "--calibration",
        str(calibration),
        "--no-controls",
        "--out",
        str(folder / "out"),
        "--name",
        "run",
    ]
    monkeypatch.setattr("sys.argv", ["lathe", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_the_accuracy_is_that_of_the_delivered_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def telling(*words: Any, **named: Any) -> NetworkMeasurement:
        taken = compare(*words, **named)
        return replace(taken, facts={**taken.facts, "ran_in_floats": {"Conv": 99}})

    monkeypatch.setattr("bench.delivery.compare", telling)
    assert prune(tmp_path, monkeypatch, 60) in (0, 1)  # whether so small a budget is met is not asked here
    point = json.loads(capsys.readouterr().out)
    assert point["status"] == "done", point
    assert point["remarks"] == ["computed in floats, not in integers, of the pruned network: 99 Conv"]
    folder = tmp_path / "out" / "runs" / "run"
    path = folder / point["id"] / "network.onnx"
    job = {"network": f"{tmp_path}/net.py:make", "images": f"npz:{tmp_path}/images.npz"}
    subject = Subject(NetworkChoice(job["network"]), 1)
    gallery = Gallery(ImageChoice(job["images"], None, 60), subject.network)
    report = gallery.part(0).report
    assert report.labels is not None
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = subject.network.preprocess(report.pixels).contiguous().numpy()
    outputs = np.concatenate([session.run(None, {"images": image[None]})[0] for image in images])
    hits = float((outputs.argmax(1) == report.labels).mean())
    assert point["accuracy_after"] == pytest.approx(hits)
    unpruned = next(point for point in read_run(folder)[1] if point.method == UNPRUNED)
    assert unpruned.accuracy is not None and unpruned.accuracy_before == unpruned.accuracy
    assert point["accuracy_before"] == unpruned.accuracy.value
    text = (path.parent / "README.md").read_text()
    assert "int8" in text and "as PyTorch computes it in fp32" in text
    assert b"QuantizeLinear" in path.read_bytes()


def test_too_few_images_are_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prune(tmp_path, monkeypatch, MIN_CALIBRATION - 1) == 2
    assert "needs at least 32 calibration images" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_only_precisions_that_are_calibrated_ask_for_images() -> None:
    require_calibration(SettingChoice().make(), 1)
    with pytest.raises(UserError, match="Give more with --calibration"):
        require_calibration(SettingChoice(precision="int8").make(), 1)


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_any_number_of_images_goes_through_a_fixed_batch(count: int) -> None:
    class Doubling(Session):
        def __init__(self) -> None:
            self.sizes: list[int] = []

        def infer(self, handle, inputs):  # type: ignore[no-untyped-def]
            self.sizes.append(len(inputs[0]))
            return [2 * inputs[0].reshape(len(inputs[0]), -1)]

    session = Doubling()
    images = torch.arange(count * 12.0).reshape(count, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    found = Served(session, None, 4)(images)  # type: ignore[arg-type]
    assert torch.equal(found, 2 * images.reshape(count, -1))
    assert set(session.sizes) == {4}
