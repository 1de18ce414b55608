"""A page says what was read off its own run: another scale than the short one has a page and no reading."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cells
import closure
import comparison
import epsd_controls
import epsd_structured
import kd_pareto
import pytest
from epsd_controls import SCALES, Task

from latency_tables.files import write_json

SHORT, OTHER = "short", "full"


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where pages go, in place of the repository's; a page of the short run is there."""
    folder = tmp_path / "docs" / "results"
    (folder.parent / "images").mkdir(parents=True)
    folder.mkdir()
    for module in (cells, epsd_controls, kd_pareto):
        monkeypatch.setattr(module, "RESULTS", folder)
    return folder


def start(monkeypatch: pytest.MonkeyPatch, experiment: Any, tmp_path: Path, *words: str) -> None:
    images = ("--train", "npz:train.npz", "--test", "npz:test.npz", "--out", str(tmp_path / "out"))
    monkeypatch.setattr("sys.argv", [experiment.__name__, *images, *words])
    experiment.main()


def pages(results: Path) -> set[str]:
    return {path.name for path in results.glob("*.md")}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """The trainings that were asked for; each is worth what its seed says."""
    asked: list[Task] = []

    def run_all(_: object, tasks: list[Task], *__: object, **___: object) -> None:
        asked.extend(tasks)
        for task in tasks:
            write_json(task.path, {"accuracy": 0.5 + task.seed / 100, "draws": epsd_controls.DRAWS})

    monkeypatch.setattr(epsd_controls, "run_all", run_all)
    return asked


def test_another_scale_of_epsd_controls_has_a_page_and_no_reading(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, results: Path, trained: list[Task]
) -> None:
    start(monkeypatch, epsd_controls, tmp_path)
    short = (results / "epsd_controls.md").read_text()
    assert "A ResNet-8 trained for six epochs" in short
    start(monkeypatch, epsd_controls, tmp_path, "--scale", "medium")
    assert pages(results) == {"epsd_controls.md", "epsd_controls-medium.md"}
    assert (results / "epsd_controls.md").read_text() == short
    other = (results / "epsd_controls-medium.md").read_text()
    assert "Not read yet." in other and "ResNet-8" not in other and "## resnet20, cs-kd" in other


def test_other_forms_of_epsd_that_are_known_stay_on_the_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, results: Path, trained: list[Task]
) -> None:
    """A plain run trains none of them, and drops none that the reading speaks of."""
    start(monkeypatch, epsd_controls, tmp_path, "--variants")
    whole, count = (results / "epsd_controls.md").read_text(), len(trained)
    assert whole.count("| EPSD, first order |") == 1
    start(monkeypatch, epsd_controls, tmp_path)
    assert (results / "epsd_controls.md").read_text() == whole
    assert len(trained) == count
    # One that has a seed less than the others would leave them a seed less, too.
    (lost,) = (task for task in trained if task.arm == "EPSD, first order" and task.seed == 4)
    lost.path.unlink()
    for published in results.glob("*.jsonl"):
        published.unlink()
    start(monkeypatch, epsd_controls, tmp_path)
    page = (results / "epsd_controls.md").read_text()
    assert "| EPSD, first order |" not in page and "| EPSD, one step |" in page
    assert "mean of 4 seeds" not in page


def test_how_many_trainings_the_full_scale_has() -> None:
    tasks = {
        Task(study, arm, seed, OTHER, "", "", Path(), "cpu").path
        for study in SCALES[OTHER].studies
        for arm in study.arms
        for seed in range(study.seeds)
    }
    count = len(tasks)
    epochs = count * SCALES[OTHER].regime.epochs
    assert f"{count} trainings, {epochs:,} epochs" in (epsd_controls.__doc__ or "")
    # At 28 to 69 s each.
    assert f"{28 * epochs / 86400:.0f} to {69 * epochs / 86400:.0f} days" in (epsd_controls.__doc__ or "")


@pytest.mark.parametrize(
    ("scale", "page"), [(SHORT, "epsd_structured.md"), (OTHER, "epsd_structured-full.md")]
)
def test_scales_of_epsd_structured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, results: Path, scale: str, page: str
) -> None:
    monkeypatch.setattr(epsd_structured, "run_sweep", lambda *_, **__: [])
    monkeypatch.setattr(epsd_structured, "page", lambda _: [])
    start(monkeypatch, epsd_structured, tmp_path, "--scale", scale)
    assert pages(results) == {page}
    text = (results / page).read_text()
    assert ("three epochs of CIFAR-10" in text) is (scale == SHORT)
    assert ("Not read yet." in text) is (scale == OTHER)


@pytest.mark.parametrize(("scale", "page"), [(SHORT, "kd_pareto.md"), (OTHER, "kd_pareto-full.md")])
def test_scales_of_kd_pareto_and_the_pictures_of_the_readme(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, results: Path, scale: str, page: str
) -> None:
    picture = tmp_path / "pareto-1-column.png"
    picture.write_bytes(b"drawn")
    scene = SimpleNamespace(description={"runtime": "eager"})
    monkeypatch.setattr(kd_pareto, "run_sweep", lambda *_, **__: [])
    monkeypatch.setattr(kd_pareto, "read_run", lambda _: (None, []))
    monkeypatch.setattr(kd_pareto, "scenes", lambda _: [scene])
    monkeypatch.setattr(kd_pareto, "section", lambda *_: [])
    monkeypatch.setattr(
        kd_pareto, "write_report", lambda *_: SimpleNamespace(images=[picture], html=tmp_path / "r.html")
    )
    start(monkeypatch, kd_pareto, tmp_path, "--weights", str(tmp_path), "--scale", scale)
    assert pages(results) == {page}
    assert ("One seed, five epochs" in (results / page).read_text()) is (scale == SHORT)
    drawn = [path.name for path in (results.parent / "images").iterdir()]
    assert drawn == (["kd-pareto-eager.png"] if scale == SHORT else [])


@pytest.mark.parametrize(("scale", "page"), [(SHORT, "latency_term.md"), (OTHER, "latency_term-full.md")])
def test_scales_of_a_comparison(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, results: Path, scale: str, page: str
) -> None:
    run = comparison.Comparison("latency_term", "Latency", "Reading. So.", ("ttmpd",), (), scale, tmp_path, 1)
    monkeypatch.setattr(comparison.Comparison, "_together", lambda _: [])
    run.run()
    assert pages(results) == {page}
    assert ("Reading. So." in (results / page).read_text()) is (scale == SHORT)


def test_scales_of_closure() -> None:
    assert "Two settings of five" in "\n".join(closure.page({}, SHORT))
    assert closure.page({}, OTHER)[2] == "Not read yet."
    assert cells.page_path("closure", OTHER).name == "closure-full.md"


def test_every_reading_goes_by_the_scale() -> None:
    """No script that has more than one scale writes its reading or its page without asking which."""
    for path in sorted(Path(cells.__file__).parent.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        several = "scales=" in text or "training_parser(" in text or "choices=tuple(" in text
        if several and path.name != "command_line.py":
            assert "READING.strip()" not in text, path.name
            assert f'RESULTS / "{path.stem}.md"' not in text, path.name
