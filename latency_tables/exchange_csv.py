"""A table as CSV: RFC 4180 after one line that holds the header; see `latency_tables.exchange`."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import astuple, fields
from typing import Any

from latency_tables.sheet import NETWORK, Row, Sheet, Unreadable

_MARK = "# lathe table "
_COLUMNS = [field.name for field in fields(Row)]
# The longest cell, in characters; the module's own limit is too short for many samples.
_LONGEST = 1 << 28


def pack(sheet: Sheet) -> bytes:
    """The file's content; an empty field stands for None, samples are separated by spaces."""
    file = io.StringIO(newline="")
    file.write(f"{_MARK}{json.dumps(sheet.header)}\r\n")
    writer = csv.writer(file)
    writer.writerow(_COLUMNS)
    writer.writerows([_text(value) for value in astuple(row)] for row in sheet.rows)
    return file.getvalue().encode()


def unpack(content: bytes) -> Sheet:
    """Reads what `pack` made.

    Raises:
        Unreadable: it is something else.
    """
    csv.field_size_limit(_LONGEST)
    if not content.startswith(_MARK.encode()):
        raise Unreadable(f"is no table of lathe: its first line does not begin with {_MARK.strip()!r}")
    try:
        first, _, rest = content.decode().partition("\r\n")
        header: dict[str, Any] = dict(json.loads(first.removeprefix(_MARK)))
        columns, *lines = csv.reader(io.StringIO(rest, newline=""), strict=True)
        if columns != _COLUMNS:
            raise ValueError(f"the columns are {', '.join(columns)}, not {', '.join(_COLUMNS)}")
        return Sheet(header, tuple(_row(line) for line in lines))
    except (ValueError, TypeError, csv.Error) as error:
        raise Unreadable(f"is damaged or cut off: {error}") from error


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(repr, value))
    return repr(value) if isinstance(value, float) else "" if value is None else str(value)


def _row(line: list[str]) -> Row:
    if len(line) != len(_COLUMNS):
        raise ValueError(f"a row of {len(line)} fields instead of {len(_COLUMNS)}")
    key, kind, grain, created, failure, latency, low, high, samples, details = line
    return Row(
        key=key,
        kind=kind,
        grain=grain,
        created=created,
        # A failure's reason may be empty; it is the only thing that has no details.
        failure=failure if not details and grain != NETWORK else None,
        latency_s=_number(latency),
        low_s=_number(low),
        high_s=_number(high),
        samples_s=tuple(map(float, samples.split(" "))) if samples else None,
        details=details or None,
    )


def _number(text: str) -> float | None:
    return float(text) if text else None
