"""A layer or a block: anything a latency table has a cell for."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cached_property

from latency_tables.graph import GRAPH_FORMAT, Graph


class Grain(enum.Enum):
    """How much of a network a part is."""

    LAYER = "layer"  #: what a runtime fuses into one: convolution + norm + activation, ...
    BLOCK = "block"  #: a residual unit


@dataclass(frozen=True)
class Part:
    """The canonical description of a layer or a block.

    Two parts with equal keys are the same computation on the same shapes and share one isolated measurement,
    wherever they stand and in whichever network.

    Attributes:
        kind: what people call it, as in "conv2d+relu"; not part of the key.
        grain: layer or block; not part of the key.
        graph: the computation, batch norm folded.
    """

    kind: str
    grain: Grain
    graph: Graph

    @cached_property
    def key(self) -> str:
        """Readable text that is equal for equal parts and stable across versions of lathe."""
        return f"part/{GRAPH_FORMAT} {self.graph.text}"

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, Part) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)
