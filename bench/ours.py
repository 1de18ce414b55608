"""The four packages have everyday names: make sure that the ones Python finds are lathe's."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from latency_tables.errors import LatheError

PACKAGES = ("bench", "latency_tables", "pruning", "reports")


def require_own_packages(locate: Callable[[str], Path | None] | None = None) -> None:
    """Refuses to start when one of the four packages is missing or comes from another place than this one.

    Args:
        locate: finds the folder of a package, or None; by default as an import would, without importing.

    Raises:
        LatheError: the first package that is not lathe's, with the folder it comes from.
    """
    home = Path(__file__).resolve().parent.parent
    for name in PACKAGES:
        found = (locate or _locate)(name)
        if found is None:
            raise LatheError(f"the package {name} is missing beside {home}. Install lathe again.")
        if found.resolve() != home / name:
            raise LatheError(
                f"the package {name} would come from {found}, but lathe's is {home / name}: another package or a "
                f"folder named {name} hides it. Start from another folder, or install lathe in a fresh virtual "
                "environment."
            )


def _locate(name: str) -> Path | None:
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations)))
