"""Compiled engines and timing caches on disk, each valid for one device and one version only."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from latency_tables.errors import LatheError
from latency_tables.files import write_atomically

#: First words of a file, before what it is valid for.
_MAGIC = b"lathe engine 1\n"


def cache_folder() -> Path:
    """Where engines are kept: lathe/engines in the user's cache folder (``XDG_CACHE_HOME``, else ~/.cache).

    For a user without a home a new temporary folder, for this process alone: an engine is code, so none is loaded
    from where others could have put it.
    """
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "lathe" / "engines"
    try:
        return Path.home() / ".cache" / "lathe" / "engines"
    except RuntimeError:
        return Path(tempfile.mkdtemp(prefix="lathe-engines-"))


class EngineCache:
    """Files named by what they are valid for, which they also hold inside.

    Args:
        folder: where they lie; made when something is written.
        valid_for: device, driver and versions, by name.
    """

    def __init__(self, folder: Path, valid_for: Mapping[str, str]) -> None:
        self._folder, self._valid_for = folder, dict(valid_for)

    def path(self, kind: str, key: str = "") -> Path:
        """Where something lies.

        Args:
            kind: "engine" or "timings".
            key: what else it depends on, as the digest of a network.
        """
        text = json.dumps([kind, key, sorted(self._valid_for.items())])
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.{kind}"

    def read(self, kind: str, key: str = "") -> bytes | None:
        """What was kept; None where nothing was, or the file cannot be reached: what comes instead is written anew.

        Raises:
            LatheError: the file is none of lathe's, cut off, or was made for another device or version.
        """
        path = self.path(kind, key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        head, _, rest = content.removeprefix(_MAGIC).partition(b"\n")
        try:
            if not content.startswith(_MAGIC):
                raise ValueError("it is no file of lathe's")
            about = json.loads(head)
            if not isinstance(about, dict):
                raise ValueError("it does not say what it is valid for")
            for name, here in {**self._valid_for, "key": key}.items():
                if about.get(name) != here:
                    raise ValueError(f"{name} is {about.get(name)!r} there and {here!r} here")
            if hashlib.sha256(rest).hexdigest() != about.get("sha256"):
                raise ValueError("it is cut off or edited")
        except ValueError as error:
            raise LatheError(
                f"the cached {kind} {path} cannot be used: {error}. Delete the file; `lathe profile "
                "--retry-failed` makes it again."
            ) from error
        return rest

    def write(self, kind: str, content: bytes, key: str = "") -> None:
        """Keeps something, in place of what was there.

        Raises:
            StorageError: it cannot be written.
        """
        about = {**self._valid_for, "key": key, "sha256": hashlib.sha256(content).hexdigest()}
        head = json.dumps(about, sort_keys=True).encode()
        write_atomically(self.path(kind, key), _MAGIC + head + b"\n" + content)
