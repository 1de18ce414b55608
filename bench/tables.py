"""Finding the table of a setting in the workspace, and saying what is wrong when it is not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from latency_tables.archive import Archive
from latency_tables.errors import UserError, unknown
from latency_tables.exchange import read_archive
from latency_tables.setting import Setting, labels
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


@dataclass(frozen=True, slots=True)
class Listed:
    """A table by name.

    Attributes:
        name: what other commands take.
        setting: the setting's digest.
        label: the setting in words, unlike that of every other setting in the list.
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
    found: list[Listed] = []
    settings: list[Setting] = []
    if (workspace / STORE_FILE).exists():
        store = open_store(workspace)
        for setting in store.settings():
            table = store.table(setting)
            names = tuple(sorted(set(store.network_names(setting).values())))
            counts = len(table.cells), len(table.networks)
            settings.append(setting)
            found.append(Listed(setting.digest, setting.digest, setting.label, *counts, names, shipped=False))
    for name, path in shipped_tables().items():
        archive = read_archive(path)
        names = tuple(sorted({network.name for network in archive.networks}))
        setting, counts = archive.setting, (len(archive.table().cells), len(archive.networks))
        settings.append(setting)
        found.append(Listed(name, setting.digest, setting.label, *counts, names, shipped=True))
    return [replace(one, label=label) for one, label in zip(found, labels(settings), strict=True)]


def named_archive(name: str, workspace: Path) -> Archive:
    """Everything measured in the setting that a user means, as `named_table` finds it."""
    found = _named(name, workspace)
    return found if isinstance(found, Archive) else found[0].archive(found[1])


class Named(NamedTuple):
    """A table that a user named.

    Attributes:
        table: what it holds.
        kinds: kind and grain of its parts, by key.
        networks: names of the networks that were timed whole, by the digest of their skeleton.
    """

    table: LatencyTable
    kinds: dict[str, tuple[str, str]]
    networks: dict[str, str]


def named_table(name: str, workspace: Path) -> Named:
    """The table that a user means.

    Args:
        name: an exported file, a shipped table's name, a setting's digest, or the beginning of a setting's label;
            tables of the workspace are asked before those that came with lathe.
        workspace: where the store is, for names that are no files.

    Raises:
        UserError: no table, or more than one, is called so, or the file is no table.
    """
    found = _named(name, workspace)
    if isinstance(found, Archive):
        return Named(found.table(), found.kinds(), found.network_names())
    store, setting = found
    return Named(store.table(setting), store.kinds(setting), store.network_names(setting))


def _named(name: str, workspace: Path) -> Archive | tuple[Store, Setting]:
    path = shipped_tables().get(name, Path(name))
    if path.suffix in (".parquet", ".csv"):
        return read_archive(path)
    known: list[str] = []
    if (workspace / STORE_FILE).exists():
        store = open_store(workspace)
        own = {setting.digest: setting for setting in store.settings()}
        if chosen := _meant(name, own):
            return store, own[chosen]
        known += [text for setting in own.values() for text in (setting.digest, setting.label)]
    shipped = {shipped_name: read_archive(path) for shipped_name, path in shipped_tables().items()}
    if chosen := _meant(name, {shipped_name: archive.setting for shipped_name, archive in shipped.items()}):
        return shipped[chosen]
    known += [text for key, archive in shipped.items() for text in (key, archive.setting.label)]
    error = unknown("table", name, known)
    if (workspace / STORE_FILE).exists():
        raise error
    raise UserError(f"{error} Besides, {workspace} holds no latency table yet; `lathe profile` makes one.")


def _meant(name: str, settings: Mapping[str, Setting]) -> str | None:
    """The id of the setting whose id, or else the beginning of whose label, a user wrote; None: no such one.

    Raises:
        UserError: it could be any of several.
    """
    if name in settings:
        return name
    named = dict(zip(settings, labels(list(settings.values())), strict=True))
    found = [key for key, label in named.items() if name and label.startswith(name)]
    if len(found) > 1:
        meant = "; ".join(f"{key} ({named[key]})" for key in found)
        raise UserError(f"{name!r} could be any of {len(found)} tables: {meant}. Name one by its id.")
    return found[0] if found else None
