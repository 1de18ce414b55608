"""What runtimes told when they made whole networks ready: compiling, graph breaks, builds, launches, nodes left."""

from __future__ import annotations

from typing import Any

from bench.terminal import Terminal, time_text
from latency_tables.skeleton import Skeleton
from latency_tables.table import LatencyTable, NetworkMeasurement


def whole_networks(skeleton: Skeleton, table: LatencyTable) -> list[NetworkMeasurement]:
    """Every whole network cut from a skeleton, oldest first."""
    return [network for network in table.networks if network.skeleton == skeleton.digest]


def launch_cost(skeleton: Skeleton, table: LatencyTable) -> dict[str, float] | None:
    """What the unpruned network takes queued and as it is issued, seconds; None where that was not measured."""
    return _of_unpruned(skeleton, table).get("launch")


def facts_json(skeleton: Skeleton, table: LatencyTable) -> dict[str, Any]:
    """As plain values; what a runtime does not tell is empty or null."""
    unpruned = _of_unpruned(skeleton, table)
    return {
        "compile_s": _compile_s(skeleton, table),
        "graph_breaks": unpruned.get("graph_breaks", {}),
        "builds_s": unpruned.get("builds_s", []),
        "launch": unpruned.get("launch"),
        "ran_elsewhere": unpruned.get("ran_elsewhere", {}),
        "ran_in_floats": unpruned.get("ran_in_floats", {}),
    }


def show_facts(terminal: Terminal, skeleton: Skeleton, table: LatencyTable) -> None:
    """In sentences; nothing where there is nothing to tell."""
    unpruned = _of_unpruned(skeleton, table)
    said = []
    if seconds := _compile_s(skeleton, table):
        fewest, most = min(seconds), max(seconds)
        said.append(
            f"compiling a whole network took {fewest:.1f} to {most:.1f} s, which is no part of its latency"
        )
    for reason, count in unpruned.get("graph_breaks", {}).items():
        said.append(f"  graph break: {reason} ({count} times)")
    if len(builds := unpruned.get("builds_s", [])) > 1:
        spread = max(builds) / min(builds) - 1
        said.append(
            f"{len(builds)} builds of the unpruned network are {spread:.1%} apart, {time_text(min(builds))} to "
            f"{time_text(max(builds))}; intervals hold for the middle one"
        )
    if launch := unpruned.get("launch"):
        issued, queued = time_text(launch["issued_s"]), time_text(launch["queued_s"])
        said.append(f"the unpruned network takes {queued} of work, and {issued} as it is issued")
    for provider, names in unpruned.get("ran_elsewhere", {}).items():
        said.append(f"  left to {provider}: {len(names)} nodes of the unpruned network: {', '.join(names)}")
    if floats := unpruned.get("ran_in_floats"):
        kinds = ", ".join(f"{count} {kind}" for kind, count in floats.items())
        said.append(f"  computed in floats, not in integers, of the unpruned network: {kinds}")
    for line in said:
        terminal.results.print(line)


def _compile_s(skeleton: Skeleton, table: LatencyTable) -> list[float]:
    found = whole_networks(skeleton, table)
    return [network.facts["compile_s"] for network in found if "compile_s" in network.facts]


def _of_unpruned(skeleton: Skeleton, table: LatencyTable) -> dict[str, Any]:
    """What was told of the unpruned network when it was last timed."""
    found = [network for network in whole_networks(skeleton, table) if not network.cut]
    return dict(found[-1].facts) if found else {}
