"""Methods × budgets × seeds × settings → points, one file each; goes on where it was stopped."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bench import expectation
from bench.allocator import keep_large_blocks
from bench.asked_networks import pending_networks
from bench.controls import unpruned_controls
from bench.elsewhere import lacking, time_elsewhere
from bench.fact_views import say_facts
from bench.failure import FAILURES, reason
from bench.host import look
from bench.identity import identity_digest, take_identity
from bench.judging import Judged
from bench.leaflet import leaflet
from bench.lock import locked
from bench.points import Recipe, failed_point, point_id, unpruned_point
from bench.pruner import make_point
from bench.quiet import remarks
from bench.reach import pairs_within_reach
from bench.recipes import asked_recipes, forget_lessons, recipes_of
from bench.requirements import require_prunable
from bench.resumed import resumed
from bench.run_record import make_record, merged
from bench.school import School, UntrainedError, histories, trained_file, trained_first
from bench.scratch_training import require_trainable, school_of, training_words
from bench.served import require_calibration
from bench.session import Session
from bench.shop import Shop
from bench.stages import Stages
from bench.sweep_config import SweepConfig
from bench.tables import open_store
from bench.terminal import Terminal
from bench.width_profiler import profile_depth, profile_with_widths
from bench.workbench import Gallery, GalleryPart, Material, SettingChoice, Subject
from bench.workplace import at, require_portable, workplace
from latency_tables.context import coefficients
from latency_tables.errors import LatheError, StorageError
from latency_tables.files import write_atomically, write_json
from latency_tables.setting import Setting
from latency_tables.store import Store
from pruning.adaptation import adapt_statistics
from pruning.from_scratch import SCRATCH_METHODS
from pruning.methods import HEALING_LOSS
from pruning.recovery.checkpoint import digest
from pruning.targets import pseudo_labels
from reports.results import UNPRUNED, Point, Run
from reports.run_folder import write_point, write_run

_MAKING = ".making"
"""The folder in a run where the files of a point wait until the point is whole."""
_TRAINING = ".training"
"""The folder in a run where trainings that are not over keep their state."""


_RANDOM = "random"


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
    material: Material | None = None,
) -> list[Point]:
    """Runs every point of a sweep that the folder does not hold yet.

    Args:
        config: what to run.
        folder: of the run.
        workspace: where the tables live.
        terminal: where progress is drawn.
        command: the command line that makes the run again.
        again: points that are there are made anew, and an error ends the run instead of becoming a failed point.
        material: the network and the images of ``config``, where they were made before; None: they are made here.

    Returns:
        The points asked for, in the order asked for, failed ones with their reason.

    Raises:
        UserError: a wrong word, images or weights that do not fit, or a folder that holds another run.
        LatheError: profiling failed, in each of its settings or with ``again``. Where it fails in some of several,
            the points of these fail and the others are made.
    """
    keep_large_blocks()
    settings = {choice: choice.make() for choice in config.setting_choices()}
    for setting in settings.values():
        require_calibration(setting, config.calibration)
    for line in config.left_out():
        terminal.say(line)
    state = look()
    for remark in remarks(state, strict=False):
        terminal.say(remark)
    with locked(workspace), locked(folder):
        store = open_store(workspace)
        before, present = resumed(config, settings, folder)
        subject = Subject(config.network_choice(), config.batch) if material is None else material.subject
        require_prunable(config, subject)
        gallery = Gallery(config.image_choice(), subject.network) if material is None else material.gallery
        gallery.require_enough()
        weights = _weights_text(config, subject)
        if weights == _RANDOM:
            terminal.say(
                f"{config.network} has random weights, so accuracies will tell nothing, only latencies. "
                "Give trained ones with --weights, or name a method that trains, as epsd-structured."
            )
        points: list[Point] = []
        asked, lacks = asked_recipes(
            config, settings, subject, store, {} if again else present, workspace, folder
        )
        learning = sorted({recipe.seed for recipe in asked if recipe.method in SCRATCH_METHODS})
        if learning:
            require_trainable(config, subject, gallery, learning)
            for line in training_words(config, subject, gallery):
                terminal.say(line)
        if asked:
            example = torch.zeros(2, *subject.network.input_shape)
            require_portable(workplace(config.device), subject.model, example)
            untrained = {seed for seed in config.seeds if not trained_file(folder, seed).exists()}
            first = len({recipe.seed for recipe in asked} & untrained) if config.trains_unpruned else 0
            work = expectation.workload(subject, gallery, config)
            terminal.say(expectation.words(asked, work, first, lacks))

        def record() -> Run:
            every = tuple(settings.values())
            skeleton = subject.outline_for(*map(store.table, every), widths=config.narrows).skeleton
            run = make_record(
                config, every, skeleton, store, state, name=folder.name, weights=weights, command=command
            )
            return run if before is None else merged(before, run)

        content = {
            f"network's structure at batch {config.batch}": subject.outline.skeleton.digest,
            "network's weights as built": digest(subject.model.state_dict().values()),
            "images' content": gallery.clean.digest,
        }
        if gallery.choice.train_source is not None and learning:
            content["training images' content"] = gallery.training().digest
        take_identity(folder, config, content)
        refused: dict[Setting, LatheError] = {}
        for choice, setting in settings.items():
            with Session(setting) as session:
                job = _Job(config, choice, subject, gallery, session, store, folder, workspace, terminal)
                try:
                    profiling_s = job.profile()
                except StorageError:
                    raise
                except LatheError as error:
                    refused[setting] = error
                    if again or len(refused) == len(settings):
                        raise
                    points += job.refused(present, error)
                    continue
                write_run(folder, record())
                pairs = pairs_within_reach(
                    config, subject, store.table(session.setting), present, terminal.say
                )
                points += job.run(pairs, {} if again else present, profiling_s, keep_failures=not again)
        recipes = [
            recipe
            for choice in settings
            for seed in config.seeds
            for recipe in recipes_of(config, choice, seed, workspace, folder, config.pairs())
        ]
        forget_lessons(folder / _TRAINING, recipes, points)
        for setting in settings.values():
            todo = lacking(points, setting.digest)
            if not todo or setting in refused:
                continue
            outline = subject.wide if any(point.widths for point in todo) else subject.outline
            with Session(setting) as session, terminal.progress("elsewhere") as progress:
                for point in time_elsewhere(todo, outline, session, store, progress, terminal.say):
                    write_point(folder, point)
                    points[[p.id for p in points].index(point.id)] = point
        # Once more, with what the points have taught the table.
        write_run(folder, record())
        store.close()
    return points


def _weights_text(config: SweepConfig, subject: Subject) -> str:
    if config.weights is not None:
        return config.weights.name
    if config.trains_unpruned:
        return f"trained here first, {config.epochs} epochs with {config.self_distillation}"
    return _RANDOM if subject.network.draws_weights() else "of the factory"


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

    def run(
        self,
        pairs: Sequence[tuple[str, str]],
        present: dict[str, Point],
        profiling_s: float,
        *,
        keep_failures: bool,
    ) -> list[Point]:
        """Every point of these budgets and methods, those that are there as they are."""
        points: list[Point] = []
        for seed in self.config.seeds:
            recipes = recipes_of(self.config, self.choice, seed, self.workspace, self.folder, pairs)
            todo = [r for r in recipes if r.id not in present or present[r.id].status == "failed"]
            made: dict[str, Point] = {}
            if todo:
                made = self._made(seed, todo, profiling_s, keep_failures=keep_failures)
            points += [made.get(r.id) or present[r.id] for r in recipes]
        return points

    def _made(
        self, seed: int, recipes: list[Recipe], profiling_s: float, *, keep_failures: bool
    ) -> dict[str, Point]:
        """The points of one seed; they fail together where there is no network to hold them against."""
        try:
            shop = self._open_shop(seed, profiling_s)
        except UntrainedError as error:
            if not keep_failures:
                raise
            self.terminal.say(f"all points of seed {seed} fail: {error}")
            return self._failed(recipes, error)
        return {r.id: self._make(shop, r, keep_failures=keep_failures) for r in recipes}

    def refused(self, present: dict[str, Point], error: LatheError) -> list[Point]:
        """The points of a setting in which the network cannot be profiled: failed, but for those that are there."""
        label = self.session.setting.label
        self.terminal.say(f"all points in {label} fail: {error} The same command tries again.")
        pairs = self.config.pairs()
        recipes = [
            recipe
            for seed in self.config.seeds
            for recipe in recipes_of(self.config, self.choice, seed, self.workspace, self.folder, pairs)
        ]
        there = {r.id for r in recipes if r.id in present and present[r.id].status == "done"}
        made = self._failed([r for r in recipes if r.id not in there], error)
        return [made.get(r.id) or present[r.id] for r in recipes]

    def _failed(self, recipes: Sequence[Recipe], error: LatheError) -> dict[str, Point]:
        made = {r.id: failed_point(r, self.session.setting, str(error)) for r in recipes}
        for point in made.values():
            write_point(self.folder, point)
        return made

    def profile(self) -> float:
        """Measures what the table lacks; the seconds that took."""
        narrows = self.config.narrows
        outline = self.subject.wide if narrows else self.subject.outline
        table = self.store.table(self.session.setting)
        stages = Stages()
        with stages.stage("profile"):
            if narrows or table.missing(outline.skeleton) or pending_networks(outline, table):
                self.terminal.say(f"measuring {self.config.network} in {self.session.setting.label}")
                run = profile_with_widths if narrows else profile_depth
                with self.terminal.progress("profile") as progress:
                    run(outline, self.session, self.store, progress=progress)
        table = self.store.table(self.session.setting)
        coefficients(outline.skeleton, table)  # an unknown latency stops here
        say_facts(self.terminal, outline.skeleton, table)
        return stages.seconds["profile"]

    def _open_shop(self, seed: int, profiling_s: float) -> Shop:
        """What all points of a seed share: images, the adapted network, its pseudo labels, the controls."""
        images = self.gallery.part(seed)
        stages = Stages()
        subject, artefacts = self.subject, {}
        place = workplace(self.session.setting.device.kind)
        with self.terminal.progress("unpruned network") as progress:
            with at(place, subject.model):
                outputs = images.outputs(subject.model, "the unpruned network", progress)
            school = self._open_school(images, seed)
            if school is not None and self.config.trains_unpruned:
                self.terminal.say(f"{self.config.network} has no trained weights, so it is trained first")
                file = trained_file(self.folder, seed)
                with stages.stage("train unpruned"):
                    school = trained_first(school, file, progress)
                subject = subject.with_weights_of(school.training.teacher)
                artefacts = {"weights": file.name}
                with at(place, subject.model):
                    outputs = images.outputs(subject.model, "the unpruned network", progress)
            teacher, labels = subject.model, None
            if self.config.takes_blocks:
                with stages.stage("adapt"), at(place, subject.model):
                    teacher = adapt_statistics(subject.model, images.calibration).model.cpu()
                with stages.stage("pseudo labels"), at(place, teacher):
                    keep = HEALING_LOSS.needs_features
                    labels = pseudo_labels(teacher, images.calibration, keep_features=keep)
            shop = Shop(
                subject,
                images,
                outputs,
                self.session,
                self.store,
                self.terminal,
                self.folder / _MAKING,
                teacher,
                labels,
                {"profile": profiling_s, **stages.seconds},
                Judged(),
                school,
            )
            if self.config.controls and self.config.takes_blocks:
                controls = unpruned_controls(shop, self.config.iterations, seed, progress)
                shop = replace(shop, controls=controls)
        name = point_id(self.config.name_of(self.choice), UNPRUNED, "", seed)
        write_point(self.folder, unpruned_point(shop, name, seed, artefacts))
        return shop

    def _open_school(self, images: GalleryPart, seed: int) -> School | None:
        if not self.config.scratch_methods:
            return None
        source = images.training if self.gallery.choice.train_source is None else self.gallery.training()
        return school_of(self.config, self.subject, source, seed, self.folder / _TRAINING)

    def _make(self, shop: Shop, recipe: Recipe, *, keep_failures: bool) -> Point:
        self.terminal.say(f"{recipe.id}")
        made, lessons = shop.folder / recipe.id, self.folder / _TRAINING / recipe.lessons
        shutil.rmtree(made, ignore_errors=True)  # what a process that was killed left
        try:
            point = self._with_papers(make_point(shop, recipe), made, lessons)
        except StorageError:
            raise  # the other points would be lost as well
        except FAILURES as error:
            shutil.rmtree(made, ignore_errors=True)
            if not keep_failures:
                if isinstance(error, LatheError):
                    raise
                raise LatheError(f"{recipe.id} failed: {reason(error)}") from error
            before = shop.accuracy(shop.unpruned_served)
            point = failed_point(recipe, self.session.setting, reason(error), before)
            self.terminal.say(f"{recipe.id} failed: {point.reason}")
        self._replace(point, made)
        if point.status == "done" and recipe.lessons == recipe.id:
            shutil.rmtree(lessons, ignore_errors=True)
        return point

    def _with_papers(self, point: Point, made: Path, lessons: Path) -> Point:
        """With a README, and what the trainings said."""
        artefacts = {**point.artefacts, "readme": f"{made.name}/README.md"}
        if trainings := histories(lessons):
            write_json(made / "trainings.json", trainings)
            artefacts["trainings"] = f"{made.name}/trainings.json"
        text = leaflet(replace(point, artefacts=artefacts), self.config, self.session.setting)
        write_atomically(made / "README.md", text.encode())
        return replace(point, artefacts=artefacts)

    def _replace(self, point: Point, made: Path) -> None:
        """Puts a new point in the place of an old one; what was there stays until the new one is whole.

        The old record goes before the old files: killed in between, nobody takes new files for the old point's.
        """
        (self.folder / "points" / f"{point.id}.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder / point.id, ignore_errors=True)
        if made.exists():
            made.rename(self.folder / point.id)
        write_point(self.folder, point)
