"""One process at a time in a folder; the lock goes with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from latency_tables.errors import LatheError, UserError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps a folder for this process; the folder is made when missing.

    Raises:
        UserError: another process works in it.
        LatheError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a+", encoding="ascii")
    except OSError as error:
        raise LatheError(
            f"cannot use the folder {folder}: {error.strerror}. Name another with --out."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise UserError(
                f"{folder} is in use by another process (number {holder}). Wait for it to end, or name another "
                "folder with --out."
            ) from None
        try:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        except OSError as error:
            raise LatheError(
                f"cannot write {folder / '.lock'}: {error.strerror}. Make room, or name another folder with --out."
            ) from error
        yield
