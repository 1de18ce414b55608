"""Does EPSD keep weights that are better for self-distillation, or only a good number of them in each layer?

    python experiments/epsd_controls.py --train npz:TRAIN --test npz:TEST [--scale short] [--out lathe-out]

A residual network is pruned before training at a high sparsity and then trained with a self-distillation. The mask
comes from EPSD (sensitivity of the self-distillation loss after three steps), or from what EPSD must beat: ProsPr's
plain cross entropy and the same training (the simple combination), EPSD's own mask shuffled within each layer, SNIP,
SynFlow, chance. All arms of a seed share the first weights, the images and their order. Writes
docs/results/epsd_controls.md and each training's record beside it, from which a run goes on elsewhere. Scale short:
ResNet-8 (16-32-64), 20,000 images, six epochs, five seeds, about 90 minutes on 2 cores; medium: ResNet-20 at 30
epochs, for a GPU; full: ResNet-18 and ResNet-32 at 160 epochs over 80 to 99 % sparsity with GraSP and magnitude
besides, for a GPU. That is 828 trainings, 132,480 epochs: 43 to 106 days at the 28 (bf16) to 69 s of one of ResNet-20
on 2 cores, and a ResNet-18 of this form has 13 times the multiplications of that: years there, not measured on a GPU.
All resume. Another scale than short writes a page of its own, as docs/results/epsd_controls-full.md.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cells import RESULTS, origin, page_path, read, read_off, run_all
from command_line import training_parser
from numpy.typing import NDArray
from paired import paired
from records import publish, restore
from small_networks import resnet8
from torch import nn

from bench import evaluation
from bench.workloads import load_images
from bench.workloads.cifar import CifarResNet
from bench.workloads.images import Images
from bench.workloads.network import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from bench.workloads.training_images import AugmentedImages
from latency_tables.errors import LatheError, StorageError, UserError
from latency_tables.files import write_atomically, write_json
from pruning.branches import open_branches
from pruning.early.criterion import scored
from pruning.early.epsd import Epsd
from pruning.early.grasp import Grasp
from pruning.early.magnitude import Magnitude
from pruning.early.masks import Masks, keep_best, shuffled
from pruning.early.meta_gradient import Inner
from pruning.early.prospr import ProsPr
from pruning.early.random import RandomScores
from pruning.early.snip import Snip
from pruning.early.synflow import SynFlow
from pruning.recovery.batches import balanced_batch, drawn_by
from pruning.recovery.cs_kd import ClassWise
from pruning.recovery.dlb import LastBatch
from pruning.recovery.objective import CrossEntropy, Objective
from pruning.recovery.ps_kd import Progressive
from pruning.recovery.training import Regime, train

PREPROCESS = Preprocess(IMAGENET_MEAN, IMAGENET_STD, 255.0)
SCORING_BATCH = 128
CLASSES = 10
DRAWS = 2
"""Version of how first weights, images and masks are drawn from a seed; goes up with what changes them."""
SHUFFLE = ", its mask shuffled"
EPSD, SIMPLE, SHUFFLED, RANDOM = "EPSD", "simple combination", f"EPSD{SHUFFLE}", "random"


@dataclass(frozen=True)
class Study:
    """What is compared.

    Attributes:
        network: name of the factory.
        objective: the self-distillation.
        sparsity: share of the weights that goes.
        arms: where masks come from.
        seeds: how many.
    """

    network: str
    objective: str
    sparsity: float
    arms: tuple[str, ...]
    seeds: int


@dataclass(frozen=True)
class Scale:
    """How much is run."""

    studies: tuple[Study, ...]
    images: int | None
    regime: Regime


ARMS = (EPSD, SIMPLE, SHUFFLED, "ProsPr, plain training", "SNIP", "SynFlow", RANDOM, "dense")
FEW = (EPSD, SIMPLE, SHUFFLED)
SCALES = {
    # For a GPU that is at hand for an hour.
    "medium": Scale(
        (Study("resnet20", "cs-kd", 0.9, ARMS, 3), Study("resnet20", "cs-kd", 0.98, ARMS, 3)),
        None,
        Regime(epochs=30, learning_rate=0.1, bf16=True),
    ),
    "short": Scale(
        (
            Study("resnet8", "cs-kd", 0.9, ARMS, 5),
            Study("resnet8", "cs-kd", 0.98, ARMS, 5),
            Study("resnet8", "ps-kd", 0.98, FEW, 5),
            Study("resnet8", "dlb", 0.98, FEW, 5),
        ),
        20_000,
        Regime(epochs=6, learning_rate=0.1, bf16=True),
    ),
    "full": Scale(
        tuple(
            Study(network, objective, sparsity, (*ARMS, "GraSP", "magnitude"), 3)
            for network in ("resnet18", "resnet32")
            for objective in ("cs-kd", "ps-kd", "dlb")
            for sparsity in (0.8, 0.9, 0.95, 0.98, 0.99)
        ),
        None,
        Regime(epochs=160, learning_rate=0.1, schedule="step"),
    ),
}
VARIANTS = {
    "EPSD, first order": Inner(first_order=True),
    "EPSD, one step": Inner(steps=1),
    "EPSD, five steps": Inner(steps=5),
    "EPSD, batch-norm statistics updated before": Inner(adapted=True),
}
"""Each is trained beside its own mask shuffled."""


@dataclass(frozen=True)
class Task:
    """One training.

    Attributes:
        study: which comparison.
        arm: where the mask comes from.
        seed: of first weights, scoring batch, order and augmentation.
        scale: name of the scale.
        train: images to train on, as `lathe` names them.
        test: images to judge on.
        folder: of the records.
        device: where networks are trained, "cpu" or "cuda"; scores are computed on the CPU.
    """

    study: Study
    arm: str
    seed: int
    scale: str
    train: str
    test: str
    folder: Path
    device: str

    @property
    def path(self) -> Path:
        """Of the record; a dense network does not depend on the sparsity."""
        sparsity = "dense" if self.arm == "dense" else f"{self.study.sparsity:g}"
        words = f"{self.study.network}-{self.study.objective}-{sparsity}-{self.arm}-s{self.seed}"
        return self.folder / f"{words.replace(' ', '_').replace(chr(39), '')}.json"


def networks() -> dict[str, Callable[[], nn.Module]]:
    """By name."""

    def resnet18() -> nn.Module:
        import timm

        model = open_branches(timm.create_model("resnet18", num_classes=CLASSES))
        model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)  # the stem for small images
        model.maxpool = nn.Identity()
        return model

    return {
        "resnet8": resnet8,
        "resnet18": resnet18,
        "resnet20": lambda: CifarResNet(20),
        "resnet32": lambda: CifarResNet(32),
    }


def objective(name: str, count: int) -> Objective:
    """Fresh."""
    made: dict[str, Callable[[], Objective]] = {
        "plain": CrossEntropy,
        "cs-kd": ClassWise,
        "ps-kd": lambda: Progressive(count, CLASSES),
        "dlb": LastBatch,
    }
    return made[name]()


@lru_cache(maxsize=2)
def images_of(source: str, count: int | None) -> Images:
    """The first ``count`` images in an order drawn once; all where it is None."""
    images = load_images(source, size=(32, 32))
    order = np.random.default_rng(0).permutation(len(images))
    return images.take(order[: count or len(images)])


def mask_of(task: Task, model: nn.Module, images: AugmentedImages) -> Masks | None:
    """The arm's mask; None: dense.

    Raises:
        LatheError: the ranking collapses.
    """
    study, arm = task.study, task.arm
    if arm == "dense":
        return None
    mixed = arm.endswith(SHUFFLE)

    def distil() -> Objective:
        return objective(study.objective, len(images))

    criteria: dict[str, Any] = {
        EPSD: Epsd(distil),
        SIMPLE: ProsPr(),
        "ProsPr, plain training": ProsPr(),
        "SNIP": Snip(),
        "SynFlow": SynFlow(),
        "GraSP": Grasp(task.seed),
        "magnitude": Magnitude(),
        RANDOM: RandomScores(task.seed),
        **{name: Epsd(distil, inner) for name, inner in VARIANTS.items()},
    }
    batch = balanced_batch(images, distil(), SCORING_BATCH, task.seed)
    density = 1.0 - study.sparsity
    scores = scored(criteria[arm.removesuffix(SHUFFLE)], model, batch, density, task.seed)
    masks = keep_best(scores, density)
    if mixed:
        masks = shuffled(masks, drawn_by("shuffle", task.seed))
    return masks


def run(task: Task) -> None:
    """Prunes, trains and judges, unless that was done before."""
    if task.path.exists():
        return
    scale, study = SCALES[task.scale], task.study
    images = AugmentedImages(images_of(task.train, scale.images), PREPROCESS, "crop-flip")
    with torch.random.fork_rng():
        torch.manual_seed(task.seed)
        model = networks()[study.network]()
    record: dict[str, Any] = {"arm": task.arm, "seed": task.seed, "draws": DRAWS}
    started = time.process_time()
    try:
        masks = mask_of(task, copy.deepcopy(model), images)
        record["scoring_s"] = time.process_time() - started
        model.to(task.device)
        plain = task.arm == "ProsPr, plain training"
        done = train(
            model,
            images,
            objective("plain" if plain else study.objective, len(images)),
            regime=scale.regime,
            seed=task.seed,
            masks=masks,
            checkpoint=task.path.with_suffix(".checkpoint"),
        )
        test = images_of(task.test, None)
        assert test.labels is not None  # noqa: S101  real data has labels
        logits = evaluation.logits_of(model.cpu(), test, PREPROCESS, "the trained network")
        record["accuracy"] = float((logits.argmax(1).numpy() == test.labels).mean())
        record["losses"] = [epoch.loss for epoch in done.epochs]
        record["densities"] = {name: float(mask.float().mean()) for name, mask in (masks or {}).items()}
    except (StorageError, UserError):
        raise  # nothing that a training is worth: another disk, or more memory, and it goes
    except LatheError as error:  # a collapsed ranking, a training that diverged: costs this one
        record["failed"] = str(error)
    record["seconds"] = time.process_time() - started
    write_json(task.path, record)
    task.path.with_suffix(".checkpoint").unlink(missing_ok=True)


def require_draws(folder: Path, published: Path) -> None:
    """Makes sure that what is trained now is paired with its like only."""
    others = {read(record).get("draws", 1) for record in folder.glob("*.json")} - {DRAWS}
    if others:
        raise SystemExit(
            f"{folder} holds trainings whose images and weights were drawn otherwise (version {min(others)}, here "
            f"{DRAWS}), so that differences to new ones would not be paired. They are those of {published.name}: "
            "go on from the commit that trained them, or remove both to train everything anew."
        )


def with_variants(studies: Sequence[Study]) -> list[Study]:
    """With other forms of EPSD in the study of most arms and of the highest sparsity."""
    hardest = max(studies, key=lambda study: (len(study.arms), study.sparsity))
    more = (*VARIANTS, *(f"{name}{SHUFFLE}" for name in VARIANTS))
    return [replace(study, arms=(*study.arms, *more)) if study is hardest else study for study in studies]


def known_section(study: Study, tasks: Sequence[Task]) -> list[str]:
    """The table of a study over the seeds that all its arms have; nothing below two seeds.

    Args:
        study: with the arms asked for.
        tasks: of these and of other arms, which stand there too where they have as many seeds.
    """
    own = [task for task in tasks if task.path.exists()]
    count = {arm: sum(task.arm == arm for task in own) for arm in arms_of(tasks)}
    seeds = min(count[arm] for arm in study.arms)
    whole = [task for task in own if task.seed < seeds <= count[task.arm]]
    return section(replace(study, seeds=seeds), whole) if seeds > 1 else []


def section(study: Study, tasks: Sequence[Task]) -> list[str]:
    """One study's table; networks that failed have no accuracy and enter no difference."""
    records = {arm: [read(task.path) for task in tasks if task.arm == arm] for arm in arms_of(tasks)}
    found = {arm: np.array([r.get("accuracy", np.nan) for r in rows]) for arm, rows in records.items()}
    lines = [
        f"## {study.network}, {study.objective}, {study.sparsity:.0%} of the weights taken out",
        "",
        f"| mask from | accuracy, mean of {study.seeds} seeds | lowest to highest | {EPSD} less this (95 %) | scoring, s |",
        "| --- | --- | --- | --- | --- |",
    ]
    failures: dict[str, None] = {}
    for arm, accuracy in found.items():
        timed = [r["scoring_s"] for r in records[arm] if "scoring_s" in r]  # those of this machine
        cost = f"{np.mean(timed):.1f}" if timed else ""
        reasons = [" ".join(r["failed"].split()) for r in records[arm] if "failed" in r]
        failures.update(dict.fromkeys(reasons))
        name = f"{arm} ({len(reasons)} of {study.seeds} failed)" if reasons else arm
        if len(reasons) == study.seeds:
            lines.append(f"| {name} | | | | {cost} |")
            continue
        difference = "" if arm == EPSD else _difference(found[EPSD], accuracy)
        low, high = np.nanmin(accuracy), np.nanmax(accuracy)
        lines.append(
            f"| {name} | {np.nanmean(accuracy):.1%} | {low:.1%} to {high:.1%} | {difference} | {cost} |"
        )
    if failures:
        lines += ["", "Failed: " + " ".join(failures)]
    pairs = [(SHUFFLED, RANDOM), *((name, f"{name}{SHUFFLE}") for name in VARIANTS)]
    for first, second in pairs:
        if first in found and second in found:
            lines += ["", f"{first} less {second}: {_difference(found[first], found[second])}."]
    return [*lines, ""]


def _difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> str:
    """In points, over the seeds in which neither failed."""
    both = np.isfinite(first) & np.isfinite(second)
    seeds = int(both.sum())
    if seeds < 2:
        return "not known"
    value, low, high = paired(first[both], second[both], seeds)
    fewer = "" if both.all() else f", {seeds} seeds"
    return f"{100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}{fewer})"


def arms_of(tasks: Sequence[Task]) -> list[str]:
    """In order."""
    return list(dict.fromkeys(task.arm for task in tasks))


READING = """
Reading. A ResNet-8 trained for six epochs on 20,000 images, passes in bf16; five seeds. EPSD is not seen to keep better weights
than its own mask shuffled within each layer: with CS-KD it is 1.2 points behind at 90 % (-3.2 to +0.8) and 0.2 ahead at 98 % (-7.6 to +7.9), with PS-KD 1.2 behind (-4.4 to +1.9), with DLB
1.0 behind (-6.9 to +4.9). All four intervals hold 0; only the first is narrow enough to leave no room for a gain of a point. Masks drawn at random, with the same share in every layer, are
2.5 points worse than EPSD's at 90 % (0.3 to 4.7) and 7.4 at 98 % (0.1 to 14.7); than EPSD's shuffled ones 3.7 at 90 % (2.7 to 4.7) and 7.3 at 98 % (-3.6 to 18.2). So at 90 % what its score
is worth is how many weights each layer keeps; at 98 % that is not shown. Scoring by the self-distillation's loss instead of plain cross entropy (the simple combination) makes no difference
that could be seen (+0.2, +0.4, -0.1 and 0.0 points). SNIP (one look at one batch), SynFlow (no images at all) and training without self-distillation cannot be told from it; the widest of
their intervals is SynFlow's at 98 %, -10.8 to +4.4. The paper claims that EPSD wins, and a review of it that it does most of all at high sparsity; on a ResNet-8 trained for six epochs that is not seen.

Since it does not beat its shuffled mask, four other forms of the score were tried at 98 % with CS-KD, each beside its own mask shuffled; none does either. To first order 0.9 points behind it
(-2.1 to +0.4), after one inner step 2.6 behind (-7.8 to +2.6), after five 0.4 behind (-5.7 to +4.8). With batch-norm statistics brought up to date before scoring the mask is worse than
its shuffled self by 7.7 (5.2 to 10.2; four comparisons were made): which weights it keeps does harm, though how many each layer keeps is the best of all masks here (42.6 % shuffled). None is told from
EPSD as it is (+0.2 to -2.1 points, every interval holds 0). Three of the four, all but the one with a single step, empty a layer in one seed of five and train nothing there; their differences are over the four
others. EPSD as it is, with three steps, emptied none in these five seeds.

The records stem from draws of before seeds were told apart by purpose: at this commit none can be added to them ([ARCHITECTURE.md](../../ARCHITECTURE.md#what-is-known-not-to-be-right-yet) says at which).
"""
"""What the run said, in plain words; goes to the top of the page."""


def main() -> None:
    """Trains what is not known yet and writes the page."""
    options = training_parser(__doc__, SCALES)
    options.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="where networks are trained"
    )
    options.add_argument("--jobs", type=int, default=2, help="processes of one thread each")
    options.add_argument("--minutes", type=float, default=np.inf, help="begin nothing new after so many")
    options.add_argument(
        "--variants", action="store_true", help="other forms of EPSD as well, at the highest sparsity"
    )
    words = options.parse_args()
    if words.scale == "full":
        print("expected: years on 2 cores; meant for a GPU, where it was not measured")
    folder = words.out / "experiments" / f"epsd_controls-{words.scale}"
    published = RESULTS / f"epsd_controls-{words.scale}.jsonl"
    restore(published, folder)
    studies = SCALES[words.scale].studies
    asked = with_variants(studies) if words.variants else studies

    def tasks_of(some: Sequence[Study]) -> list[Task]:
        """Seed by seed, so that a run that was stopped has whole comparisons."""
        return [
            Task(study, arm, seed, words.scale, words.train, words.test, folder, words.device)
            for seed in range(max(study.seeds for study in some))
            for study in some
            if seed < study.seeds
            for arm in study.arms
        ]

    todo = {task.path: task for task in tasks_of(asked) if not task.path.exists()}
    if todo:
        require_draws(folder, published)
    run_all(
        run, list(todo.values()), words.jobs, "training", deadline_s=time.monotonic() + 60 * words.minutes
    )
    publish(folder, published)
    reading = read_off(READING, words.scale)
    lines = ["# EPSD and its controls", "", origin("epsd_controls", words.scale), "", reading, ""]
    for study, known in zip(asked, with_variants(studies), strict=True):
        lines += known_section(study, tasks_of([known]))
    page = page_path("epsd_controls", words.scale)
    write_atomically(page, ("\n".join(lines).rstrip() + "\n").encode())
    print(f"wrote {page}")


if __name__ == "__main__":
    main()
