"""Where measurements live: one SQL database, a SQLite file by default, to which measurements are only ever added.

Every measurement is its own transaction, so that a job killed at any moment loses the one in flight and nothing
else, and the same job started again finds what is there. Several processes may write at once.

Of the measurements of a part in a setting a table gives the newest. They are not pooled: somebody measured again
because the machine, or the way it was measured, was no longer what it had been, and a median over both would be
true of neither. A failure is a measurement in this sense: it takes the place of an older success, and a success
that of an older failure. All of them stay readable as the part's history.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.dialects.sqlite import insert as insert_new
from sqlalchemy.engine import Connection

from latency_tables import schema
from latency_tables.archive import Archive, ArchivedCell, ArchivedNetwork
from latency_tables.cells import StoredCell, StoredCells
from latency_tables.database import Database
from latency_tables.measurement import Measurement
from latency_tables.part import Part
from latency_tables.rows import details_text, moment_s, network_of, network_text
from latency_tables.samples import encode
from latency_tables.setting import Setting
from latency_tables.table import Failure, LatencyTable, NetworkMeasurement

_settings, _parts = schema.settings, schema.parts
_measurements, _networks = schema.measurements, schema.networks
_CELL = tuple(_measurements.c[name] for name in StoredCell.__dataclass_fields__)
# Values in one query; SQLite takes at least 32766.
_CHUNK = 5000


@dataclass(frozen=True, slots=True)
class Added:
    """What an import brought.

    Attributes:
        cells: measurements of parts that were not there.
        networks: measurements of whole networks that were not there.
        replaced: parts that had a cell and have a newer one now.
    """

    cells: int
    networks: int
    replaced: int


class Store:
    """A store of latency tables.

    Attributes:
        path: the SQLite file.
    """

    def __init__(self, path: Path) -> None:
        """Opens a store, and makes it when it is not there; one of an older format is brought up to date.

        Args:
            path: the SQLite file; its folder is made when missing.

        Raises:
            UserError: the file is no store, or one written by a newer version.
            LatheError: it cannot be opened or made.
        """
        self.path = path
        self._database = Database(path)

    def close(self) -> None:
        """Lets go of the file."""
        self._database.close()

    def settings(self) -> list[Setting]:
        """Every setting in which something was measured, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(select(_settings.c.setting).order_by(_settings.c.id)).scalars()
            return [Setting.from_json(json.loads(row)) for row in rows]

    def put(self, setting: Setting, part: Part, cell: Measurement | Failure) -> None:
        """Stores what was just measured; from now on the table gives it, whatever the clock says.

        Raises:
            LatheError: the database cannot be written; what was stored before is untouched.
        """
        row = _cell_row(cell)
        with self._database.writing() as connection:
            ids = {"setting_id": _setting_id(connection, setting), "part_id": _part_id(connection, part)}
            here = [_measurements.c[name] == value for name, value in ids.items()]
            latest = connection.execute(select(func.max(_measurements.c.taken_s)).where(*here)).scalar()
            taken_s = max(moment_s(cell.created), latest or 0.0)
            connection.execute(insert(_measurements).values(**ids, **row, taken_s=taken_s))

    def put_network(self, setting: Setting, name: str, network: NetworkMeasurement) -> None:
        """Stores the measurement of a whole network, just made.

        Args:
            setting: where it was measured.
            name: the network's name, for people.
            network: the measurement.

        Raises:
            LatheError: the database cannot be written; what was stored before is untouched.
        """
        with self._database.writing() as connection:
            setting_id = _setting_id(connection, setting)
            query = select(func.max(_networks.c.taken_s)).where(_networks.c.setting_id == setting_id)
            taken_s = max(moment_s(network.created), connection.execute(query).scalar() or 0.0)
            row = _network_row(ArchivedNetwork(name, network))
            connection.execute(insert(_networks).values(setting_id=setting_id, taken_s=taken_s, **row))

    def table(self, setting: Setting) -> LatencyTable:
        """The newest measurement of each part in a setting, and all whole networks.

        The table is empty where nothing was measured. Cells are unpacked when they are looked at; one that was
        edited is then refused (`LatheError`).
        """
        after = func.lead(_measurements.c.id).over(
            partition_by=_measurements.c.part_id, order_by=(_measurements.c.taken_s, _measurements.c.id)
        )
        with self._database.reading() as connection:
            setting_id = _find_setting(connection, setting)
            ranked = (
                select(_measurements.c.id, after.label("after"))
                .where(_measurements.c.setting_id == setting_id)
                .subquery()
            )
            newest = select(ranked.c.id).where(ranked.c.after.is_(None))
            cells = (
                select(_parts.c.key, *_CELL)
                .join_from(_measurements, _parts)
                .where(_measurements.c.id.in_(newest))
                .order_by(_measurements.c.part_id)
            )
            rows = {key: StoredCell(*values) for key, *values in connection.execute(cells)}
            networks = tuple(entry.network for entry in _read_networks(connection, setting_id))
        return LatencyTable(setting, StoredCells(rows, str(self.path)), networks)

    def cell(self, setting: Setting, part: Part) -> Measurement | Failure | None:
        """The newest measurement of one part; None where there is none."""
        history = self._rows_of(setting, part, newest_only=True)
        return next(iter(history.values())) if history else None

    def history(self, setting: Setting, part: Part) -> tuple[Measurement | Failure, ...]:
        """Every measurement of a part, oldest first."""
        return tuple(self._rows_of(setting, part, newest_only=False).values())

    def _rows_of(self, setting: Setting, part: Part, *, newest_only: bool) -> StoredCells:
        query = (
            select(*_CELL)
            .select_from(_measurements.join(_parts).join(_settings))
            .where(_settings.c.digest == setting.digest, _parts.c.key == part.key)
            .order_by(_measurements.c.taken_s.desc(), _measurements.c.id.desc())
        )
        with self._database.reading() as connection:
            found = connection.execute(query.limit(1) if newest_only else query).all()
        rows = {str(place): StoredCell(*row) for place, row in enumerate(reversed(found))}
        return StoredCells(rows, str(self.path))

    def kinds(self, setting: Setting) -> dict[str, tuple[str, str]]:
        """Kind and grain of each part measured in a setting, by key."""
        with self._database.reading() as connection:
            measured = select(_measurements.c.part_id).where(
                _measurements.c.setting_id == _find_setting(connection, setting)
            )
            query = select(_parts.c.key, _parts.c.kind, _parts.c.grain).where(_parts.c.id.in_(measured))
            return {row.key: (row.kind, row.grain) for row in connection.execute(query)}

    def network_names(self, setting: Setting) -> dict[str, str]:
        """The name of each network measured in a setting, by its skeleton's digest."""
        query = select(_networks.c.skeleton, _networks.c.name).order_by(_networks.c.id)
        with self._database.reading() as connection:
            mine = query.where(_networks.c.setting_id == _find_setting(connection, setting))
            return {row.skeleton: row.name for row in connection.execute(mine)}

    def archive(self, setting: Setting) -> Archive:
        """Everything measured in a setting, every sample of its history.

        Raises:
            LatheError: a row was edited.
        """
        with self._database.reading() as connection:
            setting_id = _find_setting(connection, setting)
            query = (
                select(_parts.c.key, _parts.c.kind, _parts.c.grain, *_CELL)
                .join_from(_measurements, _parts)
                .where(_measurements.c.setting_id == setting_id)
                .order_by(_measurements.c.part_id, _measurements.c.taken_s, _measurements.c.id)
            )
            cells = tuple(
                ArchivedCell(key, kind, grain, StoredCell(*values).decoded())
                for key, kind, grain, *values in connection.execute(query)
            )
            return Archive(setting, cells, tuple(_read_networks(connection, setting_id)))

    def add(self, archive: Archive) -> Added:
        """Takes in what another store gave out: all of it, or after a failure none of it.

        What is here already is not added again. Measurements keep their dates, so an import of old ones does not
        hide newer ones.

        Raises:
            LatheError: the database cannot be written; what was stored before is untouched.
        """
        with self._database.writing() as connection:
            setting_id = _setting_id(connection, archive.setting)
            part_ids = _part_ids(connection, archive.cells)
            cells = _new_cells(connection, setting_id, part_ids, archive.cells)
            networks = _new_networks(connection, setting_id, archive.networks)
            replaced = _replaced(connection, setting_id, cells)
            for table, rows in ((_measurements, cells), (_networks, networks)):
                if rows:
                    connection.execute(insert(table), rows)
        return Added(len(cells), len(networks), replaced)


def _find_setting(connection: Connection, setting: Setting) -> int | None:
    found: int | None = connection.execute(
        select(_settings.c.id).where(_settings.c.digest == setting.digest)
    ).scalar()
    return found


def _setting_id(connection: Connection, setting: Setting) -> int:
    found = _find_setting(connection, setting)
    if found is None:
        row = {"digest": setting.digest, "setting": json.dumps(setting.to_json())}
        found = connection.execute(insert(_settings).values(**row).returning(_settings.c.id)).scalar_one()
    return int(found)


def _part_id(connection: Connection, part: Part) -> int:
    found = connection.execute(select(_parts.c.id).where(_parts.c.key == part.key)).scalar()
    if found is None:
        row = {"key": part.key, "kind": part.kind, "grain": part.grain.value}
        found = connection.execute(insert(_parts).values(**row).returning(_parts.c.id)).scalar_one()
    return int(found)


def _part_ids(connection: Connection, cells: Sequence[ArchivedCell]) -> dict[str, int]:
    parts = {cell.key: {"key": cell.key, "kind": cell.kind, "grain": cell.grain} for cell in cells}
    if parts:
        connection.execute(insert_new(_parts).on_conflict_do_nothing(), list(parts.values()))
    found: dict[str, int] = {}
    keys = list(parts)
    for start in range(0, len(keys), _CHUNK):
        query = select(_parts.c.key, _parts.c.id).where(_parts.c.key.in_(keys[start : start + _CHUNK]))
        found |= {row.key: row.id for row in connection.execute(query)}
    return found


def _new_cells(
    connection: Connection, setting_id: int, part_ids: dict[str, int], cells: Sequence[ArchivedCell]
) -> list[dict[str, Any]]:
    """Rows of those that are not in the store; one that the archive holds twice is twice in the store."""
    dates = {entry.cell.created for entry in cells}
    # Only those of the same time can be the same.
    query = select(_measurements.c.part_id, *_CELL).where(
        _measurements.c.setting_id == setting_id,
        _measurements.c.created.between(min(dates, default=""), max(dates, default="")),
    )
    present = Counter(
        (part_id, _identity(StoredCell(*values).decoded()))
        for part_id, *values in connection.execute(query)
        if values[0] in dates
    )
    rows, latest = [], dict.fromkeys(part_ids.values(), 0.0)
    for entry in cells:
        part_id = part_ids[entry.key]
        # As when they were put one by one, so that the same one is the newest again.
        taken_s = latest[part_id] = max(latest[part_id], moment_s(entry.cell.created))
        one = (part_id, _identity(entry.cell))
        if present[one]:
            present[one] -= 1
        else:
            ids = {"setting_id": setting_id, "part_id": part_id, "taken_s": taken_s}
            rows.append({**ids, **_cell_row(entry.cell)})
    return rows


def _replaced(connection: Connection, setting_id: int, rows: Sequence[Mapping[str, Any]]) -> int:
    """Of how many parts that are in the store one of these rows is what the table will give."""
    query = (
        select(_measurements.c.part_id, func.max(_measurements.c.taken_s).label("taken_s"))
        .where(_measurements.c.setting_id == setting_id)
        .group_by(_measurements.c.part_id)
    )
    newest_s = {row.part_id: row.taken_s for row in connection.execute(query)}
    newer = [row["part_id"] for row in rows if row["taken_s"] >= newest_s.get(row["part_id"], math.inf)]
    return len(set(newer))


def _new_networks(
    connection: Connection, setting_id: int, networks: Sequence[ArchivedNetwork]
) -> list[dict[str, Any]]:
    present = Counter(
        (entry.name, network_text(entry.network)) for entry in _read_networks(connection, setting_id)
    )
    rows, latest = [], 0.0
    for entry in networks:
        latest = max(latest, moment_s(entry.network.created))
        one = (entry.name, network_text(entry.network))
        if present[one]:
            present[one] -= 1
        else:
            rows.append({"setting_id": setting_id, "taken_s": latest, **_network_row(entry)})
    return rows


def _read_networks(connection: Connection, setting_id: int | None) -> list[ArchivedNetwork]:
    query = (
        select(_networks.c.name, _networks.c.details)
        .where(_networks.c.setting_id == setting_id)
        .order_by(_networks.c.taken_s, _networks.c.id)
    )
    return [
        ArchivedNetwork(row.name, network_of(json.loads(row.details))) for row in connection.execute(query)
    ]


def _identity(cell: Measurement | Failure) -> tuple[object, ...]:
    if isinstance(cell, Failure):
        return cell.created, cell.reason
    return cell.created, cell.samples_s, details_text(cell)


def _cell_row(cell: Measurement | Failure) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(StoredCell.__dataclass_fields__)
    row["created"] = cell.created
    if isinstance(cell, Failure):
        return row | {"failure": cell.reason}
    latency = cell.latency_s
    return row | {
        "latency_s": latency.value,
        "low_s": latency.low,
        "high_s": latency.high,
        "samples": encode(cell.samples_s, cell.inner),
        "details": details_text(cell),
    }


def _network_row(entry: ArchivedNetwork) -> dict[str, Any]:
    details = network_text(entry.network)
    return {"skeleton": entry.network.skeleton, "name": entry.name, "details": details}
