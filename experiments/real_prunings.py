"""Prunes two trained networks on real images under noise, to a budget, and writes what was measured.

    python experiments/real_prunings.py --weights DIR --cifar npz:PATH --imagenet folder:PATH [--scale short]

Writes docs/results/real_prunings.md. Scale short: ResNet-56 (CIFAR-10, two budgets) and MobileNetV2 (ImageNet
samples, two methods), one seed, about 25 minutes on 2 cores. Scale full: more budgets, three seeds, about 12 hours.
Both resume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cells import page_path
from command_line import parser

from bench.sweep import run_sweep
from bench.sweep_config import make_config
from bench.terminal import Terminal
from reports.results import UNPRUNED, Point, Run
from reports.run_folder import read_run
from reports.units import duration, latency, percent

SCALES = ("short", "full")
METHODS = ("ttmpd", "ttmpd-no-latency", "random", "last")


@dataclass(frozen=True)
class Case:
    """One network on its images; a step of finetuning MobileNetV2 costs thirty times one of ResNet-56."""

    name: str
    network: str
    weights: str
    images: str
    shift: str | None
    methods: tuple[str, ...]
    budgets: tuple[str, ...]
    seeds: tuple[int, ...]
    iterations: int


def cases(weights: Path, cifar: str, imagenet: str, scale: str) -> list[Case]:
    """The networks with the files of their weights, and how much of each is run."""
    full = scale == "full"
    seeds = (0, 1, 2) if full else (0,)
    resnet = str(weights / "cifar10_resnet56_akamaster.safetensors")
    mobilenet = str(weights / "imagenet_mobilenet_v2_1.0_224_dequantised.safetensors")
    return [
        Case(
            "resnet56",
            "cifar/resnet56",
            resnet,
            cifar,
            "gaussian_noise:3",
            METHODS,
            ("0.8x", "0.7x", "0.6x", "0.5x") if full else ("0.7x", "0.5x"),
            seeds,
            200,
        ),
        Case(
            "mobilenet_v2",
            "imagenet/mobilenet_v2",
            mobilenet,
            imagenet,
            None,
            METHODS if full else ("ttmpd", "random"),
            ("0.9x", "0.8x", "0.7x") if full else ("0.9x", "0.7x"),
            seeds,
            200 if full else 30,
        ),
    ]


def section(case: Case, run: Run, points: Sequence[Point]) -> str:
    """The results of one network as Markdown."""
    (setting,) = run.settings.values()
    iterations = f"{case.iterations} steps of finetuning"
    unpruned = next(point for point in points if point.method == UNPRUNED)
    shift = f"under {run.shift}" if run.shift else "clean"
    lines = [
        f"## {run.network}",
        "",
        f"Images: {Path(run.images.partition(',')[0]).name}, {shift}; {run.images.rpartition(',')[2].strip()}, the others judge; {iterations}. "
        f"Setting: {setting['label']}.",
        "",
        "| method | budget | seed | blocks out | measured | of unpruned (95 %) | met | accuracy (95 %) | agreement | score | finetune |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        f"| unpruned | | | 0 | {latency(unpruned.measured_s)} | | | {percent(unpruned.accuracy)} | | | |",
    ]
    for point in points:
        if point.method == UNPRUNED:
            continue
        if point.status == "failed" or point.ratio is None:
            lines.append(
                f"| {point.method} | {point.budget} | {point.seed} | failed: {point.reason} | | | | | | | |"
            )
            continue
        ratio = f"{point.ratio.value:.3f} ({point.ratio.low:.3f} to {point.ratio.high:.3f})"
        lines.append(
            f"| {point.method} | {point.budget} | {point.seed} | {len(point.removed)} | {latency(point.measured_s)} | {ratio} | "
            f"{'yes' if point.met else 'no'} | {percent(point.accuracy)} | {percent(point.agreement)} | "
            f"{duration(point.stages_s['score'])} | {duration(point.stages_s['finetune'])} |"
        )
    controls = next((point.controls for point in points if point.controls), {})
    lines += ["", *(f"- Control, {name}: {percent(value)}." for name, value in controls.items())]
    for point in points:
        if point.method == "ttmpd" and point.status == "done":
            lines += [
                "",
                f"Removed by `ttmpd` at {point.budget}, seed {point.seed}: {', '.join(point.removed)}.",
                "",
            ]
            lines += [f"    {without_paths(point.command)}"]
    held_out = [row for row in run.closure if not row.fitted]
    lines += [
        "",
        "Closure on networks that no fit has seen (same pass as the unpruned one):",
        "",
        "| network | predicted | measured | error |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| less {row.name.count(',') + 1} blocks | {latency(row.predicted_s)} | {latency(row.measured_s)} | "
        f"{row.predicted_s.value / row.measured_s.value - 1:+.1%} |"
        for row in held_out
    ]
    return "\n".join(lines) + "\n"


def without_paths(command: str) -> str:
    """A command with the folders of this machine left out."""
    words = []
    for word in command.partition(" --out ")[0].split():
        scheme, colon, path = word.partition(":")
        named = colon and path.startswith("/")
        words.append(
            f"{scheme}:{Path(path).name}" if named else Path(word).name if word.startswith("/") else word
        )
    return " ".join(words)


def main() -> None:
    """Runs the cases and writes the page."""
    words = parser(__doc__, scales=SCALES).parse_args()
    if words.scale == "full":
        print("expected: about 12 hours on 2 cores")
    sections: list[str] = []
    run: Run | None = None
    for case in cases(words.weights, words.cifar, words.imagenet, words.scale):
        fields = {
            "network": case.network,
            "weights": case.weights,
            "images": case.images,
            "shift": case.shift,
            "methods": case.methods,
            "budgets": case.budgets,
            "seeds": case.seeds,
            "iterations": case.iterations,
        }
        folder = words.out / "runs" / f"real-{words.scale}-{case.name}"
        command = f"python experiments/real_prunings.py --scale {words.scale}"
        run_sweep(make_config(fields, "experiment"), folder, words.out, Terminal(), command=command)
        run, points = read_run(folder)
        order = {method: index for index, method in enumerate(case.methods)}
        points.sort(
            key=lambda point: (point.method != UNPRUNED, point.budget, order.get(point.method, 0), point.seed)
        )
        sections.append(section(case, run, points))
    assert run is not None  # noqa: S101  there are cases
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    head = (
        "# Two trained networks pruned to a budget on real images\n\n"
        f"Written by `experiments/real_prunings.py --scale {words.scale}`. Date: {run.created[:10]}. Versions: {versions}.\n"
        "Every latency is measured, in turns with the unpruned network; a budget counts as met when the upper end of the "
        "ratio's 95 % interval lies under it.\n\n"
    )
    page = page_path("real_prunings", words.scale)
    page.write_text(head + "\n".join(sections), encoding="utf-8")
    print(f"wrote {page}")


if __name__ == "__main__":
    main()
