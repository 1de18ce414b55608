"""What a runtime made of a network: its own nodes, what they take, and which layers are in them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from bench.runtimes.base import NodeProfile, NodeTime
from bench.terminal import Terminal, time_text
from latency_tables.skeleton import Skeleton


def node_rows(skeleton: Skeleton, removed: Collection[str], profile: NodeProfile) -> list[dict[str, Any]]:
    """The nodes with the names of the layers that each is known to compute, as plain values.

    Args:
        skeleton: the unpruned network.
        removed: blocks that were taken out before it was profiled.
        profile: of what was left.
    """
    homes = {
        place: layer.name
        for layer in skeleton.layers
        for place in layer.operators
        if layer.block not in removed
    }
    names = [homes[place] for place in sorted(homes)]
    return [
        {
            "name": node.name,
            "kind": node.kind,
            "seconds": node.seconds,
            "layers": list(dict.fromkeys(names[place] for place in node.operators)),
        }
        for node in profile.nodes
    ]


def nodes_json(skeleton: Skeleton, removed: Collection[str], profile: NodeProfile) -> dict[str, Any]:
    """A runtime's own account as plain values."""
    return {
        "whole_s": profile.whole_s,
        "gap": profile.gap,
        "unmapped_s": sum(node.seconds for node in _unmapped(profile)),
        "nodes": node_rows(skeleton, removed, profile),
    }


def show_nodes(
    terminal: Terminal, skeleton: Skeleton, removed: Collection[str], profile: NodeProfile
) -> None:
    """A runtime's own account as a table, in the order of execution."""
    total_s = sum(node.seconds for node in profile.nodes)
    rows = [
        [
            row["name"],
            row["kind"],
            ", ".join(row["layers"]) or "(of no layer that is known)",
            time_text(row["seconds"]),
            f"{row['seconds'] / total_s:.1%}",
        ]
        for row in node_rows(skeleton, removed, profile)
    ]
    columns = ["node", "kind", "layers in it", "time", "share"]
    terminal.show("\nThe runtime's own account, which slows it", columns, rows)
    unmapped_s = sum(node.seconds for node in _unmapped(profile))
    gap = f"{profile.gap:.1%} less than" if profile.gap >= 0 else f"{-profile.gap:.1%} more than"
    at_once = "" if profile.gap >= 0 else ", since some run at the same time"
    terminal.results.print(
        f"{len(profile.nodes)} nodes take {time_text(total_s)}, {gap} the {time_text(profile.whole_s)} of the "
        f"whole while they are timed{at_once}; {time_text(unmapped_s)} of it is of no layer that is known"
    )


def _unmapped(profile: NodeProfile) -> list[NodeTime]:
    return [node for node in profile.nodes if not node.operators]
