from __future__ import annotations

from pathlib import Path

import pytest

from bench import skeletons
from bench.skeletons import skeleton_of
from bench.workbench import NetworkChoice, Subject
from latency_tables.skeleton import Skeleton

RESNET8 = NetworkChoice("cifar/resnet8-mlperf")


def files(workspace: Path) -> list[Path]:
    return sorted((workspace / "skeletons").glob("*"))


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def built(*_: object) -> Subject:
        raise AssertionError("the network was built")

    monkeypatch.setattr(skeletons, "Subject", built)


def test_a_network_is_taken_apart_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first: Skeleton = skeleton_of(RESNET8, 1, tmp_path, widths=False)
    assert first == Subject(RESNET8, 1).outline.skeleton
    assert len(files(tmp_path)) == 1
    forbid(monkeypatch)
    assert skeleton_of(RESNET8, 1, tmp_path, widths=False) == first
    for batch, widths in ((2, False), (1, True)):
        with pytest.raises(AssertionError, match="was built"):
            skeleton_of(RESNET8, batch, tmp_path, widths=widths)
    monkeypatch.setattr(skeletons.importlib.metadata, "version", lambda name: f"{name} of another day")
    with pytest.raises(AssertionError, match="was built"):
        skeleton_of(RESNET8, 1, tmp_path, widths=False)


def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    first = skeleton_of(RESNET8, 1, tmp_path, widths=False)
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:50])
    assert skeleton_of(RESNET8, 1, tmp_path, widths=False) == first
    assert files(tmp_path) == [path] and path.stat().st_size > 50


def test_a_users_code_is_run_every_time(tmp_path: Path) -> None:
    code = tmp_path / "net.py"
    text = (
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Conv2d(3, {width}, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
        "make.input_shape = (3, 8, 8)\n"
    )
    code.write_text(text.format(width=8))
    choice = NetworkChoice(f"{code}:make", input_shape=(3, 8, 8))
    first = skeleton_of(choice, 1, tmp_path, widths=False)
    code.write_text(text.format(width=12))
    assert skeleton_of(choice, 1, tmp_path, widths=False) != first
    assert files(tmp_path) == []
