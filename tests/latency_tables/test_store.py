from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import made_up
import pytest

from latency_tables.errors import LatheError, UserError
from latency_tables.files import write_atomically
from latency_tables.measurement import Stop
from latency_tables.store import Store
from latency_tables.table import Failure
from latency_tables.trace import Trace

SKELETON = made_up.chain([4, 5])


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    store = Store(tmp_path / "deep" / "lathe.db")
    setting = made_up.setting()
    parts = SKELETON.parts
    store.put(setting, parts[0], made_up.cell(1e-3))
    store.put(setting, parts[1], Failure("hung for 60 s", "2026-01-01"))
    network = made_up.network(SKELETON, ["block1"], 1e-3, 2e-3)
    store.put_network(setting, "chain", network)
    store.put(made_up.setting(threads=2), parts[0], made_up.cell(5e-3))
    table = Store(store.path).table(setting)
    assert table.cells == {
        parts[0].key: made_up.cell(1e-3),
        parts[1].key: Failure("hung for 60 s", "2026-01-01"),
    }
    assert table.networks == (network,)
    assert table.missing(SKELETON) == parts[2:]
    assert table.failed(SKELETON) == ((parts[1], "hung for 60 s"),)
    assert store.settings() == [setting, made_up.setting(threads=2)]
    assert store.network_names(setting) == {SKELETON.digest: "chain"}
    assert store.kinds(setting)[parts[0].key] == ("linear", "layer")


@pytest.mark.parametrize("name", ["a?b", "job%2Fx", "two words", "a#b", "a&b=c"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    store = Store(folder / "lathe.db")
    store.put(made_up.setting(), SKELETON.parts[0], made_up.cell(1e-3))
    store.close()
    assert (folder / "lathe.db").stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert Store(folder / "lathe.db").settings() == [made_up.setting()]


def test_networks_keep_their_trace_and_what_ended_it_and_older_rows_have_neither(tmp_path: Path) -> None:
    store, setting = Store(tmp_path / "lathe.db"), made_up.setting()
    plain = made_up.network(SKELETON, ["block1"], 1e-3, 2e-3)
    traced = replace(plain, trace=Trace.of([1e-3, 1.1e-3], [2e-3]), disturbance="foreign load")
    traced = replace(traced, stop=Stop.TIME, rounds=7)
    store.put_network(setting, "chain", plain)
    store.put_network(setting, "chain", traced)
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute(
            "UPDATE networks SET details = json_remove(details, '$.trace', '$.stop', '$.rounds') WHERE id = 1"
        )
    assert store.table(setting).networks == (plain, traced)


def test_the_newest_measurement_is_the_table_s_and_all_are_kept(tmp_path: Path) -> None:
    store, setting = Store(tmp_path / "lathe.db"), made_up.setting()
    part, other = SKELETON.parts[:2]
    failure = Failure("out of memory", "2026-01-02T00:00:00+00:00")
    # The second success has an older date: a clock that was put back does not hide what was just measured.
    for cell in (made_up.cell(1e-3), failure, made_up.cell(2e-3)):
        store.put(setting, part, cell)
        assert store.table(setting).cells == {part.key: cell}
        assert store.cell(setting, part) == cell
    store.put(setting, other, made_up.cell(3e-3))
    store.put(setting, other, failure)
    table = store.table(setting)
    assert table.cells == {part.key: made_up.cell(2e-3), other.key: failure}
    assert table.latency_s(part).value == 2e-3
    with pytest.raises(LatheError, match="out of memory"):
        table.latency_s(other)
    assert store.history(setting, part) == (made_up.cell(1e-3), failure, made_up.cell(2e-3))
    assert store.history(made_up.setting(threads=2), part) == ()
    assert store.cell(made_up.setting(threads=2), part) is None


def test_the_stored_median_is_that_of_the_samples(tmp_path: Path) -> None:
    store, setting, part = Store(tmp_path / "lathe.db"), made_up.setting(), SKELETON.parts[0]
    few, many = (
        replace(made_up.cell(1.0), samples_s=(3.0, 1.0)),
        replace(made_up.cell(1.0), samples_s=tuple(float(i) for i in range(1, 40))),
    )
    for cell in (few, many):
        store.put(setting, part, cell)
        assert store.table(setting).latency_s(part) == cell.latency_s


def test_a_cell_of_another_setting_never_shows(tmp_path: Path) -> None:
    store, part = Store(tmp_path / "lathe.db"), SKELETON.parts[0]
    store.put(made_up.setting(), part, made_up.cell(1e-3))
    for changes in ({"threads": 2}, {"batch": 8}, {"versions": (("torch", "2.14.0"),)}, {"layout": "nhwc"}):
        assert not store.table(made_up.setting(**changes)).cells


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    """New settings and new parts too, which all of them want to make."""
    script = f"""
import sys, time
sys.path[:0] = {[str(Path(__file__).parent)]!r}
from pathlib import Path
from latency_tables.store import Store
import made_up as n
parts = n.chain(range(1, 11)).parts
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
store = Store(Path(sys.argv[1]))
for i in range(4):
    for part in parts:
        store.put(n.setting(threads=1 + i), part, n.cell(1e-3 * (1 + int(sys.argv[3]))))
    store.put_network(n.setting(threads=1 + i), "chain", n.network(n.chain([4]), [], 1.0, 1.0))
"""
    start = str(time.time() + 1.5)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "lathe.db"), start, str(i)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(4)
    ]
    for writer in writers:
        _, error = writer.communicate()
        assert writer.returncode == 0, error
    store = Store(tmp_path / "lathe.db")
    parts = made_up.chain(range(1, 11)).parts
    assert len(store.settings()) == 4
    for setting in store.settings():
        assert len(store.table(setting).networks) == 4
        for part in parts:
            medians = sorted(cell.latency_s.value for cell in store.history(setting, part))  # type: ignore[union-attr]
            assert medians == [1e-3, 2e-3, 3e-3, 4e-3]


def test_kill_dash_nine_loses_nothing_that_was_stored(tmp_path: Path) -> None:
    script = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parent)]!r}
from pathlib import Path
from latency_tables.store import Store
import made_up as n
store = Store(Path({str(tmp_path / "lathe.db")!r}))
part = n.chain([4]).parts[0]
for i in range(10**6):
    store.put(n.setting(threads=i), part, n.cell(1e-3))
    print(i, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert seen[-1] == "19\n"
    stored = Store(tmp_path / "lathe.db").settings()
    assert len(stored) >= 20


def test_many_processes_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from latency_tables.store import Store
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
for i in range(30):
    Store(Path(sys.argv[1]) / f"{i}.db").close()
"""
    start = str(time.time() + 1.5)
    words = [sys.executable, "-c", script, str(tmp_path), start]
    openers = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for opener in openers:
        _, error = opener.communicate()
        assert opener.returncode == 0, error


def test_who_leaves_does_not_take_the_log_from_those_who_stay(tmp_path: Path) -> None:
    store = Store(tmp_path / "lathe.db")
    store.put(made_up.setting(), SKELETON.parts[0], made_up.cell(1e-3))
    log = store.path.with_name("lathe.db-wal")
    assert log.stat().st_size
    guest = "import sys; from pathlib import Path; from latency_tables.store import Store\n"
    guest += "store = Store(Path(sys.argv[1])); store.settings(); store.close()"
    subprocess.run([sys.executable, "-c", guest, str(store.path)], check=True)
    # The last to leave removes the log; as long as this process stays, it holds a lock that says so.
    assert log.exists()


def test_a_file_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "lathe.db"
    path.write_bytes(b"these are not the bytes you are looking for" * 100)
    with pytest.raises(LatheError, match="no store of lathe"):
        Store(path)
    assert path.read_bytes().startswith(b"these are not")


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lathe.db"
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE about SET format = 99")
    connection.commit()
    connection.close()
    with pytest.raises(UserError, match="format 99"):
        Store(path)


def test_a_folder_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LatheError, match="cannot make the folder"):
        Store(tmp_path / "file" / "lathe.db")
    with pytest.raises(LatheError, match="cannot write"):
        write_atomically(tmp_path / "file" / "x.json", b"{}")


def test_a_failed_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plan.json"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LatheError, match="No space left on device"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]
