"""Where measurements live: one SQL database, a SQLite file by default, written one measurement at a time.

Every measurement is its own transaction, so that a job killed at any moment loses the one in flight and nothing
else, and the same job started again finds what is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    insert,
    select,
)
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import DatabaseError

from latency_tables.errors import LatheError, UserError
from latency_tables.estimate import Estimate
from latency_tables.measurement import Measurement, Stop
from latency_tables.part import Part
from latency_tables.setting import Setting
from latency_tables.table import Failure, LatencyTable, NetworkMeasurement
from latency_tables.trace import Trace

# 1: first format.
STORE_FORMAT = 1

_metadata = MetaData()
_about = Table("about", _metadata, Column("format", Integer, nullable=False))
_settings = Table(
    "settings",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String(12), nullable=False, unique=True),
    Column("setting", Text, nullable=False),
)
_parts = Table(
    "parts",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("grain", Text, nullable=False),
)
_cells = Table(
    "cells",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("setting_id", ForeignKey("settings.id"), nullable=False),
    Column("part_id", ForeignKey("parts.id"), nullable=False),
    Column("created", Text, nullable=False),
    Column("failure", Text),  # the reason, for a cell that could not be measured
    Column("samples_s", LargeBinary),  # little-endian float64, in the order taken
    Column("details", Text),  # JSON: warm-up, stop, dropped, inner, host
    UniqueConstraint("setting_id", "part_id"),
)
_networks = Table(
    "networks",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("setting_id", ForeignKey("settings.id"), nullable=False, index=True),
    Column("skeleton", String(16), nullable=False),
    Column("name", Text, nullable=False),
    Column("removed", Text, nullable=False),  # JSON list
    Column("role", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("details", Text, nullable=False),  # JSON: the three estimates, the disturbance, the trace
)


class Store:
    """A store of latency tables.

    Attributes:
        path: the SQLite file.
    """

    def __init__(self, path: Path) -> None:
        """Opens a store, and makes it when it is not there.

        Args:
            path: the SQLite file; its folder is made when missing.

        Raises:
            UserError: the file is no store, or one written by a newer version.
            LatheError: it cannot be opened or made.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LatheError(f"cannot make the folder {path.parent}: {error.strerror}") from error
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})
        event.listen(self._engine, "connect", _configure)
        with self._transaction() as connection:
            # The write lock comes first, so that of two processes that open a new store one makes it.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            _metadata.create_all(connection)
            written = connection.execute(select(_about.c.format)).scalar()
            if written is None:
                connection.execute(insert(_about).values(format=STORE_FORMAT))
            elif written != STORE_FORMAT:
                raise UserError(
                    f"{path} is a store of format {written}, this version of lathe reads format {STORE_FORMAT}; "
                    "use the version that wrote it, or name another folder with --out"
                )

    def close(self) -> None:
        """Lets go of the file."""
        self._engine.dispose()

    def settings(self) -> list[Setting]:
        """Every setting in which something was measured, oldest first."""
        with self._transaction() as connection:
            rows = connection.execute(select(_settings.c.setting).order_by(_settings.c.id)).scalars()
            return [Setting.from_json(json.loads(row)) for row in rows]

    def put(self, setting: Setting, part: Part, cell: Measurement | Failure) -> None:
        """Stores a cell; a second cell for the same part and setting takes the place of the first.

        Raises:
            LatheError: the database cannot be written; what was stored before is untouched.
        """
        with self._transaction() as connection:
            setting_id = _setting_id(connection, setting)
            part_id = _part_id(connection, part)
            connection.execute(
                _cells.delete().where(_cells.c.setting_id == setting_id, _cells.c.part_id == part_id)
            )
            connection.execute(
                insert(_cells).values(setting_id=setting_id, part_id=part_id, **_cell_row(cell))
            )

    def put_network(self, setting: Setting, name: str, network: NetworkMeasurement) -> None:
        """Stores the measurement of a whole network.

        Args:
            setting: where it was measured.
            name: the network's name, for people.
            network: the measurement.

        Raises:
            LatheError: the database cannot be written; what was stored before is untouched.
        """
        details = {
            "latency_s": network.latency_s.to_json(),
            "unpruned_s": network.unpruned_s.to_json(),
            "ratio": network.ratio.to_json(),
            "disturbance": network.disturbance,
            "trace": None if network.trace is None else network.trace.to_json(),
        }
        with self._transaction() as connection:
            connection.execute(
                insert(_networks).values(
                    setting_id=_setting_id(connection, setting),
                    skeleton=network.skeleton,
                    name=name,
                    removed=json.dumps(sorted(network.removed)),
                    role=network.role,
                    created=network.created,
                    details=json.dumps(details),
                )
            )

    def table(self, setting: Setting) -> LatencyTable:
        """Everything measured in a setting; an empty table where nothing was."""
        wanted = _settings.c.digest == setting.digest
        cells = select(_parts.c.key, _cells).select_from(_cells.join(_parts).join(_settings)).where(wanted)
        networks = select(_networks).select_from(_networks.join(_settings)).where(wanted)
        with self._transaction() as connection:
            return LatencyTable(
                setting=setting,
                cells={row.key: _cell(row) for row in connection.execute(cells)},
                networks=tuple(
                    _network(row) for row in connection.execute(networks.order_by(_networks.c.id))
                ),
            )

    def kinds(self, setting: Setting) -> dict[str, tuple[str, str]]:
        """Kind and grain of each part measured in a setting, by key."""
        query = (
            select(_parts.c.key, _parts.c.kind, _parts.c.grain)
            .select_from(_parts.join(_cells).join(_settings))
            .where(_settings.c.digest == setting.digest)
        )
        with self._transaction() as connection:
            return {row.key: (row.kind, row.grain) for row in connection.execute(query)}

    def network_names(self, setting: Setting) -> dict[str, str]:
        """The name of each network measured in a setting, by its skeleton's digest."""
        query = (
            select(_networks.c.skeleton, _networks.c.name)
            .select_from(_networks.join(_settings))
            .where(_settings.c.digest == setting.digest)
        )
        with self._transaction() as connection:
            return {row.skeleton: row.name for row in connection.execute(query)}

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except DatabaseError as error:
            raise LatheError(
                f"the store {self.path} cannot be used: {error.orig}. What was stored before is untouched; if "
                "the file is no store of lathe, name another folder with --out, if the disk is full, free some "
                "space, and run the same command again."
            ) from error


def _configure(connection: object, _record: object) -> None:
    """Write-ahead log: readers never wait, and a kill in the middle of a write leaves the file whole."""
    cursor = connection.cursor()  # type: ignore[attr-defined]  # a sqlite3 connection, typed as object by the event
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _setting_id(connection: Connection, setting: Setting) -> int:
    query = select(_settings.c.id).where(_settings.c.digest == setting.digest)
    found = connection.execute(query).scalar()
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


def _cell_row(cell: Measurement | Failure) -> dict[str, str | bytes | None]:
    if isinstance(cell, Failure):
        return {"created": cell.created, "failure": cell.reason}
    details = {
        "warmup": cell.warmup,
        "stop": cell.stop.value,
        "dropped": dict(cell.dropped),
        "inner": cell.inner,
        "host": dict(cell.host),
    }
    samples = np.asarray(cell.samples_s, dtype="<f8").tobytes()
    return {"created": cell.created, "samples_s": samples, "details": json.dumps(details)}


def _cell(row: Row[tuple[object, ...]]) -> Measurement | Failure:
    if row.failure is not None:
        return Failure(row.failure, row.created)
    details = json.loads(row.details)
    return Measurement(
        samples_s=tuple(np.frombuffer(row.samples_s, dtype="<f8").tolist()),
        warmup=details["warmup"],
        stop=Stop(details["stop"]),
        created=row.created,
        dropped=details["dropped"],
        inner=details["inner"],
        host=details["host"],
    )


def _network(row: Row[tuple[object, ...]]) -> NetworkMeasurement:
    details = json.loads(row.details)
    trace = details.get("trace")  # older rows have none
    return NetworkMeasurement(
        skeleton=row.skeleton,
        removed=tuple(json.loads(row.removed)),
        latency_s=Estimate.from_json(details["latency_s"]),
        unpruned_s=Estimate.from_json(details["unpruned_s"]),
        ratio=Estimate.from_json(details["ratio"]),
        role=row.role,
        created=row.created,
        disturbance=details["disturbance"],
        trace=None if trace is None else Trace.from_json(trace),
    )
