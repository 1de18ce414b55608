"""A README beside the files of a point: what they are, how they were made, how to use them."""

from __future__ import annotations

from bench.run_record import images_text, software
from bench.runtimes import get_runtime
from bench.sweep_config import SweepConfig
from latency_tables.estimate import Estimate
from latency_tables.setting import Setting
from pruning.from_scratch import SCRATCH_METHODS
from reports import units
from reports.difference import Change, apart, change
from reports.results import Point

_STANDING = {
    Change.BETTER: "above it",
    Change.WORSE: "below it",
    Change.CANNOT_TELL: "not told apart from it",
}


def leaflet(point: Point, config: SweepConfig, setting: Setting) -> str:
    """The text of a finished point's README, Markdown.

    Args:
        point: which has files.
        config: of the run it belongs to.
        setting: in which it was timed.
    """
    made_with = software()
    shift = f" under {config.shift}" if config.shift else ""
    lines = [
        f"# {config.network}, {point.method} at {point.budget}",
        "",
        f"Made by `{point.command}` on {point.created}, with lathe {made_with['lathe']} and torch "
        f"{made_with['torch']}.",
        "",
        f"- What is missing: {_missing(point)}.",
        f"- Latency in {setting.label}: {units.latency(point.measured_s)}; the unpruned network took "
        f"{units.latency(point.unpruned_s)} in the same pass, so the ratio is {units.number(point.ratio)}.",
        f"- Budget: {_budget(point)}.",
        f"- How it was made good: {_training(point, config)}.",
        f"- Accuracy on {images_text(config)}{shift}: {_accuracy(point.accuracy)}; that of the unpruned network"
        f"{', trained the same way' if config.trains_unpruned else ''}: {_accuracy(point.accuracy_before)}.",
        "- Same answer as the unpruned network, as PyTorch computes it in fp32: "
        f"{units.percent(point.agreement)} of the images.",
        *(
            f"- Told by {setting.runtime} of it and not of the unpruned network: {said}"
            for said in point.remarks
        ),
        "",
        "Intervals are 95 %. Accuracy is that on images which neither healed nor trained the network.",
        "",
        *_controls(point, config),
        "",
        "| file | what it is |",
        "| --- | --- |",
        "| `weights.safetensors` | the network's weights |",
        "| `plan.json` | what was taken out of the unpruned architecture |",
        f"| `network.onnx` | {_onnx_file(setting)} |",
        *(
            ["| `trainings.json` | loss and accuracy by epoch, of the network and of its controls |"]
            if "trainings" in point.artefacts
            else []
        ),
        "",
        "The network in PyTorch, from a factory of the unpruned architecture:",
        "",
        "```python",
        "from pathlib import Path",
        "from pruning import load",
        "",
        'network = load(factory, Path("plan.json"), Path("weights.safetensors"))',
        "```",
        "",
    ]
    return "\n".join(lines)


def _onnx_file(setting: Setting) -> str:
    if setting.precision == "fp32":
        return "the network for other runtimes; ONNX Runtime, where it is, gave what PyTorch gives"
    timed = "the network in fp32"
    if get_runtime(setting.runtime).loads_file:
        timed = "the file that was timed"
        timed += "" if setting.runtime == "onnxruntime" else ", not run in ONNX Runtime"
    return f"{timed}; latency and accuracy above are those of {setting.runtime} in {setting.precision}"


def _missing(point: Point) -> str:
    if point.sparsity is not None:
        return f"{point.sparsity:.1%} of the weights, one by one, which are zero"
    said = []
    if point.removed:
        said.append(f"blocks {', '.join(point.removed)}")
    if point.widths:
        said.append("channels: " + ", ".join(f"{name} keeps {width}" for name, width in point.widths.items()))
    return "; ".join(said) or "nothing"


def _budget(point: Point) -> str:
    if point.budget_s is None:
        return "of the latency nothing was asked"
    held = "ratio" if point.budget.endswith("x") else "latency"
    verdict = "met" if point.met else "missed"
    return (
        f"{point.budget}, which is {units.plain_latency(point.budget_s)} here; {verdict}, since the upper end of "
        f"the {held}'s interval lies {'within' if point.met else 'above'} it"
    )


def _training(point: Point, config: SweepConfig) -> str:
    images, choice = f"the {config.calibration} calibration images with their labels", config.image_choice()
    if choice.train_source is not None:
        images = f"the images of {choice.train_source}"
    elif choice.train_count is not None:
        images = f"{choice.train_count} of the images"
    trained = f"{config.epochs} epochs on {images}{choice.training_shift}"
    if point.method in SCRATCH_METHODS:
        how = "plain cross entropy" if config.self_distillation == "none" else config.self_distillation
        if SCRATCH_METHODS[point.method].taught:
            how = "the unpruned network as teacher"
        return f"trained from scratch for {trained}, with {how}"
    first = f"; the unpruned network was trained here for {trained}" if config.trains_unpruned else ""
    return (
        f"finetuned for {config.iterations} steps on the {config.calibration} calibration images, without their "
        f"labels{first}"
    )


def _controls(point: Point, config: SweepConfig) -> list[str]:
    """What the result must stand beside, each with what the intervals of the images allow to say."""
    if not point.controls and not point.uncontrolled:
        why = "nothing was taken out" if config.controls else "they were left out with `--no-controls`"
        return [f"It stands beside no controls: {why}. So nothing says what explains its accuracy."]
    rows = []
    for name, control in point.controls.items():
        standing = "" if point.accuracy is None else _STANDING[change(apart(point.accuracy, control))]
        rows.append(f"| {name} | {_accuracy(control)} | {standing} |")
    for name, reason in point.uncontrolled.items():
        rows.append(f"| {name} | not made: {' '.join(reason.split()).replace('|', '/')} | |")
    return [
        "What could explain its accuracy away, judged on the same images; this network is above or below one "
        "where the intervals of the images say so, of one seed:",
        "",
        "| control | accuracy | this network is |",
        "| --- | --- | --- |",
        *rows,
    ]


def _accuracy(estimate: Estimate | None) -> str:
    return "unknown, since the images have no labels" if estimate is None else units.percent(estimate)
