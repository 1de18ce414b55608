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
    "warmup",
    "stop",
    "inner",
    "disturbance",
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
    "disturbance",
)


def cells_frame(table: LatencyTable, kinds: Mapping[str, tuple[str, str]] | None = None) -> pd.DataFrame:
    """One row for each cell of a table.

    Args:
        table: any.
        kinds: kind and grain by key, as `Store.kinds` gives them; None: these columns stay empty.

    Returns:
        Columns key, kind, grain, created, latency_s (median, seconds), low_s and high_s (its 95 % interval),
        samples (how many), warmup, stop, inner, disturbance, failure. A cell that could not be measured has its
        reason in the last column and no latency (NaN).
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
            row |= {"inner": cell.inner, "disturbance": cell.host.get("disturbance")}
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
        and ratio_high, disturbance.
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
            "disturbance": network.disturbance,
        }
        for network in table.networks
    ]
    return pd.DataFrame(rows, columns=list(_NETWORKS))
