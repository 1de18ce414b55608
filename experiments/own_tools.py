"""Does lathe time a network as a runtime's own tool does?

    python experiments/own_tools.py [--scale short] [--networks timm/resnet50 ...] [--runtimes eager] [--pairs 10]

Whole networks, one thread, batch 1, random weights: lathe against OpenVINO's `benchmark_app` on the file that lathe
exports, and against `torch.utils.benchmark` on the module that lathe's eager runtime runs. Pairs of fresh processes, in
turns and in alternating order, each with a layout of its memory drawn at random (heap_layout.py asks whether that matters).
Wanted: a ratio within 2 %, or whose interval holds 1. Writes docs/results/own_tools.md in about 15 minutes on 2 cores, on
which nothing else may run; rows of what is not asked for stay as they are there.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cells import RESULTS, origin

from bench import worker
from bench.runtimes import get_runtime
from bench.runtimes.onnx_export import export_graph
from bench.session import Session
from bench.terminal import Terminal
from bench.timing import Rule
from bench.workbench import NetworkChoice, SettingChoice, Subject
from bench.worker_environment import worker_environment
from latency_tables.estimate import Estimate
from latency_tables.files import write_atomically
from latency_tables.graph import Graph
from latency_tables.measurement import median_interval

NETWORKS = ("timm/resnet50", "timm/mobilenetv2_100", "timm/vit_tiny_patch16_224")
PAIRS = 10
SECONDS = 5
"""For which each process samples."""
WANTED = 0.02
READING = """
Reading. All six ratios are within 2 %, which is the target; five intervals hold 1. MobileNetV2's stand out: 1.019 in OpenVINO (1.005 to 1.046) and 1.014 in eager PyTorch (0.999 to 1.040, thirty pairs), after 1.021 (1.005 to
1.043) in thirty pairs of the day before, in processes that held nothing. So of the smallest network lathe probably tells 1 to 2 % more than the runtimes' own tools. It does not look like how lathe samples: by hand, in ten turns of one process
(one only was looked at), its samples' median was 1.002 times that of a bare loop (middle half 0.992 to 1.018). Whether it matters where a process's heap begins is not settled ([heap_layout.md](heap_layout.md)); both lie at random here. Neither process has a page fault in a run, both see the same
environment, and the process that asks for the timing waits without waking. What makes processes differ that run the same module is not known. The other four intervals reach to 2 % from 1, so more is excluded there.
"""
"""What the run said, in plain words; goes to the top of the page."""

_MOST_HELD = 120_000
"""Bytes; glibc takes no more than about this from the heap, which they are to move."""
_HELD = """
import runpy, sys
held = b"x" * int(sys.argv[1])
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

_TORCH = f"""
import json, sys
from pathlib import Path
import torch
from torch.utils import benchmark
from bench.runtimes.base import random_arrays
from bench.runtimes.torch_graph import build_module
from latency_tables.graph import Graph
torch.set_num_threads(1)
graph = Graph.from_json(json.loads(Path(sys.argv[1]).read_text()))
module = build_module(graph)
inputs = [torch.from_numpy(array) for array in random_arrays(graph.inputs)]
with torch.inference_mode():
    timer = benchmark.Timer("module(*inputs)", globals={{"module": module, "inputs": inputs}}, num_threads=1)
    timer.timeit(5)
    print(timer.blocked_autorange(min_run_time={SECONDS}).median)
"""


@dataclass(frozen=True)
class Rivalry:
    """A runtime and its own tool.

    Attributes:
        runtime: of lathe.
        tool: its name.
        package: whose version counts for both.
        run: seconds of a run by the tool, given the network, a folder for its files and how many bytes to hold.
    """

    runtime: str
    tool: str
    package: str
    run: Callable[[Graph, Path, int], float]


def by_benchmark_app(graph: Graph, folder: Path, held: int) -> float:
    """The median that OpenVINO's tool tells, synchronous, one stream, one thread, fp32."""
    path = folder / "network.onnx"
    if not path.exists():
        export_graph(graph, None, path)
    tool = Path(sys.executable).with_name("benchmark_app")
    words = ["-m", str(path), "-d", "CPU", "-api", "sync", "-hint", "none", "-nireq", "1", "-nstreams", "1"]
    words += ["-nthreads", "1", "-infer_precision", "f32", "-t", str(SECONDS)]
    told = run([*holding(tool, held), *words], "openvino")
    found = re.search(r"Median:\s+([\d.]+) ms", told)
    if found is None:
        raise RuntimeError(f"benchmark_app told no median: {told[-500:]}")
    return float(found[1]) * 1e-3


def by_torch_benchmark(graph: Graph, folder: Path, held: int) -> float:
    """The median that PyTorch's tool tells of the module that lathe times."""
    path, tool = folder / "graph.json", folder / "timer.py"
    if not path.exists():
        path.write_text(json.dumps(graph.to_json()))
        tool.write_text(_TORCH)
    return float(run([*holding(tool, held), str(path)], "eager"))


def holding(script: Path, held: int) -> list[str]:
    """The command that runs a script in a process that holds so many bytes from before."""
    return [sys.executable, "-P", "-c", _HELD, str(held), str(script)]


def run(words: list[str], runtime: str) -> str:
    """A command's output, in the environment in which lathe's worker measures."""
    setting = SettingChoice(runtime).make()
    environment = worker_environment(setting, os.environ)
    return subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout


RIVALRIES = (
    Rivalry("openvino", "benchmark_app", "openvino", by_benchmark_app),
    Rivalry("eager", "torch.utils.benchmark", "torch", by_torch_benchmark),
)


def by_lathe(graph: Graph, runtime: str, held: int) -> float:
    """The median that a fresh worker tells."""
    rule = Rule(target=1e-9, max_time_s=SECONDS, max_samples=100_000, stall_ratio=1e9)
    command = holding(Path(worker.__file__), held)
    with Session(SettingChoice(runtime).make(), command=command) as session:
        return session.measure(graph, rule=rule).latency_s.value


def main() -> None:
    """Times in turns, and writes the page."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--scale", choices=("short",), default="short")
    options.add_argument("--networks", nargs="+", default=NETWORKS)
    options.add_argument("--runtimes", nargs="+", default=[rivalry.runtime for rivalry in RIVALRIES])
    options.add_argument("--pairs", type=int, default=PAIRS)
    words = options.parse_args()
    terminal, page = Terminal(), RESULTS / "own_tools.md"
    rows = rows_of(page.read_text()) if page.exists() else {}
    for network, rivalry in itertools.product(words.networks, RIVALRIES):
        if rivalry.runtime not in words.runtimes:
            continue
        graph = Subject(NetworkChoice(network), 1).outline.skeleton.graph
        with (
            tempfile.TemporaryDirectory() as folder,
            terminal.progress(f"{network} {rivalry.tool}") as bar,
        ):
            pairs, rng = [], random.Random(0)  # noqa: S311  no secret
            for place in range(words.pairs):
                bar(place, words.pairs, "timing in turns")
                pairs.append(_pair(graph, rivalry, Path(folder), rng, swapped=bool(place % 2)))
        rows[network, rivalry.runtime] = _row(network, rivalry, pairs)
        print(rows[network, rivalry.runtime], flush=True)
        write_page(page, list(rows.values()), words.scale)


def write_page(page: Path, rows: list[str], scale: str) -> None:
    """Writes what is known so far: each row says when it was timed, and with which version."""
    lines = [
        "# lathe beside the runtimes' own tools",
        "",
        origin("own_tools", scale),
        "",
        READING.strip(),
        "",
        f"One thread, batch 1, fp32, random weights. Pairs of fresh processes in alternating order, each of which holds up to {_MOST_HELD:,} bytes, drawn at random, from before it begins, and samples "
        f"for {SECONDS} s; the median of the pairs' ratios, with its distribution-free 95 % interval. Spread: the middle half of what the "
        "same tool told from process to process, over its median.",
        "",
        f"| network | lathe's runtime | tool | timed | pairs | tool, ms | spread | lathe, ms | spread | lathe / tool (interval) | within {WANTED:.0%}, or 1 inside |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *rows,
    ]
    write_atomically(page, ("\n".join(lines).rstrip() + "\n").encode())


def rows_of(page: str) -> dict[tuple[str, str], str]:
    """The rows of a page that was written before, by network and runtime."""
    cells = [(line, line.split(" | ")) for line in page.splitlines() if line.startswith("| ")]
    return {(words[0].removeprefix("| "), words[1]): line for line, words in cells[2:]}


def _pair(
    graph: Graph, rivalry: Rivalry, folder: Path, rng: random.Random, *, swapped: bool
) -> tuple[float, float]:
    """Seconds by the tool and by lathe."""
    theirs, mine = rng.randrange(_MOST_HELD), rng.randrange(_MOST_HELD)
    if swapped:
        own_s = by_lathe(graph, rivalry.runtime, mine)
        return rivalry.run(graph, folder, theirs), own_s
    return rivalry.run(graph, folder, theirs), by_lathe(graph, rivalry.runtime, mine)


def _row(network: str, rivalry: Rivalry, pairs: list[tuple[float, float]]) -> str:
    tool, own = (list(times) for times in zip(*pairs, strict=True))
    ratio: Estimate = median_interval([mine / theirs for theirs, mine in pairs])
    met = abs(ratio.value - 1) <= WANTED or ratio.low <= 1 <= ratio.high
    today = datetime.now(UTC).date().isoformat()
    version = dict(get_runtime(rivalry.runtime).versions())[rivalry.package]
    cells = [network, rivalry.runtime, f"{rivalry.tool} {version}", today, str(len(pairs))]
    for times in (tool, own):
        quarters = statistics.quantiles(times, n=4)
        median_s = statistics.median(times)
        cells += [f"{1e3 * median_s:.3f}", f"{(quarters[2] - quarters[0]) / median_s:.1%}"]
    cells += [f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})", "yes" if met else "no"]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
