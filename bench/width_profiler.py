"""Extends a table to the widths that a search may ask for."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bench.anchor import Cell, Move
from bench.profiler import Profiled, open_anchor, profile
from bench.session import Session
from bench.spoiled import spoiled_parts
from bench.width_plan import Kin, Point, Wanted, WidthPlan
from latency_tables.costs import Costs, Origin
from latency_tables.family import Family, families
from latency_tables.measurement import Measurement, reordering_told
from latency_tables.part import Part
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.store import Store
from latency_tables.surfaces import known_points, timed_parts
from latency_tables.table import Failure, LatencyTable
from pruning.outline import Outline
from pruning.search import Progress


@dataclass(frozen=True, slots=True)
class WidthsProfiled:
    """What was done.

    Attributes:
        families: kinds of layers whose widths vary.
        measured: cells timed now, by why they were asked for.
        failed: kind with its widths, and reason, of each cell asked for that could not be timed, now or before.
        complete: whether nothing is left to ask for; False when time was over, or a part at full width failed, so
            that nothing was begun.
        moves: when the machine was seen to change meanwhile, so that parts were timed again.
    """

    families: int
    measured: dict[str, int]
    failed: tuple[tuple[str, str], ...]
    complete: bool
    moves: tuple[Move, ...] = ()


def profile_depth(
    outline: Outline,
    session: Session,
    store: Store,
    *,
    retry_failed: bool = False,
    deadline_s: float = math.inf,
    progress: Progress | None = None,
) -> tuple[Profiled, None]:
    """A table over depth alone, called as `profile_with_widths` is."""
    done = profile(
        outline, session, store, retry_failed=retry_failed, deadline_s=deadline_s, progress=progress
    )
    return done, None


def profile_with_widths(
    outline: Outline,
    session: Session,
    store: Store,
    *,
    retry_failed: bool = False,
    deadline_s: float = math.inf,
    progress: Progress | None = None,
) -> tuple[Profiled, WidthsProfiled]:
    """A table over depth and width: parts, networks to fit on, parts at other widths, networks to judge by.

    In this order, so that whoever runs out of time lacks what matters least; networks to fit on once at first, and
    again towards the end. What earlier profiles left spoiled comes last, and then the widths that it turns out to
    ask for: a machine that goes on spoiling cells is to get a whole table all the same. Arguments as in
    `bench.profiler.profile` and `profile_widths`; the outline's skeleton has channel groups.
    """
    skeleton, table = outline.skeleton, store.table(session.setting)
    spoiled = spoiled_parts(timed_parts(skeleton, table), table)
    fitted = profile(
        outline,
        session,
        store,
        retry_failed=retry_failed,
        again=(),
        roles=("fit",),
        passes=1,
        deadline_s=deadline_s,
        progress=progress,
    )
    if store.table(session.setting).failed(skeleton) or not fitted.complete:
        return fitted, WidthsProfiled(0, {}, (), complete=False)
    over_widths = profile_widths(
        skeleton, session, store, retry_failed=retry_failed, deadline_s=deadline_s, progress=progress
    )
    judged = profile(outline, session, store, again=spoiled, deadline_s=deadline_s, progress=progress)
    if spoiled and judged.complete and not store.table(session.setting).failed(skeleton):
        more = profile_widths(skeleton, session, store, deadline_s=deadline_s, progress=progress)
        over_widths = replace(
            more,
            measured=dict(Counter(over_widths.measured) + Counter(more.measured)),
            moves=over_widths.moves + more.moves,
        )
    # What failed at first was tried again by then, unless time was over before.
    failed = judged.failed if judged.complete else tuple(dict.fromkeys(fitted.failed + judged.failed))
    done = replace(
        fitted,
        measured=fitted.measured + judged.measured,
        failed=failed,
        networks=fitted.networks + judged.networks,
        complete=judged.complete,
        moves=fitted.moves + judged.moves,
    )
    return done, over_widths


def profile_widths(
    skeleton: Skeleton,
    session: Session,
    store: Store,
    *,
    retry_failed: bool = False,
    deadline_s: float = math.inf,
    now_s: Callable[[], float] = time.monotonic,
    progress: Progress | None = None,
) -> WidthsProfiled:
    """Measures parts at other widths, the most valuable first; what the store holds is not measured again.

    What is timed again because the machine moved is known before anything is decided by it; what was decided by
    then is looked at once more.

    Args:
        skeleton: with channel groups; its parts at full width were measured before.
        session: in the setting to measure in.
        store: where measurements go.
        retry_failed: whether cells that failed before are tried again.
        deadline_s: nothing is begun after this moment of ``now_s``.
        now_s: a monotonic clock.
        progress: told before each measurement, with an estimate of how many there are.

    Returns:
        What was done. A part that fails costs its cell, with the reason, and not the job.

    Raises:
        UserError: a part at full width has no cell.
    """
    table = store.table(session.setting)
    kin = find_kin(skeleton, table)
    known = known_points(skeleton, [one.family for one in kin], table)
    left_out = table.tells_reordering(skeleton)

    def put(part: Part, cell: Cell) -> None:
        store.put(session.setting, part, cell)
        learn(kin, known, part, cell, left_out=left_out)

    anchor = open_anchor(skeleton, session, store, put, now_s, deadline_s)
    measured: dict[str, int] = {}
    failed: list[tuple[str, str]] = []

    def done_so_far(*, complete: bool) -> WidthsProfiled:
        return WidthsProfiled(len(kin), measured, tuple(failed), complete, anchor.moves)

    tried: set[tuple[str, Point]] = set()
    while True:
        moves, asked = len(anchor.moves), len(tried)
        for stage in WidthPlan(kin, known).stages():
            for wanted in stage:
                if (wanted.family.pattern, wanted.values) in tried:
                    continue
                tried.add((wanted.family.pattern, wanted.values))
                part = wanted.family.at(wanted.values)
                before = table.cells.get(part.key)
                if before is not None and not retry_failed:
                    if isinstance(before, Failure):
                        failed.append((_place(wanted), before.reason))
                    continue  # it failed before
                if now_s() >= deadline_s:
                    return done_so_far(complete=False)
                if progress is not None:
                    done = sum(measured.values())
                    progress(done, max(done + 1, _expected(kin, known)), _words(wanted))
                cell = anchor.take(part)
                if isinstance(cell, Failure):
                    failed.append((_place(wanted), cell.reason))
                else:
                    measured[wanted.why] = measured.get(wanted.why, 0) + 1
            # The next stage is decided by what this one found: not by a slow minute, where that is over.
            anchor.settle()
        # Steps read in a slow minute that ended later misplaced what came after them. Each turn but the last asks
        # for points that were never asked for, so turns end.
        if len(anchor.moves) == moves or len(tried) == asked:
            break
    return done_so_far(complete=True)


def learn(
    kin: Sequence[Kin], known: dict[str, dict[Point, float]], part: Part, cell: Cell, *, left_out: bool
) -> None:
    """Brings what is known of widths up to date with a cell just stored, in every family that it belongs to.

    Args:
        kin: the layers.
        known: as `known_points` has it.
        part: that was timed.
        cell: what came of it.
        left_out: whether what a part alone only lays out anew is left out, as it is there where all parts of the
            network tell it.
    """
    for one in kin:
        for values in one.family.points((part.key,)):
            if isinstance(cell, Measurement):
                share = reordering_told(cell.host) if left_out else None
                known[one.family.pattern][values] = cell.latency_s.value * (1.0 - (share or 0.0))
            else:
                known[one.family.pattern].pop(values, None)


def find_kin(skeleton: Skeleton, table: LatencyTable) -> list[Kin]:
    """Layers with varying widths, those that share their cells together.

    Raises:
        UserError: a part at full width has no cell.
    """
    costs = Costs(skeleton, table)
    layers: dict[str, list[tuple[float, Family]]] = {}
    for family, latency_s in zip(families(skeleton), costs.layers_s, strict=True):
        if family.axes:
            layers.setdefault(family.pattern, []).append((latency_s, family))
    return [
        Kin(
            family=max(members, key=lambda member: member[0])[1],
            full=tuple(dict.fromkeys(family.full for _, family in members)),
            worth_s=math.fsum(latency_s for latency_s, _ in members),
        )
        for members in layers.values()
    ]


def _expected(kin: Sequence[Kin], known: Mapping[str, Mapping[Point, float]]) -> int:
    """About how many cells there will be; probes are a guess."""
    return sum(max(len(known[one.family.pattern]), 4 ** min(len(one.family.axes), 2)) for one in kin)


def _words(wanted: Wanted) -> str:
    return f"timing {_place(wanted)} ({wanted.why})"


def _place(wanted: Wanted) -> str:
    return f"{wanted.family.part.kind} at {'x'.join(map(str, wanted.values))}"


@dataclass(frozen=True, slots=True)
class Filled:
    """What was measured for one plan.

    Attributes:
        measured: cells timed now.
        failed: kind and reason of each cell that could not be timed.
    """

    measured: int
    failed: tuple[tuple[str, str], ...]


def fill(
    skeleton: Skeleton, cut: Cut, session: Session, store: Store, progress: Progress | None = None
) -> Filled:
    """Measures what a table lacks for one plan: parts at full width, then layers that stay at the widths asked for.

    Those that failed before are tried again. The anchor of earlier profiles is read before and after.

    Args:
        skeleton: the unpruned network, with channel groups.
        cut: the plan.
        session: in the setting to measure in.
        store: where measurements go.
        progress: told before each measurement.

    Returns:
        What was done. A part that fails costs its cell, with the reason; one at full width all that is narrower.

    Raises:
        UserError: no width of the network.
    """
    anchor = open_anchor(skeleton, session, store, partial(store.put, session.setting))
    failed: list[tuple[str, str]] = []
    measured = 0

    def take(lacking: Collection[Part]) -> None:
        nonlocal measured
        for done, part in enumerate(lacking):
            if progress is not None:
                progress(done, len(lacking), f"timing {part.kind}")
            cell = anchor.take(part)
            if isinstance(cell, Failure):
                failed.append((part.kind, cell.reason))
            else:
                measured += 1

    cells = store.table(session.setting).cells
    take([part for part in skeleton.parts if not isinstance(cells.get(part.key), Measurement)])
    if not failed:
        costs = Costs(skeleton, store.table(session.setting)).layers_at(dict(cut.widths))
        layers = skeleton.narrowed(dict(cut.widths)).layers
        take(
            dict.fromkeys(
                layer.part
                for layer, cost in zip(layers, costs, strict=True)
                if cost.origin is not Origin.MEASURED and layer.block not in cut.removed
            )
        )
    anchor.settle()
    return Filled(measured, tuple(failed))
