"""What a table over widths costs, and what its gaps cost in error.

    python experiments/width_table.py [--out DIR]

ResNet-50 in ONNX Runtime, one thread, batch 1: profiled over depth and width within five minutes in a store of its
own. Held against an exhaustive grid of step 16: how many cells that would have, and how far its predictions for the
held-out networks of `closure.py` would be off. For the latter only those cells of the grid are timed that these
networks stand on, since no other cell would be read. Beside them two remedies for what the gaps cost, each on top of
the same five minutes: every step on the lines, and a finer grid wherever probes stand. The held-out networks' timings
come from the store of `closure.py`, or where that lacks them from the table that comes with lathe. Writes
docs/results/width_table.md. About 30 minutes, nothing else running.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cells import RESULTS, origin, read
from closure import CONDITIONS, PLANS, held_out

from bench.asked_networks import pending_networks
from bench.profiler import time_part
from bench.session import Session
from bench.tables import open_store
from bench.terminal import Terminal
from bench.width_plan import WidthPlan
from bench.width_profiler import find_kin, learn, profile_with_widths
from bench.workbench import NetworkChoice, Subject
from latency_tables.closure import Closure, HeldOut
from latency_tables.context import coefficients
from latency_tables.errors import UserError
from latency_tables.estimate import Estimate
from latency_tables.exchange import read_archive
from latency_tables.family import Family, families
from latency_tables.files import write_atomically, write_json
from latency_tables.part import Part
from latency_tables.random_plans import NARROWEST
from latency_tables.setting import Setting
from latency_tables.shipped import shipped_tables
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.store import Store
from latency_tables.surfaces import known_points
from latency_tables.table import LatencyTable
from latency_tables.widths import full_widths
from pruning.search import Progress

NETWORK = "timm/resnet50"
STEP = 16
MINUTES = 5.0
REMEDIES: Mapping[str, Callable[..., WidthPlan]] = {
    "and every step on the lines": partial(WidthPlan, most_on_a_line=10_000),
    "and the grid halved wherever it was probed": partial(WidthPlan, tolerance=0.0),
}
"""Plans that ask for more than the one in use."""


@dataclass(frozen=True)
class Answered:
    """What a table says of the held-out networks.

    Attributes:
        closure: over those that it answers for.
        unknown: how many it does not.
        cells: over widths, of this network.
    """

    closure: Closure
    unknown: int
    cells: int


def varying(skeleton: Skeleton) -> list[Family]:
    """One family for each pattern that varies."""
    return list({family.pattern: family for family in families(skeleton) if family.axes}.values())


def grid_cells(skeleton: Skeleton) -> int:
    """How many cells an exhaustive grid has, from the narrowest width to the full one of the widest layer."""
    widest: dict[str, list[int]] = {}
    for family in families(skeleton):
        known = widest.setdefault(family.pattern, list(family.full))
        widest[family.pattern] = [max(pair) for pair in zip(known, family.full, strict=True)]
    return sum(
        math.prod(math.ceil(full / STEP) - math.ceil(NARROWEST * full / STEP) + 1 for full in axes)
        for axes in widest.values()
        if axes
    )


def on_grid(skeleton: Skeleton, plans: Sequence[Cut]) -> Iterator[Part]:
    """The grid's cells on which plans stand."""
    every = families(skeleton)
    for plan in plans:
        widths = full_widths(skeleton.groups, dict(plan.widths))
        for layer, family in zip(skeleton.layers, every, strict=True):
            if family.axes and layer.block not in plan.removed:
                places = zip(family.values(widths), family.full, strict=True)
                yield family.at([min(full, math.ceil(value / STEP) * STEP) for value, full in places])


def answered(skeleton: Skeleton, table: LatencyTable, seen: dict[Cut, list[Estimate]]) -> Answered:
    """Predicts every held-out network that the table can."""
    fit = coefficients(skeleton, table)
    rows = [
        HeldOut(plan, fit.ratio(plan.removed, dict(plan.widths)), *ratios[:2])
        for plan, ratios in seen.items()
        if fit.costs.knows(plan)
    ]
    points = known_points(skeleton, varying(skeleton), table)
    return Answered(Closure(tuple(rows)), len(seen) - len(rows), sum(map(len, points.values())))


def remedied(
    skeleton: Skeleton, session: Session, store: Store, plan: Callable[..., WidthPlan], progress: Progress
) -> float:
    """Times what a finer plan asks for besides; seconds that took, 0 where nothing is lacking."""
    setting, start = session.setting, time.monotonic()
    table = store.table(setting)
    kin = find_kin(skeleton, table)
    known = known_points(skeleton, [one.family for one in kin], table)
    tried: set[str] = set()
    for wanted in plan(kin, known).points():
        part = wanted.family.at(wanted.values)
        if part.key in table.cells or part.key in tried:
            continue  # it failed
        progress(len(tried), len(tried) + 1, f"timing {part.kind} ({wanted.why})")
        tried.add(part.key)
        cell = time_part(session, part)
        store.put(setting, part, cell)
        learn(kin, known, part, cell, left_out=table.tells_reordering(skeleton))
    return time.monotonic() - start if tried else 0.0


READING = """
Reading. Below stands the third run. The table reads no worse than an exhaustive grid: 1.8 % excess error against the grid's 2.0 % (wanted: no more than the grid's), with 1292 cells over widths where the grid has 18,903 (7 %; wanted: at most
a third). All cells over widths were timed within the five minutes; of the 19 timings of whole networks that a profile makes after them 14 were made, so the fit rests on what was there and the table is whole only some time after five
minutes, on a machine on which parts took 6 % longer than in the table that comes with lathe. (On 2026-11-21 it was whole after 4.6.) The finer grid asks for 34 cells more and changes nothing. Every step on the lines asks for 1122 more and reads worse, 2.9 %: those cells were timed
minutes after the profile, beside no anchor; whether that is the reason is not known. One run, 40 held-out networks, no interval.

The two runs before it had less to show. On 2026-11-21: 2.5 % against 1.7 % of the grid, with 1205 cells. On 2026-11-22, some hours before: 6.5 % against 6.0 %, because something slowed parts down to 1.8 times what they take while the one
sweep was timed from which the staircase was read; steps of 8 channels were read where there are steps of 16. Since then two families of each kind are swept, at different times, and the step that most of them show counts; and what is timed
again after a slow minute is what the plan goes on with. Where both sweeps are disturbed for less than half a minute it can still happen.
"""
"""What the run said, in plain words; goes to the top of the page."""


def line(name: str, found: Answered, cells: int, seconds: float | None) -> str:
    """A row of the page."""
    closure = found.closure
    minutes = "not timed" if seconds is None else f"{seconds / 60:.1f}"
    return (
        f"| {name} | {cells} | {minutes} | {closure.excess_error:.1%} | {closure.mean_abs_error:.1%} | "
        f"{closure.within(0.05):.0%} | {max(abs(n.error) for n in closure.networks):.1%} | {found.unknown} |"
    )


def main() -> None:
    """Measures what is not known yet and writes the page."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--out", type=Path, default=Path("lathe-out"), help="workspace")
    words = options.parse_args()
    choice = CONDITIONS[0].choice
    outline, setting = Subject(NetworkChoice(NETWORK), choice.batch).wide, choice.make()
    skeleton = outline.skeleton
    plans, seen = timed_plans(skeleton, setting, words.out / "experiments" / "closure-short")
    folder, terminal = words.out / "experiments" / "width_table-short", Terminal()
    store, record = open_store(folder), folder / "profile.json"
    if not record.exists():
        if store.table(setting).cells:
            raise UserError(
                f"{folder} holds a profile that was stopped; remove it: five minutes are five minutes"
            )
        start = time.monotonic()
        title, until_s = f"{NETWORK}, profile", start + 60 * MINUTES
        with Session(setting, until_s=until_s) as session, terminal.progress(title) as progress:
            _, over_widths = profile_with_widths(
                outline, session, store, deadline_s=until_s, progress=progress
            )
        took = {"seconds": time.monotonic() - start, "measured": over_widths.measured}
        write_json(record, {**took, "complete": over_widths.complete})
    ours = answered(skeleton, store.table(setting), seen)
    left = len(pending_networks(outline, store.table(setting)))
    # Each in a store of its own, so that the profile stays what it was.
    profiled = store.archive(setting)
    store.close()

    def copy(name: str) -> Store:
        other = open_store(folder / name)
        if not other.settings():
            other.add(profiled)
        return other

    rows = [line("as profiled", ours, ours.cells, read(record)["seconds"])]
    for name, plan in REMEDIES.items():
        remedy, took_s = copy(name.replace(" ", "_")), folder / f"{name.replace(' ', '_')}.json"
        with Session(setting) as session, terminal.progress(name) as progress:
            seconds = remedied(skeleton, session, remedy, plan, progress)
        if not took_s.exists():
            write_json(took_s, seconds)
        found = answered(skeleton, remedy.table(setting), seen)
        remedy.close()
        rows.append(line(name, found, found.cells, read(record)["seconds"] + read(took_s)))
    grid = copy("grid")
    known_cells = grid.table(setting).cells
    lacking = [part for part in dict.fromkeys(on_grid(skeleton, plans)) if part.key not in known_cells]
    with Session(setting) as session, terminal.progress("grid") as progress:
        for number, part in enumerate(lacking):
            progress(number, len(lacking), f"timing {part.kind}")
            grid.put(setting, part, time_part(session, part))
    full = answered(skeleton, grid.table(setting), seen)
    grid.close()
    rows.append(line("every width of the held-out networks on the grid", full, grid_cells(skeleton), None))
    lines = page(rows, grid_cells(skeleton), read(record), left)
    write_atomically(RESULTS / "width_table.md", ("\n".join(lines).rstrip() + "\n").encode())
    print(f"wrote {RESULTS / 'width_table.md'}")


def timed_plans(
    skeleton: Skeleton, setting: Setting, folder: Path
) -> tuple[list[Cut], dict[Cut, list[Estimate]]]:
    """The held-out networks of `closure.py` and their ratios, of its store or of the table that comes with lathe.

    Raises:
        UserError: neither has them.
    """
    store = open_store(folder)
    tables = [store.table(setting)]
    store.close()
    archives = [read_archive(path) for path in shipped_tables().values()]
    tables += [archive.table() for archive in archives if archive.setting == setting]
    for table in tables:
        plans = held_out(skeleton, table, PLANS["short"])
        seen: dict[Cut, list[Estimate]] = {plan: [] for plan in plans}
        for network in table.measured_networks(skeleton, "closure"):
            if network.cut in seen:
                seen[network.cut].append(network.ratio)
        if all(len(ratios) > 1 for ratios in seen.values()):
            return plans, seen
    raise UserError(
        f"no held-out networks of {skeleton.name} were timed twice; run closure.py --settings 0 first"
    )


def page(rows: Sequence[str], exhaustive: int, profile: Mapping[str, Any], left: int) -> list[str]:
    """The whole page.

    Args:
        rows: of its table.
        exhaustive: cells of the grid.
        profile: what was written down of the five minutes.
        left: timings of whole networks that there was no time for.
    """
    asked = ", ".join(f"{count} {why}" for why, count in profile["measured"].items())
    cells = (
        "with nothing left to ask for over widths"
        if profile["complete"]
        else "stopped by the clock over widths"
    )
    networks = f"with {left} timings of whole networks left" if left else "with all whole networks timed"
    return [
        "# A table over widths in five minutes",
        "",
        origin("width_table", "short"),
        "",
        READING.strip(),
        "",
        f"{NETWORK}, ONNX Runtime, one thread, batch 1: profiled over depth and width in {profile['seconds'] / 60:.1f} minutes (allowed: {MINUTES:.0f}), "
        f"{cells} and {networks} (cells: {asked}). An exhaustive grid of step {STEP} over the same widths has {exhaustive} cells; wanted are at most a third of "
        f"them ({exhaustive // 3}).",
        "",
        "| table | cells over widths | minutes | excess error (rms) | mean abs. error | within 5 % | worst | not answered |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *rows,
    ]


if __name__ == "__main__":
    main()
