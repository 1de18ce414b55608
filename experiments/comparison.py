"""Several choosers on the same cells, budgets, runtimes and one length of finetuning: the body of two experiments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cells import Cell, Source, origin, page_path, read, read_off, run_all, truth_path
from paired import paired
from plans import (
    Choosing,
    Healing,
    find_plans,
    heal_plan,
    measure_tables,
    measured_ratio,
    time_plans,
)

from latency_tables.files import write_atomically
from pruning.recovery.finetune import Schedule


@dataclass(frozen=True)
class Study:
    """What is compared.

    Attributes:
        title: for the page.
        source: network and images.
        shifts: one cell for each shift and seed.
        seeds: see shifts.
        budgets: shares of the unpruned latency.
        runtimes: whose tables are gone by, and in which plans are timed.
        schedule: of every finetuning.
    """

    title: str
    source: Source
    shifts: tuple[str, ...]
    seeds: tuple[int, ...]
    budgets: tuple[float, ...]
    runtimes: tuple[str, ...]
    schedule: Schedule

    @property
    def cells(self) -> list[Cell]:
        """All cells."""
        return [Cell(self.source, shift, seed) for seed in self.seeds for shift in self.shifts]


@dataclass(frozen=True)
class Comparison:
    """A run of an experiment.

    Attributes:
        name: of the script and its page.
        heading: the page's.
        reading: what the short run said, in plain words.
        choosers: the first is the one that the others are held against.
        studies: what is compared.
        scale: of the run.
        workspace: where tables and records are kept.
        jobs: processes.
    """

    name: str
    heading: str
    reading: str
    choosers: tuple[str, ...]
    studies: Sequence[Study]
    scale: str
    workspace: Path
    jobs: int

    @property
    def folder(self) -> Path:
        """Of the records."""
        return self.workspace / "experiments" / f"{self.name}-{self.scale}"

    def run(self) -> None:
        """Measures tables, chooses, finetunes, times, writes the page; each only where it is not known yet.

        Study by study, so that a run that was stopped has whole studies.
        """
        page, reading = page_path(self.name, self.scale), read_off(self.reading, self.scale)
        lines = [f"# {self.heading}", "", origin(self.name, self.scale), "", reading, ""]
        for study in self.studies:
            self._run(study)
            lines += self._section(study)
            write_atomically(page, ("\n".join(lines).rstrip() + "\n").encode())
        lines += self._together()
        write_atomically(page, ("\n".join(lines).rstrip() + "\n").encode())
        print(f"wrote {page}")

    def _run(self, study: Study) -> None:
        measure_tables([study.source], study.runtimes, self.workspace)
        todo = [task for task in self._choosings(study) if not task.path.exists()]
        run_all(find_plans, todo, self.jobs, "choosing")
        healings: dict[Healing, None] = {}
        for task, removed in self._plans(study):
            if not truth_path(task.cell, removed, study.schedule, self.folder).exists():
                healings[Healing(task.cell, removed, study.schedule, self.folder)] = None
        run_all(heal_plan, list(healings), self.jobs, "finetuning")
        time_plans(
            [(study.source, task.runtime, removed) for task, removed in self._plans(study)], self.folder
        )

    def _choosings(self, study: Study) -> Iterator[Choosing]:
        for runtime in study.runtimes:
            for cell in study.cells:
                for chooser in self.choosers:
                    yield Choosing(cell, chooser, runtime, study.budgets, self.folder, self.workspace)

    def _plans(self, study: Study) -> Iterator[tuple[Choosing, tuple[str, ...]]]:
        for task in self._choosings(study):
            for plan in read(task.path)["plans"].values():
                yield task, tuple(plan["removed"])

    def _section(self, study: Study) -> list[str]:
        lines = [
            f"## {study.title}",
            "",
            f"Shifts {', '.join(study.shifts)}; seeds {', '.join(map(str, study.seeds))}; "
            f"{study.schedule.iterations} steps of finetuning at a first rate of {study.schedule.learning_rate:g}. "
            "Accuracies are means over cells; differences are paired by cell, their 95 % intervals after Student.",
            "",
        ]
        first = self.choosers[0]
        for runtime in study.runtimes:
            heads = [f"{budget}x: accuracy | less {first} | measured | blocks" for budget in study.budgets]
            lines += [
                f"Runtime: {runtime}.",
                "",
                "| chooser | " + " | ".join(heads) + " | scoring, s |",
                "| --- |" + " --- |" * (4 * len(heads) + 1),
            ]
            for chooser in self.choosers:
                columns: list[str] = []
                seconds: list[float] = []
                for budget in study.budgets:
                    own = self._found(study, runtime, chooser, budget)
                    other = self._found(study, runtime, first, budget)
                    value, low, high = paired(own.accuracy, other.accuracy, len(study.cells))
                    columns += [
                        f"{own.accuracy.mean():.1%}",
                        "" if chooser == first else f"{value:+.1%} ({low:+.1%} to {high:+.1%})",
                        f"{own.ratio.mean():.3f}",
                        f"{own.blocks.mean():.1f}",
                    ]
                    seconds += list(own.score_s)
                lines.append(f"| {chooser} | " + " | ".join(columns) + f" | {np.mean(seconds):.1f} |")
            lines.append("")
        return lines

    def _together(self) -> list[str]:
        """Mean paired differences over all studies, runtimes and budgets."""
        first = self.choosers[0]
        lines = [
            "## All together",
            "",
            f"Differences to {first} over all networks, runtimes and budgets, paired by cell.",
            "",
            f"| chooser | accuracy less {first} (95 %) | latency less {first}, of the unpruned |",
            "| --- | --- | --- |",
        ]
        for chooser in self.choosers[1:]:
            own, other = self._by_cell(chooser), self._by_cell(first)
            cells = len(own.accuracy)
            value, low, high = paired(own.accuracy, other.accuracy, cells)
            slower = float(np.mean(own.ratio - other.ratio))
            lines.append(
                f"| {chooser} | {value:+.1%} ({low:+.1%} to {high:+.1%}), {cells} cells | {slower:+.3f} |"
            )
        return lines

    def _by_cell(self, chooser: str) -> _Found:
        """Everything found of a chooser: one row for each cell, runtimes and budgets in its columns."""
        found = [
            [
                self._found(study, runtime, chooser, budget)
                for runtime in study.runtimes
                for budget in study.budgets
            ]
            for study in self.studies
        ]
        # Studies may differ in how many budgets they have: each cell counts once, with its mean.
        fields = [
            np.concatenate([np.mean([getattr(one, name) for one in study], axis=0) for study in found])
            for name in ("accuracy", "ratio", "blocks", "score_s")
        ]
        return _Found(*fields)

    def _found(self, study: Study, runtime: str, chooser: str, budget: float) -> _Found:
        rows = []
        for cell in study.cells:
            task = Choosing(cell, chooser, runtime, study.budgets, self.folder, self.workspace)
            plan = read(task.path)["plans"][str(budget)]
            known = read(truth_path(cell, plan["removed"], study.schedule, self.folder))
            ratio = measured_ratio(study.source, runtime, plan["removed"], self.folder)[0]
            rows.append((known.get("accuracy", 0.0), ratio, len(plan["removed"]), plan["score_s"]))
        return _Found(*np.array(rows, dtype=np.float64).T)


@dataclass(frozen=True)
class _Found:
    accuracy: np.ndarray
    ratio: np.ndarray
    blocks: np.ndarray
    score_s: np.ndarray
