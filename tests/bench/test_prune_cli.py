"""How the words of a sweep become its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import made_up_runs
import numpy as np
import pytest
import torch
from small_job import write_job

from bench import cli
from bench.sweep_config import BLOCK_METHODS, CHANNEL_METHODS, MIXED_METHODS, SweepConfig
from bench.workbench import Gallery, Subject
from bench.workloads import resolve
from latency_tables.errors import LatheError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[SweepConfig, Path]]:
    """What the command would run, in place of running it."""
    calls: list[tuple[SweepConfig, Path]] = []

    def run(config: SweepConfig, folder: Path, *_: Any, **__: Any) -> list[Any]:
        calls.append((config, folder))
        return []

    monkeypatch.setattr("bench.sweep.run_sweep", run)
    return calls


def lathe(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["lathe", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_a_network_and_images_are_enough_for_a_sweep(
    asked: list[tuple[SweepConfig, Path]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ("sweep", "cifar/resnet20", "--images", "digits", "--runtime", "eager", "--threads", "2")
    assert lathe(monkeypatch, *words, "--out", str(tmp_path)) == 0
    ((config, folder),) = asked
    assert (config.network, config.images, config.runtimes, config.threads) == (
        "cifar/resnet20",
        "digits",
        ("eager",),
        2,
    )
    assert config.methods == MIXED_METHODS  # it has no trained weights, and is trained first
    assert config.train == "1437"  # of 1797 digits; a fifth judges
    assert config.augmentation == "crop"  # a mirrored digit is another one, or none
    assert config.budgets == SweepConfig.model_fields["budgets"].default
    assert folder.parent == tmp_path / "runs"


def test_runtimes_may_be_several_with_precisions_of_their_own(
    asked: list[tuple[SweepConfig, Path]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ("sweep", "cifar/resnet20", "--images", "digits", "--out", str(tmp_path))
    assert lathe(monkeypatch, *words, "--runtime", "eager", "--runtime", "onnxruntime int8") == 0
    assert lathe(monkeypatch, *words) == 0
    assert [config.runtimes for config, _ in asked] == [("eager", "onnxruntime int8"), ("onnxruntime",)]
    assert "-eager-onnxruntime_int8-1t-" in asked[0][1].name


@pytest.mark.parametrize(
    ("more", "methods", "said"),
    [
        ((), BLOCK_METHODS, "blocks alone go, since weights are given: with labelled images after --train"),
        (("--train", "npz:more.npz"), MIXED_METHODS, None),
    ],
)
def test_a_trained_network_loses_blocks_and_where_there_is_more_to_train_on_channels_too(
    more: tuple[str, ...],
    methods: tuple[str, ...],
    said: str | None,
    asked: list[tuple[SweepConfig, Path]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.save(resolve("cifar/resnet20").build().state_dict(), tmp_path / "weights.pt")
    words = (
        "sweep",
        "cifar/resnet20",
        "--images",
        "digits",
        "--weights",
        str(tmp_path / "weights.pt"),
        *more,
    )
    assert lathe(monkeypatch, *words, "--out", str(tmp_path)) == 0
    ((config, _),) = asked
    assert (config.methods, config.train) == (methods, more[1] if more else None)
    told = " ".join(capsys.readouterr().err.split())
    assert said in told if said else "blocks alone" not in told
    assert config.augmentation == "crop-flip"


def test_a_network_that_loads_its_own_weights_loses_blocks_and_is_told_why(
    asked: list[tuple[SweepConfig, Path]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = write_job(tmp_path)
    with (tmp_path / "net.py").open("a") as file:
        file.write("\ndef trained():\n    torch.manual_seed(1)\n    return Small()\n")
        file.write("\ntrained.input_shape = (3, 24, 24)\n")
    words = ("sweep", f"{tmp_path / 'net.py'}:trained", "--images", job["images"], "--calibration", "60")
    assert lathe(monkeypatch, *words, "--out", str(tmp_path)) == 0
    ((config, _),) = asked
    assert config.methods == BLOCK_METHODS
    told = " ".join(capsys.readouterr().err.split())
    assert "blocks alone go, since the factory of" in told and "labelled images with --train" in told


def test_a_network_without_removable_blocks_loses_channels(
    asked: list[tuple[SweepConfig, Path]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "plain.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))\n"
    )
    words = ("sweep", f"{tmp_path}/plain.py:make", "--input", "1x8x8", "--images", "digits")
    assert lathe(monkeypatch, *words, "--out", str(tmp_path)) == 0
    ((config, _),) = asked
    assert config.methods == CHANNEL_METHODS
    assert config.augmentation == "crop"


def test_a_sweep_takes_the_words_of_a_pruning(
    asked: list[tuple[SweepConfig, Path]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ("sweep", "cifar/resnet20", "--images", "digits", "--calibration", "300", "--epochs", "4")
    more = ("--seed", "1", "--seed", "2", "--train", "700")
    assert lathe(monkeypatch, *words, *more, "--out", str(tmp_path)) == 0
    ((config, _),) = asked
    assert (config.calibration, config.epochs, config.seeds, config.train) == (300, 4, (1, 2), "700")
    assert lathe(monkeypatch, *words, "--augmentation", "none", "--out", str(tmp_path)) == 0
    assert asked[1][0].augmentation == "none"


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (None, "cs-kd needs labels, and the images have none"),
        ([0, 1], "1 of 3 classes have no training image, the first of them class 2"),
    ],
)
def test_where_nothing_can_be_trained_blocks_go_alone_and_the_reason_is_said(
    labels: list[int] | None,
    why: str,
    asked: list[tuple[SweepConfig, Path]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = write_job(tmp_path)
    arrays = {"images": np.random.default_rng(0).integers(0, 256, (120, 24, 24, 3), dtype=np.uint8)}
    if labels is not None:
        arrays["labels"] = np.resize(labels, 120).astype(np.int64)
    np.savez(tmp_path / "few.npz", **arrays)
    words = ("sweep", job["network"], "--images", f"npz:{tmp_path / 'few.npz'}", "--calibration", "60")
    assert lathe(monkeypatch, *words, "--out", str(tmp_path)) == 0
    ((config, _),) = asked
    assert (config.methods, config.train) == (BLOCK_METHODS, None)
    said = capsys.readouterr().err
    assert "blocks alone go, since nothing can be trained from scratch" in said
    assert why in said
    # Whoever asks for training is told what it misses; the sweep itself does so.
    assert lathe(monkeypatch, *words, "--train", "80", "--out", str(tmp_path)) == 0
    assert asked[1][0].methods == MIXED_METHODS


def test_too_few_images_are_said_before_anything_is_run(
    asked: list[tuple[SweepConfig, Path]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = write_job(tmp_path)
    words = ("sweep", job["network"], "--images", job["images"], "--out", str(tmp_path))
    assert lathe(monkeypatch, *words) == 2
    assert "500 images to calibrate or train on and at least 1 more" in capsys.readouterr().err
    assert not asked


def test_a_file_decides_alone(
    asked: list[tuple[SweepConfig, Path]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('network = "cifar/resnet20"\nimages = "digits"\nepochs = 3\n')
    assert lathe(monkeypatch, "sweep", str(file), "--out", str(tmp_path)) == 0
    ((config, folder),) = asked
    assert (config.epochs, folder) == (3, tmp_path / "runs" / "mine")
    assert lathe(monkeypatch, "sweep", str(file), "--images", "digits", "--threads", "2") == 2
    assert "write --images, --threads into it" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../elsewhere", "..", ".hidden", "a/b"])
@pytest.mark.parametrize("command", ["prune", "sweep"])
def test_a_name_leads_nowhere_else(
    asked: list[tuple[SweepConfig, Path]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    name: str,
) -> None:
    words = (command, "cifar/resnet20", "--images", "digits", *(["--budget", "0.7x"] * (command == "prune")))
    assert lathe(monkeypatch, *words, "--name", name, "--out", str(tmp_path)) == 2
    assert "plain name of a folder" in " ".join(capsys.readouterr().err.split())
    assert not asked


def test_a_network_without_images_is_told_what_it_lacks(
    asked: list[tuple[SweepConfig, Path]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lathe(monkeypatch, "sweep", "cifar/resnet20") == 2
    assert "a sweep over cifar/resnet20 needs images" in capsys.readouterr().err
    assert not asked


@pytest.mark.parametrize(
    ("changes", "status"), [({"met": True}, 0), ({"met": False}, 1), ({"met": None, "budget": "90%"}, 0)]
)
def test_a_missed_budget_is_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, Any], status: int
) -> None:
    monkeypatch.setattr("bench.sweep.run_sweep", lambda *_, **__: [made_up_runs.point(**changes)])
    words = ("prune", "cifar/resnet20", "--images", "digits", "--budget", "0.7x", "--out", str(tmp_path))
    assert lathe(monkeypatch, *words) == status


def test_network_and_images_are_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[str] = []

    def counted(kind: type[Any]) -> None:
        initialise = kind.__init__

        def remember(self: Any, *given: Any) -> None:
            made.append(kind.__name__)
            initialise(self, *given)

        monkeypatch.setattr(kind, "__init__", remember)

    def no_session(*_: Any) -> None:
        raise LatheError("no session in this test")

    counted(Subject)
    counted(Gallery)
    monkeypatch.setattr("bench.sweep.Session", no_session)
    job = write_job(tmp_path)
    words = ("sweep", job["network"], "--weights", job["weights"], "--images", job["images"])
    assert lathe(monkeypatch, *words, "--calibration", "40", "--out", str(tmp_path / "out")) == 1
    assert made == ["Subject", "Gallery"]
