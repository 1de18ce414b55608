"""At which learning rate does a pruned network come back soonest?

    python experiments/finetuning_rate.py --weights DIR --cifar npz:PATH --imagenet folder:PATH [--scale short]

Random sets of blocks leave three networks under two shifts; each is finetuned on stored features at several rates
and lengths. Says which rate is best at each length, and how much a user loses with another. Writes
docs/results/finetuning_rate.md. Scale short: one seed, about 20 minutes on 2 cores; full: five seeds, about 3 hours.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from cells import (
    Cell,
    Source,
    open_cell,
    origin,
    page_path,
    read,
    read_off,
    run_all,
    sources,
    truth_path,
)
from command_line import parser
from plans import Healing, heal_plan

from latency_tables.files import write_atomically
from pruning.recovery.finetune import Schedule

RATES = (0.001, 0.005, 0.02, 0.05)
SEEDS = {"short": (0,), "full": (0, 1, 2, 3, 4)}


@dataclass(frozen=True)
class Trial:
    """A network under its shifts.

    Attributes:
        source: network and images.
        shifts: one cell for each shift and seed.
        lengths: steps of finetuning.
        sizes: how many blocks go, one random set for each.
    """

    source: Source
    shifts: tuple[str, ...]
    lengths: tuple[int, ...]
    sizes: tuple[int, ...]

    def cells(self, seeds: tuple[int, ...]) -> list[Cell]:
        """All cells."""
        return [Cell(self.source, shift, seed) for seed in seeds for shift in self.shifts]


def random_plan(cell: Cell, size: int) -> tuple[str, ...]:
    """Blocks drawn by the cell's seed, in the network's order."""
    candidates = open_cell(cell).candidates
    chosen = random.Random(1000 * cell.seed + size).sample(range(len(candidates)), size)  # noqa: S311  no secret
    return tuple(candidates[place] for place in sorted(chosen))


READING = ""
"""What the run said, in plain words; goes to the top of the page."""


def main() -> None:
    """Finds what is not known yet and writes the page."""
    words = parser(__doc__, scales=SEEDS, jobs=True).parse_args()
    seeds = SEEDS[words.scale]
    folder = words.out / "experiments" / f"finetuning_rate-{words.scale}"
    known = sources(words.weights, words.cifar, words.imagenet)
    trials = (
        Trial(known["resnet20"], ("gaussian_noise:3", "contrast:4"), (50, 200), (2, 4)),
        Trial(known["resnet56"], ("gaussian_noise:3", "contrast:4"), (50, 150), (8,)),
        Trial(known["mobilenet_v2"], ("contrast:2", "jpeg_compression:3"), (25, 75), (2,)),
    )

    def healings(trial: Trial, length: int, rate: float) -> Iterator[Healing]:
        schedule = Schedule(iterations=length, learning_rate=rate)
        for cell in trial.cells(seeds):
            for size in trial.sizes:
                yield Healing(cell, random_plan(cell, size), schedule, folder)

    tasks = [
        task
        for trial in trials
        for length in trial.lengths
        for rate in RATES
        for task in healings(trial, length, rate)
        if not truth_path(task.cell, task.removed, task.schedule, folder).exists()
    ]
    run_all(heal_plan, tasks, words.jobs, "finetuning")
    reading = read_off(READING, words.scale)
    lines = ["# The rate of finetuning", "", origin("finetuning_rate", words.scale), "", reading, ""]
    lines += [
        "Mean accuracy on report images, with the worst and the best network in brackets; a network that diverged "
        "counts as 0.",
        "",
        "| network | steps | " + " | ".join(f"rate {rate:g}" for rate in RATES) + " |",
        "| --- | --- |" + " --- |" * len(RATES),
    ]
    for trial in trials:
        for length in trial.lengths:
            columns = []
            for rate in RATES:
                found = np.array(
                    [
                        read(truth_path(task.cell, task.removed, task.schedule, folder)).get("accuracy", 0.0)
                        for task in healings(trial, length, rate)
                    ]
                )
                columns.append(f"{found.mean():.1%} ({found.min():.1%} to {found.max():.1%})")
            lines.append(f"| {trial.source.network} | {length} | " + " | ".join(columns) + " |")
    page = page_path("finetuning_rate", words.scale)
    write_atomically(page, ("\n".join(lines).rstrip() + "\n").encode())
    print(f"wrote {page}")


if __name__ == "__main__":
    main()
