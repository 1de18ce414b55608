"""Everything that is to be measured on a GPU, the most valuable first, written out as it comes.

    python experiments/gpu.py [--minutes 8] [--out lathe-out] [--mirror FOLDER] [--resume FOLDER] [--commit TEXT]
    python experiments/gpu.py --home [--out lathe-out] [--resume FOLDER]

Eager as launched and as a CUDA graph and `torch.compile`, in fp32 and fp16, at batch 1, 32 and 256: tables over depth of
ResNet-50, MobileNetV2, ViT-Tiny and the CIFAR networks, each held against networks with blocks drawn at random; a
convolution's latency over its channels; the tests that need a CUDA device. Each way, precision and batch comes early, on a
small network. Minutes on such machines are few and the machines do not stay: nothing is begun that is not expected to end
within `--minutes`, what fails is told and tried again after all else, and after each job all that is known is copied to
`--mirror`, from which `--resume` goes on elsewhere. Each finding is a line of gpu.jsonl; docs/results/gpu.md is drawn from
these lines alone. `--home` measures nothing: it draws the page and, in the workspace, writes the tables with their
skeletons as lathe ships them. README.md beside this file says what has to be brought along.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import platform
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

# Where nothing may be installed, the checkout itself is lathe.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from gpu_page import Line, draw, latest, read_lines, write_lines
from shipped_tables import MOST_BYTES, slim, table_name

from bench.checking import check_networks
from bench.fact_views import launch_cost
from bench.failure import reason
from bench.host import cpu_device
from bench.profiler import profile
from bench.session import Handle, Session
from bench.tables import STORE_FILE, open_store
from bench.timing import Comparison, Rule
from bench.workbench import NetworkChoice, SettingChoice, Subject
from latency_tables.errors import LatheError, UserError
from latency_tables.exchange import write_archive
from latency_tables.files import write_together
from latency_tables.graph import Graph, Operator, TensorType, Value
from latency_tables.measurement import Measurement
from latency_tables.shipped import skeleton_path
from latency_tables.skeleton_file import read_skeleton, write_skeleton
from latency_tables.store import Store

ROOT = Path(__file__).resolve().parents[1]
DEVICE = "cuda"
CHEAP, MAIN = "cifar/resnet20", "timm/resnet50"
NETWORKS = {
    CHEAP: 40.0,
    MAIN: 70.0,
    "timm/mobilenetv2_100": 70.0,
    "timm/vit_tiny_patch16_224": 60.0,
    "cifar/resnet56": 60.0,
    "cifar/resnet32": 50.0,
    "cifar/resnet8-mlperf": 30.0,
    "cifar/resnet44": 55.0,
    "cifar/resnet110": 90.0,
}
"""With a guess at the seconds of a table, until one is known."""
WAYS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("eager", ()),
    ("eager", (("launch", "graph"),)),
    ("compile", ()),
)
"""Runtime and options; the last one compiles each part and network anew."""
COMPILING = 4.0
"""How many times as long a table takes then, until it is known."""
PRECISIONS, BATCHES = ("fp32", "fp16"), (1, 32, 256)
HELD_OUT, SEED, PASSES = 4, 3, 1
LONGEST_S = {"part": 1.0, "network": 3.0}
"""Sampling ends after so long even where an interval is still wide."""
TIMEOUT_S = 120.0
CHANNELS = range(8, 257, 8)
STAIR_RULE = Rule(max_time_s=0.5, warmup_max_time_s=0.2, min_sample_s=1e-3)
TESTS = (
    "-k",
    "cuda",
    "--maxfail=5",
    "--timeout=60",
    "--continue-on-collection-errors",
    "tests/bench/runtimes",
    "tests/bench/test_workplace.py",
)
TESTS_S, STAIRS_S = 150.0, 40.0
"""The longest that the tests may take, and a guess at what a staircase does."""
LINES, TAR, DEVICES = "gpu.jsonl", "gpu.tar.gz", "devices"


class OutOfTime(Exception):  # noqa: N818 - planned for, not a mistake
    """What was begun goes on in the next run."""


@dataclass(frozen=True)
class Job:
    """Something to find out.

    Attributes:
        name: its own; found in its lines.
        about: what its lines tell whatever comes of it.
        guess_s: seconds that it may take, until one like it is known.
        do: does it until that moment of `time.monotonic`; what its line tells besides.
    """

    name: str
    about: Line
    guess_s: float
    do: Callable[[float], Line]

    def expected_s(self, lines: Iterable[Line]) -> float:
        """Seconds, by what those like it took: the same way for a table of the same network."""
        alike = ("what", "way", "network")
        took = [
            line["took_s"]
            for line in lines
            if line["status"] == "done" and all(line.get(name) == self.about.get(name) for name in alike)
        ]
        return max(took, default=self.guess_s)


class HurriedSession(Session):
    """A session that samples for less time; a device's own clock leaves little to chance."""

    def measure_loaded(self, handle: Handle, rule: Rule | None = None) -> Measurement:
        """As in a session."""
        return super().measure_loaded(handle, _hurried(rule, "part"))

    def interleave(
        self, handles: Sequence[Handle], rule: Rule | None = None
    ) -> tuple[tuple[Measurement, ...], tuple[Comparison, ...]]:
        """As in a session."""
        return super().interleave(handles, _hurried(rule, "network"))


def _hurried(rule: Rule | None, what: str) -> Rule:
    asked = rule or Rule()
    return replace(asked, max_time_s=min(asked.max_time_s, LONGEST_S[what]))


def open_session(choice: SettingChoice) -> Session:
    """A worker in that setting; a part that hangs costs two minutes."""
    return HurriedSession(choice.make(), timeout_s=TIMEOUT_S, repeats=1)


@cache
def subject(network: str, batch: int) -> Subject:
    """A network taken apart, once for all settings of a batch."""
    return Subject(NetworkChoice(network), batch)


def table(choice: SettingChoice, network: str, store: Store, until_s: float) -> Line:
    """A table over depth, and how far it is from networks that it has not seen.

    Raises:
        OutOfTime: what was timed is in the store.
        LatheError: a part cannot be timed, or a network.
    """
    outline = subject(network, choice.batch).outline

    def in_time(done: int, total: int, what: str) -> None:
        if time.monotonic() >= until_s:
            raise OutOfTime(f"{what}: {done} of {total} done")

    with open_session(choice) as session:
        # A timeout or a lost device may have been the part's bad luck, and its failure is in the store.
        profiled = profile(
            outline, session, store, retry_failed=True, roles=("fit",), passes=PASSES, deadline_s=until_s
        )
    if profiled.failed:
        raise LatheError("; ".join(f"{kind}: {why}" for kind, why in profiled.failed))
    if not profiled.complete:
        raise OutOfTime("profiling")
    setting = choice.make()
    known = store.table(setting)
    found = check_networks(outline, store, lambda: open_session(choice), known, HELD_OUT, SEED, in_time)
    unpruned = [n for n in known.measured_networks(outline.skeleton, "fit") if not n.cut]
    return {
        "setting": setting.digest,
        "skeleton": outline.skeleton.digest,
        "unpruned_s": unpruned[-1].unpruned_s.to_json(),
        "held_out": len(found.networks),
        "excess_error": found.excess_error,
        "mean_abs_error": found.mean_abs_error,
        "within_5pct": found.within(0.05),
        "within_10pct": found.within(0.1),
        "noise_floor": found.noise_floor,
        "launch": launch_cost(outline.skeleton, known),
        "facts": dict(unpruned[-1].facts),
    }


def convolution(channels: int, batch: int) -> Graph:
    """3x3 on 56x56 pixels, 64 channels in."""
    image, made = (TensorType("float32", (batch, width, 56, 56)) for width in (64, channels))
    kernel = TensorType("float32", (channels, 64, 3, 3))
    arguments = (("input", Value(0)), ("weight", Value(1)), ("padding", (1, 1)))
    return Graph((image,), (kernel,), (Operator("aten.conv2d.default", arguments, (made,)),), (2,))


def staircase(choice: SettingChoice, until_s: float) -> Line:
    """A convolution's latency by its output channels.

    Raises:
        OutOfTime: before all were timed; nothing is kept.
    """
    seconds: list[float] = []
    with open_session(choice) as session:
        for channels in CHANNELS:
            if time.monotonic() >= until_s:
                raise OutOfTime(f"{channels} channels")
            graph = convolution(channels, choice.batch)
            seconds.append(session.measure(graph, rule=STAIR_RULE).latency_s.value)
    return {"channels": list(CHANNELS), "seconds": seconds}


def cuda_tests(folder: Path, until_s: float) -> Line:
    """How the tests that need a device end where there is one; what they print is kept in the folder.

    Raises:
        RuntimeError: not all of them passed, or time was over before; the message has their last line.
    """
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    limit_s = min(TESTS_S, until_s - time.monotonic())
    ended = ""
    path = folder / "tests.txt"
    with path.open("w", encoding="utf-8") as file:
        try:
            done = subprocess.run(
                words, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, timeout=limit_s, check=False
            )
            if done.returncode:
                ended = f"with status {done.returncode}"
        except subprocess.TimeoutExpired:
            ended = f"when {limit_s:.0f} s were over"
    told = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if ended:
        raise RuntimeError(f"they ended {ended}: {' '.join(told[-1:])}")
    return {"told": told[-15:]}


def jobs(folder: Path, store: Store) -> list[Job]:
    """Everything, the most valuable first."""

    def tables(networks: Iterable[str], kinds: Iterable[tuple[Any, str, int]]) -> Iterator[Job]:
        for network, ((runtime, options), precision, batch) in itertools.product(networks, kinds):
            way = " ".join([runtime, *map("=".join, options)])
            about = {"what": "table", "way": way, "precision": precision, "batch": batch, "network": network}
            choice = SettingChoice(runtime, DEVICE, batch=batch, precision=precision, options=options)
            guess_s = NETWORKS[network] * (COMPILING if runtime == "compile" else 1.0)
            do = partial(table, choice, network, store)
            yield Job(f"{way} {precision} b{batch} {network}", about, guess_s, do)

    def stairs() -> Iterator[Job]:
        for precision in PRECISIONS:
            batch = BATCHES[min(1, len(BATCHES) - 1)]
            choice = SettingChoice("eager", DEVICE, batch=batch, precision=precision)
            about = {"what": "staircase", "precision": precision, "batch": batch}
            yield Job(f"staircase {precision}", about, STAIRS_S, partial(staircase, choice))

    quick = [way for way in WAYS if way[0] != "compile"]
    every = [
        (way, precision, batch) for batch, precision, way in itertools.product(BATCHES, PRECISIONS, WAYS)
    ]
    found = [
        *tables([CHEAP], zip(WAYS, itertools.cycle(PRECISIONS), itertools.cycle(BATCHES))),
        *tables([MAIN], itertools.product(quick, PRECISIONS, BATCHES[:1])),
        Job("tests", {"what": "tests"}, TESTS_S, partial(cuda_tests, folder)),
        *stairs(),
        *tables([MAIN], itertools.product(quick, PRECISIONS, BATCHES[1:])),
        *tables([CHEAP], every),
        *tables([network for network in NETWORKS if network != CHEAP], every),
    ]
    first: dict[str, Job] = {}
    for job in found:
        first.setdefault(job.name, job)
    return list(first.values())


def run(todo: Sequence[Job], path: Path, until_s: float, after: Callable[[], None]) -> None:
    """Does what was not done yet, each a line of the file as soon as it is over; what fails is told and goes last.

    Args:
        todo: the jobs, in their order.
        path: of the lines.
        until_s: the moment of `time.monotonic` at which to be done.
        after: called after each job.
    """
    lines = read_lines(path)
    done = {line["job"] for line in lines if line["status"] == "done"}
    failures = Counter(line["job"] for line in lines if line["status"] == "failed")
    for job in sorted(todo, key=lambda job: failures[job.name]):
        if job.name in done:
            continue
        started_s = time.monotonic()
        if job.expected_s(lines) > until_s - started_s:
            print(f"{job.name}: no time for it", flush=True)
            continue
        told: Line
        try:
            told = {"status": "done", **job.do(until_s)}
        except OutOfTime as end:
            told = {"status": "unfinished", "reason": str(end)}
        except Exception as error:  # noqa: BLE001 - whatever it is, minutes are too few to lose the other jobs
            told = {"status": "failed", "reason": reason(error), "trace": traceback.format_exc()}
        took_s = time.monotonic() - started_s
        lines.append({"job": job.name, **job.about, **told, "took_s": took_s})
        write_lines(path, lines)
        print(f"{job.name}: {told['status']}, {took_s:.0f} s {told.get('reason', '')}", flush=True)
        after()


def machine(commit: str) -> Line:
    """What measures, as a line of its own; later lines are its."""
    setting = SettingChoice("eager", DEVICE).make()
    return {
        "job": "machine",
        "what": "machine",
        "status": "done",
        "took_s": 0.0,
        "date": datetime.now(UTC).date().isoformat(),
        "device": setting.device.name,
        "driver": setting.device.driver,
        "torch": dict(setting.versions)["torch"],
        "cuda": torch.version.cuda,
        "cudnn": dict(setting.versions).get("cudnn"),
        "python": platform.python_version(),
        "host": f"{cpu_device().name}, {os.cpu_count()} cores",
        "commit": commit,
    }


def introduce(path: Path, commit: str) -> None:
    """Writes the machine's line, unless the last such line says the same."""
    lines, line = read_lines(path), machine(commit)
    if [known for known in lines if known["what"] == "machine"][-1:] != [line]:
        write_lines(path, [*lines, line])


def checked_out() -> str:
    """The commit at hand; "unknown" in a copy without history."""
    words = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def mirror(folder: Path, to: Path) -> None:
    """Copies the lines and, as one archive, everything else, each in one step."""
    packed = io.BytesIO()
    with tempfile.TemporaryDirectory() as empty, tarfile.open(fileobj=packed, mode="w:gz") as tar:
        # A copy that SQLite makes holds what still lies in its log.
        copy = Path(empty) / STORE_FILE
        connection = sqlite3.connect(folder / STORE_FILE)
        connection.execute("VACUUM INTO ?", (str(copy),))
        connection.close()
        tar.add(copy, STORE_FILE)
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != LINES and not path.name.startswith(STORE_FILE):
                tar.add(path, str(path.relative_to(folder)))
    write_together({to / TAR: packed.getvalue(), to / LINES: (folder / LINES).read_bytes()})


def resume(source: Path, folder: Path) -> None:
    """Takes what a mirror holds, where it holds more than is here."""
    if len(read_lines(source / LINES)) <= len(read_lines(folder / LINES)):
        return
    folder.mkdir(parents=True, exist_ok=True)
    if (source / TAR).exists():
        for stale in folder.glob(f"{STORE_FILE}*"):
            stale.unlink()
        with tarfile.open(source / TAR) as tar:
            tar.extractall(folder, filter="data")
    write_lines(folder / LINES, read_lines(source / LINES))


def complete(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """The lines of tables by their setting's digest, where nothing that was begun in a setting is unfinished."""
    groups: dict[tuple[Any, ...], list[Line]] = {}
    for line in latest(lines):
        if line["what"] == "table":
            groups.setdefault((line["way"], line["precision"], line["batch"]), []).append(line)
    return {
        group[0]["setting"]: group
        for group in groups.values()
        if all(line["status"] == "done" for line in group)
    }


def write_tables(folder: Path, store: Store) -> None:
    """The table of each complete setting, as lathe ships them, with the skeletons of its networks."""
    found = complete(read_lines(folder / LINES))
    for setting in store.settings():
        lines = found.get(setting.digest)
        if lines is None:
            continue
        path = folder / DEVICES / f"{table_name(setting)}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_archive(path, slim(store.archive(setting)))
        if (size := path.stat().st_size) >= MOST_BYTES:
            print(f"{path.name}: {size / 1e6:.2f} MB, which is too large to ship", flush=True)
        for line in lines:
            place = skeleton_path(line["network"], line["batch"], folder / DEVICES)
            if not place.exists():
                write_skeleton(place, subject(line["network"], line["batch"]).outline.skeleton)


def widen(folder: Path) -> None:
    """Gives the skeletons beside the tables their channel groups, which take minutes that a lent machine lacks."""
    for line in itertools.chain.from_iterable(complete(read_lines(folder / LINES)).values()):
        place = skeleton_path(line["network"], line["batch"], folder / DEVICES)
        if place.exists() and not read_skeleton(place).groups:
            wide = subject(line["network"], line["batch"]).wide.skeleton
            if wide.digest == line["skeleton"]:
                write_skeleton(place, wide)
            else:
                print(f"{place.name}: taken apart otherwise here, so it stays without widths", flush=True)


def main() -> None:
    """Measures until time is over, or draws what is known; see the module."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--scale", choices=("short",), default="short")
    options.add_argument("--out", type=Path, default=Path("lathe-out"), help="workspace")
    options.add_argument("--minutes", type=float, default=8.0, help="be done after so many")
    options.add_argument("--mirror", type=Path, help="folder for a copy of all that is known")
    options.add_argument("--resume", type=Path, help="folder with what an earlier run mirrored")
    options.add_argument("--commit", help="for the page, where there is no history; default: as git tells")
    options.add_argument(
        "--home", action="store_true", help="measure nothing: page and tables from what is known"
    )
    words = options.parse_args()
    until_s = time.monotonic() + 60 * words.minutes
    # The processes that measure, and the tests, find lathe as this one does.
    known = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *([known] if known else [])])
    folder: Path = words.out / "experiments" / f"gpu-{words.scale}"
    if words.resume is not None:
        resume(words.resume, folder)
    if not words.home:
        try:
            introduce(folder / LINES, words.commit or checked_out())
        except UserError as error:
            options.exit(2, f"{error}\n")
    store = open_store(folder)

    def after() -> None:
        write_tables(folder, store)
        if words.mirror is not None:
            mirror(folder, words.mirror)

    try:
        if not words.home:
            run(jobs(folder, store), folder / LINES, until_s, after)
    finally:
        draw(read_lines(folder / LINES), words.scale)
        after()
        store.close()
    if words.home:
        widen(folder)


if __name__ == "__main__":
    main()
