"""Does it change what a network takes where in memory it happens to lie?

    python experiments/heap_layout.py [--scale short] [--networks timm/resnet50 ...] [--runtimes eager] [--rounds 6]

Whole networks, one thread, batch 1, random weights, each timed by a bare loop in fresh processes that differ in one thing
alone: how many bytes they hold from before the network is loaded, which moves all that comes after them on the heap. In
rounds: each layout once, in random order. Writes docs/results/heap_layout.md in about 25 minutes on 2 cores, on which
nothing else may run; rows of what is not asked for stay as they are there.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from cells import RESULTS, origin
from own_tools import rows_of, run
from scipy.stats import kruskal

from bench.terminal import Terminal
from bench.workbench import NetworkChoice, Subject
from latency_tables.files import write_atomically

NETWORKS = ("timm/mobilenetv2_100", "timm/resnet50")
RUNTIMES = ("eager", "onnxruntime", "openvino")
#: Bytes that are held. By itself glibc maps more than these elsewhere, where they would move nothing.
PADS = (0, 1_000, 5_000, 10_000, 20_000, 40_000, 80_000, 120_000)
ROUNDS = 6
SECONDS = 2
READING = """
Reading. Not settled. No test of the four is clear (0.6, 0.045, 0.1, 0.084), but together they are unlikely by chance alone (0.03, by Fisher's way of joining them, worked out beside this script). Medians of layouts lie 3 to 4 % apart; were there no effect and
times normal with the spread seen, 2 to 3 % would be usual and 3 to 4 % one case in twenty (20,000 draws, also beside the script). So an effect of some percent may be there, and none is shown; more rounds would tell. Tried since
lathe's worker and PyTorch's own timer told different times of one network ([own_tools.md](own_tools.md)).
"""
"""What the run said, in plain words; goes to the top of the page."""

_LOOP = f"""
import json, statistics, sys
from pathlib import Path
from bench.clock import WallClock
from bench.runtimes import get_runtime, make_setting
from latency_tables.graph import Graph
runtime = get_runtime(sys.argv[2])(make_setting(sys.argv[2]))
graph = Graph.from_json(json.loads(Path(sys.argv[1]).read_text()))
held = b"x" * int(sys.argv[3])
clock, times = WallClock(), []
with runtime.load(graph) as network:
    for _ in range(10):
        network.run()
    until_s = clock.now_s() + {SECONDS}
    while clock.now_s() < until_s:
        times.append(clock.elapsed_s(network.run, 1))
print(statistics.median(times))
"""


def main() -> None:
    """Times in rounds, and writes the page."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--scale", choices=("short",), default="short")
    options.add_argument("--networks", nargs="+", default=NETWORKS)
    options.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=RUNTIMES)
    options.add_argument("--rounds", type=int, default=ROUNDS)
    words = options.parse_args()
    terminal, page = Terminal(), RESULTS / "heap_layout.md"
    rows = rows_of(page.read_text()) if page.exists() else {}
    rng = random.Random(0)  # noqa: S311  no secret
    for network, runtime in itertools.product(words.networks, words.runtimes):
        graph = Subject(NetworkChoice(network), 1).outline.skeleton.graph
        with tempfile.TemporaryDirectory() as folder, terminal.progress(f"{network} {runtime}") as bar:
            path = Path(folder) / "graph.json"
            path.write_text(json.dumps(graph.to_json()))
            times: list[list[float]] = []
            for place in range(words.rounds):
                bar(place, words.rounds, "timing in rounds")
                taken: dict[int, float] = {}
                for pad in rng.sample(PADS, len(PADS)):
                    command = [sys.executable, "-c", _LOOP, str(path), runtime, str(pad)]
                    taken[pad] = float(run(command, runtime))
                times.append([taken[pad] for pad in PADS])
        rows[network, runtime] = row(network, runtime, times)
        print(rows[network, runtime], flush=True)
        write_page(page, words.scale, rows.values())


def row(network: str, runtime: str, times: Sequence[Sequence[float]]) -> str:
    """What is told of one network in one runtime.

    Args:
        network: its name.
        runtime: of lathe.
        times: for each round the seconds by layout, as in `PADS`.
    """
    taken_s = np.asarray(times)
    # A round is over in a minute; what the machine does from round to round is taken out of it.
    ratios = taken_s / np.median(taken_s, axis=1, keepdims=True)
    middles = np.median(ratios, axis=0)
    within = np.subtract(*np.quantile(ratios, (0.75, 0.25), axis=0))
    chance = float(kruskal(*ratios.T).pvalue)
    cells = [
        network,
        runtime,
        datetime.now(UTC).date().isoformat(),
        str(len(times)),
        f"{1e3 * float(np.median(taken_s)):.3f}",
        ", ".join(f"{middle:.3f}" for middle in middles),
        f"{middles.max() / middles.min() - 1:.1%}",
        f"{statistics.median(within):.1%}",
        f"{chance:.2g}",
    ]
    return "| " + " | ".join(cells) + " |"


def write_page(page: Path, scale: str, rows: Iterable[str]) -> None:
    """Writes the page with its rows."""
    lines = [
        "# Where a network lies in memory",
        "",
        origin("heap_layout", scale),
        "",
        READING.strip(),
        "",
        f"One thread, batch 1, fp32, random weights. Every process holds so many bytes from before it loads the network: {', '.join(f'{pad:,}' for pad in PADS)}. "
        f"It then runs it for {SECONDS} s in a bare loop and tells the median. Times are over the median of their round. Spread: the middle half of one layout's processes, median over layouts. "
        "Chance: the probability that medians of layouts which do not matter differ so (Kruskal and Wallis's test).",
        "",
        "| network | runtime | timed | rounds | median, ms | by layout, over the round's median | largest over smallest | spread within a layout | chance |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *rows,
    ]
    write_atomically(page, ("\n".join(lines).rstrip() + "\n").encode())


if __name__ == "__main__":
    main()
