"""A skeleton as a file, so that a network can be predicted and planned for without building it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latency_tables.errors import UserError
from latency_tables.files import write_atomically
from latency_tables.graph import Graph
from latency_tables.part import Grain, Part
from latency_tables.skeleton import Block, Layer, Skeleton
from latency_tables.widths import ChannelGroup, Size

# 1: graph, layers and blocks by their operators, channel groups, sizes that follow them.
SKELETON_FORMAT = 1

_MOST_BYTES = 1 << 28  # unpacked; a network of ten thousand operators takes a hundredth of it


def skeleton_to_json(skeleton: Skeleton) -> dict[str, Any]:
    """Plain dictionaries and lists; parts are named by their operators in the graph."""
    return {
        "format": SKELETON_FORMAT,
        "name": skeleton.name,
        "graph": skeleton.graph.to_json(),
        "layers": [
            [layer.name, layer.part.kind, list(layer.operators), layer.block] for layer in skeleton.layers
        ],
        "blocks": [
            [block.name, block.part.kind, block.entry, block.exit, block.removable]
            for block in skeleton.blocks
        ],
        "groups": [[group.name, group.channels, group.frozen] for group in skeleton.groups],
        "sizes": [size.to_json() for size in skeleton.sizes],
    }


def skeleton_from_json(data: Mapping[str, Any]) -> Skeleton:
    """Reads what `skeleton_to_json` wrote.

    Raises:
        ValueError: written in another format, or not by lathe.
    """
    if data.get("format") != SKELETON_FORMAT:
        raise ValueError(f"skeleton format {data.get('format')!r} is not {SKELETON_FORMAT}")
    try:
        graph = Graph.from_json(data["graph"])

        def part(kind: str, grain: Grain, operators: list[int]) -> Part:
            return Part(str(kind), grain, graph.select(operators)[0])

        layers = tuple(
            Layer(str(name), part(kind, Grain.LAYER, operators), tuple(map(int, operators)), block)
            for name, kind, operators, block in data["layers"]
        )
        inside: dict[str, list[int]] = {}
        for layer in layers:
            if layer.block is not None:
                inside.setdefault(layer.block, []).extend(layer.operators)
        return Skeleton(
            name=str(data["name"]),
            graph=graph,
            layers=layers,
            blocks=tuple(
                Block(
                    str(name), part(kind, Grain.BLOCK, inside[name]), int(entry), int(exit_), bool(removable)
                )
                for name, kind, entry, exit_, removable in data["blocks"]
            ),
            groups=tuple(
                ChannelGroup(str(name), int(channels), frozen) for name, channels, frozen in data["groups"]
            ),
            sizes=tuple(Size.from_json(size) for size in data["sizes"]),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"no skeleton of lathe: {type(error).__name__}: {error}") from error


def write_skeleton(path: Path, skeleton: Skeleton) -> None:
    """Writes a skeleton, packed, in one step.

    Raises:
        LatheError: the file cannot be written; what was there before is untouched.
    """
    write_atomically(path, zlib.compress(json.dumps(skeleton_to_json(skeleton)).encode(), 6))


def read_skeleton(path: Path) -> Skeleton:
    """Reads what `write_skeleton` wrote.

    Raises:
        UserError: there is no such file, it is damaged, or of another format.
    """
    try:
        unpack = zlib.decompressobj()
        content = unpack.decompress(path.read_bytes(), _MOST_BYTES)
        if not unpack.eof:
            raise ValueError("it is cut off, or too large")
        data = json.loads(content)
        if not isinstance(data, dict):
            raise TypeError("a JSON object was expected")
        return skeleton_from_json(data)
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror or error}. Expected a skeleton that lathe wrote; check the path, "
            "and that you may read it."
        ) from error
    except (zlib.error, ValueError, TypeError) as error:
        raise UserError(
            f"{path} is no skeleton of lathe, or damaged: {error}. One that came with lathe is there again when "
            "lathe is installed anew; delete any other, it is made again when it is needed."
        ) from error
