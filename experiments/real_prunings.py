"""Prunes two trained networks on real images under noise, to a budget, and writes what was measured.

    python experiments/real_prunings.py --weights DIR --cifar npz:PATH --imagenet folder:PATH [--scale short]

Writes docs/results/real_prunings.md. Scale short: ResNet-56 (CIFAR-10) and MobileNetV2 (ImageNet samples), budget
0.7x, one seed, about 15 minutes on 2 cores. Scale full: four budgets and three seeds, about 3 hours. Both resume.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.sweep import run_sweep
from bench.sweep_config import make_config
from bench.terminal import Terminal
from reports.results import Point, Run, read_run
from reports.units import duration, latency, percent

RESULT = Path(__file__).parents[1] / "docs" / "results" / "real_prunings.md"
SCALES = {
    "short": {"budgets": ["0.7x"], "seeds": [0]},
    "full": {"budgets": ["0.8x", "0.7x", "0.6x", "0.5x"], "seeds": [0, 1, 2]},
}


@dataclass(frozen=True)
class Case:
    """One network on its images."""

    name: str
    network: str
    weights: str
    images: str
    shift: str | None


def cases(weights: Path, cifar: str, imagenet: str) -> list[Case]:
    """The networks with the files of their weights."""
    return [
        Case(
            "resnet56",
            "cifar/resnet56",
            str(weights / "cifar10_resnet56_akamaster.safetensors"),
            cifar,
            "gaussian_noise:3",
        ),
        Case(
            "mobilenet_v2",
            "imagenet/mobilenet_v2",
            str(weights / "imagenet_mobilenet_v2_1.0_224_dequantised.safetensors"),
            imagenet,
            None,
        ),
    ]


def section(run: Run, points: Sequence[Point], weights: Path) -> str:
    """The results of one network as Markdown."""
    (setting,) = run.settings.values()
    unpruned = next(point for point in points if point.method == "unpruned")
    shift = f"under {run.shift}" if run.shift else "clean"
    lines = [
        f"## {run.network}",
        "",
        f"Images: {Path(run.images.partition(',')[0]).name}, {shift}; {run.images.rpartition(',')[2].strip()}, the others judge. "
        f"Setting: {setting['label']}.",
        "",
        "| method | budget | seed | blocks out | measured | of unpruned (95 %) | met | accuracy (95 %) | agreement | score | finetune |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        f"| unpruned | | | 0 | {latency(unpruned.measured_s)} | | | {percent(unpruned.accuracy)} | | | |",
    ]
    for point in points:
        if point.method == "unpruned":
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
    control = next((point.controls for point in points if point.controls), {})
    lines += ["", *(f"Control, {name}: {percent(value)}." for name, value in control.items())]
    chosen = next((point for point in points if point.method == "ttmpd" and point.status == "done"), None)
    if chosen is not None:
        command = chosen.command.replace(str(weights), "WEIGHTS")
        for word in command.split():
            if word.startswith(("npz:/", "folder:/")):
                command = command.replace(
                    word, f"{word.partition(':')[0]}:{Path(word.partition(':')[2]).name}"
                )
        command = command.partition(" --out ")[0]
        lines += [
            "",
            f"Removed by `ttmpd` at {chosen.budget}: {', '.join(chosen.removed)}.",
            "",
            f"    {command}",
        ]
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


def main() -> None:
    """Runs the cases and writes the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--cifar", required=True)
    parser.add_argument("--imagenet", required=True)
    parser.add_argument("--scale", choices=SCALES, default="short")
    parser.add_argument("--out", type=Path, default=Path("lathe-out"))
    words = parser.parse_args()
    if words.scale == "full":
        print("expected: about 3 hours on 2 cores")
    sections: list[str] = []
    run: Run | None = None
    for case in cases(words.weights, words.cifar, words.imagenet):
        fields = {
            "network": case.network,
            "weights": case.weights,
            "images": case.images,
            "shift": case.shift,
            "methods": ["ttmpd", "ttmpd-no-latency", "random", "last"],
            **SCALES[words.scale],
        }
        folder = words.out / "runs" / f"real-{words.scale}-{case.name}"
        command = f"python experiments/real_prunings.py --scale {words.scale}"
        run_sweep(make_config(fields, "experiment"), folder, words.out, Terminal(), command=command)
        run, points = read_run(folder)
        order = {method: index for index, method in enumerate(fields["methods"])}
        points = sorted(points, key=lambda point: (point.budget, order.get(point.method, -1), point.seed))
        sections.append(section(run, points, words.weights))
    assert run is not None  # noqa: S101  there are cases
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    head = (
        "# Two trained networks pruned to a budget on real images\n\n"
        f"Written by `experiments/real_prunings.py --scale {words.scale}`. Date: {run.created[:10]}. Versions: {versions}.\n"
        "Every latency is measured, in turns with the unpruned network; a budget counts as met when the upper end of the "
        "ratio's 95 % interval lies under it.\n\n"
    )
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(head + "\n".join(sections), encoding="utf-8")
    print(f"wrote {RESULT}")


if __name__ == "__main__":
    main()
