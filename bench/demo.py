"""All of it on embedded data: train a small network, shift its images, profile, sweep, report."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench import point_views
from bench.runtimes import get_runtime
from bench.sweep import run_sweep
from bench.sweep_config import SweepConfig
from bench.terminal import Terminal
from bench.workloads import Images, load_images, parse_input_shape, resolve
from bench.workloads.training_images import AugmentedImages
from bench.workloads.weights import saved
from latency_tables.errors import UserError
from latency_tables.files import write_atomically
from pruning.recovery.objective import CrossEntropy
from pruning.recovery.training import Regime, train
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
_REGIME = Regime(epochs=8, batch_size=64, learning_rate=0.1, warmup=0.3)
_ITERATIONS = 80
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
        terminal.say(f"training {NETWORK} on scikit-learn's digits at {INPUT} ({_REGIME.epochs} epochs)")
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
    terminal.results.print(f"The report: {report.html}")
    return report.html


def _prepare(weights: Path, images: Path, progress: Progress) -> None:
    """Trains the network, and keeps the images that it never saw."""
    network = resolve(NETWORK, input_shape=parse_input_shape(INPUT))
    digits = load_images("digits", size=network.input_shape[1:])
    order = np.random.default_rng(_SEED).permutation(len(digits))
    seen, unseen = digits.take(order[:_TRAINED_ON]), digits.take(order[_TRAINED_ON:])
    model = network.build(seed=_SEED)
    images_seen = AugmentedImages(seen, network.preprocess, "none")
    train(model, images_seen, CrossEntropy(), regime=_REGIME, seed=_SEED, progress=progress)
    write_atomically(weights, saved(model))
    packed = io.BytesIO()
    np.savez(packed, images=unseen.pixels, labels=_labels(unseen))
    write_atomically(images, packed.getvalue())


def _labels(images: Images) -> np.ndarray:
    assert images.labels is not None  # noqa: S101  the digits have labels
    return images.labels


def _summarise(points: Sequence[Point], terminal: Terminal, seconds: float) -> None:
    point_views.show_points(terminal, points)
    budgeted = [point for point in points if point.status == "done"]
    met = sum(bool(point.met) for point in budgeted)
    terminal.results.print(
        f"{met} of {len(points)} points met their budget as measured on this machine; all of it took "
        f"{seconds / 60:.1f} minutes."
    )
