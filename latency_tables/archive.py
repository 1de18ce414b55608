"""Everything that is known in one setting, with its history, as it goes from one store into another."""

from __future__ import annotations

from dataclasses import dataclass

from latency_tables.measurement import Measurement
from latency_tables.setting import Setting
from latency_tables.table import Failure, LatencyTable, NetworkMeasurement


@dataclass(frozen=True, slots=True)
class ArchivedCell:
    """One measurement of a part.

    Attributes:
        key: the part's key.
        kind: what people call it.
        grain: "layer" or "block".
        cell: the measurement, or why there is none.
    """

    key: str
    kind: str
    grain: str
    cell: Measurement | Failure


@dataclass(frozen=True, slots=True)
class ArchivedNetwork:
    """One measurement of a whole network.

    Attributes:
        name: the network's name, for people.
        network: the measurement.
    """

    name: str
    network: NetworkMeasurement


@dataclass(frozen=True, slots=True)
class Archive:
    """A table with its history.

    Attributes:
        setting: where everything was measured.
        cells: of each part the oldest first.
        networks: the oldest first.
    """

    setting: Setting
    cells: tuple[ArchivedCell, ...]
    networks: tuple[ArchivedNetwork, ...]

    def table(self) -> LatencyTable:
        """The newest measurement of each part, and all whole networks."""
        return LatencyTable(
            self.setting,
            {entry.key: entry.cell for entry in self.cells},
            tuple(entry.network for entry in self.networks),
        )

    def kinds(self) -> dict[str, tuple[str, str]]:
        """Kind and grain of each part, by key."""
        return {entry.key: (entry.kind, entry.grain) for entry in self.cells}

    def network_names(self) -> dict[str, str]:
        """The name of each network, by its skeleton's digest."""
        return {entry.network.skeleton: entry.name for entry in self.networks}
