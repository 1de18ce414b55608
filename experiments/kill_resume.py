"""Does a profile that is killed at any moment lose more than the measurement in flight, or measure anything twice?

    python experiments/kill_resume.py [--network cifar/resnet8-mlperf] [--kills 20] [--widths 1]

Times `lathe profile` once undisturbed, then starts it in a new workspace and ends it with kill -9 after a random time, counted from
the start of its worker and evenly between nothing and half of the undisturbed time; starts it again, kills it again, four times in
all, and then lets it end; then in the next workspace, until there were twenty kills. The last ones, one unless `--widths` says
otherwise, are of a profile over depth and width, which is timed undisturbed as well. After each kill the store must hold, unchanged,
all that it held just before, and in the end every part once and every whole network as often as a profile asks for it, not counting
what something spoiled (the anchor moved, a slow minute, others, cores far apart), since that is timed again; the worker must be gone.
Writes docs/results/kill_resume.md, in about 10 minutes on a quiet machine.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from cells import RESULTS, origin

from bench.anchor import ANCHOR_MOVED
from bench.asked_networks import PASSES, pending_networks, wanted_networks
from bench.tables import open_store
from bench.width_plan import WidthPlan
from bench.width_profiler import find_kin
from bench.workbench import NetworkChoice, Subject
from latency_tables.archive import Archive, ArchivedCell
from latency_tables.files import write_atomically
from latency_tables.measurement import Measurement
from latency_tables.slow_minutes import is_spoiled, quick_latency_s
from latency_tables.surfaces import known_points
from latency_tables.table import LatencyTable
from pruning.outline import Outline

LATHE = (sys.executable, "-c", "from bench.cli import main; main()")
SEED = 0
WORKER_GRACE_S = 10.0
# Share of the undisturbed time before which a profile is killed, and how often in one workspace: so the kills fall into the
# beginning, the middle and the end of a profile.
LATEST, IN_ONE = 1 / 2, 4


@dataclass(frozen=True)
class Kill:
    """What a kill left behind.

    Attributes:
        after_s: seconds from the start of the worker to the kill.
        before: measurements of parts and of whole networks that the store held just before.
        left: the same after it.
        lost: how many of those before are not there any more, or not the same.
        worker_s: seconds until the worker was gone, too.
    """

    after_s: float
    before: tuple[int, int]
    left: tuple[int, int]
    lost: int
    worker_s: float


def start(asked: Sequence[str], workspace: Path) -> subprocess.Popen[bytes]:
    """`lathe profile`, quietly."""
    words = [*LATHE, "profile", *asked, "--out", str(workspace), "--json"]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def held(workspace: Path) -> Archive | None:
    """All that is stored; None before the first measurement."""
    if not (workspace / "lathe.db").exists():
        return None
    store = open_store(workspace)
    try:
        settings = store.settings()
        return store.archive(settings[0]) if settings else None
    finally:
        store.close()


def sizes(archive: Archive | None) -> tuple[int, int]:
    """Measurements of parts, of whole networks."""
    return (0, 0) if archive is None else (len(archive.cells), len(archive.networks))


def lost(before: Archive | None, after: Archive | None) -> int:
    """How many measurements of the first are not in the second as they were."""
    if before is None:
        return 0
    kept_cells, kept_networks = ((), ()) if after is None else (after.cells, after.networks)
    return sum(one not in kept_cells for one in before.cells) + sum(
        one not in kept_networks for one in before.networks
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    """Waits for a profile that nobody kills.

    Raises:
        RuntimeError: it failed.
    """
    _, error = process.communicate()
    if process.returncode:
        raise RuntimeError(error.decode())


def wait_for_worker(process: subprocess.Popen[bytes]) -> None:
    """Until a profile has a process that measures, or has ended."""
    while process.poll() is None and not psutil.Process(process.pid).children():
        time.sleep(0.01)


def kill(process: subprocess.Popen[bytes], workspace: Path, after_s: float) -> Kill | None:
    """Ends a profile at a moment; None where it ended by itself before."""
    wait_for_worker(process)
    started = time.monotonic()
    try:
        process.wait(timeout=after_s)
    except subprocess.TimeoutExpired:
        before = held(workspace)
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed = time.monotonic()
        while any(map(lives, workers)):
            if time.monotonic() - killed > WORKER_GRACE_S:
                raise RuntimeError(f"workers outlive the profile: {workers}") from None
            time.sleep(0.01)
        gone_s = time.monotonic() - killed
        after = held(workspace)
        return Kill(killed - started, sizes(before), sizes(after), lost(before, after), gone_s)
    finish(process)
    return None


def lives(process: psutil.Process) -> bool:
    """Whether a process still runs; one that has ended and is not yet buried does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def repeated(archive: Archive, outline: Outline) -> int:
    """Sound measurements beyond those that a profile asks for.

    What was spoiled is asked for again: a part where the anchor moved, a network in a slow minute, either where
    others disturbed it or the cores lay far apart.
    """
    parts: Counter[str] = Counter()
    unsettled: set[str] = set()
    for entry in archive.cells:
        if entry.key not in unsettled and not is_spoiled_part(entry, archive):
            parts[entry.key] += 1
        unsettled.discard(entry.key)
        if isinstance(entry.cell, Measurement) and entry.cell.settled is False:
            unsettled.add(entry.key)  # a copy of the measurement before says so; the next one is asked for
    timed = tuple(entry.network for entry in archive.networks)
    quick_s = quick_latency_s(outline.skeleton, LatencyTable(archive.setting, {}, timed))
    near = any(not n.far for n in timed)
    sound = Counter((n.cut, n.role) for n in timed if not is_spoiled(n, quick_s, near=near))
    extra = sum(count - 1 for count in parts.values())
    for cut, role in wanted_networks(outline.skeleton).items():
        extra += max(0, sound[cut, role] - (PASSES if role == "fit" and cut else 1))
    return extra


def is_spoiled_part(entry: ArchivedCell, archive: Archive) -> bool:
    """Whether a profile times, or has timed, a part again because of what happened to this measurement of it."""
    cell = entry.cell
    if not isinstance(cell, Measurement):
        return False
    near = any(isinstance(other.cell, Measurement) and not other.cell.far for other in archive.cells)
    moved = ANCHOR_MOVED in cell.dropped or cell.settled is False
    return moved or cell.disturbance is not None or (near and cell.far)


def missing(archive: Archive, outline: Outline) -> int:
    """Parts and networks that a profile asks for and that are not there; at other widths, by the cells that are."""
    keys, table = {entry.key for entry in archive.cells}, archive.table()
    absent = sum(part.key not in keys for part in outline.skeleton.parts)
    if outline.skeleton.sizes and not absent:
        kin = find_kin(outline.skeleton, table)
        plan = WidthPlan(kin, known_points(outline.skeleton, [one.family for one in kin], table))
        asked = {wanted.family.at(wanted.values).key for wanted in plan.points()}
        absent = len(asked - keys)
    return absent + len(pending_networks(outline, table))


READING = """
Reading. Nothing is lost and nothing measured twice. Of the twenty, nineteen are of a profile of seconds over depth, one of a profile of minutes over widths. Another experiment ran beside it and delayed the first measurement, so thirteen of the nineteen
kills came before anything was stored, six right after all parts were: it is the one over widths that falls into the midst.
"""
"""What the run said, in plain words; goes to the top of the page."""


def main() -> None:
    """Kills, resumes, counts and writes the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="cifar/resnet8-mlperf")
    parser.add_argument("--kills", type=int, default=20, help="all of them")
    parser.add_argument("--widths", type=int, default=1, help="of these, of a profile over depth and width")
    words = parser.parse_args()
    rng = random.Random(SEED)  # noqa: S311  when to kill is no secret
    kills: list[Kill] = []
    profiles: list[str] = []
    extra, absent, rounds = 0, 0, 0
    subject = Subject(NetworkChoice(words.network), 1)
    with tempfile.TemporaryDirectory() as folder:
        for widths, until in ((False, words.kills - words.widths), (True, words.kills)):
            if len(kills) >= until:
                continue
            asked = [words.network, *(["--widths"] if widths else [])]
            outline = subject.wide if widths else subject.outline
            undisturbed = start(asked, Path(folder) / f"whole{len(profiles)}")
            wait_for_worker(undisturbed)
            began = time.monotonic()
            finish(undisturbed)
            whole_s = time.monotonic() - began
            parts, networks = sizes(held(Path(folder) / f"whole{len(profiles)}"))
            profiles.append(
                f"`lathe profile {' '.join(asked)}` takes {whole_s:.0f} s undisturbed, from the start of its worker, "
                f"and stores {parts} parts and {networks} whole networks."
            )
            print(profiles[-1], flush=True)
            while len(kills) < until:
                rounds += 1
                workspace = Path(folder) / str(rounds)
                for _ in range(min(IN_ONE, until - len(kills))):
                    one = kill(start(asked, workspace), workspace, rng.uniform(0, LATEST * whole_s))
                    if one is None:
                        break
                    kills.append(one)
                    print(len(kills), one, flush=True)
                else:
                    finish(start(asked, workspace))
                archive = held(workspace)
                assert archive is not None  # noqa: S101  it ended without a failure
                extra += repeated(archive, outline)
                absent += missing(archive, outline)
    between = sum(one.left != one.before for one in kills)
    lines = [
        "# A profile killed at any moment",
        "",
        origin("kill_resume", "short").replace(
            "--scale short", f"--network {words.network} --kills {words.kills} --widths {words.widths}"
        ),
        "",
        READING.strip(),
        "",
        f"{' '.join(profiles)} Kills over widths, the last ones: {words.widths}. Seed {SEED}; {rounds} workspaces, process group untouched: only the command itself was killed.",
        "",
        "| quantity | wanted | counted |",
        "| --- | --- | --- |",
        f"| kills, each resumed | {words.kills} | {len(kills)} |",
        f"| stored measurements that a kill lost or changed | 0 | {sum(one.lost for one in kills)} |",
        f"| parts and networks measured more often than asked for | 0 | {extra} |",
        f"| parts and networks missing in the end | 0 | {absent} |",
        f"| longest life of a worker after its parent, s | | {max(one.worker_s for one in kills):.2f} |",
        "",
        f"In {between} of the kills one more measurement reached the store between the last look and the kill.",
        "",
        "| kill | after, s | parts stored | networks stored |",
        "| --- | --- | --- | --- |",
        *(
            f"| {number} | {one.after_s:.1f} | {one.left[0]} | {one.left[1]} |"
            for number, one in enumerate(kills, start=1)
        ),
    ]
    write_atomically(RESULTS / "kill_resume.md", ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))


if __name__ == "__main__":
    main()
