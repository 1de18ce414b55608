from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import made_up
import pytest

from latency_tables.errors import UserError
from latency_tables.skeleton_file import (
    read_skeleton,
    skeleton_from_json,
    skeleton_to_json,
    write_skeleton,
)
from latency_tables.widths import ChannelGroup

SKELETON = made_up.chain([16, 32, 8], grouped=True)
SKELETON = replace(SKELETON, groups=(*SKELETON.groups, ChannelGroup("head", 3, frozen="nothing reads it")))


def test_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "net.skeleton"
    write_skeleton(path, SKELETON)
    found = read_skeleton(path)
    assert found == SKELETON
    assert found.digest == SKELETON.digest
    assert [part.kind for part in found.parts] == [part.kind for part in SKELETON.parts]
    assert found.narrowed({"block1": 20}) == SKELETON.narrowed({"block1": 20})
    assert skeleton_from_json(json.loads(json.dumps(skeleton_to_json(SKELETON)))) == SKELETON


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.skeleton"
    write_skeleton(path, SKELETON)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[:-1], whole[: len(whole) // 2], whole[1:]):
        path.write_bytes(content)
        with pytest.raises(
            UserError, match=r"net\.skeleton is no skeleton of lathe, or damaged.* delete any"
        ):
            read_skeleton(path)
    with pytest.raises(UserError, match=r"cannot read .*No such file.*check the path"):
        read_skeleton(tmp_path / "nowhere")


@pytest.mark.parametrize("missing", ["graph", "layers", "blocks", "groups", "sizes", "name"])
def test_a_missing_field_is_named(missing: str) -> None:
    data = skeleton_to_json(SKELETON)
    del data[missing]
    with pytest.raises(ValueError, match=missing):
        skeleton_from_json(data)


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format 2 is not 1"):
        skeleton_from_json(skeleton_to_json(SKELETON) | {"format": 2})
