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
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cells import (
    Cell,
    Practised,
    chunks,
    open_cell,
    processor_time,
    read,
    run_all,
    sources,
    truth,
    truth_path,
)
from command_line import parser
from torch import nn
from ttmpd_signal_page import write_page

from bench.workbench import NetworkChoice, Subject
from latency_tables.files import write_json
from pruning.criteria.criterion import Remembering
from pruning.criteria.variables import VARIABLES, Workpiece
from pruning.passes import Outputs, Passes
from pruning.recovery.finetune import Schedule

SETS = 30
PLAN_SIZE = 3
PRACTISE_STEPS = (50, 200, 1000)
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


def long_schedule(network: str) -> Schedule:
    """Of the finetuning that the order of the truths is checked against."""
    return Schedule(iterations=2000, learning_rate=RATES[network])


def order_check(network: str, cell: Cell, candidates: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Three removals that are finetuned at length, in one cell: an early block, a late one, a set."""
    if network != "resnet20" or cell.seed != 0 or cell.shift != SHIFTS[network][0]:
        return []
    return [(candidates[0],), (candidates[-1],), random_sets(candidates)[0]]


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


STREAM_READERS = {"unexplained", "change", "capacity"}
"""Variables that need the pass over the streams, and are charged for it, alone and in joints."""


class SharedPasses:
    """Passes that answer each question once, and charge everybody who asks for what the answer cost.

    Attributes:
        charged_s: processor seconds of all answers given, as if each had been computed.
        spent_s: processor seconds really spent on them.
    """

    def __init__(self, make: Callable[[], Passes]) -> None:
        with processor_time() as spent:
            self._passes = make()
        self.charged_s = self.spent_s = 0.0
        self.start_s = spent()
        self.unpruned = self._passes.unpruned
        self._known: dict[frozenset[str], tuple[Outputs, float]] = {}
        self._last: frozenset[str] | None = None

    def keep(self, removed: frozenset[str]) -> None:
        """Singles are scored from the whole network; sets are scored for the comparison and not charged."""

    def outputs(self, removed: frozenset[str], instead: Mapping[str, nn.Module] | None = None) -> Outputs:
        """As `Passes.outputs`."""
        if removed in self._known and not instead:
            outputs, cost = self._known[removed]
        else:
            with processor_time() as spent:
                outputs = self._passes.outputs(removed, instead)
            cost = spent()
            self.spent_s += cost
            if not instead:
                self._known[removed] = outputs, cost
        # As in `Passes`, measures that ask for one set in turn share its pass.
        self.charged_s += 0.0 if removed == self._last and not instead else cost
        self._last = None if instead else removed
        return outputs


class SharedPiece(Workpiece):
    """A workpiece whose passes are shared by all variables; its streams are timed as well."""

    @cached_property
    def passes(self) -> Any:
        """See `Workpiece`."""
        return SharedPasses(lambda: Passes(self.teacher, self.scored, self.candidates))

    @cached_property
    def trained_passes(self) -> Any:
        """See `Workpiece`."""
        return SharedPasses(lambda: Passes(self.teacher, self.scored, self.candidates, trained=True))


@dataclass(frozen=True)
class Signals:
    """Criteria to ask in one cell: names of variables, or ``practise-N``."""

    cell: Cell
    names: tuple[str, ...]
    folder: Path


def signal_path(cell: Cell, name: str, folder: Path) -> Path:
    """Where a criterion's answers are kept."""
    return folder / cell.name / "signals" / f"{name}.json"


def find_variables(task: Signals) -> None:
    """Asks each variable about every block, every random set and the plan of three blocks that it would take."""
    ground = open_cell(task.cell)
    piece = SharedPiece(
        ground.teacher,
        ground.images.calibration,
        ground.labels,
        ground.subject.outline.skeleton,
        task.cell.seed,
    )
    shared = [piece.passes, piece.trained_passes]
    with processor_time() as moments_s:
        piece.streams  # noqa: B018  made here, so that its time is known
    for name in task.names:
        before = [(passes.charged_s, passes.spent_s) for passes in shared]
        with processor_time() as own_s:
            criterion = Remembering(VARIABLES[name].make(piece))
            for block in piece.candidates:
                criterion.hurt(frozenset({block}))
        charged = [passes.charged_s - charged for passes, (charged, _) in zip(shared, before, strict=True)]
        spent = sum(passes.spent_s - spent for passes, (_, spent) in zip(shared, before, strict=True))
        seconds = own_s() - spent + sum(charged)
        parts = name.split("*")
        needs_streams = any(part in STREAM_READERS or part.startswith("mapped") for part in parts)
        seconds += moments_s() if needs_streams else 0.0
        needs_passes = [used > 0 for used in charged]
        needs_passes[0] |= name == "gradient"
        seconds += sum(passes.start_s for passes, used in zip(shared, needs_passes, strict=True) if used)
        keep_answers(task, name, criterion, piece, seconds)


def find_practise(task: Signals) -> None:
    """The same for PRACTISE, at one number of steps."""
    ground = open_cell(task.cell)
    (name,) = task.names
    practised = Practised(task.cell, ground.piece, int(name.rpartition("-")[2]), task.folder.parent)
    keep_answers(task, name, Remembering(practised), ground.piece, practised.seconds)


def keep_answers(task: Signals, name: str, criterion: Remembering, piece: Workpiece, seconds: float) -> None:
    """Writes down what a criterion says."""
    record = {
        "singles": {block: criterion.hurt(frozenset({block})) for block in piece.candidates},
        "sets": [criterion.hurt(frozenset(removed)) for removed in random_sets(piece.candidates)],
        "seconds": seconds,
        "plan": greedy_plan(criterion, piece),
    }
    write_json(signal_path(task.cell, name, task.folder), record)


def greedy_plan(criterion: Remembering, piece: Workpiece) -> list[str]:
    """Three blocks, each the one with which the hurt is least; latency plays no part."""
    plan: frozenset[str] = frozenset()
    for _ in range(PLAN_SIZE):
        rest = [block for block in piece.candidates if block not in plan]
        plan |= {min(rest, key=lambda block: criterion.hurt(plan | {block}))}
    return [block for block in piece.candidates if block in plan]


def cells(words: argparse.Namespace) -> Iterator[tuple[str, Cell]]:
    """All cells with the short name of their network, seeds outermost so that a stopped run is balanced."""
    known = sources(words.weights, words.cifar, words.imagenet)
    for seed in SEEDS:
        for network, shifts in SHIFTS.items():
            for shift in shifts:
                yield network, Cell(known[network], shift, seed)


def practise_names(network: str, cell: Cell, scale: str) -> list[str]:
    """The lengths of adaptor training that a cell is scored with.

    A cell of ResNet-56 takes about 4 minutes at 50 steps and 80 at 1000, so the short scale has the long ones in
    some cells only.
    """
    if scale == "full":
        return [f"practise-{steps}" for steps in PRACTISE_STEPS]
    first_shift = cell.shift == SHIFTS[network][0]
    wanted = {
        "resnet20": {50: True, 200: True, 1000: cell.seed == 0 and first_shift},
        "resnet56": {50: True, 200: cell.seed == 0 and first_shift, 1000: False},
        "mobilenet_v2": {50: cell.seed == 0, 200: cell.seed == 0 and first_shift, 1000: False},
    }
    return [f"practise-{steps}" for steps, yes in wanted[network].items() if yes]


def order_lines(
    everything: list[tuple[str, Cell]], candidates: dict[str, tuple[str, ...]], scale: Scale, folder: Path
) -> list[str]:
    """Accuracy after the short and after the long finetuning, as lines of Markdown."""
    lines = ["| cell | without | steps of the truths | 2000 steps |", "| --- | --- | --- | --- |"]
    for network, cell in everything:
        for removed in order_check(network, cell, candidates[network]):
            paths = [
                truth_path(cell, removed, plan, folder)
                for plan in (schedule(scale, network), long_schedule(network))
            ]
            if all(path.exists() for path in paths):
                short, long = (read(path).get("accuracy", 0.0) for path in paths)
                lines.append(f"| {cell.name} | {', '.join(removed)} | {short:.1%} | {long:.1%} |")
    return lines


READING = """
Reading. Two seeds, three networks, three shifts: 18 cells. PRACTISE at 200 steps in 8 of them and at 1000 in one, as the tables
count; at 50 steps in 15 (MobileNetV2's second seed lacks it), because a cell of ResNet-56 takes it 3 minutes there and 11 at 200.

- The three-part joint of KL after calibration, closed-form recoverability and capacity is the default since this run. Its mean tau
  over the three networks, both kinds of removal and both truths is 0.63, that of the pair without capacity (the default before)
  0.63 as well (0.625), with the map in the blocks' place 0.63 (0.628), of the older pair with feature damage 0.56, of PRACTISE at 50
  steps 0.55. What decides are plans: the three blocks that it takes lose 0.9, 1.3 and 0.5 points on the best plan known (ResNet-20,
  ResNet-56, MobileNetV2), those of the pair 2.2, 1.4 and 0.5, PRACTISE's at 50 steps 2.8, 1.5 and 0.6, random ones 24, 2.6 and 19
  (two drawn orders per network, reused for every shift).
  It had been said before the second seed ran that this would decide.
- These losses have no interval, and the default was picked among 29 signals (30 on ResNet-20; PRACTISE and controls counted) on the same
  cells. `capacity` alone loses less on ResNet-20 (0.4), as much on ResNet-56 (1.3) and 8.3 on MobileNetV2; `end-map` (0.7) and `features`
  (0.9) lose less on ResNet-56. The control `first` tops two tables of accuracy, single blocks of ResNet-20 (0.73, the default 0.71) and
  sets of ResNet-56 (0.57, the default 0.53); its plans lose 13.3, 1.3 and 39.5 points.
- It costs 0.7 s (ResNet-20), 4.8 s (ResNet-56) and 3.6 s (MobileNetV2) where PRACTISE at 50 steps costs 17, 175 and 70 s: between a
  19th and a 36th, well under the tenth asked for.
- The intervals were drawn removal by removal anew in each cell, although the removals are the same in all; they are too narrow by up to the
  root of the number of cells, so "met with a margin" is not established. (The script now draws once for all cells of a network; the records
  behind this page are not in the repository, so it has the old intervals still.)
- The target (lower bound of the difference to PRACTISE at 50 steps above -0.1) is met, by those too narrow intervals, for sets on ResNet-56
  (+0.18, +0.38) and MobileNetV2 (+0.04, +0.08), by KL for sets on ResNet-20 (+0.09), and for single blocks of ResNet-20 (+0.25, +0.25) and
  ResNet-56 by accuracy. With their lower arms as many times longer as that root (2.4; 1.7 where PRACTISE has three cells), the bounds for sets
  would still lie at about -0.05 or above, those for single blocks at about -0.2 to -0.3: for single blocks it is not shown. It is missed
  for sets on ResNet-20 by accuracy (-0.11, -0.15 to -0.06), where PRACTISE ranks almost as well as the other
  seed does; for single blocks of MobileNetV2 by accuracy (-0.10, -0.30 to +0.03) and by KL (-0.01, -0.17 to +0.14), and by a hair for
  single blocks of ResNet-56 by KL (-0.01, -0.11 to +0.07): there the interval is too wide to tell.
- On ResNet-56 single blocks can hardly be told apart by accuracy: one seed's truth agrees with the other's to 0.22, and no signal
  reaches more than 0.2. The ceilings elsewhere are 0.60 to 0.97.
- Statistics of training instead of the batch's rank sets on ResNet-20 by accuracy worse than a random order (features 0.13 where the batch's
  give 0.59, KL -0.17 and 0.15, random 0.60); on ResNet-56 KL is worse with them and features are level or better. MobileNetV2 has no batch norm left.
- Much of what orders sets is how many blocks they hold: a random order, added up over a set, reaches 0.60 on ResNet-20's accuracies.
- The three removals finetuned for 2000 steps stand in the same order as after 60. Two of them are *worse* after 2000 steps (63 against
  74 %, 57 against 61 %): on 500 images, at a rate of 0.02, the network fits its teacher's mistakes under noise.
"""
"""What the run said, in plain words; goes to the top of the page."""


def main() -> None:
    """Finds what is not known yet and writes the page."""
    options = parser(__doc__, scales=SCALES, jobs=True)
    options.add_argument(
        "--minutes",
        type=float,
        default=math.inf,
        help="begin nothing new after so many; the page says what it has",
    )
    words = options.parse_args()
    deadline_s = time.monotonic() + 60 * words.minutes
    if words.scale == "full":
        print("expected: about 40 hours on 2 cores")
    scale = SCALES[words.scale]
    folder = words.out / "experiments" / f"ttmpd_signal-{words.scale}"
    everything = list(cells(words))
    candidates = {}
    for network, cell in everything:
        if network not in candidates:
            source = cell.source
            subject = Subject(NetworkChoice(source.network, Path(source.weights), source.input_shape), 1)
            candidates[network] = subject.outline.skeleton.removable

    # Seed by seed, so that a run that was stopped has all of one seed before anything of the next.
    for seed in SEEDS:
        of_seed = [(network, cell) for network, cell in everything if cell.seed == seed]

        def missing_truths(removals: Callable[[str, Cell], list[tuple[str, ...]]]) -> list[Truths]:
            tasks = []
            for network, cell in of_seed:  # noqa: B023  called within the turn
                plan = schedule(scale, network)
                wanted = list(dict.fromkeys(removals(network, cell)))
                todo = [removed for removed in wanted if not truth_path(cell, removed, plan, folder).exists()]
                tasks += [Truths(cell, tuple(piece), plan, folder) for piece in chunks(todo, 8)]
            return tasks

        def blocks_and_sets(network: str, _: Cell) -> list[tuple[str, ...]]:
            return [*((block,) for block in candidates[network]), *random_sets(candidates[network])]

        def plans(_: str, cell: Cell) -> list[tuple[str, ...]]:
            return [
                tuple(read(path)["plan"]) for path in sorted((folder / cell.name / "signals").glob("*.json"))
            ]

        run_all(
            find_truths,
            missing_truths(blocks_and_sets),
            words.jobs,
            f"seed {seed}, truths",
            deadline_s=deadline_s,
        )
        cheap = [
            Signals(cell, tuple(n for n in VARIABLES if not signal_path(cell, n, folder).exists()), folder)
            for _, cell in of_seed
        ]
        run_all(
            find_variables,
            [task for task in cheap if task.names],
            words.jobs,
            f"seed {seed}, variables",
            deadline_s=deadline_s,
        )
        dear = [
            Signals(cell, (name,), folder)
            for network, cell in of_seed
            for name in practise_names(network, cell, words.scale)
            if not signal_path(cell, name, folder).exists()
        ]
        dear.sort(key=lambda task: int(task.names[0].rpartition("-")[2]))
        run_all(find_practise, dear, words.jobs, f"seed {seed}, PRACTISE", deadline_s=deadline_s)
        run_all(
            find_truths,
            missing_truths(plans),
            words.jobs,
            f"seed {seed}, truths of chosen plans",
            deadline_s=deadline_s,
        )
    checks = [
        Truths(cell, (removed,), long_schedule(network), folder)
        for network, cell in everything
        for removed in order_check(network, cell, candidates[network])
        if not truth_path(cell, removed, long_schedule(network), folder).exists()
    ]
    run_all(find_truths, checks, words.jobs, "order after 2000 steps", deadline_s=deadline_s)
    order = order_lines(everything, candidates, scale, folder)
    write_page(
        everything,
        candidates,
        random_sets,
        lambda network: schedule(scale, network),
        order,
        words.scale,
        folder,
        READING,
    )


if __name__ == "__main__":
    main()
