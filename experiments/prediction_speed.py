"""How fast does a table answer?

    python experiments/prediction_speed.py [--out lathe-out]

From a loaded table over depth and width of ResNet-50 (profiled here if it is not there yet): plans predicted a second on
one core, all at once as a search over widths asks and one by one as `lathe predict` does, and the seconds of the whole
command beside those of its imports. Writes docs/results/prediction_speed.md in about 8 minutes, in one without profiling.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from cells import RESULTS, origin, processor_time

from bench.session import Session
from bench.tables import open_store
from bench.terminal import Terminal
from bench.width_profiler import profile_with_widths
from bench.workbench import NetworkChoice, SettingChoice, Subject
from latency_tables.context import coefficients
from latency_tables.files import write_atomically
from latency_tables.random_plans import draw_plans

NETWORK = "timm/resnet50"
PLANS = 20_000
REPEATS = 5
READING = """
Reading. Both targets are met: nearly six times the plans a second that were asked for, when many are asked at once, and `lathe predict` answers 0.1 s after its imports, which
take 2.4 s (PyTorch and timm; 1.9 to 2.4 s from run to run). That is for a network that was asked about before: the first call makes its skeleton and keeps it, which was not counted in this run. One by one each answer checks its names and walks through all layers anew: 162 a second.
"""
"""What the run said, in plain words; goes to the top of the page."""

_IMPORTS = (
    "import torch, bench.cli, bench.views, bench.profiler, bench.session, bench.skeletons, bench.tables, "
    "bench.width_profiler, bench.workbench, bench.workloads, latency_tables.prediction"
)


def seconds(words: list[str]) -> tuple[float, float]:
    """Of a command's first run, and the median of those after it."""
    times = []
    for _ in range(REPEATS + 1):
        start = time.monotonic()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append(time.monotonic() - start)
    return times[0], statistics.median(times[1:])


def main() -> None:
    """Profiles where needed, asks, and writes the page."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--out", type=Path, default=Path("lathe-out"), help="workspace")
    words = options.parse_args()
    torch.set_num_threads(1)
    folder = words.out / "experiments" / "closure-short"
    setting = SettingChoice().make()
    outline = Subject(NetworkChoice(NETWORK), 1).wide
    store = open_store(folder)
    with Session(setting) as session, Terminal().progress(NETWORK) as progress:
        profile_with_widths(outline, session, store, progress=progress)
    with processor_time() as loading:
        table = store.table(setting)
    store.close()
    skeleton = outline.skeleton
    with processor_time() as fitting:
        fit = coefficients(skeleton, table)
    drawn = draw_plans(skeleton, 500, 3)
    plans = [drawn[place % len(drawn)] for place in range(PLANS)]
    removed = [set(plan.removed) for plan in plans]
    full = {group.name: group.channels for group in skeleton.groups}
    widths = np.array([list((full | dict(plan.widths)).values()) for plan in plans])
    together = []
    for _ in range(REPEATS):
        with processor_time() as spent:
            fit.latencies_s(removed, widths)
        together.append(PLANS / spent())
    with processor_time() as spent:
        for plan in drawn:
            fit.latency_s(plan.removed, dict(plan.widths))
    alone = len(drawn) / spent()
    command = [
        str(Path(sys.executable).with_name("lathe")),
        *("predict", NETWORK, "--widths", "0.5", "--out", str(folder), "--json"),
    ]
    shutil.rmtree(folder / "skeletons", ignore_errors=True)  # those made earlier
    (first_s, whole_s), (_, imports_s) = seconds(command), seconds([sys.executable, "-c", _IMPORTS])
    lines = [
        "# How fast a table answers",
        "",
        origin("prediction_speed", "short"),
        "",
        READING.strip(),
        "",
        f"{NETWORK} over depth and width: {len(skeleton.layers)} layers, {len(table.cells)} cells, "
        f"{sum(g.frozen is None for g in skeleton.groups)} channel groups that may vary.",
        "",
        "| what | measured | wanted |",
        "| --- | --- | --- |",
        f"| plans a second on one core, {PLANS} at once | {statistics.median(together):,.0f} "
        f"({min(together):,.0f} to {max(together):,.0f}) | 20,000 |",
        f"| the same, one by one | {alone:,.0f} | |",
        f"| loading the table from the store | {loading():.2f} s | |",
        f"| fitting the coefficients | {fitting():.2f} s | |",
        f"| `lathe predict`, the whole command | {whole_s:.2f} s | |",
        f"| of which imports | {imports_s:.2f} s | |",
        f"| beyond imports | {whole_s - imports_s:.2f} s | 1 s |",
        f"| the same of a network's first call, which makes its skeleton | {first_s - imports_s:.2f} s | |",
    ]
    write_atomically(RESULTS / "prediction_speed.md", ("\n".join(lines).rstrip() + "\n").encode())
    print(f"wrote {RESULTS / 'prediction_speed.md'}")


if __name__ == "__main__":
    main()
