"""Everything that is to be measured on a GPU, the most valuable first, written out as it comes.

    python experiments/gpu.py [--out lathe-out] [--results FOLDER] [--minutes 25]

The tests that need a CUDA device; then, for eager as launched and as a CUDA graph and for `torch.compile`, in fp32 and
fp16, at batch 1, 32 and 256: tables over depth of ResNet-50, MobileNetV2, ViT-Tiny and the CIFAR networks, each held
against networks with blocks drawn at random; a convolution's latency over its channels; and the tables as files. Minutes
on such machines are few: nothing new is begun after `--minutes`, and what was measured is not measured again. Each
finding is a line of FOLDER/gpu.jsonl as soon as it is known; the page docs/results/gpu.md is drawn from these lines.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cells import RESULTS, origin
from shipped_tables import slim, table_name

from bench.checking import check_networks
from bench.fact_views import launch_cost
from bench.session import MeasurementFailed, Session
from bench.tables import open_store
from bench.timing import Rule
from bench.width_profiler import profile_depth
from bench.workbench import NetworkChoice, SettingChoice, Subject
from latency_tables.errors import LatheError
from latency_tables.exchange import write_archive
from latency_tables.files import write_atomically
from latency_tables.graph import Graph, Operator, TensorType, Value
from latency_tables.store import Store

NETWORKS = (
    "timm/resnet50",
    "timm/mobilenetv2_100",
    "timm/vit_tiny_patch16_224",
    "cifar/resnet56",
    "cifar/resnet20",
)
WAYS = (("eager", ()), ("eager", (("launch", "graph"),)), ("compile", ()))
"""Runtime and options."""
PRECISIONS, BATCHES = ("fp32", "fp16"), (1, 32, 256)
HELD_OUT, SEED = 6, 3
CHANNELS = range(8, 257, 8)
STAIR_RULE = Rule(max_time_s=0.5, warmup_max_time_s=0.2)
READING = """
"""
"""What the run said, in plain words; goes to the top of the page."""

Line = dict[str, Any]


def choices() -> Iterator[SettingChoice]:
    """Settings, those that tell most first."""
    for batch, precision, (runtime, options) in itertools.product(BATCHES, PRECISIONS, WAYS):
        yield SettingChoice(runtime, "cuda", batch=batch, precision=precision, options=options)


def cuda_tests() -> Line:
    """How the tests of the runtimes end where there is a device."""
    words = [sys.executable, "-m", "pytest", "-q", "tests/bench/runtimes", "tests/bench/test_gpu_watch.py"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return {"what": "tests", "status": done.returncode, "told": done.stdout.strip().splitlines()[-15:]}


def table(choice: SettingChoice, network: str, store: Store) -> Line:
    """A table over depth and how far it is from networks that it has not seen."""
    line: Line = {"what": "table", "setting": choice.make().label, "options": dict(choice.options)}
    line |= {"network": network, "batch": choice.batch, "precision": choice.precision}
    outline, setting = Subject(NetworkChoice(network), choice.batch).outline, choice.make()
    with Session(setting) as session:
        profiled, _ = profile_depth(outline, session, store)
    known = store.table(setting)
    found = check_networks(outline, store, lambda: Session(setting), known, HELD_OUT, SEED)
    unpruned = [n for n in known.measured_networks(outline.skeleton, "fit") if not n.cut]
    return line | {
        "unpruned_s": unpruned[-1].unpruned_s.to_json(),
        "failed": [list(entry) for entry in profiled.failed],
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


def staircase(precision: str, batch: int) -> Line:
    """A convolution's latency by its output channels."""
    choice = SettingChoice("eager", "cuda", batch=batch, precision=precision)
    with Session(choice.make()) as session:
        seconds = [
            session.measure(convolution(channels, batch), rule=STAIR_RULE).latency_s.value
            for channels in CHANNELS
        ]
    return {
        "what": "staircase",
        "precision": precision,
        "batch": batch,
        "channels": list(CHANNELS),
        "seconds": seconds,
    }


def jobs(store: Store) -> Iterator[tuple[str, Callable[[], Line]]]:
    """Everything, by name, the most valuable first."""
    yield "tests", cuda_tests
    for precision in PRECISIONS:
        yield f"staircase {precision}", lambda precision=precision: staircase(precision, 32)  # type: ignore[misc]
    for choice, network in itertools.product(choices(), NETWORKS):
        words = [
            choice.runtime,
            *map("=".join, choice.options),
            choice.precision,
            f"b{choice.batch}",
            network,
        ]
        yield " ".join(words), lambda choice=choice, network=network: table(choice, network, store)  # type: ignore[misc]


def run(todo: Iterator[tuple[str, Callable[[], Line]]], path: Path, until_s: float) -> None:
    """Does what was not done yet, each a line of the file as soon as it is over; a failure is a line as well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {line["job"] for line in read(path)}
    for name, job in todo:
        if name in done:
            continue
        if time.monotonic() >= until_s:
            print("out of time")
            return
        started_s = time.monotonic()
        try:
            line = job()
        except (LatheError, MeasurementFailed) as error:
            line = {"what": "failed", "reason": str(error)}
        line |= {"job": name, "took_s": time.monotonic() - started_s}
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(name, f"{line['took_s']:.0f} s", line.get("reason", ""), flush=True)


def read(path: Path) -> list[Line]:
    """The lines written so far; one that was cut off is left out, and done again."""
    lines: list[Line] = []
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                continue
    return lines


def write_tables(store: Store, folder: Path) -> None:
    """Every CUDA setting's table as a file, as lathe ships them."""
    for setting in store.settings():
        if setting.device.kind == "cuda":
            write_archive(folder / f"{table_name(setting)}.parquet", slim(store.archive(setting)))


def page(lines: list[Line]) -> list[str]:
    """What the lines say, for docs/results/gpu.md."""
    text = [
        "| setting | options | network | unpruned, ms | as issued over work | excess error | within 5 % | within 10 % | noise |"
    ]
    text += ["| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for line in lines:
        if line["what"] == "table":
            launch = line["launch"]
            ratio = "" if launch is None else f"{launch['issued_s'] / launch['queued_s']:.2f}"
            options = ", ".join(f"{name}={value}" for name, value in line["options"].items())
            text.append(
                f"| {line['setting']} | {options} | {line['network']} | {1e3 * line['unpruned_s'][0]:.3f} | {ratio} | "
                f"{line['excess_error']:.1%} | {line['within_5pct']:.0%} | {line['within_10pct']:.0%} | {line['noise_floor']:.1%} |"
            )
    for line in lines:
        if line["what"] == "staircase":
            pairs = zip(line["channels"], line["seconds"], strict=True)
            steps = ", ".join(f"{channels}: {1e6 * seconds:.1f}" for channels, seconds in pairs)
            text += [
                "",
                f"3x3 convolution, 64 channels in, {line['precision']}, batch {line['batch']}, us by channels out: {steps}.",
            ]
        elif line["what"] == "tests":
            text += [
                "",
                f"Tests ended with {line['status']}: {line['told'][-1] if line['told'] else 'nothing told'}.",
            ]
        elif line["what"] == "failed":
            text += ["", f"{line['job']} failed: {line['reason']}."]
    return text


def main() -> None:
    """Measures until time is over, then writes tables and page."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--out", type=Path, default=Path("lathe-out"), help="workspace")
    options.add_argument(
        "--results", type=Path, help="folder for lines and tables; default: in the workspace"
    )
    options.add_argument("--minutes", type=float, default=25.0, help="begin nothing new after so many")
    words = options.parse_args()
    folder = words.results or words.out / "experiments" / "gpu"
    store = open_store(words.out / "experiments" / "gpu-store")
    run(jobs(store), folder / "gpu.jsonl", time.monotonic() + 60 * words.minutes)
    write_tables(store, folder)
    store.close()
    lines = read(folder / "gpu.jsonl")
    text = ["# On a GPU", "", origin("gpu", "short"), "", READING.strip(), "", *page(lines)]
    write_atomically(RESULTS / "gpu.md", ("\n".join(text).rstrip() + "\n").encode())


if __name__ == "__main__":
    main()
