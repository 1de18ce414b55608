"""Tables as files of their own, to keep, to send and to ship: Parquet, or CSV for people.

Both hold the same rows, one for each measurement, with these columns:

    key, kind, grain    of the part; of a whole network the skeleton's digest, its name and "network"
    created             ISO 8601 with zone
    failure             why it could not be measured
    latency_s, low_s, high_s   the median and its 95 % interval, seconds
    samples_s           every sample, seconds, in the order taken; a whole network's stand in the details
    details             JSON: everything else

and the same header, a JSON object with the format's number, the setting, the number of rows and a SHA-256 of
setting and rows. In Parquet it is the value of the key "lathe" in the file's own metadata; in CSV the first line,
after "# lathe table " (`pandas.read_csv(path, skiprows=1)` reads the rest). Nothing is lost either way: numbers
come back to the bit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latency_tables import exchange_csv, exchange_parquet
from latency_tables.archive import Archive, ArchivedCell, ArchivedNetwork
from latency_tables.errors import UserError
from latency_tables.files import write_atomically
from latency_tables.measurement import Measurement
from latency_tables.rows import details_text, measurement_of, network_of, network_text
from latency_tables.setting import Setting
from latency_tables.sheet import NETWORK, Row, Sheet, Unreadable
from latency_tables.table import Failure, LatencyTable

# 1: first format.
EXCHANGE_FORMAT = 1


def write_archive(path: Path, archive: Archive) -> None:
    """Writes everything known in one setting, in one step.

    Args:
        path: with the suffix .parquet or .csv; its folder is made when missing.
        archive: what to write.

    Raises:
        UserError: another suffix.
        LatheError: the file cannot be written; what was there before is untouched.
    """
    form = _form(path)
    rows = (*map(_cell_row, archive.cells), *map(_network_row, archive.networks))
    header = {
        "format": EXCHANGE_FORMAT,
        "setting": archive.setting.to_json(),
        "rows": len(rows),
        "sha256": fingerprint(archive.setting, rows),
    }
    write_atomically(path, form.pack(Sheet(header, rows)))


def read_archive(path: Path) -> Archive:
    """Reads what `write_archive` wrote.

    Raises:
        UserError: there is no such file, it is no table of lathe, one of a newer version, or damaged.
    """
    form = _form(path)
    try:
        sheet = form.unpack(path.read_bytes())
        return _archive(sheet)
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror or error}. Expected a file that `lathe table export` wrote; "
            "check the path, and that you may read it."
        ) from error
    except Unreadable as error:
        raise UserError(f"{path} {error}. Nothing was taken from it; get another copy.") from error


def read_table(path: Path) -> LatencyTable:
    """The table in an exported file, without a store; see `read_archive`."""
    return read_archive(path).table()


def fingerprint(setting: Setting, rows: Sequence[Row]) -> str:
    """SHA-256 of a setting and rows, in hexadecimal digits: equal for equal ones, whatever the file's form."""
    digest = hashlib.sha256(json.dumps(setting.to_json(), sort_keys=True).encode())
    for row in rows:
        words = [row.key, row.kind, row.grain, row.created, row.failure]
        words += [row.latency_s, row.low_s, row.high_s, row.details]  # type: ignore[list-item]
        digest.update(json.dumps(words).encode())
        digest.update(b"" if row.samples_s is None else np.asarray(row.samples_s, dtype="<f8").tobytes())
    return digest.hexdigest()


def _form(path: Path) -> Any:
    forms = {".parquet": exchange_parquet, ".csv": exchange_csv}
    if path.suffix not in forms:
        raise UserError(
            f"a table's file ends in {' or '.join(forms)}, but {path.name!r} ends in {path.suffix!r}"
        )
    return forms[path.suffix]


def _archive(sheet: Sheet) -> Archive:
    header = sheet.header
    if header.get("format") != EXCHANGE_FORMAT:
        raise Unreadable(
            f"is a table of format {header.get('format')!r}, this version of lathe reads format {EXCHANGE_FORMAT}; "
            "read it with the version that wrote it"
        )
    if header.get("rows") != len(sheet.rows):
        raise Unreadable(f"is cut off or edited: it holds {len(sheet.rows)} rows of {header.get('rows')}")
    try:
        setting = Setting.from_json(header["setting"])
        if header.get("sha256") != fingerprint(setting, sheet.rows):
            raise ValueError("the setting and the rows do not give the checksum that it names")
        return Archive(
            setting,
            tuple(_cell(row) for row in sheet.rows if row.grain != NETWORK),
            tuple(_network(row) for row in sheet.rows if row.grain == NETWORK),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Unreadable(f"is damaged or edited: {type(error).__name__}: {error}") from error


def _cell_row(entry: ArchivedCell) -> Row:
    cell, part = entry.cell, (entry.key, entry.kind, entry.grain)
    if isinstance(cell, Failure):
        return Row(*part, cell.created, cell.reason, None, None, None, None, None)
    latency = cell.latency_s
    ends = latency.value, latency.low, latency.high
    return Row(*part, cell.created, None, *ends, cell.samples_s, details_text(cell))


def _cell(row: Row) -> ArchivedCell:
    cell: Measurement | Failure
    if row.failure is not None:
        cell = Failure(row.failure, row.created)
    elif row.samples_s is None or row.details is None:
        raise TypeError("neither a failure nor a measurement")
    else:
        cell = measurement_of(row.samples_s, row.created, json.loads(row.details))
    return ArchivedCell(row.key, row.kind, row.grain, cell)


def _network_row(entry: ArchivedNetwork) -> Row:
    latency, created = entry.network.latency_s, entry.network.created
    ends = latency.value, latency.low, latency.high
    details = network_text(entry.network)
    return Row(entry.network.skeleton, entry.name, NETWORK, created, None, *ends, None, details)


def _network(row: Row) -> ArchivedNetwork:
    if row.details is None:
        raise TypeError("a whole network without details")
    return ArchivedNetwork(row.kind, network_of(json.loads(row.details)))
