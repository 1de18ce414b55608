"""Does looking at the core between samples make measurements agree with each other?

    python experiments/core_watch.py [--scale short] [--networks timm/resnet18 ...] [--runtimes eager] [--rounds 40]

One thread, batch 1, random weights. Each network is measured again and again by lathe's rule, in turns as all samples
come and with those left out that were taken while the core was slowed, and so are ratios of the network without its
middle removable block to the whole one. Also what a look costs: the latency right after one, and right after another run.
Writes docs/results/core_watch.md in about an hour on 2 cores (five to eight minutes a row), on which nothing else may run; rows of what is not
asked for stay as they are there.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from cells import RESULTS, origin
from own_tools import rows_of

from bench.attempt import Conditions, undisturbed
from bench.clock import WallClock
from bench.core_watch import SLOW_FROM, CoreWatch, matrix_products
from bench.foreign_load import ForeignLoad
from bench.near_cores import Patience
from bench.runtimes import get_runtime, make_setting
from bench.terminal import Terminal
from bench.timing import Rule, interleave, measure
from bench.workbench import NetworkChoice, Subject
from latency_tables.estimate import Estimate
from latency_tables.files import write_atomically

NETWORKS = ("timm/resnet18", "timm/mobilenetv2_100", "timm/vit_tiny_patch16_224", "cifar/resnet56")
RUNTIMES = ("onnxruntime", "eager")
ROUNDS = 40
PAIRS = 400
READING = """
Reading. On this machine, a virtual one of a restless host, a quarter to a third of the looks found the core slowed. Without them measurements of one network by lathe's rule lay 13 % (ResNet-18) and 18 % (MobileNetV2) apart, with them 2 and 6 %;
ratios of two networks timed in turns 2.2 and 1.3 %, with them 1.5 and 1.6 %: what slows both alike had gone from them before. It took as long (1.00) and a quarter longer (1.23). Intervals claim too much either way: they hold the
median of all measurements in 15 and 31 % of the cases without looks and in 56 and 58 % with them, since latencies still move by a few percent from minute to minute. One measurement of MobileNetV2 in nineteen was 14 % off with nothing
found against it. Why is not known: a core that was quick for less than a quarter of half a minute is taken as it is, and neither a neighbour that fills the memory's bus nor a burst within one sample is seen.

Two earlier runs, with the quickest tenth in place of the quickest quarter as the norm (24 rounds, by hand): ResNet-18 8.6 % apart without looks and 4.3 with them, MobileNetV2 22.8 and 5.1; ratios 1.2 and 0.7 %, 1.2 and 1.1 %. While the core
is slowed the computation takes 1.2 to 1.5 times as long (by hand: 16.4 us, and 22 to 25), and MobileNetV2 1.18 times. A network right after a look takes what it takes right after another run (0.997 and 1.000); parts of 40 to 50 us took
1.3 to 1.9 % longer (by hand), so samples of parts last 200 us at least. In eager and on other networks this was not measured.
"""
"""What the run said, in plain words; goes to the top of the page."""


def main() -> None:
    """Measures in turns, and writes the page."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--scale", choices=("short",), default="short")
    options.add_argument("--networks", nargs="+", default=NETWORKS)
    options.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=RUNTIMES)
    options.add_argument("--rounds", type=int, default=ROUNDS)
    words = options.parse_args()
    terminal, page = Terminal(), RESULTS / "core_watch.md"
    rows = rows_of(page.read_text()) if page.exists() else {}
    watch, clock, rule = CoreWatch(matrix_products()), WallClock(), Rule()
    for network, name in itertools.product(words.networks, words.runtimes):
        skeleton = Subject(NetworkChoice(network), 1).outline.skeleton
        block = skeleton.removable[len(skeleton.removable) // 2]
        pruned, _ = skeleton.without([block])
        runtime = get_runtime(name)(make_setting(name))
        with (
            runtime.load(skeleton.graph) as whole,
            runtime.load(pruned) as smaller,
            terminal.progress(f"{network} {name}") as bar,
        ):
            latencies: dict[bool, list[Estimate]] = {False: [], True: []}
            ratios: dict[bool, list[Estimate]] = {False: [], True: []}
            seconds: dict[bool, float] = {False: 0.0, True: 0.0}
            slowed: list[float] = []
            for place in range(words.rounds):
                bar(place, words.rounds, "measuring in turns")
                for looking in (False, True) if place % 2 else (True, False):
                    taking = conditions(watch if looking else None)
                    began_s = clock.now_s()
                    [measured], _ = undisturbed(
                        lambda taking=taking: ((measure(whole.run, clock, rule, taking.spoiled),), ()), taking
                    )
                    _, [compared] = undisturbed(
                        lambda taking=taking: interleave(
                            [whole.run, smaller.run], clock, rule, taking.spoiled
                        ),
                        taking,
                    )
                    seconds[looking] += clock.now_s() - began_s
                    if measured.disturbance is None:
                        latencies[looking].append(measured.latency_s)
                    ratios[looking].append(compared.ratio)
                    if looking:
                        slowed.append(measured.host["core"]["slowed"] / measured.host["core"]["readings"])
            cost = cost_of_a_look(whole.run, watch, clock)
        rows[network, name] = row(network, name, latencies, ratios, seconds, float(np.mean(slowed)), cost)
        print(rows[network, name], flush=True)
        write_page(page, words.scale, rows.values())


def conditions(core: CoreWatch | None) -> Conditions:
    """What a worker of lathe's looks at around a measurement on one thread, with or without the core."""
    load = ForeignLoad([os.getpid()], time.monotonic)
    return Conditions(1, 2, load, None, time.monotonic, time.sleep, Patience(), core=core)


def cost_of_a_look(run: Any, watch: CoreWatch, clock: WallClock) -> float:
    """A run's latency right after a look over that right after another run, both between looks that saw no slowing."""
    watch.start()
    found: list[list[float]] = [[], []]
    for _ in range(PAIRS):
        before_s = watch.read()
        pair = [clock.elapsed_s(run, 1), clock.elapsed_s(run, 1)]
        if max(before_s, watch.read()) <= SLOW_FROM * watch.quick_s:
            for taken, own in zip(pair, found, strict=True):
                own.append(taken)
    return median(found[0]) / median(found[1]) if found[0] else float("nan")


def milliseconds(found: Sequence[Estimate]) -> str:
    """The median of measurements; none, where every one was disturbed."""
    return f"{1e3 * median(each.value for each in found):.3f}" if found else "none"


def spread(found: Sequence[Estimate]) -> str:
    """How far measurements of one thing lie apart: the middle nine tenths over the median; the worst; covered by intervals."""
    if not found:
        return "| | "
    values = np.array([each.value for each in found])
    middle = float(np.median(values))
    low, high = np.quantile(values, (0.05, 0.95)) / middle
    covered = np.mean([each.low <= middle <= each.high for each in found])
    worst = float(np.abs(values / middle - 1).max())
    return f"{(high - low):.1%} | {worst:.1%} | {covered:.0%}"


def row(
    network: str,
    name: str,
    latencies: dict[bool, list[Estimate]],
    ratios: dict[bool, list[Estimate]],
    seconds: dict[bool, float],
    slowed: float,
    cost: float,
) -> str:
    """What is told of one network in one runtime; two rows of the page would not be found again, so one holds all."""
    cells = [
        network,
        name,
        datetime.now(UTC).date().isoformat(),
        f"{len(ratios[True])}, {len(latencies[False])}, {len(latencies[True])}",
        f"{slowed:.0%}",
        milliseconds(latencies[False]),
        milliseconds(latencies[True]),
        spread(latencies[False]),
        spread(latencies[True]),
        spread(ratios[False]),
        spread(ratios[True]),
        f"{seconds[True] / seconds[False]:.2f}",
        f"{cost:.4f}",
    ]
    return "| " + " | ".join(cells) + " |"


def write_page(page: Path, scale: str, rows: Iterable[str]) -> None:
    """Writes the page with its rows."""
    columns = "spread | worst | covered"
    lines = [
        "# Looking at the core between samples",
        "",
        origin("core_watch", scale),
        "",
        READING.strip(),
        "",
        "One thread, batch 1, fp32, random weights. Each column of three: as all samples come, and looking (with those left out that were taken while the core was slowed). "
        "Spread: the middle nine tenths of the measurements, over their median. Worst: the one farthest from the median. Covered: the share of measurements whose 95 % interval holds the median of them all. "
        "A latency that something disturbed in all of three attempts counts in neither: lathe's profiles time it again later; with a look that is also one whose slowed samples had to be kept. "
        "Slowed: share of the looks that found the core slowed, of the attempts that count. Time: looking over not looking. A look's cost: a run right after a look over one right after another run, in quick moments.",
        "",
        "| network | runtime | measured | rounds, undisturbed of them, the same looking | slowed | all, ms | looking, ms "
        + "".join(f"| {what}: {columns} " for what in ("all", "looking", "ratio, all", "ratio, looking"))
        + "| time | a look's cost |",
        "| --- | --- | --- | --- | --- | --- | --- |" + " --- |" * 14,
        *rows,
    ]
    write_atomically(page, ("\n".join(lines).rstrip() + "\n").encode())


if __name__ == "__main__":
    main()
