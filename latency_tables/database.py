"""The SQLite file behind a store: opening it, recognising it, transactions, and what to say when it fails."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, create_engine, event, insert, inspect, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DatabaseError

from latency_tables.cells import edited
from latency_tables.errors import LatheError, StorageError, UserError
from latency_tables.migrations import STEPS
from latency_tables.schema import STORE_FORMAT, about, metadata

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


class Database:
    """A store's file, in the present format once it is open.

    Attributes:
        path: the SQLite file.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file; makes it when it is not there, and brings an older format up to date.

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
            raise StorageError(
                f"cannot make the folder {path.parent} or look into it: {error.strerror}. Name another with --out."
            ) from error
        self._engine = create_engine(
            URL.create("sqlite", database=str(path)), connect_args={"timeout": _PATIENCE_S}
        )
        event.listen(self._engine, "connect", _configure)
        if new:
            # The mode stays with the file, so a file that may be another program's is left as it is.
            event.listen(self._engine, "connect", _write_ahead)
        try:
            # The write lock comes first, so that of two processes that open a store one makes or migrates it.
            with self.writing() as connection:
                self._require_whole(connection)
                self._make_or_recognise(connection)
        except LatheError:
            self.close()
            raise

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that nobody else writes in, from its first look on.

        Raises:
            StorageError: the database cannot be used; all that the transaction did is taken back.
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the file, whoever writes meanwhile.

        Raises:
            StorageError: the database cannot be used.
        """
        with self._transaction("BEGIN") as connection:
            yield connection

    def close(self) -> None:
        """Lets go of the file."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                connection.exec_driver_sql(begin)
                yield connection
        except (DatabaseError, UnicodeDecodeError) as error:
            # Text that is no text is met below SQLAlchemy, which lets it through.
            cause = error.orig if isinstance(error, DatabaseError) else error
            code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            raise StorageError(
                f"the store {self.path} cannot be used: {cause}. Nothing in it was changed. "
                f"{_REMEDIES.get(code, _REMEDY)}"
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            # Raised where records are made of rows, and rows may have been edited.
            raise edited(str(self.path), error) from error

    def _require_whole(self, connection: Connection) -> None:
        """SQLite reads what is missing at the end of the last page as zeros, and so rows as if they had never been.

        The file is never opened beside SQLite: closing it would let go of the locks this process holds on it, and
        another process that leaves meanwhile would take the log away from under its feet.
        """
        log = self.path.with_name(f"{self.path.name}-wal")
        expected = 1
        for pragma in ("page_count", "page_size"):
            expected *= connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one()
        size = self.path.stat().st_size
        # With the write lock nothing moves from the log to the file, if the log is empty.
        if size < expected and not (log.exists() and log.stat().st_size):
            raise LatheError(
                f"the store {self.path} was cut off: it holds {size} bytes of {expected}. "
                f"{_REMEDIES[sqlite3.SQLITE_CORRUPT]}"
            )

    def _make_or_recognise(self, connection: Connection) -> None:
        tables = set(inspect(connection).get_table_names())
        if not tables:
            metadata.create_all(connection)
            connection.execute(insert(about).values(format=STORE_FORMAT))
            return
        # Read as it stands there: it may be text.
        found = (
            connection.execute(text("SELECT format FROM about")).scalar() if about.name in tables else None
        )
        if found is None:
            raise UserError(
                f"{self.path} is a database, but no store of lathe: it holds {', '.join(sorted(tables))}. Name "
                "another folder with --out."
            )
        if found != STORE_FORMAT and found not in STEPS:
            raise UserError(
                f"{self.path} is a store of format {found}, this version of lathe reads format {STORE_FORMAT}; "
                "use the version that wrote it, or name another folder with --out"
            )
        for step in range(found, STORE_FORMAT):
            STEPS[step](connection)
        if found != STORE_FORMAT:
            connection.execute(about.update().values(format=STORE_FORMAT))


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
