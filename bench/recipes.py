"""From a sweep's configuration to what makes each of its points."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.budget import parse_budget, parse_sparsity
from bench.outlook import Outlook, outlook
from bench.points import Recipe, lessons_id, point_id
from bench.reach import pairs_within_reach
from bench.school import trained_file
from bench.sweep_config import SweepConfig, takes_single_weights
from bench.workbench import SettingChoice, Subject, command_line
from latency_tables.setting import Setting
from latency_tables.store import Store
from pruning.from_scratch import SCRATCH_METHODS
from reports.results import Point


def recipes_of(
    config: SweepConfig,
    choice: SettingChoice,
    seed: int,
    workspace: Path,
    folder: Path,
    pairs: Sequence[tuple[str, str]],
) -> list[Recipe]:
    """The recipes of one setting and seed, budget by budget, in the order of the methods.

    Args:
        config: of the sweep.
        choice: the setting.
        seed: of everything random.
        workspace: where the tables live, for the command that makes a point again.
        folder: of the run, for the same; the unpruned network may have been trained there.
        pairs: budgets with their methods, as `SweepConfig.pairs` gives them.
    """
    recipes = []
    for text, method in pairs:
        budget = parse_sparsity(text) or parse_budget(text)
        id_ = point_id(config.name_of(choice), method, budget.text, seed)
        # No latency decides which single weights go, so every setting is given the same networks.
        together = takes_single_weights(method) and len(config.runtimes) > 1
        recipes.append(
            Recipe(
                id=id_,
                method=method,
                budget=budget,
                seed=seed,
                iterations=config.iterations,
                rounds=config.rounds,
                controls=config.controls,
                command=_command(config, choice, method, budget.text, seed, workspace, folder),
                lessons=lessons_id(method, budget.text, seed) if together else id_,
            )
        )
    return recipes


def forget_lessons(folder: Path, recipes: Sequence[Recipe], points: Sequence[Point]) -> None:
    """Removes what trainings keep, once all points that are made of them are done.

    Args:
        folder: in which trainings keep it.
        recipes: of all points of a run.
        points: those that were made of them.
    """
    done = {point.id for point in points if point.status == "done"}
    needed = {recipe.lessons for recipe in recipes if recipe.id not in done}
    for lessons in {recipe.lessons for recipe in recipes} - needed:
        shutil.rmtree(folder / lessons, ignore_errors=True)


def _command(
    config: SweepConfig,
    choice: SettingChoice,
    method: str,
    budget: str,
    seed: int,
    workspace: Path,
    folder: Path,
) -> str:
    words = ["--method", method, "--budget", budget, "--seed", str(seed)]
    words += ["--iterations", str(config.iterations), "--rounds", str(config.rounds)]
    words += [] if config.controls else ["--no-controls"]
    # Where it is a number, other images judge.
    if config.train is not None and (
        method in SCRATCH_METHODS or config.image_choice().train_count is not None
    ):
        words += ["--train", config.train]
    if method in SCRATCH_METHODS:
        words += ["--epochs", str(config.epochs), "--learning-rate", str(config.learning_rate)]
        words += ["--schedule", config.schedule, "--average", str(config.average)]
        words += ["--self-distillation", config.self_distillation, "--augmentation", config.augmentation]
    network = config.network_choice()
    if config.trains_unpruned and method not in SCRATCH_METHODS:
        # Alone such a method trains nothing, so it would start from first weights.
        network = replace(network, weights=trained_file(folder, seed))
    return command_line(
        "prune",
        network.arguments(),
        config.image_choice().arguments(),
        choice.arguments(),
        words,
        ["--out", str(workspace)],
    )


def asked_recipes(
    config: SweepConfig,
    settings: dict[SettingChoice, Setting],
    subject: Subject,
    store: Store,
    present: dict[str, Point],
    workspace: Path,
    folder: Path,
) -> tuple[list[Recipe], Outlook]:
    """The points to make, as far as that is known before tables are whole, and what is to be timed for these."""
    outline = subject.wide if config.narrows else subject.outline
    asked: list[Recipe] = []
    lacks = Outlook()
    for choice, setting in settings.items():
        table = store.table(setting)
        own = outlook(outline, table)
        pairs = config.pairs()
        if own == Outlook():
            pairs = pairs_within_reach(config, subject, table, present, lambda _: None)
        recipes = [
            recipe
            for seed in config.seeds
            for recipe in recipes_of(config, choice, seed, workspace, folder, pairs)
            if recipe.id not in present or present[recipe.id].status == "failed"
        ]
        asked += recipes
        # Each network is timed in the other settings, too.
        lacks += own + Outlook(networks=len(recipes) * (len(settings) - 1))
    return asked, lacks
