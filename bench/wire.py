"""What the session and its worker exchange: records as JSON objects, arrays as .npz files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.runtimes.base import NodeProfile, NodeTime
from bench.timing import Comparison, Rule, Verdict
from latency_tables.diagnosis import Finding
from latency_tables.estimate import Estimate
from latency_tables.measurement import Measurement, Stop

#: What to do where memory is short.
LESS_MEMORY = "Choose a smaller --batch or network, or free what others hold."


def rule_to_json(rule: Rule) -> dict[str, Any]:
    """A stopping rule as a dictionary."""
    return asdict(rule)


def rule_from_json(data: Mapping[str, Any]) -> Rule:
    """Reads what `rule_to_json` wrote."""
    return Rule(**data)


def measurement_to_json(measurement: Measurement) -> dict[str, Any]:
    """A measurement as a dictionary."""
    return {
        "samples_s": list(measurement.samples_s),
        "warmup": measurement.warmup,
        "stop": measurement.stop.value,
        "created": measurement.created,
        "dropped": dict(measurement.dropped),
        "inner": measurement.inner,
        "host": dict(measurement.host),
    }


def measurement_from_json(data: Mapping[str, Any]) -> Measurement:
    """Reads what `measurement_to_json` wrote."""
    return Measurement(
        **{**data, "samples_s": tuple(data["samples_s"]), "stop": Stop(data["stop"])},
    )


def comparison_to_json(comparison: Comparison) -> dict[str, Any]:
    """A comparison as a dictionary."""
    return {
        "ratio": comparison.ratio.to_json(),
        "verdict": comparison.verdict.value,
        "rounds": comparison.rounds,
        "findings": [finding.to_json() for finding in comparison.findings],
    }


def comparison_from_json(data: Mapping[str, Any]) -> Comparison:
    """Reads what `comparison_to_json` wrote."""
    return Comparison(
        Estimate.from_json(data["ratio"]),
        Verdict(data["verdict"]),
        data["rounds"],
        tuple(map(Finding.from_json, data["findings"])),
    )


def nodes_to_json(profile: NodeProfile) -> dict[str, Any]:
    """What a runtime's nodes take, as a dictionary."""
    return asdict(profile)


def nodes_from_json(data: Mapping[str, Any]) -> NodeProfile:
    """Reads what `nodes_to_json` wrote."""
    nodes = tuple(NodeTime(**{**node, "operators": tuple(node["operators"])}) for node in data["nodes"])
    return NodeProfile(nodes, data["whole_s"])


def write_arrays(path: Path, arrays: Sequence[NDArray[Any]]) -> None:
    """Writes arrays to an .npz file, in order."""
    with path.open("wb") as file:
        np.savez(file, *arrays)


def read_arrays(path: Path) -> list[NDArray[Any]]:
    """Reads what `write_arrays` wrote."""
    with np.load(path, allow_pickle=False) as archive:
        return [archive[f"arr_{index}"] for index in range(len(archive.files))]
