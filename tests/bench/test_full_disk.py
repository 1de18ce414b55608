"""A disk that is really full: what was there stays whole, and one sentence says what could not be written."""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import made_up_runs as made
import pytest
from small_job import write_job

from reports import write_report

APART = ("/usr/bin/unshare", "-rm")
LATHE = (sys.executable, "-c", "from bench.cli import main; main()")
HELPERS = [str(Path(__file__).parents[1] / package) for package in ("latency_tables", "reports")]

# Mounted where nobody else sees it, filled with $3, used by what follows, and copied out to $4 before it vanishes.
_ON_A_DISK = """
mount -t tmpfs -o size="$1" none "$2" && cp -r "$3"/. "$2" || exit 99
disk=$2 after=$4
shift 4
"$@"
status=$?
cp -r "$disk"/. "$after"
exit $status
"""


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Disk:
    """A disk of its own for one command; `before` is put on it, `after` holds what was on it at the end."""

    path: Path
    before: Path
    after: Path

    def run(self, size: int, words: Sequence[object]) -> Ended:
        inner = ["sh", "-c", _ON_A_DISK, "sh", str(size), self.path, self.before, self.after, *words]
        done = subprocess.run([*APART, *map(str, inner)], capture_output=True, text=True, timeout=120)
        assert done.returncode != 99, done.stderr
        assert "Traceback" not in done.stderr
        return Ended(done.returncode, done.stdout, " ".join(done.stderr.split()))


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    own = Disk(*(tmp_path / name for name in ("disk", "before", "after")))
    for folder in (own.path, own.before, own.after):
        folder.mkdir()
    mount = [*APART, "mount", "-t", "tmpfs", "none", str(own.path)]
    if not Path(APART[0]).exists() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs leave to mount a small disk in a namespace of its own")
    return own


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.write(tmp_path_factory.mktemp("runs") / "run", made.many(seeds=1))


@pytest.fixture(scope="module")
def report(run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files of a report on the run, in the order in which they are written."""
    files = write_report([run], tmp_path_factory.mktemp("report"))
    return [files.html, *files.images]


def old_report(disk: Disk, report: list[Path]) -> None:
    for path in report:
        old = disk.before / "report" / path.relative_to(report[0].parent)
        old.parent.mkdir(parents=True, exist_ok=True)
        old.write_text(f"the old {path.name}")


@pytest.mark.parametrize("which", ["the page", "a figure"])
def test_a_report_on_a_full_disk_leaves_the_last_one(
    disk: Disk, run: Path, report: list[Path], which: str
) -> None:
    old_report(disk, report)
    # Room for the old files, or for the new page too and half of the figure after it.
    room = 4096 * (len(report) + 2)
    if which == "a figure":
        room += report[0].stat().st_size + report[1].stat().st_size // 2
    out = disk.path / "report"
    ended = disk.run(room, [*LATHE, "report", run, "--out", out])
    assert ended.status == 1
    refused = out / report[which == "a figure"].relative_to(report[0].parent)
    assert f"lathe: cannot write {refused}: No space left on device" in ended.err
    assert "untouched. Free some space there, or name another folder with --out" in ended.err
    assert contents(disk.after) == contents(disk.before)


@pytest.mark.parametrize("room", [0, 40, 400])
def test_a_record_on_a_full_disk_leaves_the_last_one(disk: Disk, room: int) -> None:
    """Also where the disk fills up in the middle of a file."""
    folder = disk.path / "run"
    made.write(disk.before / "run", [made.point()], name="old")
    script = f"""
import sys
sys.path[:0] = {HELPERS!r}
from pathlib import Path
from bench.cli import _guarded
import made_up_runs as made
from reports.run_folder import read_run, write_point, write_run
folder = Path({str(folder)!r})
with open({str(disk.path / "filler")!r}, "wb", buffering=0) as filler:
    try:
        while filler.write(bytes(4096)):
            pass
    except OSError:
        pass
    filler.truncate(filler.tell() - {room} * 1024 if {room} else filler.tell())
parts = made.parts() * 200
with _guarded():
    write_WHICH
"""
    for which, name in (
        ("run(folder, made.run(versions=dict.fromkeys(map(str, range(30000)), '1')))", "run.json"),
        ("point(folder, made.point(parts=parts))", "points/ttmpd-0.7x-0.json"),
    ):
        ended = disk.run(2**20, [sys.executable, "-c", script.replace("WHICH", which)])
        assert ended.status == 1
        assert f"cannot write {folder / name}: No space left on device" in ended.err
        after = contents(disk.after)
        del after["filler"]
        assert after == contents(disk.before)


def test_a_store_on_a_full_disk_keeps_its_cells_and_goes_on_when_there_is_room(disk: Disk) -> None:
    script = f"""
import sys
sys.path[:0] = {HELPERS!r}
from pathlib import Path
import made_up as n
from latency_tables.errors import LatheError
from latency_tables.store import Store
path = Path({str(disk.path / "lathe.db")!r})
filler = path.with_name("filler")
part, cell = n.chain([4]).parts[0], n.cell(1e-3)
store = Store(path)
store.put(n.setting(), part, cell)
filler.write_bytes(bytes(2**20 - 160 * 1024))
for stored in range(2, 10**4):
    try:
        store.put(n.setting(threads=stored), part, n.cell(stored * 1e-3))
    except LatheError as error:
        print(error)
        break
def check(count):
    known = Store(path)
    assert len(known.settings()) == count, (len(known.settings()), count)
    for i in range(2, count + 1):
        assert known.table(n.setting(threads=i)).cells == {{part.key: n.cell(i * 1e-3)}}
check(stored - 1)
filler.unlink()
store.put(n.setting(threads=stored), part, n.cell(stored * 1e-3))
check(stored)
"""
    ended = disk.run(2**20, [sys.executable, "-c", script])
    assert ended.status == 0, ended.err
    assert f"the store {disk.path / 'lathe.db'} cannot be used: database or disk is full" in ended.out
    assert "Nothing in it was changed. The disk is full. Free some space, or name another folder" in ended.out


def test_a_store_that_a_full_disk_has_no_room_for(disk: Disk) -> None:
    path = disk.path / "lathe.db"
    script = f"""
from pathlib import Path
from bench.cli import _guarded
from latency_tables.store import Store
with _guarded():
    Store(Path({str(path)!r}))
"""
    ended = disk.run(8192, [sys.executable, "-c", script])
    assert ended.status == 1
    assert f"the store {path} cannot be used" in ended.err
    assert "The disk is full" in ended.err


def test_profiling_onto_a_full_disk(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    job = write_job(tmp_path / "job")
    ended = disk.run(65536, [*LATHE, "profile", job["network"], "--runtime", "eager", "--out", disk.path])
    assert ended.status == 1
    assert f"the store {disk.path / 'lathe.db'} cannot be used" in ended.err
    assert "The disk is full" in ended.err


def small_files_only() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_limit_on_the_size_of_files_is_no_full_disk(run: Path, report: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "report"
    words = [*map(str, [*LATHE, "report", run, "--out", out])]
    done = subprocess.run(words, capture_output=True, text=True, preexec_fn=small_files_only)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"cannot write {out / 'report.html'}: File too large" in " ".join(done.stderr.split())
    assert "ulimit -f" in done.stderr
    assert list(out.iterdir()) == []
