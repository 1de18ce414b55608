"""Findings about what runtimes made of the unpruned network: where a setting's name does not hold for all of it."""

from __future__ import annotations

from collections.abc import Iterator

from reports.charts import TOLERANCE
from reports.finding import Finding, Kind, Level, counted, listed
from reports.scenes import Scene
from reports.units import plain_latency

_NAMED = 3


def in_floats(scene: Scene) -> Iterator[Finding]:
    """What multiplies floats though integers were asked for."""
    if scene.facts is None or not scene.facts.ran_in_floats:
        return
    counts = scene.facts.ran_in_floats
    kinds = listed([f"{count} {kind}" for kind, count in counts.items()])
    yield Finding(
        Kind.FLOATS,
        Level.HAZARD,
        f"{counted(sum(counts.values()), 'node')} of the unpruned network ran in floats, not integers ({kinds}).",
        "Integers make them no faster, and numbers are converted on the way there and back; latency and accuracy "
        "are those of this mixture.",
        "Name the runtime in one sweep with and without this precision, and choose by what both measure.",
        "points",
        62,
    )


def broken(scene: Scene) -> Iterator[Finding]:
    """Where a compiler gave up, and PyTorch runs on as it is."""
    if scene.facts is None or not scene.facts.graph_breaks:
        return
    breaks = scene.facts.graph_breaks
    reasons = listed([f"“{reason}” ({counted(count, 'time')})" for reason, count in breaks.items()], _NAMED)
    yield Finding(
        Kind.BREAKS,
        Level.HAZARD,
        f"The compiler broke the unpruned network's graph {counted(sum(breaks.values()), 'time')}: {reasons}.",
        "There PyTorch runs on as it is, and nothing is fused across; latencies are those of the pieces.",
        "Replace in the network what the reasons name, or serve it in a runtime that takes all of it.",
        "points",
        61,
    )


def left_to_others(scene: Scene) -> Iterator[Finding]:
    """Nodes that another provider ran than the one that is timed."""
    if scene.facts is None or not scene.facts.ran_elsewhere:
        return
    providers = scene.facts.ran_elsewhere
    left = "; ".join(
        f"{who} {len(names)} ({listed(list(names), _NAMED)})" for who, names in providers.items()
    )
    yield Finding(
        Kind.PROVIDERS,
        Level.HAZARD,
        f"Not all nodes of the unpruned network ran where they were asked to; others took: {left}.",
        "Latencies are those of all providers together, with what is handed over between them.",
        "Time another provider as well (--option provider=NAME), or replace these operators in the network.",
        "points",
        60,
    )


def launches_unknown(scene: Scene) -> Iterator[Finding]:
    """Why nobody can say whether launches or work are what the network costs."""
    if scene.facts is None or scene.facts.launch_unknown is None:
        return
    yield Finding(
        Kind.LAUNCHING,
        Level.NOTE,
        f"What launching costs the unpruned network is not known: {scene.facts.launch_unknown}",
        "So nobody can say here whether less work makes it faster where each launch is waited for.",
        "Time it with CUDA graphs as well (--option launch=graph), which take their launches as one.",
        "points",
        26,
    )


def builds_apart(scene: Scene) -> Iterator[Finding]:
    """How far several builds of one network are from each other."""
    if scene.facts is None or len(scene.facts.builds_s) < 2:
        return
    builds_s = scene.facts.builds_s
    quick_s, slow_s = min(builds_s), max(builds_s)
    apart = slow_s / quick_s - 1.0
    yield Finding(
        Kind.BUILDS,
        Level.HAZARD if apart > TOLERANCE else Level.NOTE,
        f"{len(builds_s)} builds of the unpruned network are {100 * apart:.1f} % apart, "
        f"{plain_latency(quick_s)} to {plain_latency(slow_s)}.",
        "Building a network again may change its latency by so much; an interval holds for the middle build alone.",
        "Take no smaller difference between two networks for a gain.",
        "points",
        55 if apart > TOLERANCE else 27,
    )
