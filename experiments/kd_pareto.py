"""EPSD, distillation and TT-MPD on one page: accuracy against measured latency of one network in two runtimes.

    python experiments/kd_pareto.py --weights DIR --train npz:TRAIN --test npz:TEST [--scale short] [--out lathe-out]

A trained ResNet-20 is made faster in three ways: blocks out and healed on unlabelled images (ttmpd), channels out
before training by EPSD's score and trained with self-distillation (epsd-structured), the same share of every group's
channels and trained by the whole network (kd). A `lathe sweep` over budgets in ONNX Runtime and eager PyTorch; every
network is timed in both. Writes docs/results/kd_pareto.md and the README's picture for each runtime. Scale short: five epochs of CIFAR-10, one
seed, about 90 minutes on 2 cores; full: 100 epochs, three seeds, days, on a page of its own, its pictures in the report alone. Resumes.
"""

from __future__ import annotations

from pathlib import Path

from cells import RESULTS, origin, page_path, read_off
from command_line import training_parser

from bench.sweep import run_sweep
from bench.sweep_config import make_config
from bench.terminal import Terminal
from latency_tables.files import write_atomically
from reports import write_report
from reports.elsewhere import elsewhere
from reports.run_folder import read_run
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
    lines += ["", "| method | hypervolume (normalised) | seeds |", "| --- | --- | --- |"]
    lines += [f"| {v.method} | {percent(v.share)} | {v.seeds} |" for v in volumes(scene)]
    for other in elsewhere(scene, every):
        turned = "; ".join(f"{flip.first.title} before {flip.second.title}" for flip in other.flips)
        lines += [
            "",
            f"Of {other.pairs} pairs whose latency intervals do not overlap here, {len(other.flips)} turn round in "
            f"{other.label}, without overlap there{': ' + turned if turned else ''}.",
        ]
        if other.fallen:
            lines += [
                "",
                f"On the front here and behind it there: {', '.join(p.title for p in other.fallen)}.",
            ]
        if other.fronts is not None:
            lines += [
                "",
                f"Hypervolume (normalised) of the front of all methods, over {other.fronts.points} points: "
                f"{percent(other.fronts.here)} here; the same networks in {other.label} {percent(other.fronts.there)}, "
                f"those chosen for it {percent(other.fronts.native)}.",
            ]
    if scene.failed:
        lines += ["", *(f"- {placed.point.id} failed: {placed.point.reason}" for placed in scene.failed)]
    return [*lines, ""]


READING = """
Reading. One seed, five epochs of training for what trains from scratch, against a network that was fully trained before blocks were taken from it: that TT-MPD's networks
are the most accurate ones down to 0.65 of the latency (84.9 % against 82.2 % for KD and 77.5 to 79.3 % for channels by EPSD) is what so short a training makes expected, and says nothing
about long ones. `--scale full` trains for 100 epochs and has not been run.

- KD and EPSD-structured train equally long, on the same images. KD, which takes the same share of every group and is taught by the unpruned network, is 1.7 to 4.7 points ahead at every
  budget in both runtimes (one seed; the intervals do not cover retraining), its latency at most 0.017 of the unpruned one's above the other's, mostly below. A teacher of 91.7 % is the likelier reason than the choice of channels; what
  channels by EPSD are worth beside SNIP's, magnitude's and random ones with the same training is `epsd_structured`'s question: there they are not told from random ones.
- At the least latency TT-MPD is a point ahead of KD in ONNX Runtime (79.4 % at 0.529, 78.4 at 0.550); in eager KD has 81.0 at 0.589 and TT-MPD 79.4 at 0.535.
- Networks without some blocks keep their place in the other runtime: their ratios there differ by at most 0.008. Narrower networks do not. Those chosen in eager for 0.6x take 0.66 to 0.68
  of the latency in ONNX Runtime, those for 0.85x 0.91 to 0.93: five of six would miss their budgets there. Those chosen in ONNX Runtime meet them in eager, all six, with room to
  spare. ONNX Runtime's staircase has steps of 16 channels on this machine, which would explain it; that was not looked into.
- So the order by latency alone turns round for 1 of 34 and 2 of 35 pairs whose intervals do not overlap, each time between fewer blocks and fewer channels. The intervals are of timing;
  what another seed of training would choose and cost is in none of them. That the networks chosen for ONNX Runtime dominate more of eager's plane than those
  chosen for eager comes of their being narrower than eager's budgets ask for; with three budgets a front is three points, and its area tells little more.
- At 0.85x KD has the same widths as at 0.7x in ONNX Runtime: the widest network of its form that the table foresees below 0.85 takes 0.70. They are one network,
  timed twice, so the nine points there are of eight networks, and its pairs count twice.
"""
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
    reading = read_off(READING, words.scale)
    lines = ["# EPSD, distillation and TT-MPD", "", origin("kd_pareto", words.scale), "", reading, ""]
    found = scenes([(run, points)])
    for scene in found:
        lines += section(scene, found)
    page = page_path("kd_pareto", words.scale)
    write_atomically(page, ("\n".join(lines).rstrip() + "\n").encode())
    files = write_report([folder], folder / "report")
    for place, scene in enumerate(found if words.scale == "short" else (), start=1):
        picture = next(image for image in files.images if image.name == f"pareto-{place}-column.png")
        runtime = scene.description["runtime"]
        write_atomically(RESULTS.parent / "images" / f"kd-pareto-{runtime}.png", picture.read_bytes())
    print(f"wrote {page}; the report: {files.html}")


if __name__ == "__main__":
    main()
