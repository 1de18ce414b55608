"""What is checked of the files of a point, by runtime."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from bench import delivery
from bench.delivery import Delivered, deliver
from bench.leaflet import _onnx_file
from bench.runtimes.onnx_export import export_graph
from bench.session import Session
from bench.workloads.network import Network, Preprocess
from latency_tables.errors import LatheError
from latency_tables.setting import Setting
from latency_tables.skeleton import Plan
from pruning import load
from pruning.outline import outline

SHAPE = (3, 6, 6)
IMAGES = torch.randn(16, *SHAPE, generator=torch.Generator().manual_seed(0))


class FakeSession:
    """Gives what PyTorch gives, and writes the file that a runtime which loads one writes."""

    def __init__(self, model: nn.Module, runtime: str, precision: str) -> None:
        self._model = model
        self.setting = SimpleNamespace(runtime=runtime, precision=precision, batch=1)

    def load(self, graph: Any, weights: Any, artefact: Path | None = None, calibration: Any = None) -> str:
        if artefact is not None:
            export_graph(graph, weights, artefact)
        return "handle"

    def unload(self, handle: str) -> None:
        pass

    def infer(self, handle: str, inputs: list[Any]) -> list[Any]:
        with torch.no_grad():
            return [self._model(torch.from_numpy(inputs[0])).numpy()]


def delivered(
    folder: Path, monkeypatch: pytest.MonkeyPatch, runtime: str, precision: str = "fp32", apart: float = 0.0
) -> tuple[Delivered, list[bytes]]:
    """Delivers a network; also what lay there each time when ONNX Runtime was asked about the file."""
    asked: list[bytes] = []

    def run_file(pruned: Any, small: Any, images: Any, path: Path) -> float:
        asked.append(path.read_bytes() if path.exists() else b"")
        export_graph(small.skeleton.graph, small.weights, path)
        return apart

    monkeypatch.setattr(delivery, "_write_onnx", run_file)
    monkeypatch.setattr(delivery, "compare", lambda *_, **__: None)
    monkeypatch.setattr(delivery, "calibration_for", lambda *_: None)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()
    unpruned = outline("tiny", model, SHAPE, 1)
    found = deliver(
        Network("tiny", lambda: model, SHAPE, Preprocess((0.5,) * 3, (0.5,) * 3, 255.0)),
        unpruned,
        model,
        Plan("tiny", unpruned.skeleton.digest, ()),
        cast(Session, FakeSession(model, runtime, precision)),
        IMAGES,
        folder,
    )
    return found, asked


@pytest.mark.parametrize(
    ("runtime", "precision", "checked"),
    [("openvino", "fp32", 1), ("tensorrt", "fp32", 1), ("eager", "fp32", 1), ("openvino", "bf16", 0)],
)
def test_a_file_of_another_runtime_is_run_in_onnx_runtime(
    runtime: str, precision: str, checked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, asked = delivered(tmp_path, monkeypatch, runtime, precision)
    assert len(asked) == checked
    assert found.onnx_checked is bool(checked)
    if checked and runtime != "eager":
        # One exporter, so what ONNX Runtime is given is the file that was timed.
        assert asked == [found.files["onnx"].read_bytes()]


def test_in_onnx_runtime_itself_the_file_is_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = delivered(tmp_path, monkeypatch, "onnxruntime")
    assert (asked, found.onnx_checked) == ([], True)
    session = onnxruntime.InferenceSession(found.files["onnx"])
    (got,) = session.run(None, {"images": IMAGES[:1].numpy()})
    assert np.isfinite(got).all()


def test_a_file_that_onnx_runtime_reads_otherwise_is_not_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LatheError, match=r"differ from PyTorch's by 1\.0e-02"):
        delivered(tmp_path, monkeypatch, "openvino", apart=0.01)


@pytest.mark.parametrize(
    ("runtime", "precision", "said"),
    [
        ("openvino", "fp32", "ONNX Runtime, where it is, gave what PyTorch gives"),
        ("openvino", "bf16", "the file that was timed, not run in ONNX Runtime; latency"),
        ("onnxruntime", "int8", "the file that was timed; latency"),
        ("eager", "bf16", "the network in fp32; latency"),
    ],
)
def test_the_readme_says_what_was_checked(runtime: str, precision: str, said: str) -> None:
    setting = SimpleNamespace(runtime=runtime, precision=precision)
    assert said in _onnx_file(cast(Setting, setting))


def test_weights_that_do_not_belong_to_the_plan_are_not_written(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(64, 3)).eval()
    network = Network("tiny", lambda: model, SHAPE, Preprocess((0.5,) * 3, (0.5,) * 3, 255.0))
    unpruned = outline("tiny", model, SHAPE, 1)
    plan = Plan("tiny", unpruned.skeleton.digest, ())
    with pytest.raises(LatheError, match="computes something else as a module than as a graph"):
        delivery.lay_down(network, unpruned, other, plan, 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_network_with_tied_weights_is_written_and_read_again(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.first, self.second = (nn.Conv2d(k, 4, 3, padding=1) for k in (3, 4, 4))
            self.second.weight = self.first.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(torch.relu(self.first(self.stem(x)))).mean((2, 3))

    torch.manual_seed(0)
    model = Tied().eval()
    network = Network("tied", Tied, SHAPE, Preprocess((0.5,) * 3, (0.5,) * 3, 255.0))
    unpruned = outline("tied", model, SHAPE, 1)
    plan = Plan("tied", unpruned.skeleton.digest, ())
    _, files = delivery.lay_down(network, unpruned, model, plan, 1, tmp_path)
    again = load(Tied, files["plan"], files["weights"])
    with torch.no_grad():
        torch.testing.assert_close(again(IMAGES), model(IMAGES))
