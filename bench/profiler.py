"""Network → table: each distinct part timed once, then whole networks that put the parts in context."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from bench.anchor import Anchor, Cell, Move
from bench.session import Handle, MeasurementFailed, Session
from bench.timing import Rule
from latency_tables.part import Part
from latency_tables.store import Store
from latency_tables.table import Failure, LatencyTable, NetworkMeasurement
from latency_tables.trace import Trace
from pruning.outline import Outline
from pruning.search import Progress

#: Whole networks with blocks taken out that the context is fitted on, beside the unpruned one.
FITTED = 4
#: Whole networks that are only used to judge the fit.
HELD_OUT = 3
# Shares of the removable blocks that the measured networks lose: fitted ones at the ends and between, held-out
# ones in the gaps.
_FITTED_SHARES = (0.15, 0.35, 0.6, 0.85)
_HELD_OUT_SHARES = (0.25, 0.5, 0.7)

PART_RULE = Rule()
#: Whole networks decide; they get more time, and their ratio to the unpruned network to half a percent.
NETWORK_RULE = Rule(target=0.005, max_time_s=8.0)


@dataclass(frozen=True, slots=True)
class Profiled:
    """What a profiling run did.

    Attributes:
        parts: distinct parts of the network.
        measured: how many were timed now, successfully; the others were in the store.
        failed: kind and reason of each part that could not be timed.
        networks: whole networks timed now.
        moves: when the machine was seen to change meanwhile, so that parts were timed again.
    """

    parts: int
    measured: int
    failed: tuple[tuple[str, str], ...]
    networks: int
    moves: tuple[Move, ...] = ()


def profile(
    outline: Outline,
    session: Session,
    store: Store,
    *,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> Profiled:
    """Builds or extends the table of a setting with one network's parts.

    Each measurement is stored as soon as it is made. What the store already holds is not measured again, so the
    same call goes on where an earlier one was stopped.

    Args:
        outline: the network.
        session: a session in the setting to measure in.
        store: where measurements go.
        retry_failed: whether parts that failed before are tried again.
        progress: told after each measurement.

    Returns:
        What was done. A part that fails costs its cell, with the reason, and not the job.
    """
    skeleton = outline.skeleton
    table = store.table(session.setting)
    todo = list(table.missing(skeleton))
    if retry_failed:
        todo += [part for part, _ in table.failed(skeleton)]
    networks = pending_networks(outline, table)
    total = len(skeleton.parts) + 1 + FITTED + HELD_OUT
    done = total - len(todo) - len(networks)
    anchor = Anchor(partial(_time_part, session), partial(store.put, session.setting))
    for part in todo:
        if progress is not None:
            progress(done, total, f"timing {part.grain.value} {part.kind}")
        anchor.take(part)
        done += 1
    for removed, role in networks:
        if progress is not None:
            progress(done, total, f"timing the network less {len(removed)} blocks")
        network = time_network(outline, session, removed, role)
        store.put_network(session.setting, skeleton.name, network)
        anchor.look()
        done += 1
    if progress is not None:
        progress(total, total, "profiled")
    failed = store.table(session.setting).failed(skeleton)
    return Profiled(
        parts=len(skeleton.parts),
        measured=len(todo) - sum(part in todo for part, _ in failed),
        failed=tuple((part.kind, reason) for part, reason in failed),
        networks=len(networks),
        moves=anchor.moves,
    )


def pending_networks(outline: Outline, table: LatencyTable) -> list[tuple[tuple[str, ...], str]]:
    """Blocks to take out and role of each whole network that the profile asks for and the table lacks.

    They are drawn with a seed made from the network itself, so that a job that goes on asks for the same.
    """
    skeleton = outline.skeleton
    rng = random.Random(skeleton.digest)  # noqa: S311  which networks to measure is no secret
    blocks = skeleton.removable
    wanted: list[tuple[tuple[str, ...], str]] = [((), "fit")]
    shares = [*((s, "fit") for s in _FITTED_SHARES[:FITTED]), *((s, "closure") for s in _HELD_OUT_SHARES)]
    for share, role in shares:
        removed = _draw(blocks, share, rng)
        if removed and all(removed != other for other, _ in wanted):
            wanted.append((removed, role))
    present = {(n.removed, n.role) for n in table.networks if n.skeleton == skeleton.digest}
    return [entry for entry in wanted if entry not in present]


def time_network(outline: Outline, session: Session, removed: Sequence[str], role: str) -> NetworkMeasurement:
    """Times a network with some blocks taken out, interleaved with the unpruned one.

    Args:
        outline: the unpruned network.
        session: where.
        removed: blocks to take out; none for the unpruned network, which is then timed against itself, so that
            its ratio shows the noise floor.
        role: kept with the measurement.

    Raises:
        MeasurementFailed: the runtime failed.
    """
    graph, weights = outline.without(removed)
    handles: list[Handle] = []
    try:
        handles.append(session.load(outline.skeleton.graph, outline.weights))
        handles.append(session.load(graph, weights))
        unpruned, pruned = handles
        return compare(session, unpruned, pruned, outline.skeleton.digest, removed, role)
    finally:
        for handle in handles:
            session.unload(handle)


def compare(
    session: Session, unpruned: Handle, pruned: Handle, digest: str, removed: Sequence[str], role: str
) -> NetworkMeasurement:
    """Times a loaded network in turns with the unpruned one.

    Args:
        session: where both are loaded.
        unpruned: the reference.
        pruned: the other.
        digest: of the unpruned network's skeleton.
        removed: what the other one lacks.
        role: kept with the measurement.
    """
    (reference, measured), (comparison,) = session.interleave([unpruned, pruned], NETWORK_RULE)
    return NetworkMeasurement(
        skeleton=digest,
        removed=tuple(sorted(removed)),
        latency_s=measured.latency_s,
        unpruned_s=reference.latency_s,
        ratio=comparison.ratio,
        role=role,
        created=measured.created,
        disturbance=measured.host.get("disturbance") or reference.host.get("disturbance"),
        trace=Trace.of(measured.samples_s, reference.samples_s),
    )


def _time_part(session: Session, part: Part) -> Cell:
    try:
        return session.measure(part.graph, rule=PART_RULE)
    except MeasurementFailed as error:
        return Failure(str(error), _now())


def _draw(blocks: Sequence[str], share: float, rng: random.Random) -> tuple[str, ...]:
    count = min(len(blocks), max(1, round(share * len(blocks)))) if blocks else 0
    return tuple(sorted(rng.sample(list(blocks), count)))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
