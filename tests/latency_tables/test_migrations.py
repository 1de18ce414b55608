"""Stores that older versions wrote, kept as files (`old_stores`), opened by this one.

`format_1.db` was written by the last version of lathe with that format.
"""

from __future__ import annotations

import math
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import made_up
import numpy as np
import pytest

from latency_tables import database
from latency_tables.errors import LatheError
from latency_tables.measurement import Measurement, Stop
from latency_tables.migrations import STEPS
from latency_tables.schema import STORE_FORMAT
from latency_tables.store import Store
from latency_tables.table import Failure
from latency_tables.trace import Trace

OLD = Path(__file__).parent / "old_stores"
SKELETON = made_up.chain([4, 5])
ONE = made_up.setting()
TWO = made_up.setting(threads=2, options=(("batch_norm", "folded"),))
HOST = {
    "window_s": 1.9269262309999249,
    "foreign_cores": 1.3389199640824287,
    "steal_cores": 0.0,
    "disturbance": "foreign load",
    "attempts": 3,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(shutil.copy(OLD / "format_1.db", tmp_path / "lathe.db"))


def test_every_older_format_has_a_step_and_a_stored_file() -> None:
    assert sorted(STEPS) == list(range(1, STORE_FORMAT))
    assert sorted(file.name for file in OLD.iterdir()) == [f"format_{number}.db" for number in sorted(STEPS)]


def test_format_1_is_read_whole(path: Path) -> None:
    store = Store(path)
    assert store.settings() == [ONE, TWO]
    ticks = (41873, 41902, 41850, 41899, 52011, 41861, 41870)
    second = Measurement(
        tuple(tick * 1e-9 / 2 for tick in ticks),
        15,
        Stop.STALLED,
        "2026-11-21T06:02:11+00:00",
        {"taken while others used the cores": 65},
        2,
        HOST,
    )
    table = store.table(ONE)
    assert table.cells == {
        SKELETON.parts[0].key: made_up.cell(1e-3),
        SKELETON.parts[1].key: second,
        SKELETON.parts[2].key: Failure("the worker ended with signal SIGSEGV.", "2026-11-21T06:02:12+00:00"),
    }
    assert table.latency_s(SKELETON.parts[1]) == second.latency_s
    assert store.table(TWO).cells == {
        SKELETON.parts[0].key: Measurement((1 / 3, 0.25), 1, Stop.TIME, "2026-11-21T06:02:13+00:00")
    }
    plain, traced, unpruned = table.networks
    assert plain == made_up.network(SKELETON, ["block1"], 1e-3, 2e-3)
    assert (traced.role, traced.disturbance) == ("closure", "foreign load")
    assert traced.trace == Trace.of([1e-3, 1.1e-3], [2e-3])
    assert (traced.latency_s.low, traced.latency_s.high) == (-math.inf, math.inf)
    assert unpruned.removed == ()
    assert store.network_names(ONE) == {SKELETON.digest: "chain"}
    assert store.kinds(ONE)[SKELETON.parts[0].key] == ("linear", "layer")


def test_migrated_intervals_are_those_of_the_measurements(path: Path) -> None:
    samples = np.linspace(1e-3, 2e-3, 20)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE cells SET samples_s = ? WHERE failure IS NULL", (samples.tobytes(),))
    store = Store(path)
    cells = [cell for cell in store.table(ONE).cells.values() if isinstance(cell, Measurement)]
    assert cells
    for part in (SKELETON.parts[0], SKELETON.parts[1]):
        cell = store.table(ONE).cells[part.key]
        assert isinstance(cell, Measurement)
        assert store.table(ONE).latency_s(part) == cell.latency_s


def test_a_migrated_store_has_the_tables_of_a_new_one_and_takes_measurements(
    path: Path, tmp_path: Path
) -> None:
    store = Store(path)
    store.put(ONE, SKELETON.parts[2], made_up.cell(3e-3))
    store.close()
    again = Store(path)
    assert again.table(ONE).latency_s(SKELETON.parts[2]).value == 3e-3
    again.close()
    Store(tmp_path / "new.db").close()
    assert shape(path) == shape(tmp_path / "new.db")


def test_a_damaged_old_store_is_refused_and_stays_as_it_was(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE cells SET details = '[]' WHERE id = 4")
    before = path.read_bytes()
    with pytest.raises(LatheError, match="holds a row that lathe did not write"):
        Store(path)
    assert path.read_bytes() == before


def test_a_migration_that_stops_halfway_is_taken_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = shape(path)

    def breaks(connection: object) -> None:
        STEPS_BEFORE[1](connection)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    STEPS_BEFORE = dict(STEPS)
    monkeypatch.setattr(database, "STEPS", {1: breaks})
    with pytest.raises(KeyboardInterrupt):
        Store(path)
    assert shape(path) == before
    monkeypatch.undo()
    assert len(Store(path).table(ONE).cells) == 3


def test_processes_that_open_an_old_store_at_once_migrate_it_once(path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from latency_tables.store import Store
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
store = Store(Path(sys.argv[1]))
print([len(store.table(setting).cells) for setting in store.settings()])
"""
    words = [sys.executable, "-c", script, str(path), str(time.time() + 1.5)]
    openers = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for opener in openers:
        out, error = opener.communicate()
        assert out == "[3, 1]\n", error


def shape(path: Path) -> dict[str, object]:
    """Columns and indexes by table."""
    with closing(sqlite3.connect(path)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        result: dict[str, object] = {}
        for name in names:
            columns = connection.execute(f"PRAGMA table_info({name})").fetchall()
            indexes = connection.execute(f"PRAGMA index_list({name})").fetchall()
            keys = connection.execute(f"PRAGMA foreign_key_list({name})").fetchall()
            result[name] = (columns, sorted(row[1] for row in indexes), sorted(map(str, keys)))
        return result
