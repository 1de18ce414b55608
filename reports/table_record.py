"""What a latency table says of one network, as the record that its page and pictures are drawn from.

The record is a file, ``table.json``, with the version of its format; the history of the format:

1: the first.
2: how far two measurements of a pruned network are from each other.
"""

from __future__ import annotations

import datetime
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from latency_tables.estimate import Estimate
from reports import codec
from reports.documents import read_document

FORMAT = 2
RECORD = "table.json"
"""Name of the record in the folder of a table's report."""

Origin = Literal["measured", "interpolated"]
Role = Literal["anchor", "check", "other kernel"]


@dataclass(frozen=True, slots=True)
class LayerTime:
    """One layer of the unpruned network.

    Attributes:
        name: its name in the network.
        kind: what it is, as in "conv2d+relu".
        block: the block that it belongs to; None outside of blocks.
        alone_s: timed alone.
        latency_s: its share of the network's latency, with the interval of its own measurement.
        origin: where ``alone_s`` comes from.
    """

    name: str
    kind: str
    block: str | None
    alone_s: Estimate
    latency_s: Estimate
    origin: Origin

    def __post_init__(self) -> None:
        _check_above_0(alone_s=self.alone_s.value)
        if self.latency_s.value < 0:
            raise ValueError(f"latency_s must be at least 0, got {self.latency_s.value}")


@dataclass(frozen=True, slots=True)
class ClosureRow:
    """A pruned network, predicted and measured, both as ratios to the unpruned one of the same pass.

    Attributes:
        name: what it lacks, in words.
        blocks: how many blocks it lacks.
        groups: in how many groups of channels it is narrower.
        fitted: whether the prediction rests on this network's measurement, so that it proves little.
        predicted: ratio foreseen.
        measured: ratio on the device; of several passes the median, and the hull of their intervals.
        passes: in how many passes it was measured.
        noise: by how much the last of several passes differs from the one before it, as a fraction of that; None of
            one pass.
    """

    name: str
    blocks: int
    groups: int
    fitted: bool
    predicted: Estimate
    measured: Estimate
    passes: int
    noise: float | None = None

    def __post_init__(self) -> None:
        _check_above_0(predicted=self.predicted.value, measured=self.measured.value, passes=self.passes)


@dataclass(frozen=True, slots=True)
class WidthPoint:
    """A measured width.

    Attributes:
        width: channels along the staircase's axis.
        latency_s: timed alone.
        role: "anchor" where interpolation rests on it; "check" where it tells how far interpolation is off;
            "other kernel" where the width is not of the staircase's multiples.
    """

    width: int
    latency_s: Estimate
    role: Role

    def __post_init__(self) -> None:
        _check_above_0(width=self.width, latency_s=self.latency_s.value)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What the table answers at one width, which stands for its whole step; below the first step, for itself.

    Attributes:
        width: the upper end of its step, or any width below the first step.
        latency_s: with the interval of the measurement or of the interpolation; unbounded where nobody knows how
            far interpolation is off.
        origin: whether this width, or one on its step, was measured.
    """

    width: int
    latency_s: Estimate
    origin: Origin


@dataclass(frozen=True, slots=True)
class Staircase:
    """A layer's latency along one of its widths, everything else at full width.

    Attributes:
        layer: its name in the network.
        kind: what it is.
        axis: which width, in words, as in "channels out".
        fixed: its other widths in words, as in "channels in: 64"; "" where there are none.
        step: widths in one step cost the same, but for the first one; 1 where no step was found.
        multiple: only multiples of this follow the staircase; the runtime has another kernel for other widths.
        error: standard deviation of the interpolation for this kind of layer, relative; None where unknown.
        checks: how many measurements stand behind ``error``.
        points: what was measured, by rising width.
        curve: what the table answers, by rising width.
    """

    layer: str
    kind: str
    axis: str
    fixed: str
    step: int
    multiple: int
    error: float | None
    checks: int
    points: tuple[WidthPoint, ...]
    curve: tuple[CurvePoint, ...]

    def __post_init__(self) -> None:
        _check_above_0(step=self.step, multiple=self.multiple)
        if not self.points or not self.curve:
            raise ValueError("a staircase needs at least one point and a curve, got none")
        for name, line in (("points", self.points), ("curve", self.curve)):
            _check_rising(name, [place.width for place in line])


@dataclass(frozen=True, slots=True)
class MeasuredPlace:
    """A place of a heat map that was measured."""

    column: int
    row: int


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A layer's latency over both of its widths.

    Attributes:
        layer: its name in the network.
        kind: what it is.
        across: the width of the columns, in words.
        up: the width of the rows, in words.
        columns: widths, rising.
        rows: widths, rising.
        latency_s: what the table answers: for each row one number for each column.
        measured: widths that were measured.
    """

    layer: str
    kind: str
    across: str
    up: str
    columns: tuple[int, ...]
    rows: tuple[int, ...]
    latency_s: tuple[tuple[float, ...], ...]
    measured: tuple[MeasuredPlace, ...]

    def __post_init__(self) -> None:
        _check_rising("columns", self.columns)
        _check_rising("rows", self.rows)
        if len(self.latency_s) != len(self.rows) or {len(row) for row in self.latency_s} != {
            len(self.columns)
        }:
            raise ValueError(
                f"latency_s must hold {len(self.rows)} rows of {len(self.columns)}, got "
                f"{[len(row) for row in self.latency_s]}"
            )
        if min(min(row) for row in self.latency_s) <= 0:
            raise ValueError("latency_s must be above 0 everywhere")


@dataclass(frozen=True, slots=True)
class CellTrace:
    """One measurement, sample by sample.

    Attributes:
        name: of the layer or block.
        kind: what it is.
        samples_s: seconds per run, in the order taken, those kept.
        latency_s: the median with its interval.
        warmup: runs before the first sample.
        inner: runs inside one sample.
        stop: why sampling stopped.
        dropped: how many samples were left out, by cause.
        findings: what makes the interval claim too much, in words.
        disturbance: what else used the machine meanwhile; None: nothing seen.
        created: time in ISO 8601.
    """

    name: str
    kind: str
    samples_s: tuple[float, ...]
    latency_s: Estimate
    warmup: int
    inner: int
    stop: Literal["precision", "stalled", "time"]
    dropped: dict[str, int]
    findings: tuple[str, ...]
    disturbance: str | None
    created: str

    def __post_init__(self) -> None:
        if not self.samples_s or min(self.samples_s) <= 0:
            raise ValueError("samples_s must hold at least one time, all above 0")
        _check_time(self.created)


@dataclass(frozen=True, slots=True)
class TableRecord:
    """Everything that a table's report shows.

    Attributes:
        network: as named on the command line.
        digest: of the setting.
        label: the setting in a short line.
        setting: plain JSON description of it.
        created: when the record was made, ISO 8601.
        command: the command line that makes it again.
        unpruned_s: latency of the unpruned network.
        constant_s: what of it belongs to no layer; below 0 where the layers' shares add up to more.
        layers: in the order of execution, at least one.
        closure: whole networks, predicted and measured.
        staircases: of the chosen layer.
        heat_maps: of the chosen layer.
        traces: measurements.
        notes: what is not shown, and why.
    """

    network: str
    digest: str
    label: str
    setting: dict[str, Any]
    created: str
    command: str
    unpruned_s: Estimate
    constant_s: float
    layers: tuple[LayerTime, ...]
    closure: tuple[ClosureRow, ...]
    staircases: tuple[Staircase, ...]
    heat_maps: tuple[HeatMap, ...]
    traces: tuple[CellTrace, ...]
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("layers must hold at least one, got none")
        _check_above_0(unpruned_s=self.unpruned_s.value)
        _check_time(self.created)


def encode_table(record: TableRecord) -> dict[str, Any]:
    """Plain JSON with the format's version, as `read_table` reads it."""
    return {"format": FORMAT, **codec.encode(record)}


def read_table(path: Path) -> TableRecord:
    """Reads the record of a table's report.

    Args:
        path: the file, or the folder that holds it.

    Raises:
        UserError: it is missing, damaged or of a newer format; the message names the file.
    """
    file = path / RECORD if path.is_dir() else path
    return read_document(
        file,
        TableRecord,
        newest=FORMAT,
        missing=f"expected the folder of a table's report, which holds {RECORD}",
        remedy="Make it again with `lathe table report`.",
        upgrade=_upgrade,
    )


def _upgrade(version: int, data: dict[str, Any]) -> dict[str, Any]:
    """What an older version wrote, as the newest would have written it."""
    rows = data.get("closure")
    if version < 2 and isinstance(rows, list):
        return data | {"closure": [{"noise": None, **row} if isinstance(row, dict) else row for row in rows]}
    return data


def _check_above_0(**values: float) -> None:
    for name, value in values.items():
        if value <= 0:
            raise ValueError(f"{name} must be above 0, got {value}")


def _check_rising(name: str, widths: list[int] | tuple[int, ...]) -> None:
    if not widths or widths[0] < 1 or any(a >= b for a, b in itertools.pairwise(widths)):
        raise ValueError(f"{name} must hold rising widths from 1 on, got {list(widths)[:12]}")


def _check_time(text: str) -> None:
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"created must be a time in ISO 8601, got {text!r}") from error
