from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from bench.runtimes.engine_cache import EngineCache, cache_folder
from latency_tables.errors import LatheError, StorageError

HERE = {"device": "NVIDIA H100", "compute": "sm_90", "driver": "580.65", "tensorrt": "11.0.0"}


def test_what_was_kept_comes_back(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "not" / "there", HERE)
    assert cache.read("engine", "a") is None
    cache.write("engine", b"plan\nof two lines", "a")
    cache.write("engine", b"other", "b")
    assert cache.read("engine", "a") == b"plan\nof two lines"
    assert cache.read("engine", "b") == b"other"
    assert cache.read("timings") is None
    cache.write("engine", b"newer", "a")
    assert cache.read("engine", "a") == b"newer"


@pytest.mark.parametrize("changed", ["device", "compute", "driver", "tensorrt"])
def test_another_device_or_version_finds_nothing(tmp_path: Path, changed: str) -> None:
    EngineCache(tmp_path, HERE).write("engine", b"plan", "a")
    assert EngineCache(tmp_path, {**HERE, changed: "other"}).read("engine", "a") is None


def test_an_engine_that_was_put_in_another_s_place_is_refused_by_the_field_that_differs(
    tmp_path: Path,
) -> None:
    here, there = EngineCache(tmp_path, HERE), EngineCache(tmp_path, {**HERE, "tensorrt": "10.15.1"})
    there.write("engine", b"plan", "a")
    there.path("engine", "a").rename(here.path("engine", "a"))
    with pytest.raises(
        LatheError, match=r"tensorrt is '10\.15\.1' there and '11\.0\.0' here. Delete the file"
    ):
        here.read("engine", "a")


@pytest.mark.parametrize("spoil", [lambda c: c[:-1], lambda c: b"x" + c, lambda c: b"", lambda c: c + b"\n"])
def test_a_damaged_file_is_refused(tmp_path: Path, spoil: object) -> None:
    cache = EngineCache(tmp_path, HERE)
    cache.write("engine", b"plan", "a")
    path = cache.path("engine", "a")
    path.write_bytes(spoil(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(LatheError, match=r"cannot be used: .*Delete the file"):
        cache.read("engine", "a")


def test_a_head_that_is_no_object_is_refused(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, HERE)
    cache.write("engine", b"plan", "a")
    path = cache.path("engine", "a")
    path.write_bytes(b"lathe engine 1\n" + json.dumps([1]).encode() + b"\nplan")
    with pytest.raises(LatheError, match="cannot be used"):
        cache.read("engine", "a")


def test_what_cannot_be_reached_is_not_there_and_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = EngineCache(tmp_path / "file", HERE)
    assert cache.read("engine", "a") is None
    with pytest.raises(StorageError, match="cannot write"):
        cache.write("engine", b"plan", "a")


def test_a_user_without_a_home_has_a_folder_that_nobody_else_writes_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = cache_folder()
    assert found.parent == tmp_path
    assert found.stat().st_mode & 0o777 == 0o700


def test_the_folder_follows_the_user_s_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "lathe" / "engines"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "lathe" / "engines"
