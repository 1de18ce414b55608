"""Records as plain values, the same in a database and in an exported file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from latency_tables.estimate import Estimate
from latency_tables.measurement import Measurement, Stop
from latency_tables.table import NetworkMeasurement
from latency_tables.trace import Trace

# Those have a column of their own; all other fields of a measurement go into its details.
_IN_COLUMNS = frozenset({"samples_s", "created"})


def details_text(measurement: Measurement) -> str:
    """All of a measurement but its samples and its date, as one JSON object with sorted keys."""
    details: dict[str, Any] = {}
    for field in fields(measurement):
        if field.name not in _IN_COLUMNS:
            value = getattr(measurement, field.name)
            details[field.name] = dict(value) if isinstance(value, Mapping) else value
    details["stop"] = measurement.stop.value
    return _compact(details)


def measurement_of(samples_s: tuple[float, ...], created: str, details: Mapping[str, Any]) -> Measurement:
    """Puts a measurement together again.

    Args:
        samples_s: seconds.
        created: when.
        details: what `details_text` wrote, parsed.

    Raises:
        ValueError, TypeError or KeyError: the details are no measurement's.
    """
    return Measurement(samples_s=samples_s, created=created, **{**details, "stop": Stop(details["stop"])})


def network_text(network: NetworkMeasurement) -> str:
    """The measurement of a whole network as one JSON object with sorted keys."""
    return _compact(
        {
            "skeleton": network.skeleton,
            "removed": sorted(network.removed),
            "widths": [list(width) for width in network.widths],
            "latency_s": network.latency_s.to_json(),
            "unpruned_s": network.unpruned_s.to_json(),
            "ratio": network.ratio.to_json(),
            "role": network.role,
            "created": network.created,
            "disturbance": network.disturbance,
            "trace": None if network.trace is None else network.trace.to_json(),
            "facts": dict(network.facts),
            "doubts": list(network.doubts),
            "dropped": dict(network.dropped),
            "unpruned_dropped": dict(network.unpruned_dropped),
            "far": network.far,
            "stop": None if network.stop is None else network.stop.value,
            "rounds": network.rounds,
        }
    )


def network_of(data: Mapping[str, Any]) -> NetworkMeasurement:
    """Reads what `network_text` wrote, parsed.

    Raises:
        ValueError, TypeError or KeyError: it is no such measurement.
    """
    trace, stop = data.get("trace"), data.get("stop")  # older rows have none
    return NetworkMeasurement(
        skeleton=data["skeleton"],
        removed=tuple(_list(data["removed"])),
        latency_s=Estimate.from_json(data["latency_s"]),
        unpruned_s=Estimate.from_json(data["unpruned_s"]),
        ratio=Estimate.from_json(data["ratio"]),
        role=data["role"],
        created=data["created"],
        disturbance=data["disturbance"],
        trace=None if trace is None else Trace.from_json(trace),
        widths=tuple((str(group), int(width)) for group, width in data.get("widths", ())),
        facts=dict(data.get("facts", {})),
        doubts=tuple(data.get("doubts", [])),
        dropped=dict(data.get("dropped", {})),
        unpruned_dropped=dict(data.get("unpruned_dropped", {})),
        far=bool(data.get("far", False)),
        stop=None if stop is None else Stop(stop),
        rounds=data.get("rounds"),
    )


def moment_s(created: str) -> float:
    """A date as seconds since 1970, to put measurements in order; 0 where it is no date, so before all others."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _list(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise TypeError(f"a list was expected, got {data!r}")
    return data


def _compact(data: Mapping[str, Any]) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))
