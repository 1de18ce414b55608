"""Tables as pandas data frames, for those who want to look themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from latency_tables.table import Failure, LatencyTable

if TYPE_CHECKING:
    import pandas as pd

_CELLS = (
    "key",
    "kind",
    "grain",
    "created",
    "latency_s",
    "low_s",
    "high_s",
    "samples",
    "dropped",
    "warmup",
    "stop",
    "inner",
    "disturbance",
    "far",
    "settled",
    "doubts",
    "failure",
)
_NETWORKS = (
    "skeleton",
    "name",
    "role",
    "created",
    "removed",
    "widths",
    "latency_s",
    "low_s",
    "high_s",
    "unpruned_s",
    "ratio",
    "ratio_low",
    "ratio_high",
    "dropped",
    "stop",
    "rounds",
    "disturbance",
    "far",
    "doubts",
)


def cells_frame(table: LatencyTable, kinds: Mapping[str, tuple[str, str]] | None = None) -> pd.DataFrame:
    """One row for each cell of a table.

    Args:
        table: any.
        kinds: kind and grain by key, as `Store.kinds` gives them; None: these columns stay empty.

    Returns:
        Columns key, kind, grain, created, latency_s (median, seconds), low_s and high_s (its 95 % interval),
        samples (how many), dropped (how many were left out), warmup, stop, inner, and what speaks against the cell:
        disturbance (by what), far (the cores lay far apart, or moved), settled (False: the anchor moved meanwhile;
        None: nobody looked), doubts (a tuple: "drift", "dependence", "two modes"). A cell that could not be
        measured has its reason in the last column, failure, and no latency (NaN).
    """
    import pandas as pd

    rows = []
    for key, cell in table.cells.items():
        kind, grain = (kinds or {}).get(key, (None, None))
        row: dict[str, object] = {"key": key, "kind": kind, "grain": grain, "created": cell.created}
        if isinstance(cell, Failure):
            row["failure"] = cell.reason
        else:
            latency = cell.latency_s
            row |= {"latency_s": latency.value, "low_s": latency.low, "high_s": latency.high}
            row |= {"samples": len(cell.samples_s), "warmup": cell.warmup, "stop": cell.stop.value}
            row |= {"dropped": sum(cell.dropped.values()), "inner": cell.inner}
            row |= {"disturbance": cell.meanwhile, "far": cell.far, "settled": cell.settled}
            row["doubts"] = tuple(finding.doubt.value for finding in cell.findings)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(_CELLS))


def networks_frame(table: LatencyTable, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """One row for each whole network measured, oldest first.

    Args:
        table: any.
        names: the network's name by its skeleton's digest, as `Store.network_names` gives them.

    Returns:
        Columns skeleton, name, role, created, removed (a tuple of blocks), widths (a tuple of pairs: group,
        channels that stay), latency_s with low_s and high_s, unpruned_s (seconds, same pass), ratio with ratio_low
        and ratio_high, dropped (how many of its samples were left out), stop, rounds (pairs of blocks; both are
        missing in older rows), disturbance, far and doubts, as of a cell.
    """
    import pandas as pd

    rows = [
        {
            "skeleton": network.skeleton,
            "name": (names or {}).get(network.skeleton),
            "role": network.role,
            "created": network.created,
            "removed": network.removed,
            "widths": network.widths,
            "latency_s": network.latency_s.value,
            "low_s": network.latency_s.low,
            "high_s": network.latency_s.high,
            "unpruned_s": network.unpruned_s.value,
            "ratio": network.ratio.value,
            "ratio_low": network.ratio.low,
            "ratio_high": network.ratio.high,
            "dropped": sum(network.dropped.values()),
            "stop": None if network.stop is None else network.stop.value,
            "rounds": network.rounds,
            "disturbance": network.meanwhile,
            "far": network.far,
            "doubts": network.doubts,
        }
        for network in table.networks
    ]
    return pd.DataFrame(rows, columns=list(_NETWORKS))
