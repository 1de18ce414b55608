"""Tables that come with lathe: real ones of the machines it was developed on, to look at and to predict from.

Each is a Parquet file of `latency_tables.exchange`; the skeletons of the networks that were measured lie beside
them, so that these can be predicted without building them.
"""

from __future__ import annotations

from pathlib import Path

from latency_tables.skeleton import Skeleton
from latency_tables.skeleton_file import read_skeleton

FOLDER = Path(__file__).parent / "devices"


def shipped_tables() -> dict[str, Path]:
    """Every shipped table's file by its name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.parquet"))}


def skeleton_path(network: str, batch: int, folder: Path = FOLDER) -> Path:
    """Where the skeleton of a network in a batch size lies, or would."""
    return folder / "skeletons" / f"{network.replace('/', '-')}-b{batch}.skeleton"


def shipped_skeleton(network: str, batch: int) -> Skeleton | None:
    """The skeleton, with channel groups, of a network that a shipped table knows; None where none does.

    Raises:
        UserError: the file is damaged.
    """
    path = skeleton_path(network, batch)
    return read_skeleton(path) if path.exists() else None
