"""Network → table: each distinct part timed once, then whole networks that put the parts in context."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from bench.anchor import Anchor, Cell, Move, earlier_reading
from bench.asked_networks import PASSES, ROLES, asked_timings, pending_networks
from bench.session import Handle, MeasurementFailed, Session
from bench.spoiled import spoiled_parts
from bench.timing import Comparison, Rule
from latency_tables.measurement import FACTS, GPU, Measurement
from latency_tables.part import Part
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.slow_minutes import is_slow
from latency_tables.store import Store
from latency_tables.table import Failure, NetworkMeasurement
from latency_tables.trace import Trace
from pruning.outline import Outline
from pruning.search import Progress

PART_RULE = Rule()
#: What differs from it where the two events around a sample take microseconds themselves, which are to be a small
#: part of what is timed.
_PART_SAMPLE_S = {"cuda": 1e-3}
#: Whole networks decide; they get more time, and their ratio to the unpruned network to half a percent.
NETWORK_RULE = Rule(target=0.005, max_time_s=8.0)
#: Seconds of rest before a single network's timing is made again because it fell into a slow minute: such stretches
#: were seen to last for about ten.
_RESTS_S = (2.0, 6.0)


@dataclass(frozen=True, slots=True)
class Profiled:
    """What a profiling run did.

    Attributes:
        parts: distinct parts of the network.
        measured: how many were timed now, successfully; the others were in the store.
        failed: kind and reason of each part, and of each whole network, that could not be timed.
        networks: whole networks timed now.
        complete: whether nothing is left to time; False when time was over.
        moves: when the machine was seen to change meanwhile, so that parts were timed again.
    """

    parts: int
    measured: int
    failed: tuple[tuple[str, str], ...]
    networks: int
    complete: bool
    moves: tuple[Move, ...] = ()


def profile(
    outline: Outline,
    session: Session,
    store: Store,
    *,
    retry_failed: bool = False,
    again: Sequence[Part] | None = None,
    roles: Collection[str] = ROLES,
    passes: int = PASSES,
    deadline_s: float = math.inf,
    now_s: Callable[[], float] = time.monotonic,
    progress: Progress | None = None,
) -> Profiled:
    """Builds or extends the table of a setting with one network's parts.

    Each measurement is stored as soon as it is made. What the store already holds is not measured again, so the
    same call goes on where an earlier one was stopped. Only what was spoiled is, once nothing is missing: parts of
    earlier profiles once in each, whole networks `RETRIES` times in all.

    The anchor watches parts only. Whole networks have the unpruned one beside them, which tells a slow minute.

    Args:
        outline: the network.
        session: a session in the setting to measure in.
        store: where measurements go.
        retry_failed: whether parts that failed before are tried again.
        again: parts to time again at the end; None: the network's that were spoiled in earlier profiles.
        roles: of the whole networks to time: those to fit on, those to judge by, or both.
        passes: over those to fit on, earlier ones included.
        deadline_s: nothing is begun after this moment of ``now_s``.
        now_s: a monotonic clock.
        progress: told after each measurement.

    Returns:
        What was done. A part that fails costs its cell, with the reason, and not the job. So does a whole network,
        which the next profile tries again.

    Raises:
        MeasurementFailed: the unpruned network cannot be timed; the cells of its parts are stored.
    """
    skeleton = outline.skeleton
    table = store.table(session.setting)
    todo = list(table.missing(skeleton))
    again = spoiled_parts(skeleton.parts, table) if again is None else again
    if retry_failed:
        todo += [part for part, _ in table.failed(skeleton)]

    def pending() -> list[tuple[Cut, str]]:
        found = pending_networks(outline, store.table(session.setting), passes)
        return [(cut, role) for cut, role in found if role in roles and cut not in broken]

    broken: dict[Cut, str] = {}
    networks = pending()
    total = (
        len(skeleton.parts) + sum(role in roles for _, role in asked_timings(skeleton, passes)) + len(again)
    )
    done = total - len(todo) - len(networks) - len(again)
    anchor = open_anchor(skeleton, session, store, partial(store.put, session.setting), now_s, deadline_s)
    measured = timed = 0

    def take(parts: Sequence[Part]) -> None:
        nonlocal done, measured
        for part in parts:
            if now_s() >= deadline_s:
                break
            if progress is not None:
                progress(done, total, f"timing {part.grain.value} {part.kind}")
            measured += isinstance(anchor.take(part), Measurement)
            done += 1
        anchor.settle()

    take(todo)
    while networks and now_s() < deadline_s:
        for cut, role in networks:
            if now_s() >= deadline_s:
                break
            done += 1
            if cut in broken:
                continue  # another pass over it
            if progress is not None:
                progress(done - 1, total, f"timing the network {cut.words}")
            try:
                network = time_network(outline, session, cut, role)
            except MeasurementFailed as error:
                if not cut:
                    raise  # without the unpruned network nothing can be predicted
                broken[cut] = str(error)
                continue
            store.put_network(session.setting, skeleton.name, network)
            anchor.look()  # which reads it where the last reading could not tell how parts were timed, else not
            timed += 1
        networks = pending()
        total = max(total, done + len(networks) + len(again))  # more where some were spoiled
    if again:
        take(again)
    if progress is not None:
        progress(done, total, "profiled" if done == total else "out of time")
    failed = [(part.kind, reason) for part, reason in store.table(session.setting).failed(skeleton)]
    failed += [(f"the network {cut.words}", reason) for cut, reason in broken.items()]
    return Profiled(
        parts=len(skeleton.parts),
        measured=measured,
        failed=tuple(failed),
        networks=timed,
        complete=done == total,
        moves=anchor.moves,
    )


def open_anchor(
    skeleton: Skeleton,
    session: Session,
    store: Store,
    put: Callable[[Part, Cell], None],
    now_s: Callable[[], float] = time.monotonic,
    deadline_s: float = math.inf,
) -> Anchor:
    """What times a network's parts and watches the machine, by the measure of earlier profiles of these parts.

    Args:
        skeleton: the network's.
        session: where parts are timed.
        store: with the cells of earlier profiles.
        put: stores a cell, in place of an earlier one.
        now_s: a monotonic clock.
        deadline_s: nothing is read or timed again after this moment of ``now_s``.
    """
    table = store.table(session.setting)
    spoiled = set(spoiled_parts(skeleton.parts, table))
    return Anchor(
        partial(time_part, session),
        put,
        now_s,
        earlier=earlier_reading([part for part in skeleton.parts if part not in spoiled], table),
        deadline_s=deadline_s,
    )


def time_network(
    outline: Outline, session: Session, cut: Cut, role: str, quick_s: float | None = None
) -> NetworkMeasurement:
    """Times a network with some blocks and channels taken out, interleaved with the unpruned one.

    Args:
        outline: the unpruned network.
        session: where.
        cut: what to take out; nothing for the unpruned network, which is then timed against itself, so that its
            ratio shows the noise floor.
        role: kept with the measurement.
        quick_s: as for `compare`.

    Raises:
        MeasurementFailed: the runtime failed.
    """
    graph, weights = outline.without(cut.removed, dict(cut.widths))
    handles: list[Handle] = []
    try:
        handles.append(session.load(outline.skeleton.graph, outline.weights))
        handles.append(session.load(graph, weights))
        unpruned, pruned = handles
        return compare(session, unpruned, pruned, outline.skeleton.digest, cut, role, quick_s=quick_s)
    finally:
        for handle in handles:
            session.unload(handle)


def compare(
    session: Session,
    unpruned: Handle,
    pruned: Handle,
    digest: str,
    cut: Cut,
    role: str,
    rule: Rule | None = None,
    quick_s: float | None = None,
) -> NetworkMeasurement:
    """Times a loaded network in turns with the unpruned one.

    Args:
        session: where both are loaded.
        unpruned: the reference.
        pruned: the other.
        digest: of the unpruned network's skeleton.
        cut: what the other one lacks.
        role: kept with the measurement.
        rule: when to stop; None: `NETWORK_RULE`.
        quick_s: the unpruned network's latency when the machine is quick. A timing of a slow minute is then made
            again after a rest, twice at most, and the one with the quickest unpruned network counts; samples of
            the others are among those dropped. None: the first timing counts.
    """
    rule = rule or NETWORK_RULE
    made = partial(_network, digest, cut, role)
    best = session.interleave([unpruned, pruned], rule)
    for rest_s in _RESTS_S:
        if not is_slow(made(*best), quick_s):
            break
        _rest(rest_s)
        again = session.interleave([unpruned, pruned], rule)
        (kept, comparisons), (lost, _) = sorted((best, again), key=lambda taken: taken[0][0].latency_s.value)
        best = (
            tuple(_instead(one, other, SLOWER_MINUTE) for one, other in zip(kept, lost, strict=True)),
            comparisons,
        )
    return made(*best)


_rest = time.sleep

#: Loads of a part that takes less than this on several threads, of which the quickest counts.
_LOADS, _LITTLE_S = 3, 50e-6
#: Samples of the other loads.
SLOWER = "taken in a slower load"
#: Samples of the other timings of a whole network.
SLOWER_MINUTE = "taken in a slower minute"


def _instead(kept: Measurement, lost: Measurement, cause: str) -> Measurement:
    """What counts of two measurements; all samples behind the other one are among those dropped."""
    count = len(lost.samples_s) + sum(lost.dropped.values())
    return replace(kept, dropped={**kept.dropped, cause: kept.dropped.get(cause, 0) + count})


def _network(
    digest: str, cut: Cut, role: str, timed: tuple[Measurement, ...], comparisons: tuple[Comparison, ...]
) -> NetworkMeasurement:
    (reference, measured), (comparison,) = timed, comparisons
    gpu = {GPU: measured.host[GPU]} if GPU in measured.host else {}
    return NetworkMeasurement(
        skeleton=digest,
        removed=cut.removed,
        widths=cut.widths,
        latency_s=measured.latency_s,
        unpruned_s=reference.latency_s,
        ratio=comparison.ratio,
        role=role,
        created=measured.created,
        disturbance=measured.host.get("disturbance") or reference.host.get("disturbance"),
        trace=Trace.of(measured.samples_s, reference.samples_s),
        facts={**measured.host.get(FACTS, {}), **gpu},
        doubts=tuple(finding.doubt.value for finding in comparison.findings),
        dropped=measured.dropped,
        unpruned_dropped=reference.dropped,
        far=measured.far,
        stop=measured.stop,
        rounds=comparison.rounds,
    )


def time_part(session: Session, part: Part) -> Cell:
    """As `measure_part`; a failure is a cell with its reason."""
    try:
        return measure_part(session, part)
    except MeasurementFailed as error:
        return Failure(str(error), datetime.now(UTC).isoformat(timespec="seconds"))


def measure_part(session: Session, part: Part) -> Measurement:
    """Times a part, with random weights.

    Where several threads share little work, in some loads all but one of them sleep throughout, as in no network.
    Such a part is loaded three times, and the quickest load counts.

    Raises:
        MeasurementFailed: the runtime failed.
    """
    kind = session.setting.device.kind
    rule = replace(PART_RULE, min_sample_s=_PART_SAMPLE_S.get(kind, PART_RULE.min_sample_s))
    best = session.measure(part.graph, rule=rule)
    if session.setting.threads > 1 and best.latency_s.value < _LITTLE_S:
        for _ in range(_LOADS - 1):
            again = session.measure(part.graph, rule=rule)
            best, slower = sorted((best, again), key=lambda taken: taken.latency_s.value)
            best = _instead(best, slower, SLOWER)
    return best
