"""Writing files so that a crash, a full disk, Ctrl-C or kill -9 leaves the old file or the new one, never half."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latency_tables.errors import StorageError

_FREE = "Free some space there, or name another folder with --out, and run the same command again."
_REMEDIES = {
    errno.ENOSPC: _FREE,
    errno.EDQUOT: _FREE,
    errno.EFBIG: "Raise the limit on the size of a file (`ulimit -f`), or name another folder with --out, and run "
    "the same command again.",
}
_REMEDY = (
    "Look at the folder and its permissions, or name another with --out, and run the same command again."
)


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file's content in one step.

    The bytes go to a temporary file in the same folder, are flushed to the disk and renamed over the target.

    Args:
        path: the file to write; its folder is made when missing.
        content: the whole new content.

    Raises:
        StorageError: the file could not be written (full disk, no permission); the old content is untouched.
    """
    write_together({path: content})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Replaces the content of several files, after all of the new content has reached the disk.

    So a full disk leaves all the old files. Whatever ends it, Ctrl-C included, each file is the old one or the new
    one and no temporary file stays behind; only kill -9 leaves one, whose name begins with a dot.

    Args:
        files: the whole new content by file; folders are made when missing.

    Raises:
        StorageError: a file could not be written; the message names it.
    """
    waiting = {path: path.with_name(f".{path.name}.{secrets.token_hex(4)}") for path in files}
    path = Path()
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with waiting[path].open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, temporary in waiting.items():
            temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}. What was there before, if anything, is untouched. "
            f"{_REMEDIES.get(error.errno or 0, _REMEDY)}"
        ) from error
    finally:
        for temporary in waiting.values():
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes a value as indented JSON, atomically; NaN and infinity are refused (ValueError)."""
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())
