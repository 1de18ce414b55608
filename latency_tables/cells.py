"""Cells as a store hands them out: each decoded when somebody asks for it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from latency_tables.errors import LatheError
from latency_tables.estimate import Estimate
from latency_tables.measurement import Measurement
from latency_tables.rows import measurement_of
from latency_tables.samples import decode
from latency_tables.table import Failure


@dataclass(frozen=True, slots=True)
class StoredCell:
    """A measurement or a failure, as the columns of its row hold it.

    Attributes:
        created: when, ISO 8601 with zone.
        failure: why it could not be measured; None: it was.
        latency_s: the median, seconds, as concluded when it was stored.
        low_s: lower end of its interval.
        high_s: upper end.
        samples: packed, see `latency_tables.samples`.
        details: JSON, see `latency_tables.rows.details_text`.
    """

    created: str
    failure: str | None
    latency_s: float | None
    low_s: float | None
    high_s: float | None
    samples: bytes | None
    details: str | None

    def estimate(self) -> Estimate:
        """The median and its interval, without a look at the samples.

        Raises:
            TypeError or ValueError: the row was edited, or is a failure's.
        """
        if not (
            isinstance(self.latency_s, float)
            and isinstance(self.low_s, float)
            and isinstance(self.high_s, float)
        ):
            raise TypeError(
                f"a median and its interval are {self.latency_s!r}, {self.low_s!r}, {self.high_s!r}"
            )
        return Estimate(self.latency_s, self.low_s, self.high_s)

    def host(self) -> Mapping[str, Any]:
        """What was seen of the host around it, without a look at the samples; empty for a failure.

        Raises:
            TypeError, ValueError or KeyError: the row was edited.
        """
        if self.failure is not None:
            return {}
        host = json.loads(self.details or "")["host"]
        if not isinstance(host, dict):
            raise TypeError(f"the host's state is {host!r}")
        return host

    def decoded(self) -> Measurement | Failure:
        """The record.

        Raises:
            TypeError, ValueError, KeyError or AttributeError: the row was edited.
        """
        if self.failure is not None:
            return Failure(self.failure, self.created)
        if self.details is None or self.samples is None:
            raise TypeError("neither a failure nor a measurement")
        details = json.loads(self.details)
        return measurement_of(decode(self.samples, details["inner"]), self.created, details)


class StoredCells(Mapping[str, Measurement | Failure]):
    """The cells of a table by the part's key; equal to a dictionary of the same records.

    A table of ten thousand cells is there at once, and only what is looked at is unpacked.

    Args:
        rows: as read.
        source: the file they come from, for messages.
    """

    def __init__(self, rows: Mapping[str, StoredCell], source: str) -> None:
        self._rows = rows
        self._source = source
        self._known: dict[str, Measurement | Failure] = {}

    def __getitem__(self, key: str) -> Measurement | Failure:
        cell = self._known.get(key)
        if cell is None:
            row = self._rows[key]
            with self._as_written():
                cell = self._known[key] = row.decoded()
        return cell

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def failure(self, key: str) -> Failure | None:
        """The failure of a part that could not be measured; None for one that was.

        Raises:
            KeyError: there is no such cell.
        """
        row = self._rows[key]
        return None if row.failure is None else Failure(row.failure, row.created)

    def estimate(self, key: str) -> Estimate:
        """The median and interval of a part that was measured, as they were concluded when it was stored.

        Raises:
            KeyError: there is no such cell.
            LatheError: the row was edited.
        """
        row = self._rows[key]
        with self._as_written():
            return row.estimate()

    def host(self, key: str) -> Mapping[str, Any]:
        """What was seen of the host around a measurement; empty for a failure.

        Raises:
            KeyError: there is no such cell.
            LatheError: the row was edited.
        """
        row = self._rows[key]
        with self._as_written():
            return row.host()

    @contextlib.contextmanager
    def _as_written(self) -> Iterator[None]:
        """A row is read; what cannot be read of it was edited."""
        try:
            yield
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise edited(self._source, error) from error


def edited(source: str, error: Exception) -> LatheError:
    """The error for a row whose content no version of lathe writes."""
    return LatheError(
        f"the store {source} holds a row that lathe did not write: {type(error).__name__}: {error}. "
        "Put a copy of the file back, or name another folder with --out."
    )
