"""Which signal, known before finetuning, tells what a removal will cost after it?

    python experiments/ttmpd_signal.py --weights DIR --cifar npz:PATH --imagenet folder:PATH [--scale short] [--jobs 2]

Three networks, three shifts, two seeds. The truth of a removable block, and of thirty random sets of two to six
blocks, is the accuracy and the KL to the unpruned network on report images after that pruned network was really
finetuned. Every criterion scores the same blocks and sets before finetuning; its rank correlation with the truth
is set beside PRACTISE's, beside the correlation of one seed's truth with the other's, and beside its cost. Every
criterion also chooses three blocks, and that plan is finetuned as well. Writes docs/results/ttmpd_signal.md.

Scale short: at most 90 minutes on 2 cores. Scale full: more finetuning, PRACTISE at all lengths everywhere, about
40 hours. Both resume.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cells import Cell, chunks, open_cell, run_all, sources, truth, truth_path
from pruning.recovery.finetune import Schedule

SETS = 30
SHIFTS = {
    "resnet20": ("gaussian_noise:3", "contrast:4", "jpeg_compression:3"),
    "resnet56": ("gaussian_noise:3", "contrast:4", "jpeg_compression:3"),
    "mobilenet_v2": ("gaussian_noise:2", "contrast:2", "jpeg_compression:3"),
}
SEEDS = (0, 1)


@dataclass(frozen=True)
class Scale:
    """How much is run.

    Attributes:
        iterations: of finetuning behind a truth, by network.
    """

    iterations: dict[str, int]


SCALES = {
    "short": Scale({"resnet20": 60, "resnet56": 40, "mobilenet_v2": 12}),
    "full": Scale({"resnet20": 2000, "resnet56": 2000, "mobilenet_v2": 500}),
}


def schedule(scale: Scale, network: str) -> Schedule:
    """How the truths of a network are finetuned."""
    return Schedule(iterations=scale.iterations[network], learning_rate=RATES[network])


RATES = {"resnet20": 0.02, "resnet56": 0.02, "mobilenet_v2": 0.001}


def random_sets(candidates: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Thirty different sets of two to six blocks; the same for every shift and seed of a network."""
    draw = random.Random(len(candidates))  # noqa: S311  no secret
    found: dict[tuple[str, ...], None] = {}
    while len(found) < SETS:
        chosen = draw.sample(range(len(candidates)), draw.randint(2, min(6, len(candidates) - 1)))
        found[tuple(candidates[place] for place in sorted(chosen))] = None
    return list(found)


@dataclass(frozen=True)
class Truths:
    """Some removals of one cell."""

    cell: Cell
    removals: tuple[tuple[str, ...], ...]
    schedule: Schedule
    folder: Path


def find_truths(task: Truths) -> None:
    """Finds the truth of each."""
    for removed in task.removals:
        truth(task.cell, removed, task.schedule, task.folder)


def cells(words: argparse.Namespace) -> Iterator[tuple[str, Cell]]:
    """All cells with the short name of their network, seeds outermost so that a stopped run is balanced."""
    known = sources(words.weights, words.cifar, words.imagenet)
    for seed in SEEDS:
        for network, shifts in SHIFTS.items():
            for shift in shifts:
                yield network, Cell(known[network], shift, seed)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--cifar", required=True)
    parser.add_argument("--imagenet", required=True)
    parser.add_argument("--scale", choices=SCALES, default="short")
    parser.add_argument("--out", type=Path, default=Path("lathe-out"))
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread each")
    words = parser.parse_args()
    scale = SCALES[words.scale]
    folder = words.out / "experiments" / f"ttmpd_signal-{words.scale}"
    tasks = []
    for network, cell in cells(words):
        plan = schedule(scale, network)
        candidates = open_cell(Cell(cell.source, "contrast:1", 0, 10)).candidates
        removals = [*((block,) for block in candidates), *random_sets(candidates)]
        todo = [removed for removed in removals if not truth_path(cell, removed, plan, folder).exists()]
        tasks += [Truths(cell, tuple(piece), plan, folder) for piece in chunks(todo, 8)]
    run_all(find_truths, tasks, words.jobs, "truths")


if __name__ == "__main__":
    main()
