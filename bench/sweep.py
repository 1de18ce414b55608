"""Methods × budgets × seeds × settings → points, one file each; goes on where it was stopped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench.allocator import keep_large_blocks
from bench.budget import parse_budget
from bench.lock import locked
from bench.profiler import pending_networks, profile
from bench.pruner import Recipe, Shop, failed_point, make_point, unpruned_point
from bench.run_record import images_text, make_record
from bench.session import Session
from bench.sweep_config import SweepConfig
from bench.tables import open_store
from bench.terminal import Terminal
from bench.workbench import Gallery, SettingChoice, Subject, command_line
from latency_tables.context import coefficients
from latency_tables.errors import LatheError, UserError
from latency_tables.setting import Setting
from latency_tables.store import Store
from pruning.adaptation import adapt_statistics
from reports.results import UNPRUNED, Point, Run, read_run, write_point, write_run


def default_name(config: SweepConfig) -> str:
    """A folder name made of what must not be mixed: network, images, shift and settings."""
    words = [config.network, config.images.partition(":")[0], config.shift or "", *config.runtimes]
    words += [f"{config.threads}t", f"b{config.batch}"]
    return "-".join(re.sub(r"[^A-Za-z0-9.]+", "_", word).strip("_.") for word in words if word)


def run_sweep(
    config: SweepConfig,
    folder: Path,
    workspace: Path,
    terminal: Terminal,
    *,
    command: str,
    again: bool = False,
) -> list[Point]:
    """Runs every point of a sweep that the folder does not hold yet.

    Args:
        config: what to run.
        folder: of the run.
        workspace: where the tables live.
        terminal: where progress is drawn.
        command: the command line that makes the run again.
        again: points that are there are made anew, and an error ends the run instead of becoming a failed point.

    Returns:
        The points asked for, in the order asked for, failed ones with their reason.

    Raises:
        UserError: a wrong word, images or weights that do not fit, or a folder that holds another run.
        LatheError: profiling failed.
    """
    keep_large_blocks()
    settings = {choice.runtime: choice.make() for choice in config.setting_choices()}
    with locked(folder):
        store = open_store(workspace)
        present = _resume(config, settings, folder)
        subject = Subject(config.network_choice(), config.batch)
        if not subject.outline.skeleton.removable:
            raise UserError(
                f"{config.network} has no block that can be removed: no module adds to its input unchanged. "
                "lathe prunes residual networks; `lathe profile` and `lathe predict` work for this one."
            )
        gallery = Gallery(config.image_choice(), subject.network)
        points: list[Point] = []

        def record() -> Run:
            skeleton = subject.outline.skeleton
            return make_record(config, settings, skeleton, store, name=folder.name, command=command)

        for choice in config.setting_choices():
            with Session(settings[choice.runtime]) as session:
                job = _Job(config, choice, subject, gallery, session, store, folder, workspace, terminal)
                job.profile()
                write_run(folder, record())
                points += job.run({} if again else present, keep_failures=not again)
        # Once more, with what the points have taught the table.
        write_run(folder, record())
    return points


def _resume(config: SweepConfig, settings: dict[str, Setting], folder: Path) -> dict[str, Point]:
    """Points that are there; refuses a folder that holds something else."""
    if not (folder / "run.json").exists():
        return {}
    run, points = read_run(folder)
    asked = {"network": config.network, "images": images_text(config), "shift": config.shift}
    for name, value in asked.items():
        if getattr(run, name) != value:
            raise UserError(
                f"{folder} holds a run with {name} {getattr(run, name)!r}, asked for is {value!r}. Runs are not "
                "mixed; name another folder with --name."
            )
    for setting in settings.values():
        for data in run.settings.values():
            old = Setting.from_json({k: v for k, v in data.items() if k != "label"})
            if old.runtime == setting.runtime:
                old.require_equal(setting, f"the run in {folder}")
    return {point.id: point for point in points}


@dataclass(frozen=True)
class _Job:
    """One setting of a sweep."""

    config: SweepConfig
    choice: SettingChoice
    subject: Subject
    gallery: Gallery
    session: Session
    store: Store
    folder: Path
    workspace: Path
    terminal: Terminal

    def run(self, present: dict[str, Point], *, keep_failures: bool) -> list[Point]:
        points: list[Point] = []
        for seed in self.config.seeds:
            recipes = list(self._recipes(seed))
            todo = [r for r in recipes if r.id not in present or present[r.id].status == "failed"]
            made: dict[str, Point] = {}
            if todo:
                shop = self._open_shop(seed)
                made = {r.id: self._make(shop, r, keep_failures=keep_failures) for r in todo}
            points += [made.get(r.id) or present[r.id] for r in recipes]
        return points

    def profile(self) -> None:
        outline = self.subject.outline
        table = self.store.table(self.session.setting)
        if table.missing(outline.skeleton) or pending_networks(outline, table):
            self.terminal.say(f"measuring the parts of {self.config.network} in {self.session.setting.label}")
            with self.terminal.progress("profile") as progress:
                profile(outline, self.session, self.store, progress=progress)
        coefficients(
            outline.skeleton, self.store.table(self.session.setting)
        )  # an unknown latency stops here

    def _recipes(self, seed: int) -> Iterator[Recipe]:
        for text in self.config.budgets:
            for method in self.config.methods:
                budget = parse_budget(text)
                yield Recipe(
                    id=f"{self.choice.runtime}-{method}-{budget.text}-s{seed}",
                    method=method,
                    budget=budget,
                    seed=seed,
                    iterations=self.config.iterations,
                    rounds=self.config.rounds,
                    command=self._command(method, budget.text, seed),
                )

    def _command(self, method: str, budget: str, seed: int) -> str:
        config = self.config
        words = ["--method", method, "--budget", budget, "--seed", str(seed)]
        words += ["--iterations", str(config.iterations), "--rounds", str(config.rounds)]
        return command_line(
            "prune",
            config.network_choice().arguments(),
            config.image_choice().arguments(),
            self.choice.arguments(),
            words,
            ["--out", str(self.workspace)],
        )

    def _open_shop(self, seed: int) -> Shop:
        images = self.gallery.part(seed)
        with self.terminal.progress("unpruned network") as progress:
            outputs = images.outputs(self.subject.model, "the unpruned network", progress)
            adapted = adapt_statistics(self.subject.model, images.calibration).model
            judged = images.outputs(adapted, "the adapted network", progress)
        shop = Shop(self.subject, images, outputs, self.session, self.store, self.terminal, self.folder)
        accuracy = shop.accuracy(judged)
        if accuracy is not None:
            shop = replace(shop, controls={"unpruned, batch-norm statistics re-estimated": accuracy})
        write_point(self.folder, unpruned_point(shop, f"{self.choice.runtime}-{UNPRUNED}-s{seed}", seed))
        return shop

    def _make(self, shop: Shop, recipe: Recipe, *, keep_failures: bool) -> Point:
        self.terminal.say(f"{recipe.id}")
        try:
            point = make_point(shop, recipe)
        except LatheError as error:
            if not keep_failures:
                raise
            point = failed_point(shop, recipe, str(error))
            self.terminal.say(f"{recipe.id} failed: {error}")
        write_point(self.folder, point)
        return point
