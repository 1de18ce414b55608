"""How what went wrong inside a user's network, PyTorch or lathe reads as the reason in a record."""

from __future__ import annotations

import traceback
from pathlib import Path

from latency_tables.errors import LatheError


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
