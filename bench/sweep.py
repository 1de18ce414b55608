"""Methods × budgets × seeds × settings → points, one file each; goes on where it was stopped."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench.allocator import keep_large_blocks
from bench.budget import parse_budget
from bench.controls import unpruned_controls
from bench.host import look
from bench.identity import identity_digest, require_identity, write_identity
from bench.lock import locked
from bench.profiler import pending_networks, profile
from bench.pruner import Recipe, failed_point, make_point, unpruned_point
from bench.quiet import remarks
from bench.run_record import make_record, merged
from bench.session import Session
from bench.shop import Shop
from bench.stages import Stages
from bench.sweep_config import SweepConfig
from bench.tables import open_store
from bench.terminal import Terminal
from bench.workbench import Gallery, SettingChoice, Subject, command_line
from latency_tables.context import coefficients
from latency_tables.errors import LatheError, UserError
from latency_tables.setting import Setting
from latency_tables.store import Store
from pruning.adaptation import adapt_statistics
from pruning.methods import HEALING_LOSS
from pruning.targets import pseudo_labels
from reports.results import UNPRUNED, Point, Run, read_run, write_point, write_run

_MAKING = ".making"
"""The folder in a run where the files of a point wait until the point is whole."""


def default_name(config: SweepConfig) -> str:
    """A folder name made of what must not be mixed: network, images, shift, settings, a digest of the rest."""
    words = [config.network, config.images.partition(":")[0], config.shift or "", *config.runtimes]
    words += [f"{config.threads}t", f"b{config.batch}", identity_digest(config)]
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
    state = look()
    for remark in remarks(state, strict=False):
        terminal.say(remark)
    with locked(workspace), locked(folder):
        store = open_store(workspace)
        before, present = _resume(config, settings, folder)
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
            run = make_record(config, settings, skeleton, store, state, name=folder.name, command=command)
            return run if before is None else merged(before, run)

        write_identity(folder, config)
        for choice in config.setting_choices():
            with Session(settings[choice.runtime]) as session:
                job = _Job(config, choice, subject, gallery, session, store, folder, workspace, terminal)
                profiling_s = job.profile()
                write_run(folder, record())
                points += job.run({} if again else present, profiling_s, keep_failures=not again)
        # Once more, with what the points have taught the table.
        write_run(folder, record())
        store.close()
    return points


def _resume(
    config: SweepConfig, settings: dict[str, Setting], folder: Path
) -> tuple[Run | None, dict[str, Point]]:
    """What is there; refuses a folder that holds something else."""
    require_identity(folder, config)
    if not (folder / "run.json").exists():
        if any((folder / "points").glob("*.json")):
            raise UserError(
                f"{folder} holds points but no run.json, which says what they were measured on. Put the file back, "
                "or name another folder with --name; nothing was changed."
            )
        return None, {}
    run, points = read_run(folder)
    for setting in settings.values():
        for data in run.settings.values():
            old = Setting.from_json({k: v for k, v in data.items() if k != "label"})
            if old.runtime == setting.runtime:
                old.require_equal(setting, f"the run in {folder}")
    return run, {point.id: point for point in points}


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

    def run(self, present: dict[str, Point], profiling_s: float, *, keep_failures: bool) -> list[Point]:
        points: list[Point] = []
        for seed in self.config.seeds:
            recipes = list(self._recipes(seed))
            todo = [r for r in recipes if r.id not in present or present[r.id].status == "failed"]
            made: dict[str, Point] = {}
            if todo:
                shop = self._open_shop(seed, profiling_s)
                made = {r.id: self._make(shop, r, keep_failures=keep_failures) for r in todo}
            points += [made.get(r.id) or present[r.id] for r in recipes]
        return points

    def profile(self) -> float:
        """Measures what the table lacks; the seconds that took."""
        outline = self.subject.outline
        table = self.store.table(self.session.setting)
        stages = Stages()
        with stages.stage("profile"):
            if table.missing(outline.skeleton) or pending_networks(outline, table):
                self.terminal.say(f"measuring {self.config.network} in {self.session.setting.label}")
                with self.terminal.progress("profile") as progress:
                    profile(outline, self.session, self.store, progress=progress)
        coefficients(
            outline.skeleton, self.store.table(self.session.setting)
        )  # an unknown latency stops here
        return stages.seconds["profile"]

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
                    controls=self.config.controls,
                    command=self._command(method, budget.text, seed),
                )

    def _command(self, method: str, budget: str, seed: int) -> str:
        config = self.config
        words = ["--method", method, "--budget", budget, "--seed", str(seed)]
        words += ["--iterations", str(config.iterations), "--rounds", str(config.rounds)]
        words += [] if config.controls else ["--no-controls"]
        return command_line(
            "prune",
            config.network_choice().arguments(),
            config.image_choice().arguments(),
            self.choice.arguments(),
            words,
            ["--out", str(self.workspace)],
        )

    def _open_shop(self, seed: int, profiling_s: float) -> Shop:
        """What all points of a seed share: images, the adapted network, its pseudo labels, the controls."""
        images = self.gallery.part(seed)
        stages = Stages()
        with self.terminal.progress("unpruned network") as progress:
            outputs = images.outputs(self.subject.model, "the unpruned network", progress)
            with stages.stage("adapt"):
                teacher = adapt_statistics(self.subject.model, images.calibration).model
            with stages.stage("pseudo labels"):
                keep = HEALING_LOSS.needs_features
                labels = pseudo_labels(teacher, images.calibration, keep_features=keep)
            shop = Shop(
                self.subject,
                images,
                outputs,
                self.session,
                self.store,
                self.terminal,
                self.folder / _MAKING,
                teacher,
                labels,
                {"profile": profiling_s, **stages.seconds},
                {},
            )
            if self.config.controls:
                controls = unpruned_controls(shop, self.config.iterations, seed, progress)
                shop = replace(shop, controls=controls)
        write_point(self.folder, unpruned_point(shop, f"{self.choice.runtime}-{UNPRUNED}-s{seed}", seed))
        return shop

    def _make(self, shop: Shop, recipe: Recipe, *, keep_failures: bool) -> Point:
        self.terminal.say(f"{recipe.id}")
        made = shop.folder / recipe.id
        shutil.rmtree(made, ignore_errors=True)  # what a process that was killed left
        try:
            point = make_point(shop, recipe)
        except (LatheError, RuntimeError, MemoryError) as error:
            shutil.rmtree(made, ignore_errors=True)
            failure = error if isinstance(error, LatheError) else _as_failure(recipe, error)
            if not keep_failures:
                raise failure from error
            point = failed_point(shop, recipe, str(failure))
            self.terminal.say(f"{recipe.id} failed: {failure}")
        self._replace(point, made)
        return point

    def _replace(self, point: Point, made: Path) -> None:
        """Puts a new point in the place of an old one; what was there stays until the new one is whole.

        The old record goes before the old files: killed in between, nobody takes new files for the old point's.
        """
        (self.folder / "points" / f"{point.id}.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder / point.id, ignore_errors=True)
        if made.exists():
            made.rename(self.folder / point.id)
        write_point(self.folder, point)


def _as_failure(recipe: Recipe, error: Exception) -> LatheError:
    """PyTorch raises RuntimeError for most of what can go wrong inside it, memory included."""
    return LatheError(f"{recipe.id} failed inside PyTorch: {type(error).__name__}: {error}")
