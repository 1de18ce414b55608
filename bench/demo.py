"""All of it on embedded data: train a small network, shift its images, profile, sweep, report."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F

from bench import views
from bench.runtimes import get_runtime
from bench.sweep import run_sweep
from bench.sweep_config import SweepConfig
from bench.terminal import Terminal
from bench.workbench import channels_last
from bench.workloads import Images, load_images, parse_input_shape, resolve
from latency_tables.errors import UserError
from latency_tables.files import write_atomically
from pruning.search import Progress
from reports import write_report
from reports.results import Point

NETWORK = "cifar/resnet20"
# At this size a forward pass costs a millisecond or more on one core, so that latency means work, not overhead.
INPUT = "3x52x52"
SHIFT = "brightness:5"
_SEED = 0
_TRAINED_ON = 1000
_CALIBRATION = 300
_EPOCHS = 8
_ITERATIONS = 80
_BATCH = 64
_BUDGETS = ("0.8x", "0.6x", "0.4x")
#: Every method in the runtime that serves, fewer in the other, where the point is the other latencies.
_METHODS = {
    "onnxruntime": ("ttmpd", "ttmpd-no-latency", "random", "last"),
    "eager": ("ttmpd",),
}


def run_demo(workspace: Path, terminal: Terminal) -> Path:
    """Runs the demo, or what is left of it.

    Args:
        workspace: gets the tables, the runs and the report.
        terminal: where progress is drawn and the summary printed.

    Returns:
        The report's HTML file.

    Raises:
        UserError: ONNX Runtime is not installed.
    """
    started = time.perf_counter()
    available = get_runtime("onnxruntime").availability("cpu")
    if not available.usable:
        raise UserError(f"the demo needs ONNX Runtime: {available.reason}. {available.remedy}")
    folder = workspace / "demo"
    weights, images = folder / "digits_resnet20.safetensors", folder / "digits_unseen.npz"
    if not (weights.exists() and images.exists()):
        terminal.say(f"training {NETWORK} on scikit-learn's digits at {INPUT} ({_EPOCHS} epochs)")
        with terminal.progress("train") as progress:
            _prepare(weights, images, progress)
    runs: list[Path] = []
    points: list[Point] = []
    for runtime, methods in _METHODS.items():
        config = SweepConfig(
            network=NETWORK,
            weights=weights,
            input=INPUT,
            images=f"npz:{images}",
            shift=SHIFT,
            calibration=_CALIBRATION,
            methods=methods,
            budgets=_BUDGETS,
            seeds=(_SEED,),
            runtimes=(runtime,),
            iterations=_ITERATIONS,
            controls=True,
        )
        runs.append(workspace / "runs" / f"demo-{runtime}")
        points += run_sweep(config, runs[-1], workspace, terminal, command="lathe demo")
    report = write_report(runs, folder / "report")
    _summarise(points, terminal, time.perf_counter() - started)
    terminal.results.print(f"The report: {report.html}", markup=False)
    return report.html


def _prepare(weights: Path, images: Path, progress: Progress) -> None:
    """Trains the network, and keeps the images that it never saw."""
    network = resolve(NETWORK, input_shape=parse_input_shape(INPUT))
    digits = load_images("digits", size=network.input_shape[1:])
    order = np.random.default_rng(_SEED).permutation(len(digits))
    seen, unseen = digits.take(order[:_TRAINED_ON]), digits.take(order[_TRAINED_ON:])
    model = channels_last(network.build(seed=_SEED), network.input_shape)
    inputs = network.preprocess(seen.pixels).contiguous(memory_format=torch.channels_last)
    _train(model, inputs, seen, progress)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(weights, safetensors.torch.save(state))
    packed = io.BytesIO()
    np.savez(packed, images=unseen.pixels, labels=_labels(unseen))
    write_atomically(images, packed.getvalue())


def _train(model: torch.nn.Module, inputs: torch.Tensor, images: Images, progress: Progress) -> None:
    targets = torch.from_numpy(_labels(images))
    generator = torch.Generator().manual_seed(_SEED)
    model.train()
    steps = _EPOCHS * (len(targets) // _BATCH)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.1, total_steps=steps)
    done = 0
    for _ in range(_EPOCHS):
        for index in torch.split(torch.randperm(len(targets), generator=generator), _BATCH):
            if len(index) < _BATCH:
                continue
            loss = F.cross_entropy(model(inputs[index]), targets[index])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            done += 1
            progress(done, steps, f"loss {float(loss.detach()):.3f}")
    model.eval()


def _labels(images: Images) -> np.ndarray:
    assert images.labels is not None  # noqa: S101  the digits have labels
    return images.labels


def _summarise(points: Sequence[Point], terminal: Terminal, seconds: float) -> None:
    views.show_points(terminal, points)
    budgeted = [point for point in points if point.status == "done"]
    met = sum(bool(point.met) for point in budgeted)
    terminal.results.print(
        f"{met} of {len(points)} points met their budget as measured on this machine; all of it took "
        f"{seconds / 60:.1f} minutes."
    )
