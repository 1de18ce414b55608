"""What may go wrong inside a user's network, PyTorch or lathe, and how it reads as the reason in a record."""

from __future__ import annotations

import traceback
from pathlib import Path

from latency_tables.errors import LatheError

#: What costs one point and not the sweep, a `StorageError` excepted. Whatever ends the process is not among it.
FAILURES: tuple[type[Exception], ...] = (
    LatheError,
    RuntimeError,
    MemoryError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
)


def reason(error: Exception) -> str:
    """Why something failed, in words.

    Args:
        error: a `LatheError` says it in its message. Others are meant for whoever has the code before them, so type
            and place stand in front.
    """
    if isinstance(error, LatheError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}: {error}"
