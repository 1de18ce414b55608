"""A latency table: cells measured in one setting, and whole networks measured to put them in context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from latency_tables.errors import LatheError, UserError
from latency_tables.estimate import Estimate
from latency_tables.measurement import GPU, REMARKS, Measurement, Stop, reordering_told
from latency_tables.part import Part
from latency_tables.setting import Setting
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.trace import Trace


@dataclass(frozen=True)
class Failure:
    """A cell that could not be measured.

    Attributes:
        reason: what the runtime said, or how its process ended.
        created: when, ISO 8601 with zone.
    """

    reason: str
    created: str


@dataclass(frozen=True)
class NetworkMeasurement:
    """A whole network, blocks and channels taken out, timed beside the unpruned one in the same interleaved pass.

    Attributes:
        skeleton: digest of the unpruned network's skeleton.
        removed: blocks taken out, sorted; empty for the unpruned network itself.
        latency_s: its latency.
        unpruned_s: the unpruned network's latency in the same pass.
        ratio: its latency over the unpruned one's, from paired blocks of runs.
        role: "fit" when the table's context may be fitted on it, "closure" when it is kept to judge the fit.
        created: when, ISO 8601 with zone.
        disturbance: what else the machine did meanwhile, where that was seen in every attempt; None: nothing.
        trace: the samples of both networks in the order taken; None where they were not kept.
        widths: (group, channels that stay) of the groups that are narrower, sorted.
        facts: what the runtime told when it made it ready, plain JSON; see `latency_tables.measurement.FACTS`.
        doubts: what in the paired ratios makes their interval claim too much, values of
            `latency_tables.diagnosis.Doubt`.
        dropped: samples of this network that were left out, by cause.
        unpruned_dropped: the same of the unpruned one.
        far: whether the cores that they ran on lay far apart, or moved meanwhile.
        stop: why sampling stopped; None where that was not kept, as in older rows.
        rounds: pairs of blocks behind the ratio; None as above.
    """

    skeleton: str
    removed: tuple[str, ...]
    latency_s: Estimate
    unpruned_s: Estimate
    ratio: Estimate
    role: str
    created: str
    disturbance: str | None = None
    trace: Trace | None = None
    widths: tuple[tuple[str, int], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict, hash=False)
    doubts: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict, hash=False)
    unpruned_dropped: Mapping[str, int] = field(default_factory=dict, hash=False)
    far: bool = False
    stop: Stop | None = None
    rounds: int | None = None

    @property
    def cut(self) -> Cut:
        """What it lacks."""
        return Cut(self.removed, self.widths)

    @property
    def remarks(self) -> tuple[str, ...]:
        """As `Measurement.remarks`."""
        return tuple(self.facts.get(GPU, {}).get(REMARKS, ()))

    @property
    def meanwhile(self) -> str | None:
        """As `Measurement.meanwhile`."""
        return "; ".join(filter(None, (self.disturbance, *self.remarks))) or None


@runtime_checkable
class Summarised(Protocol):
    """Cells that tell what was concluded of them without unpacking their samples; those of a store do."""

    def failure(self, key: str) -> Failure | None:
        """Why the part with this key could not be measured; None where it was."""
        ...

    def estimate(self, key: str) -> Estimate:
        """The median and interval of the part with this key, which was measured."""
        ...

    def host(self, key: str) -> Mapping[str, Any]:
        """As `Measurement.host` of the part with this key; empty where it could not be measured."""
        ...


@dataclass(frozen=True)
class LatencyTable:
    """All that was measured in one setting.

    Attributes:
        setting: what the numbers are valid for.
        cells: the newest measurement or failure by the part's key.
        networks: whole networks, oldest first.
    """

    setting: Setting
    cells: Mapping[str, Measurement | Failure]
    networks: tuple[NetworkMeasurement, ...] = field(default=())

    def latency_s(self, part: Part) -> Estimate:
        """The latency of a part timed alone.

        Raises:
            UserError: the part was never measured in this setting.
            LatheError: it was tried and failed; the message gives the reason.
        """
        estimate = self.estimate(part.key)
        if estimate is not None:
            return estimate
        cell = self.cells.get(part.key)
        if cell is None:
            raise UserError(
                f"the table for {self.setting.label} has no cell for {part.kind} ({part.key}); "
                "run `lathe profile` for this network in this setting first"
            )
        if isinstance(cell, Failure):
            raise LatheError(
                f"{part.kind} could not be measured ({cell.reason}); its latency is unknown. Try it again with "
                "`lathe profile --retry-failed`."
            )
        return cell.latency_s

    def estimate(self, key: str) -> Estimate | None:
        """The latency of the part with this key, without unpacking samples; None: never measured, or it failed."""
        if isinstance(self.cells, Summarised):
            known = key in self.cells and self.cells.failure(key) is None
            return self.cells.estimate(key) if known else None
        cell = self.cells.get(key)
        return cell.latency_s if isinstance(cell, Measurement) else None

    def reordering(self, key: str) -> float | None:
        """Of the time alone of the part with this key the share in which tensors are only laid out anew, 0 to 1.

        Returns:
            The share; None: not told, or never measured.

        Raises:
            LatheError: what stands there is no such share, as in a file that somebody edited.
        """
        if key not in self.cells:
            return None
        try:
            return reordering_told(self._host(key))
        except ValueError as error:
            raise LatheError(
                f"the cell {key} in the table for {self.setting.label} says that {error} of its time is spent on "
                "laying out tensors; expected a number from 0 to below 1. The table was edited or is damaged: "
                "export it anew where it was measured, or profile into another workspace (--out)."
            ) from error

    def tells_reordering(self, skeleton: Skeleton) -> bool:
        """Whether every part of a network tells what it reorders; else none of them is asked."""
        return all(self.reordering(part.key) is not None for part in skeleton.parts)

    def _host(self, key: str) -> Mapping[str, Any]:
        if isinstance(self.cells, Summarised):
            return self.cells.host(key)
        cell = self.cells[key]
        return cell.host if isinstance(cell, Measurement) else {}

    def missing(self, skeleton: Skeleton) -> tuple[Part, ...]:
        """Parts of a network that have no cell yet, in the order of first use."""
        return tuple(part for part in skeleton.parts if part.key not in self.cells)

    def failed(self, skeleton: Skeleton) -> tuple[tuple[Part, str], ...]:
        """Parts of a network that were tried and failed, with the reason."""
        cells = [(part, self.cells.get(part.key)) for part in skeleton.parts]
        return tuple((part, cell.reason) for part, cell in cells if isinstance(cell, Failure))

    def over_widths(self, skeleton: Skeleton) -> bool:
        """Whether narrower forms of a network were timed whole: what is fitted on them asks for channel groups."""
        return any(n.skeleton == skeleton.digest and n.widths for n in self.networks)

    def measured_networks(self, skeleton: Skeleton, role: str) -> tuple[NetworkMeasurement, ...]:
        """Whole networks cut from one skeleton that play one role, oldest first."""
        return tuple(n for n in self.networks if n.skeleton == skeleton.digest and n.role == role)
