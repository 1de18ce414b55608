"""The ways in which lathe gives up, and the sentence that names the nearest known words.

Every message says what is wrong, what was expected, what was received and what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LatheError(Exception):
    """Something failed that the user did not get wrong: a runtime broke, a disk is full (exit status 1)."""


class StorageError(LatheError):
    """Nothing can be written down where it belongs, so whatever comes next would be lost as well."""


class UserError(LatheError):
    """The request itself cannot be served as it stands: a wrong name, file or number (exit status 2)."""


def unknown(what: str, received: str, known: Iterable[str]) -> UserError:
    """Builds the error for a name that nobody knows.

    Args:
        what: the kind of thing that was named, as in "corruption".
        received: the name as the user wrote it.
        known: every name that would have been right.

    Returns:
        The error, to be raised by the caller; its text lists the nearest names first, at most three, and
        all known names when they are few, or says that there are none.
    """
    names = sorted(known)
    near = difflib.get_close_matches(received, names, n=3, cutoff=0.5)
    text = f"unknown {what} {received!r}."
    if near:
        text += f" Did you mean {' or '.join(repr(name) for name in near)}?"
    if not names:
        text += " There is none to choose here."
    elif not near or len(names) <= 12:
        text += f" Known: {', '.join(names)}."
    return UserError(text)
