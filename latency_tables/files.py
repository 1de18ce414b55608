"""Writing files so that a crash, a full disk or kill -9 leaves the old file or the new one, never half."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from latency_tables.errors import LatheError


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file's content in one step.

    The bytes go to a temporary file in the same folder, are flushed to the disk and renamed over the target.

    Args:
        path: the file to write; its folder is made when missing.
        content: the whole new content.

    Raises:
        LatheError: the file could not be written (full disk, no permission); the old content is untouched.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise LatheError(
            f"cannot write {path}: {error.strerror or error}. The old content, if any, is untouched; "
            "free some space or choose another folder with --out."
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Writes a value as indented JSON, atomically; NaN and infinity are refused (ValueError)."""
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())
