from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import made_up
import pytest

from bench import skeletons
from bench.skeletons import skeleton_at_hand, skeleton_for, skeleton_of
from bench.workbench import NetworkChoice, Subject
from latency_tables.shipped import shipped_skeleton
from latency_tables.skeleton import Skeleton
from latency_tables.table import LatencyTable, NetworkMeasurement

RESNET8 = NetworkChoice("cifar/resnet8-mlperf")


def table(*networks: NetworkMeasurement, batch: int = 1) -> LatencyTable:
    return LatencyTable(made_up.setting(batch=batch), {}, networks)


def narrower(skeleton: Skeleton) -> NetworkMeasurement:
    """Some network of that skeleton with fewer channels."""
    return replace(made_up.network(skeleton, (), 0.5, 1.0), widths=(("stem", 8),))


def files(workspace: Path) -> list[Path]:
    return sorted((workspace / "skeletons").glob("*"))


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def built(*_: object) -> Subject:
        raise AssertionError("the network was built")

    monkeypatch.setattr(skeletons, "Subject", built)


def test_a_network_is_taken_apart_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first: Skeleton = skeleton_of(RESNET8, table(), tmp_path, widths=False)
    assert first == Subject(RESNET8, 1).outline.skeleton
    assert len(files(tmp_path)) == 1
    forbid(monkeypatch)
    assert skeleton_of(RESNET8, table(), tmp_path, widths=False) == first
    for batch, widths in ((2, False), (1, True)):
        with pytest.raises(AssertionError, match="was built"):
            skeleton_of(RESNET8, table(batch=batch), tmp_path, widths=widths)
    monkeypatch.setattr(skeletons.importlib.metadata, "version", lambda name: f"{name} of another day")
    with pytest.raises(AssertionError, match="was built"):
        skeleton_of(RESNET8, table(), tmp_path, widths=False)


def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    first = skeleton_of(RESNET8, table(), tmp_path, widths=False)
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:50])
    assert skeleton_of(RESNET8, table(), tmp_path, widths=False) == first
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
    first = skeleton_of(choice, table(), tmp_path, widths=False)
    code.write_text(text.format(width=12))
    assert skeleton_of(choice, table(), tmp_path, widths=False) != first
    assert files(tmp_path) == []


def test_a_table_of_narrower_networks_asks_for_groups_which_are_found_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = skeleton_of(RESNET8, table(), tmp_path, widths=False)
    wide = table(narrower(plain))
    subject = Subject(RESNET8, 1)
    assert subject.outline_for(table()) is subject.outline
    assert subject.outline_for(table(), wide) is subject.outline_for(table(), widths=True) is subject.wide
    found = skeleton_of(RESNET8, wide, tmp_path, widths=False)
    assert found == subject.wide.skeleton != plain
    forbid(monkeypatch)
    assert skeleton_of(RESNET8, wide, tmp_path, widths=False) == found
    assert skeleton_of(RESNET8, table(narrower(made_up.chain([4]))), tmp_path, widths=False) == plain
    # With nothing kept yet the network is built once for both.
    built: list[int] = []
    monkeypatch.setattr(skeletons, "Subject", lambda *_: built.append(1) or subject)
    assert skeleton_of(RESNET8, wide, tmp_path / "new", widths=False) == found
    assert built == [1]


def test_a_skeleton_at_hand_is_the_tables_own_or_none(tmp_path: Path) -> None:
    name, plain = RESNET8.name, skeleton_of(RESNET8, table(), tmp_path, widths=False)
    shipped = shipped_skeleton(name, 1)
    assert shipped is not None
    assert skeleton_at_hand(name, shipped.digest, table(), tmp_path / "none") == shipped
    # For another batch size none is shipped.
    other = skeleton_of(RESNET8, table(batch=3), tmp_path, widths=False)
    asked = name, other.digest
    assert skeleton_at_hand(*asked, table(batch=3), tmp_path) == other
    assert skeleton_at_hand(*asked, table(narrower(other), batch=3), tmp_path) is None
    wide = skeleton_of(RESNET8, table(narrower(other), batch=3), tmp_path, widths=False)
    assert skeleton_at_hand(*asked, table(narrower(other), batch=3), tmp_path) == wide
    for path in files(tmp_path):
        path.write_bytes(b"damaged")
    assert skeleton_at_hand(*asked, table(batch=3), tmp_path) is None
    assert skeleton_at_hand(name, "another", table(), tmp_path) is None
    assert plain.digest == shipped.digest


def test_a_shipped_skeleton_serves_unless_the_table_timed_another_network_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = shipped_skeleton(RESNET8.name, 1)
    own = made_up.chain([4])
    assert shipped is not None
    monkeypatch.setattr(skeletons, "skeleton_of", lambda *_, **__: own)

    def found(*digests: str, choice: NetworkChoice = RESNET8) -> Skeleton:
        timed = dict.fromkeys(digests, RESNET8.name)
        return skeleton_for(choice, table(), timed, tmp_path, widths=False)

    assert found() == found(shipped.digest) == found(own.digest, shipped.digest) == shipped
    assert found(own.digest) is own
    assert found(shipped.digest, choice=replace(RESNET8, input_shape=(3, 16, 16))) is own
