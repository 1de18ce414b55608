"""Which execution providers ran a network's nodes, in what numbers and for what, by ONNX Runtime's profile of runs.

A session falls back without a word for each node that its provider does not take. Forbidding that by the option
``session.disable_cpu_ep_fallback`` would refuse most networks, since reckoning with shapes is left to the CPU on
purpose; so it is seen afterwards what was left to whom.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from bench.runtimes.base import UnsupportedOperatorError

CPU_PROVIDER = "CPUExecutionProvider"
#: How the events of a node's own work end.
TIMED = "_kernel_time"
# The most numbers in a result that are taken for a shape, an axis or a scale.
_BOOKKEEPING = 16
# Operators that multiply floats, as ONNX has them and as ONNX Runtime fuses them.
_FLOATS = frozenset({"Conv", "ConvTranspose", "FusedConv", "FusedGemm", "FusedMatMul", "Gemm", "MatMul"})
# Operators that turn a tensor into the layout of ONNX Runtime's convolutions, and back.
_REORDERS = frozenset({"ReorderInput", "ReorderOutput"})
# The profile counts whole microseconds and cuts off the rest, which is as much in the mean.
_CUT_OFF_US = 0.5
# Nodes that a message names.
_NAMED = 5


def node_events(profile: bytes) -> list[dict[str, Any]]:
    """The events of nodes' own work in a profile, in the order of time.

    Args:
        profile: the file that a session wrote.
    """
    events = json.loads(profile)
    return [event for event in events if event.get("cat") == "Node" and event["name"].endswith(TIMED)]


def ran_elsewhere(events: Sequence[Mapping[str, Any]], provider: str) -> dict[str, list[str]]:
    """The nodes that other providers ran than the one that is timed.

    Args:
        events: of a run, see `node_events`.
        provider: that is timed.

    Returns:
        Names of nodes by provider; of the CPU's only such as reckon with shapes, or the network is refused.

    Raises:
        UnsupportedOperatorError: the CPU computed something, or the provider ran nothing at all.
    """
    others = [event for event in events if event["args"]["provider"] != provider]
    computed = [
        event
        for event in others
        if event["args"]["provider"] == CPU_PROVIDER and _numbers(event) > _BOOKKEEPING
    ]
    if computed:
        raise _refusal(computed, provider, "ONNX Runtime leaves it to the CPU")
    if others and len(others) == len(events):
        raise _refusal(others, provider, "it takes no node of the network")
    found: dict[str, list[str]] = {}
    for event in others:
        found.setdefault(event["args"]["provider"], []).append(_name(event))
    return found


def ran_in_floats(events: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many nodes multiplied floats where integers were asked for, by operator.

    Args:
        events: of a run, see `node_events`.
    """
    return dict(Counter(kind for event in events if (kind := event["args"]["op_name"]) in _FLOATS))


def reordering(events: Sequence[Mapping[str, Any]]) -> float:
    """The share of the nodes' time in such as only lay a tensor out anew, 0 to 1.

    Args:
        events: of several runs, see `node_events`; what a node took first, with cold caches, is left out.
    """
    begun: set[str] = set()
    every_us = reorders_us = 0.0
    for event in events:
        if event["name"] in begun:
            taken_us = event["dur"] + _CUT_OFF_US
            every_us += taken_us
            reorders_us += taken_us if event["args"]["op_name"] in _REORDERS else 0.0
        begun.add(event["name"])
    return reorders_us / every_us if every_us else 0.0


def _refusal(left: Sequence[Mapping[str, Any]], provider: str, why: str) -> UnsupportedOperatorError:
    names = ", ".join(_name(event) for event in left[:_NAMED])
    more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    detail = f"{why} (nodes {names}{more}), and that would be timed as {provider}"
    return UnsupportedOperatorError(left[0]["args"]["op_name"], f"ONNX Runtime's {provider}", detail)


def _name(event: Mapping[str, Any]) -> str:
    return str(event["name"]).removesuffix(TIMED)


def _numbers(event: Mapping[str, Any]) -> int:
    """How many numbers the node's largest result has."""
    shapes = [shape for told in event["args"].get("output_type_shape", ()) for shape in told.values()]
    return max(map(prod, shapes), default=0)
