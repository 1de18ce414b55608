"""What to doubt in a table just profiled: samples that claim too much, and what was spoiled when it was timed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from bench.core_watch import SLOWED
from bench.fact_views import whole_networks
from bench.near_cores import taken_far
from bench.spoiled import spoiled_parts, taken_disturbed, taken_unsettled
from bench.terminal import Terminal
from latency_tables.measurement import THROTTLED, Measurement
from latency_tables.part import Part
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.surfaces import timed_parts
from latency_tables.table import LatencyTable, NetworkMeasurement


def doubts(skeleton: Skeleton, table: LatencyTable) -> dict[str, int]:
    """Of how many of a network's parts the samples drift, depend on each other or have two modes."""
    measured = _measured(timed_parts(skeleton, table), table)
    return dict(Counter(finding.doubt.value for cell in measured for finding in cell.findings))


def network_doubts(skeleton: Skeleton, table: LatencyTable) -> dict[str, int]:
    """Of how many timings of whole networks the paired ratios do so."""
    return dict(Counter(doubt for network in whole_networks(skeleton, table) for doubt in network.doubts))


def doubts_json(skeleton: Skeleton, table: LatencyTable) -> dict[str, Any]:
    """As plain values: how many parts, and timings of whole networks."""
    timed, networks = timed_parts(skeleton, table), whole_networks(skeleton, table)
    return {
        "doubts": doubts(skeleton, table),
        "network_doubts": network_doubts(skeleton, table),
        "taken_far": len(taken_far(timed, table)),
        "taken_disturbed": len(taken_disturbed(timed, table)),
        "taken_unsettled": len(taken_unsettled(timed, table)),
        "networks_far": sum(network.far for network in networks),
        "networks_disturbed": sum(network.disturbance is not None for network in networks),
        "gpu_remarks": _remarks(_measured(timed, table)),
        "networks_gpu_remarks": _remarks(networks),
        "dropped_throttled": _throttled(_dropped(_measured(timed, table))),
        "networks_dropped_throttled": _throttled(_dropped(networks)),
        "dropped_slowed": _dropped(_measured(timed, table)).get(SLOWED, 0),
        "networks_dropped_slowed": _dropped(networks).get(SLOWED, 0),
    }


def spoiled_beneath(skeleton: Skeleton, table: LatencyTable, cut: Cut) -> list[str]:
    """Names of the layers and blocks on whose spoiled cells the prediction of a plan rests, those that stay."""
    layers = skeleton.narrowed(dict(cut.widths)).layers
    stay = [(layer.name, layer.part) for layer in layers if layer.block not in cut.removed]
    stay += [(block.name, block.part) for block in skeleton.blocks if block.name not in cut.removed]
    spoiled = set(spoiled_parts([part for _, part in stay], table))
    return [name for name, part in stay if part in spoiled]


def show_doubts(terminal: Terminal, skeleton: Skeleton, table: LatencyTable) -> None:
    """In sentences, with what to do; nothing where there is nothing to doubt."""
    timed, networks = timed_parts(skeleton, table), whole_networks(skeleton, table)
    said = [
        f"{doubt}: in the samples of {count} of {len(timed)} parts; their intervals claim too much"
        for doubt, count in doubts(skeleton, table).items()
    ]
    said += [
        f"{doubt}: in the ratios of {count} timings of whole networks; their intervals claim too much"
        for doubt, count in network_doubts(skeleton, table).items()
    ]
    if disturbed := taken_disturbed(timed, table):
        said.append(
            f"{len(disturbed)} of {len(timed)} parts were disturbed in every attempt "
            f"({_causes(disturbed, table)}); the same command times them again: run it when the machine is quiet "
            "(`lathe devices` tells)"
        )
    if unsettled := taken_unsettled(timed, table):
        said.append(
            f"{len(unsettled)} of {len(timed)} parts were timed while the anchor moved, so nobody knows on how "
            "slow a machine; the same command times them again"
        )
    causes = Counter(network.disturbance for network in networks if network.disturbance is not None)
    said += [
        f"disturbed by {cause}: {count} of {len(networks)} timings of whole networks; they count only where a "
        "network has no others"
        for cause, count in causes.items()
    ]
    if far := taken_far(timed, table):
        said.append(
            f"{len(far)} of {len(timed)} parts were timed while the cores lay far apart, the others while they "
            "were near, so they do not belong together; the same command times them again"
        )
    if 0 < (apart := sum(network.far for network in networks)) < len(networks):
        said.append(
            f"{apart} of {len(networks)} timings of whole networks were made while the cores lay far apart; they "
            "count only where a network has no others"
        )
    said += [
        f"{remark}: while {count} of {len(timed)} parts were timed; they are not timed again for that"
        for remark, count in _remarks(_measured(timed, table)).items()
    ]
    said += [
        f"{remark}: during {count} of {len(networks)} timings of whole networks; they count"
        for remark, count in _remarks(networks).items()
    ]
    for timings, whose in ((_measured(timed, table), "parts"), (networks, "whole networks")):
        said += [
            f"{cause}: {count} samples of {whose} were left out for that; what is left counts"
            for cause, count in _dropped(timings).items()
        ]
    for line in said:
        terminal.results.print(f"  {line}")


def _measured(parts: Iterable[Part], table: LatencyTable) -> list[Measurement]:
    cells = [table.cells[part.key] for part in parts]
    return [cell for cell in cells if isinstance(cell, Measurement)]


def _remarks(timed: Iterable[Measurement | NetworkMeasurement]) -> dict[str, int]:
    """In how many of them each remark was made, in how many samples aside."""
    return dict(Counter(remark.partition(" in ")[0] for one in timed for remark in one.remarks))


def _dropped(timed: Iterable[Measurement | NetworkMeasurement]) -> dict[str, int]:
    """How many samples were left out since the GPU was throttled or the core slowed, by cause."""
    found: Counter[str] = Counter()
    for one in timed:
        unpruned = one.unpruned_dropped if isinstance(one, NetworkMeasurement) else {}
        for dropped in (one.dropped, unpruned):
            found.update({cause: n for cause, n in dropped.items() if cause.startswith((THROTTLED, SLOWED))})
    return dict(found)


def _throttled(dropped: dict[str, int]) -> dict[str, int]:
    return {cause: count for cause, count in dropped.items() if cause.startswith(THROTTLED)}


def _causes(parts: list[Part], table: LatencyTable) -> str:
    found = Counter(cell.disturbance for cell in _measured(parts, table))
    return ", ".join(f"{cause}: {count}" for cause, count in found.items())
