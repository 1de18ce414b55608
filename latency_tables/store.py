"""Where measurements live: one SQL database, a SQLite file by default, written one measurement at a time.

Every measurement is its own transaction, so that a job killed at any moment loses the one in flight and nothing
else, and the same job started again finds what is there.
"""

from __future__ import annotations

import json
import sqlite3
import time
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
    inspect,
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

_HEADER = 100  # bytes at the start of a database that tell its size
_PATIENCE_S = 30.0  # how long another process may take over a write
_FREE = "Free some space, or name another folder with --out, and run the same command again."
_REMEDY = "If the file is no store of lathe, name another folder with --out."
_REMEDIES = {
    sqlite3.SQLITE_FULL: f"The disk is full. {_FREE}",
    sqlite3.SQLITE_IOERR: f"The disk is full or broken, or files may not grow so large. {_FREE}",
    sqlite3.SQLITE_BUSY: "Another process is writing to it. Wait for it to end and run the same command again.",
    sqlite3.SQLITE_NOTADB: "The file is no store of lathe: move it away, or name another folder with --out.",
    sqlite3.SQLITE_CORRUPT: "The file was damaged. Put a copy of it back, or name another folder "
    "with --out and measure again.",
    sqlite3.SQLITE_READONLY: "Look at the file's permissions, or name another folder with --out.",
    sqlite3.SQLITE_CANTOPEN: "Look at the folder and its permissions, or name another with --out.",
}

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
            new = not path.exists() or path.stat().st_size == 0
        except OSError as error:
            raise LatheError(
                f"cannot make the folder {path.parent} or look into it: {error.strerror}. Name another with --out."
            ) from error
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": _PATIENCE_S})
        event.listen(self._engine, "connect", _configure)
        if new:
            # The mode stays with the file, so a file that may be another program's is left as it is.
            event.listen(self._engine, "connect", _write_ahead)
        try:
            with self._transaction() as connection:
                # The write lock comes first, so that of two processes that open a new store one makes it.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                self._require_whole()
                self._make_or_recognise(connection)
        except LatheError:
            self.close()
            raise

    def _require_whole(self) -> None:
        """SQLite reads what is missing at the end of a file as zeros, and so rows as if they had never been.

        To be called with the write lock: nothing moves from the log to the file then, if the log is empty.
        """
        log = self.path.with_name(f"{self.path.name}-wal")
        with self.path.open("rb") as file:
            header = file.read(_HEADER)
        page, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
        # The largest size of a page does not fit the field.
        expected = max(_HEADER, (65536 if page == 1 else page) * pages)
        size = self.path.stat().st_size
        if 0 < size < expected and not (log.exists() and log.stat().st_size):
            raise LatheError(
                f"the store {self.path} was cut off: it holds {size} bytes of {expected}. "
                f"{_REMEDIES[sqlite3.SQLITE_CORRUPT]}"
            )

    def _make_or_recognise(self, connection: Connection) -> None:
        tables = set(inspect(connection).get_table_names())
        if not tables:
            _metadata.create_all(connection)
            connection.execute(insert(_about).values(format=STORE_FORMAT))
            return
        written = connection.execute(select(_about.c.format)).scalar() if _about.name in tables else None
        if written is None:
            raise UserError(
                f"{self.path} is a database, but no store of lathe: it holds {', '.join(sorted(tables))}. Name "
                "another folder with --out."
            )
        if written != STORE_FORMAT:
            raise UserError(
                f"{self.path} is a store of format {written}, this version of lathe reads format {STORE_FORMAT}; "
                "use the version that wrote it, or name another folder with --out"
            )

    def close(self) -> None:
        """Lets go of the file."""
        self._engine.dispose()

    def settings(self) -> list[Setting]:
        """Every setting in which something was measured, oldest first."""
        with self._reading() as connection:
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
        with self._reading() as connection:
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
        except (DatabaseError, UnicodeDecodeError) as error:
            # Text that is no text is met below SQLAlchemy, which lets it through.
            cause = error.orig if isinstance(error, DatabaseError) else error
            code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            raise LatheError(
                f"the store {self.path} cannot be used: {cause}. Nothing in it was changed. "
                f"{_REMEDIES.get(code, _REMEDY)}"
            ) from error

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A transaction that makes records of rows; what stands in the rows may have been edited."""
        with self._transaction() as connection:
            try:
                yield connection
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise LatheError(
                    f"the store {self.path} holds a row that lathe did not write: {type(error).__name__}: {error}. "
                    "Put a copy of the file back, or name another folder with --out."
                ) from error


def _configure(connection: object, _record: object) -> None:
    """What SQLite forgets with each connection."""
    cursor = connection.cursor()  # type: ignore[attr-defined]  # a sqlite3 connection, typed as object by the event
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _write_ahead(connection: object, _record: object) -> None:
    """With a write-ahead log readers never wait, and a kill in the middle of a write leaves the file whole."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()  # type: ignore[attr-defined]
        except sqlite3.OperationalError as error:
            # Two who switch at once are both refused at once, however patient they are.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


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
    samples = np.frombuffer(row.samples_s, dtype="<f8")
    if not np.isfinite(samples).all():
        raise ValueError("a sample is no finite number")
    return Measurement(
        samples_s=tuple(samples.tolist()),
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
