"""Records on the disk: JSON objects with the version of their format, read strictly and refused by name."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from latency_tables.errors import UserError
from reports import codec

_T = TypeVar("_T")


def read_document(
    path: Path,
    kind: type[_T],
    *,
    newest: int,
    missing: str,
    remedy: str,
    upgrade: Callable[[int, dict[str, Any]], dict[str, Any]] = lambda _, data: data,
) -> _T:
    """Reads one record.

    Args:
        path: a file that holds an object with its format's version under "format".
        kind: the record's dataclass.
        newest: the newest version known.
        missing: what was expected where there is no such file, for the message.
        remedy: what to do about a file that cannot be used, as a sentence.
        upgrade: makes what an older version wrote (given its number) into what the newest writes.

    Raises:
        UserError: the file is missing, truncated, edited into something else or of a newer format; the message
            names it.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError(f"{path} is a folder or a device; expected a file. Move it away.")
        data = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; {missing}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}. It was cut off or edited. {remedy}") from error
    version = data.pop("format", None) if isinstance(data, dict) else None
    if type(version) is not int or version < 1:
        raise UserError(
            f"{path}: expected an object with a whole number under 'format', got {str(version)[:60]}. {remedy}"
        )
    if version > newest:
        raise UserError(
            f"{path}: format {version} is newer than {newest}, the newest known here. Update lathe."
        )
    try:
        found: _T = codec.decode(kind, upgrade(version, data), kind.__name__.lower())
    except (codec.MismatchError, RecursionError) as error:
        raise UserError(f"{path}: {error}. {remedy}") from error
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")
