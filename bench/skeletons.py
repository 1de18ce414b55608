"""Skeletons that were made before, so that looking at a table does not build a network."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from pathlib import Path

from bench.workbench import NetworkChoice, Subject
from latency_tables.errors import UserError
from latency_tables.skeleton import Skeleton
from latency_tables.skeleton_file import read_skeleton, write_skeleton

#: Whose versions decide how a network is taken apart.
_PACKAGES = ("lathe", "torch", "torchvision", "timm", "torch-pruning")


def skeleton_of(choice: NetworkChoice, batch: int, workspace: Path, *, widths: bool) -> Skeleton:
    """A network's skeleton, from the workspace where it was made before.

    A user's own factory is always run: its code may have changed.

    Args:
        choice: the network.
        batch: images in one forward pass.
        workspace: where skeletons are kept.
        widths: with channel groups.

    Raises:
        UserError: see `bench.workbench.Subject`.
        LatheError: sizes in the network do not follow its widths.
    """
    path = _path(choice, batch, workspace, widths)
    if path is not None and path.exists():
        try:
            return read_skeleton(path)
        except UserError:
            path.unlink(missing_ok=True)  # it can be made again
    subject = Subject(choice, batch)
    skeleton = (subject.wide if widths else subject.outline).skeleton
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
    name = choice.name.replace("/", "-")
    digest = hashlib.sha256(words.encode()).hexdigest()[:12]
    return workspace / "skeletons" / f"{name}-{digest}.skeleton"
