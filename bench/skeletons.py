"""Skeletons that were made before, so that looking at a table does not build a network."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from bench.workbench import NetworkChoice, Subject
from latency_tables.errors import UserError
from latency_tables.shipped import shipped_skeleton
from latency_tables.skeleton import Skeleton
from latency_tables.skeleton_file import read_skeleton, write_skeleton
from latency_tables.table import LatencyTable

#: Whose versions decide how a network is taken apart.
_PACKAGES = ("lathe", "torch", "torchvision", "timm", "torch-pruning")


def skeleton_of(choice: NetworkChoice, table: LatencyTable, workspace: Path, *, widths: bool) -> Skeleton:
    """The skeleton to predict a network with, from the workspace where it was made before.

    It is that of `bench.workbench.Subject.outline_for`, without building the network. A user's own factory is
    always run: its code may have changed.

    Args:
        choice: the network.
        table: to predict from.
        workspace: where skeletons are kept.
        widths: with channel groups, whatever the table holds.

    Raises:
        UserError: see `bench.workbench.Subject` and its `wide`.
    """
    batch = table.setting.batch
    subject = cache(lambda: Subject(choice, batch))
    if not widths:
        plain = _kept(_path(choice, batch, workspace, False), lambda: subject().outline.skeleton)
        if not table.over_widths(plain):
            return plain
    return _kept(_path(choice, batch, workspace, True), lambda: subject().wide.skeleton)


def skeleton_for(
    choice: NetworkChoice, table: LatencyTable, timed: Mapping[str, str], workspace: Path, *, widths: bool
) -> Skeleton:
    """The skeleton to predict a network with from a table that may be of another machine or have come with lathe.

    A shipped skeleton saves building the network. Where the table timed another network of this name, as other
    versions of a library make it, the one that is made here counts.

    Args:
        choice: the network.
        table: to predict from.
        timed: names of the networks that it timed whole, by the digest of their skeleton.
        workspace: where skeletons are kept.
        widths: as for `skeleton_of`.

    Raises:
        UserError: as `skeleton_of`.
    """
    if choice.input_shape is None:
        shipped = shipped_skeleton(choice.name, table.setting.batch)
        if shipped is not None and (shipped.digest in timed or choice.name not in timed.values()):
            return shipped
    return skeleton_of(choice, table, workspace, widths=widths)


def skeleton_at_hand(name: str, digest: str, table: LatencyTable, workspace: Path) -> Skeleton | None:
    """The skeleton of a network that a table names, where none has to be made: a shipped one or one kept before.

    Args:
        name: of the network.
        digest: of its skeleton.
        table: where it was timed.
        workspace: where skeletons are kept.

    Returns:
        With channel groups where the table asks for them; None where there is no such file.
    """
    shipped = shipped_skeleton(name, table.setting.batch)
    found = [] if shipped is None else [shipped]
    for path in sorted((workspace / "skeletons").glob(f"{glob.escape(_stem(name))}-*.skeleton")):
        with contextlib.suppress(UserError):  # damaged: it is made again when it is asked for
            found.append(read_skeleton(path))
    fits = [one for one in found if one.digest == digest and (one.groups or not table.over_widths(one))]
    return fits[0] if fits else None


def _kept(path: Path | None, make: Callable[[], Skeleton]) -> Skeleton:
    """What the file holds; where there is none, what is made, and then kept there."""
    if path is not None and path.exists():
        try:
            return read_skeleton(path)
        except UserError:
            path.unlink(missing_ok=True)  # it can be made again
    skeleton = make()
    if path is not None:
        write_skeleton(path, skeleton)
    return skeleton


def _path(choice: NetworkChoice, batch: int, workspace: Path, widths: bool) -> Path | None:
    if ":" in choice.name:
        return None
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    weights = None
    if choice.weights is not None and choice.weights.exists():
        about = choice.weights.stat()
        weights = [str(choice.weights.absolute()), about.st_size, about.st_mtime_ns]
    words = json.dumps([choice.name, choice.input_shape, weights, batch, widths, versions])
    digest = hashlib.sha256(words.encode()).hexdigest()[:12]
    return workspace / "skeletons" / f"{_stem(choice.name)}-{digest}.skeleton"


def _stem(name: str) -> str:
    return name.replace("/", "-")
