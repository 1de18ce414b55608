"""A store that is not what it should be: said in a sentence, and not a byte of it changed."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import made_up
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latency_tables import database
from latency_tables.errors import LatheError, UserError
from latency_tables.measurement import FACTS, REORDERING
from latency_tables.samples import encode
from latency_tables.schema import STORE_FORMAT
from latency_tables.store import Store
from latency_tables.table import Failure, LatencyTable

SKELETON = made_up.chain([4, 5])
SETTING = made_up.setting()


def read(path: Path) -> LatencyTable:
    store = Store(path)
    try:
        assert store.settings() == [SETTING]
        table = store.table(SETTING)
        return replace(table, cells=dict(table.cells))  # each of them unpacked
    finally:
        store.close()


def change(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with some cells and networks, closed."""
    path = tmp_path_factory.mktemp("store") / "lathe.db"
    store = Store(path)
    for part in SKELETON.parts:
        store.put(SETTING, part, made_up.cell(1e-3))
    for removed in ([], ["block0"], ["block1"]):
        store.put_network(SETTING, "chain", made_up.network(SKELETON, removed, 1e-3, 2e-3))
    store.close()
    assert [file.name for file in path.parent.iterdir()] == ["lathe.db"]
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    (tmp_path / "workspace").mkdir()
    return Path(shutil.copy(whole, tmp_path / "workspace" / "lathe.db"))


@pytest.mark.parametrize("written", [STORE_FORMAT + 1, 99, "2b"])
def test_a_newer_store_is_refused_and_stays_as_it_was(path: Path, written: object) -> None:
    change(path, "UPDATE about SET format = ?", written)
    change(path, "DROP TABLE networks")
    change(path, "CREATE TABLE passes (id INTEGER PRIMARY KEY)")
    before = contents(path.parent)
    with pytest.raises(
        UserError, match=f"format {written}, this version of lathe reads format {STORE_FORMAT}"
    ):
        Store(path)
    assert contents(path.parent) == before


def test_a_database_of_another_program_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "lathe.db"
    change(path, "CREATE TABLE recipes (id INTEGER PRIMARY KEY)")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="no store of lathe: it holds recipes"):
        Store(path)
    assert contents(tmp_path) == before


def test_a_file_that_is_no_database_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "lathe.db"
    path.write_bytes(b"latency_s\n0.001\n" * 500)
    before = contents(tmp_path)
    with pytest.raises(LatheError, match=r"not a database\..*no store of lathe: move it away"):
        Store(path)
    assert contents(tmp_path) == before


def test_a_folder_in_the_place_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "lathe.db").mkdir()
    with pytest.raises(LatheError, match=r"cannot be used: unable to open.*Look at the folder"):
        Store(tmp_path / "lathe.db")


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    """SQLite leaves one where it is killed before the first write."""
    path = tmp_path / "lathe.db"
    path.touch()
    store = Store(path)
    store.put(SETTING, SKELETON.parts[0], made_up.cell(1e-3))
    store.close()
    assert len(read(path).cells) == 1
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1))
def test_a_truncated_store_is_refused_or_whole(path: Path, whole: Path, share: float) -> None:
    """Never a table with fewer cells: where the part that is missing was not needed, all of it is read."""
    content = whole.read_bytes()
    length = 1 + int(share * (len(content) - 2))
    path.write_bytes(content[:length])
    try:
        table = read(path)
    except LatheError as error:
        assert str(path) in str(error)
        assert "--out" in str(error)
    else:
        assert table == read(whole)
    assert path.read_bytes() == content[:length]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), count=st.integers(1, 40))
def test_an_overwritten_store_never_breaks_with_anything_but_a_sentence(
    path: Path, whole: Path, share: float, value: int, count: int
) -> None:
    content = bytearray(whole.read_bytes())
    at = int(share * len(content))
    content[at : at + count] = bytes([value]) * len(content[at : at + count])
    path.write_bytes(content)
    try:
        store = Store(path)
        store.settings()
        list(store.table(SETTING).cells.values())
        store.kinds(SETTING)
        store.network_names(SETTING)
        store.close()
    except LatheError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE measurements SET samples = x'0011'",
        "UPDATE measurements SET samples = x''",
        "UPDATE measurements SET samples = NULL",
        "UPDATE measurements SET details = '{'",
        "UPDATE measurements SET details = '[]'",
        """UPDATE measurements SET details = replace(details, '"precision"', '"luck"')""",
        "UPDATE networks SET details = '{}'",
        "UPDATE networks SET details = '3'",
        """UPDATE networks SET details = replace(details, '"removed":[]', '"removed":"3"')""",
        """UPDATE networks SET details = replace(details, '"ratio":[0.5', '"ratio":[7')""",
    ],
)
def test_an_edited_row_is_refused(path: Path, statement: str) -> None:
    change(path, statement)
    with pytest.raises(
        LatheError, match=r"holds a row that lathe did not write.*Put a copy of the file back"
    ) as e:
        read(path)
    assert str(path) in str(e.value)


@pytest.mark.parametrize("samples", [encode([math.nan], 1), encode([-2.0], 1), encode([1e-3], 1)[:-1]])
def test_impossible_samples_are_refused(path: Path, samples: bytes) -> None:
    change(path, "UPDATE measurements SET samples = ?", samples)
    with pytest.raises(LatheError, match="holds a row that lathe did not write"):
        read(path)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE measurements SET latency_s = 'soon'",
        "UPDATE measurements SET low_s = NULL",
        "UPDATE measurements SET high_s = 1e-9",
    ],
)
def test_an_edited_median_is_refused(path: Path, statement: str) -> None:
    change(path, statement)
    store = Store(path)
    with pytest.raises(LatheError, match="holds a row that lathe did not write"):
        store.table(SETTING).latency_s(SKELETON.parts[0])
    store.close()


@pytest.mark.parametrize("details", ["{", "[]", "{}", '{"host": []}', None])
def test_an_edited_state_of_the_host_is_refused(path: Path, details: str | None) -> None:
    change(path, "UPDATE measurements SET details = ?", details)
    store = Store(path)
    with pytest.raises(LatheError, match="holds a row that lathe did not write"):
        store.table(SETTING).reordering(SKELETON.parts[0].key)
    store.close()


def test_what_a_part_reorders_is_told_without_a_look_at_its_samples(path: Path) -> None:
    told, failed, unknown = (part for part in [*SKELETON.parts[:2], made_up.chain([7]).parts[0]])
    store = Store(path)
    cell = replace(made_up.cell(1e-3), host={FACTS: {REORDERING: 0.25}})
    store.put(SETTING, told, cell)
    store.put(SETTING, failed, Failure("crash", cell.created))
    store.close()
    change(path, "UPDATE measurements SET samples = x'0011' WHERE samples IS NOT NULL")
    store = Store(path)
    table = store.table(SETTING)
    assert [table.reordering(part.key) for part in (told, failed, unknown)] == [0.25, None, None]
    assert not table.tells_reordering(SKELETON)
    store.close()


def test_an_edited_setting_is_refused(path: Path) -> None:
    data = {**SETTING.to_json(), "format": 7}
    change(path, "UPDATE settings SET setting = ?", json.dumps(data))
    with pytest.raises(LatheError, match="setting format 7"):
        Store(path).settings()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Another process in the middle of a write."""
    script = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("writing", flush=True)
sys.stdin.read()
"""
    words = [sys.executable, "-c", script, str(path)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        yield
    finally:
        process.communicate("")


def test_a_store_that_another_process_keeps_locked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_PATIENCE_S", 0.2)
    store = Store(path)
    busy = r"database is locked\. Nothing in it was changed\. Another process is writing to it\. Wait"
    with writing(path):
        with pytest.raises(LatheError, match=busy):
            Store(path)
        with pytest.raises(LatheError, match=busy):
            store.put(SETTING, SKELETON.parts[0], made_up.cell(5.0))
        assert len(store.table(SETTING).networks) == 3, "whoever has it open can still read"
    store.put(SETTING, SKELETON.parts[0], made_up.cell(5.0))
    assert store.table(SETTING).cells[SKELETON.parts[0].key] == made_up.cell(5.0)
    store.close()
