"""The pruned network as the user gets it: weights, ONNX file and plan, checked against PyTorch and timed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bench.profiler import compare
from bench.runtimes import get_runtime, make_setting
from bench.runtimes.onnx_export import export_graph
from bench.served import calibration_for
from bench.session import Handle, Session
from bench.workloads import Network
from bench.workloads.weights import saved
from latency_tables.errors import LatheError
from latency_tables.files import write_atomically, write_json
from latency_tables.skeleton import Cut, Plan
from latency_tables.table import NetworkMeasurement
from pruning.outline import Outline, outline
from pruning.witness import witness

#: Most that the delivered network's outputs may differ from PyTorch's in fp32, relative to the largest of them or
#: to 1. In other precisions they differ, and what that does to the accuracy is what the point shows.
TOLERANCE = 1e-4
#: Images on which they are compared, at least.
_COMPARED = 16


@dataclass(frozen=True)
class Delivered:
    """Files of a pruned network and what its delivered form costs.

    Attributes:
        files: by what they are: "weights", "onnx", "plan".
        measured: the delivered network timed beside the unpruned one.
        difference: largest difference of its outputs from PyTorch's, relative to the largest output or to 1.
        onnx_checked: whether the ONNX file was run in ONNX Runtime; it is not where that is missing, nor where the
            file was made for another runtime in another precision than fp32.
    """

    files: dict[str, Path]
    measured: NetworkMeasurement
    difference: float
    onnx_checked: bool


def deliver(
    network: Network,
    unpruned: Outline,
    pruned: nn.Module,
    plan: Plan,
    session: Session,
    images: torch.Tensor,
    folder: Path,
    quick_s: float | None = None,
) -> Delivered:
    """Writes a pruned network down, checks it and times it.

    In a runtime that loads an ONNX file the file that is timed is the one delivered; other runtimes time the same
    graph, and the ONNX file stands beside it. In fp32 it is run in ONNX Runtime in either case.

    Args:
        network: which.
        unpruned: its outline; with channel groups where the plan takes channels.
        pruned: the smaller network, healed or trained, in evaluation mode.
        plan: what was taken out.
        session: where to time.
        images: preprocessed, at least one batch of them.
        folder: where the files go.
        quick_s: as for `bench.profiler.compare`.

    Returns:
        Files, latency and the largest difference seen.

    Raises:
        LatheError: surgery on the module and on the graph disagree, or the runtime's outputs differ from PyTorch's.
        MeasurementFailed: the runtime failed.
    """
    skeleton, cut = unpruned.skeleton, Cut.of(plan.removed, plan.widths)
    small, files = lay_down(network, unpruned, pruned, plan, session.setting.batch, folder)
    files["onnx"] = folder / "network.onnx"
    loads_file = get_runtime(session.setting.runtime).loads_file
    artefact = files["onnx"] if loads_file else None
    calibration = calibration_for(session.setting, images)
    loaded = session.load(small.skeleton.graph, small.weights, artefact, calibration)
    reference: Handle | None = None
    try:
        difference = _difference(pruned, small, session, loaded, images)
        _require_equal(difference, folder, session.setting.precision)
        reference = session.load(skeleton.graph, unpruned.weights)
        measured = compare(session, reference, loaded, skeleton.digest, cut, "fit", quick_s=quick_s)
    finally:
        session.unload(loaded)
        if reference is not None:
            session.unload(reference)
    exported: float | None
    if session.setting.runtime == "onnxruntime":
        exported = difference
    elif loads_file and session.setting.precision != "fp32":
        exported = None  # the file is made for that precision there, and ONNX Runtime has other kernels
    else:
        # Of a runtime that loads a file it is the same once more: one exporter writes both.
        exported = write_onnx(pruned, small, images, files["onnx"])
    return Delivered(files, measured, max(difference, exported or 0.0), exported is not None)


def lay_down(
    network: Network, unpruned: Outline, pruned: nn.Module, plan: Plan, batch: int, folder: Path
) -> tuple[Outline, dict[str, Path]]:
    """Writes a pruned network's weights and plan, once these are seen to belong together.

    Args:
        network: which.
        unpruned: its outline; with channel groups where the plan takes channels.
        pruned: the smaller network, in evaluation mode.
        plan: what was taken out.
        batch: images in one forward pass.
        folder: where the files go.

    Returns:
        The smaller network's outline, and the files as "weights" and "plan".

    Raises:
        LatheError: surgery on the module and on the graph disagree.
    """
    cut = Cut.of(plan.removed, plan.widths)
    small = outline(plan.network, pruned, network.input_shape, batch, unpruned.norms)
    if small.skeleton.graph != unpruned.skeleton.narrowed(plan.widths).without(plan.removed)[0]:
        raise LatheError(
            f"{plan.network} {cut.words} computes something else as a module than as a graph; its "
            "blocks share state that lathe does not see. Please report the network."
        )
    files = {"weights": folder / "weights.safetensors", "plan": folder / "plan.json"}
    write_atomically(files["weights"], saved(pruned, witness(pruned, network.input_shape)))
    write_json(files["plan"], plan.to_json())
    return small, files


def write_onnx(pruned: nn.Module, small: Outline, images: torch.Tensor, path: Path) -> float | None:
    """Exports a network in fp32, and runs the file in ONNX Runtime where that is usable.

    Args:
        pruned: the network.
        small: its outline.
        images: preprocessed, at least one batch of them.
        path: of the ONNX file.

    Returns:
        The largest difference of outputs, as `Delivered` has it; None where ONNX Runtime is not there to tell.

    Raises:
        LatheError: its outputs differ from PyTorch's.
    """
    difference = _write_onnx(pruned, small, images, path)
    if difference is not None:
        _require_equal(difference, path.parent, "fp32")
    return difference


def _write_onnx(pruned: nn.Module, small: Outline, images: torch.Tensor, path: Path) -> float | None:
    if not get_runtime("onnxruntime").availability("cpu").usable:
        export_graph(small.skeleton.graph, small.weights, path)
        return None
    setting = make_setting("onnxruntime", batch=small.skeleton.graph.inputs[0].shape[0])
    with Session(setting) as session:
        handle = session.load(small.skeleton.graph, small.weights, artefact=path)
        return _difference(pruned, small, session, handle, images)


def _require_equal(difference: float, folder: Path, precision: str) -> None:
    allowed = TOLERANCE if precision == "fp32" else math.inf
    if not difference <= allowed or math.isinf(difference):  # also where it is not a number
        raise LatheError(
            f"the delivered network's outputs differ from PyTorch's by {difference:.1e} of the largest one, more "
            f"than {allowed:.0e}; {folder} is not to be used. Please report the network."
        )


def _difference(
    pruned: nn.Module, small: Outline, session: Session, handle: Handle, images: torch.Tensor
) -> float:
    batch = small.skeleton.graph.inputs[0].shape[0]
    largest, worst = 1.0, 0.0
    for start in range(0, _COMPARED, batch):
        sample = images[torch.arange(start, start + batch) % len(images)]
        with torch.inference_mode():
            expected = pruned(sample).numpy()
        (got,) = session.infer(handle, [sample.contiguous().numpy()])
        error = float(np.abs(got - expected).max())
        if not math.isfinite(error):
            return math.inf
        largest, worst = max(largest, float(np.abs(expected).max())), max(worst, error)
    return worst / largest
