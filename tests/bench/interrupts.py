"""Ctrl-C as a terminal's programs have it, also where the tests themselves were started with it ignored."""

from __future__ import annotations

import signal


def heard() -> None:
    """For a child before it starts: a background job of a script is started deaf to Ctrl-C, and so would it be."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
