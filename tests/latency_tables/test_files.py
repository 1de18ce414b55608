"""Whatever goes wrong while files are written: the old ones stay whole, and nothing is left lying about."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from latency_tables import files
from latency_tables.errors import LatheError
from latency_tables.files import write_atomically, write_json, write_together


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def failing(after: int, error: BaseException) -> Callable[[int], None]:
    """An fsync that fails once this many files are through."""
    calls = iter(range(100))

    def fsync(handle: int) -> None:
        if next(calls) >= after:
            raise error

    return fsync


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
@pytest.mark.parametrize("through", [0, 1])
def test_several_files_are_replaced_after_all_of_them_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, through: int
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write_together({one: b"old", two: b"old"})
    monkeypatch.setattr(os, "fsync", failing(through, OSError(number, os.strerror(number))))
    with pytest.raises(LatheError) as caught:
        write_together({one: b"new", two: b"new"})
    assert (one.read_bytes(), two.read_bytes()) == (b"old", b"old")
    assert names(tmp_path) == ["one", "two"]
    message = str(caught.value)
    assert message.startswith(f"cannot write {(one, two)[through]}: {os.strerror(number)}")
    assert "untouched" in message
    assert "run the same command again" in message
    assert ("ree some space" in message) == (number in (errno.ENOSPC, errno.EDQUOT))
    monkeypatch.undo()
    write_together({one: b"new", two: b"new"})
    assert (one.read_bytes(), two.read_bytes()) == (b"new", b"new")


@pytest.mark.parametrize("end", [KeyboardInterrupt(), MemoryError()])
def test_an_end_that_is_no_failure_of_the_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: BaseException
) -> None:
    path = tmp_path / "plan.json"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", failing(0, end))
    with pytest.raises(type(end)):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["plan.json"]


def test_a_folder_in_the_place_of_the_file_is_left_there(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(LatheError, match=r"cannot write .*run\.json: .*irectory.*name another with --out"):
        write_json(tmp_path / "run.json", {})
    assert names(tmp_path) == ["run.json"]


def test_what_is_no_number_reaches_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"latency_s": float("nan")})
    assert names(tmp_path) == []


def test_the_file_may_be_read_by_whom_the_user_lets(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "x", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_two_writers_of_one_file_never_share_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    seen: list[set[str]] = []

    def fsync(handle: int) -> None:
        seen.append(set(names(tmp_path)))
        if len(seen) == 1:
            files.write_atomically(path, b"second")

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(path, b"first")
    assert len(seen[1]) == 2
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["x"]
