"""EPSD, distillation and TT-MPD on one page: accuracy against measured latency of one network in two runtimes.

    python experiments/kd_pareto.py --weights DIR --train npz:TRAIN --test npz:TEST [--scale short] [--out lathe-out]

A trained ResNet-20 is made faster in three ways: blocks out and healed on unlabelled images (ttmpd), channels out
before training by EPSD's score and trained with self-distillation (epsd-structured), the same share of every group's
channels and trained by the whole network (kd). A `lathe sweep` over budgets in ONNX Runtime and eager PyTorch; every
network is timed in both. Writes docs/results/kd_pareto.md and a picture for each runtime. Scale short: five epochs of CIFAR-10, one
seed, about 90 minutes on 2 cores; full: 100 epochs, three seeds, days. Resumes.
"""

from __future__ import annotations

from pathlib import Path

from cells import RESULTS, origin
from command_line import training_parser

from bench.sweep import run_sweep
from bench.sweep_config import make_config
from bench.terminal import Terminal
from latency_tables.files import write_atomically
from reports import write_report
from reports.elsewhere import elsewhere
from reports.results import read_run
from reports.scenes import Scene, scenes
from reports.summary import unpruned, volumes
from reports.units import number, percent

METHODS = ("ttmpd", "epsd-structured", "kd")
BUDGETS = ("0.85x", "0.7x", "0.6x")
SCALES = {"short": (5, 1), "full": (100, 3)}
"""Epochs and seeds."""


def section(scene: Scene, every: list[Scene]) -> list[str]:
    """One runtime's points, hypervolumes, and what becomes of them in the other."""
    whole = unpruned(scene)
    lines = [
        f"## {scene.label}",
        "",
        f"Unpruned: {percent(whole.quality) if whole else 'unknown'}.",
        "",
        "| method | budget | seed | accuracy | measured, of unpruned | met | in the other runtime |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for placed in scene.done:
        point = placed.point
        if point.ratio is None or not point.budget:
            continue
        there = ", ".join(number(ratio) for ratio in point.elsewhere.values())
        lines.append(
            f"| {point.method} | {point.budget} | {point.seed} | {percent(point.accuracy) if point.accuracy else ''} | "
            f"{number(point.ratio)} | {'yes' if point.met else 'no'} | {there} |"
        )
    lines += ["", "| method | share of the area dominated | seeds |", "| --- | --- | --- |"]
    lines += [f"| {v.method} | {percent(v.share)} | {v.seeds} |" for v in volumes(scene)]
    for other in elsewhere(scene, every):
        turned = "; ".join(f"{flip.first.title} before {flip.second.title}" for flip in other.flips)
        lines += [
            "",
            f"Of {other.pairs} pairs that are surely ordered here, {len(other.flips)} turn round in {other.label}"
            f"{': ' + turned if turned else ''}.",
        ]
        if other.fallen:
            lines += [
                "",
                f"On the front here and behind it there: {', '.join(p.title for p in other.fallen)}.",
            ]
        if other.fronts is not None:
            lines += [
                "",
                f"Share of the area that the front of all methods dominates, over {other.fronts.points} networks: "
                f"{percent(other.fronts.here)} here; the same networks in {other.label} {percent(other.fronts.there)}, "
                f"those chosen for it {percent(other.fronts.native)}.",
            ]
    return [*lines, ""]


READING = ""
"""What the run said, in plain words; goes to the top of the page."""


def main() -> None:
    """Runs the sweep as far as it is not there, and writes page and pictures."""
    options = training_parser(__doc__, SCALES)
    options.add_argument("--weights", type=Path, required=True, help="folder of trained weights")
    words = options.parse_args()
    if words.scale == "full":
        print("expected: days on 2 cores")
    epochs, seeds = SCALES[words.scale]
    config = make_config(
        {
            "network": "cifar/resnet20",
            "weights": words.weights / "cifar10_resnet20_akamaster.safetensors",
            "images": words.test,
            "train": words.train,
            "methods": METHODS,
            "budgets": BUDGETS,
            "seeds": tuple(range(seeds)),
            "runtimes": ("onnxruntime", "eager"),
            "epochs": epochs,
            "controls": False,
        },
        "kd_pareto",
    )
    workspace = words.out / "experiments" / f"kd_pareto-{words.scale}"
    folder = workspace / "runs" / "kd_pareto"
    run_sweep(config, folder, workspace, Terminal(), command="python experiments/kd_pareto.py")
    run, points = read_run(folder)
    lines = ["# EPSD, distillation and TT-MPD", "", origin("kd_pareto", words.scale), "", READING.strip(), ""]
    found = scenes([(run, points)])
    for scene in found:
        lines += section(scene, found)
    write_atomically(RESULTS / "kd_pareto.md", ("\n".join(lines).rstrip() + "\n").encode())
    files = write_report([folder], folder / "report")
    for place, scene in enumerate(found, start=1):
        picture = next(image for image in files.images if image.name == f"pareto-{place}-column.png")
        runtime = scene.description["runtime"]
        write_atomically(RESULTS.parent / "images" / f"kd-pareto-{runtime}.png", picture.read_bytes())
    print(f"wrote {RESULTS / 'kd_pareto.md'}; the report: {files.html}")


if __name__ == "__main__":
    main()
