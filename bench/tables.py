"""Finding the table of a setting in the workspace, and saying what is wrong when it is not there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from latency_tables.archive import Archive
from latency_tables.errors import UserError, unknown
from latency_tables.exchange import read_archive
from latency_tables.setting import Setting
from latency_tables.shipped import shipped_tables
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


def named_setting(store: Store, name: str) -> Setting:
    """The setting that a user means.

    Args:
        store: where it was measured.
        name: its digest, or the beginning of its label.

    Raises:
        UserError: no setting, or more than one, is called so.
    """
    settings = store.settings()
    exact = [setting for setting in settings if setting.digest == name]
    found = exact or [setting for setting in settings if name and setting.label.startswith(name)]
    if not found:
        raise unknown("table", name, [text for s in settings for text in (s.digest, s.label)])
    if len(found) > 1:
        meant = "; ".join(f"{setting.digest} ({setting.label})" for setting in found)
        raise UserError(f"{name!r} could be any of {len(found)} tables: {meant}. Name one by its id.")
    return found[0]


@dataclass(frozen=True, slots=True)
class Listed:
    """A table by name.

    Attributes:
        name: what other commands take.
        setting: the setting's digest.
        label: the setting in words.
        cells: how many parts it knows.
        networks: how many measurements of whole networks.
        names: of the networks measured as a whole.
        shipped: whether it came with lathe.
    """

    name: str
    setting: str
    label: str
    cells: int
    networks: int
    names: tuple[str, ...]
    shipped: bool


def list_tables(workspace: Path) -> list[Listed]:
    """The tables of a workspace, where there is one, and the shipped ones.

    Raises:
        UserError: a shipped file is damaged.
        LatheError: the store cannot be read.
    """
    found = []
    if (workspace / STORE_FILE).exists():
        store = open_store(workspace)
        for setting in store.settings():
            table = store.table(setting)
            names = tuple(sorted(set(store.network_names(setting).values())))
            counts = len(table.cells), len(table.networks)
            found.append(Listed(setting.digest, setting.digest, setting.label, *counts, names, shipped=False))
    for name, path in shipped_tables().items():
        archive = read_archive(path)
        names = tuple(sorted({network.name for network in archive.networks}))
        setting, counts = archive.setting, (len(archive.table().cells), len(archive.networks))
        found.append(Listed(name, setting.digest, setting.label, *counts, names, shipped=True))
    return found


def named_archive(name: str, workspace: Path) -> Archive:
    """Everything measured in the setting that a user means, as `named_table` finds it."""
    path = shipped_tables().get(name, Path(name))
    if path.suffix in (".parquet", ".csv"):
        return read_archive(path)
    store = existing_store(workspace)
    return store.archive(named_setting(store, name))


def named_table(name: str, workspace: Path) -> tuple[LatencyTable, dict[str, tuple[str, str]]]:
    """The table that a user means, with kind and grain of its parts by key.

    Args:
        name: an exported file, a shipped table, or as for `named_setting`.
        workspace: where the store is, for names that are no files.

    Raises:
        UserError: there is no such file or table, or the file is no table.
    """
    path = shipped_tables().get(name, Path(name))
    if path.suffix in (".parquet", ".csv"):
        archive = read_archive(path)
        return archive.table(), archive.kinds()
    store = existing_store(workspace)
    setting = named_setting(store, name)
    return store.table(setting), store.kinds(setting)
