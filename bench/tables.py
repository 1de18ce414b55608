"""Finding the table of a setting in the workspace, and saying what is wrong when it is not there."""

from __future__ import annotations

from pathlib import Path

from latency_tables.errors import UserError
from latency_tables.setting import Setting
from latency_tables.store import Store
from latency_tables.table import LatencyTable

STORE_FILE = "lathe.db"


def open_store(workspace: Path) -> Store:
    """The workspace's store, made when missing."""
    return Store(workspace / STORE_FILE)


def existing_store(workspace: Path) -> Store:
    """The workspace's store, for those who only look.

    Raises:
        UserError: there is none.
    """
    if not (workspace / STORE_FILE).exists():
        raise UserError(f"{workspace} holds no latency table yet; run `lathe profile` first")
    return open_store(workspace)


def require_table(store: Store, setting: Setting) -> LatencyTable:
    """The table of a setting.

    Raises:
        UserError: nothing was measured in it; where tables of other settings exist, the message says how the
            nearest one differs.
    """
    table = store.table(setting)
    if table.cells:
        return table
    others = store.settings()
    if others:
        nearest = min(others, key=lambda other: _distance(other, setting))
        nearest.require_equal(setting, f"the table in {store.path.parent}")
    raise UserError(f"{store.path.parent} holds no latency table yet; run `lathe profile` first")


def _distance(one: Setting, other: Setting) -> int:
    mine, theirs = one.to_json(), other.to_json()
    return sum(mine[field] != theirs[field] for field in mine)
