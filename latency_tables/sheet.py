"""What a table's file holds, whatever its form: rows and a header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NETWORK = "network"
"""The grain of a row that holds a whole network."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement as the columns of `latency_tables.exchange` hold it; None where one does not apply."""

    key: str
    kind: str
    grain: str
    created: str
    failure: str | None
    latency_s: float | None
    low_s: float | None
    high_s: float | None
    samples_s: tuple[float, ...] | None
    details: str | None


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a file holds.

    Attributes:
        header: the JSON object of `latency_tables.exchange`.
        rows: all of them.
    """

    header: dict[str, Any]
    rows: tuple[Row, ...]


class Unreadable(Exception):  # noqa: N818 - reads as a claim about the file
    """A file is not what it should be; the text says why, as in "is cut off"."""
