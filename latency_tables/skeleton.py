"""A network as plain data: which parts it has, which of them form a block, which blocks may go."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from latency_tables.errors import UserError, unknown
from latency_tables.estimate import Estimate
from latency_tables.graph import Graph
from latency_tables.part import Part
from latency_tables.widths import ChannelGroup, Size, full_widths, resized

# 1: depth only: a plan is the set of blocks that go.
# 2: the channels that stay, by group, and the input that groups are traced with.
PLAN_FORMAT = 2


@dataclass(frozen=True)
class Layer:
    """A place in the network where a layer stands.

    Attributes:
        name: dotted path of the module it comes from.
        part: what is computed there.
        operators: positions in the network's graph, ascending.
        block: name of the block it belongs to, or None.
    """

    name: str
    part: Part
    operators: tuple[int, ...]
    block: str | None


@dataclass(frozen=True)
class Block:
    """A residual unit of the network.

    Attributes:
        name: dotted path of the module.
        part: what is computed there.
        entry: the value of the network's graph that goes in.
        exit: the value that comes out.
        removable: whether it adds to its input unchanged, so that the network still fits without it.
    """

    name: str
    part: Part
    entry: int
    exit: int
    removable: bool


@dataclass(frozen=True)
class Skeleton:
    """A network without its weights.

    Every operator of the graph belongs to exactly one layer; no layer crosses the border of a block.

    Attributes:
        name: the network's name.
        graph: the whole computation, batch norm folded.
        layers: in the order of execution.
        blocks: in the order of execution; none inside another.
        groups: channels that must go together, in the order of the network's modules.
        sizes: which integers of the graph follow the widths of which groups.
    """

    name: str
    graph: Graph
    layers: tuple[Layer, ...]
    blocks: tuple[Block, ...]
    groups: tuple[ChannelGroup, ...] = ()
    sizes: tuple[Size, ...] = ()

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that stand for the computation and for the names of its blocks."""
        names = "; ".join(block.name for block in self.blocks)
        return hashlib.sha256(f"{self.graph.text}; blocks {names}".encode()).hexdigest()[:16]

    @property
    def removable(self) -> tuple[str, ...]:
        """Names of the blocks that may go, in the order of execution."""
        return tuple(block.name for block in self.blocks if block.removable)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Every distinct part, layers first, in the order of first use."""
        return tuple(dict.fromkeys([*(x.part for x in self.layers), *(x.part for x in self.blocks)]))

    def check(self, removed: Collection[str]) -> frozenset[str]:
        """Makes sure that these blocks may go.

        Raises:
            UserError: one of them is no block, or may not be removed.
        """
        for name in removed:
            if name not in self.removable:
                if name in {block.name for block in self.blocks}:
                    raise UserError(
                        f"block {name!r} of {self.name} cannot be removed: its output differs in shape from its "
                        f"input, or it does not add to its input unchanged. Removable: {self.removable}."
                    )
                raise unknown(f"block of {self.name}", name, self.removable)
        return frozenset(removed)

    def narrowed(self, widths: Mapping[str, int]) -> Skeleton:
        """The skeleton of the network with fewer channels.

        Args:
            widths: for some groups, by name, how many channels stay.

        Returns:
            A skeleton with the same layers, blocks and groups, whose parts are the narrower ones. Its groups and
            sizes are those of the whole network, so widths are always given in full.

        Raises:
            UserError: a name that is no group, a frozen group that would change, or a width out of range.
        """
        every = full_widths(self.groups, widths)
        if all(every[group.name] == group.channels for group in self.groups):
            return self
        graph = resized(self.graph, self.sizes, every)

        def cut(part: Part, positions: Collection[int]) -> Part:
            return replace(part, graph=graph.select(positions)[0])

        inside: dict[str, list[int]] = {}
        for layer in self.layers:
            if layer.block is not None:
                inside.setdefault(layer.block, []).extend(layer.operators)
        return replace(
            self,
            graph=graph,
            layers=tuple(replace(layer, part=cut(layer.part, layer.operators)) for layer in self.layers),
            blocks=tuple(replace(block, part=cut(block.part, inside[block.name])) for block in self.blocks),
        )

    def without(self, removed: Collection[str]) -> tuple[Graph, tuple[int, ...]]:
        """The network's graph with some blocks taken out.

        Returns:
            The graph, and for each of its weights the index among the whole network's weights.

        Raises:
            UserError: a block may not go.
        """
        gone = self.check(removed)
        positions = {p for layer in self.layers if layer.block in gone for p in layer.operators}
        stand_in = {block.exit: block.entry for block in self.blocks if block.name in gone}
        return self.graph.without(positions, stand_in)


@dataclass(frozen=True, slots=True)
class Cut:
    """What is missing of a network: all that its latency depends on.

    Attributes:
        removed: blocks taken out, sorted.
        widths: (group, channels that stay) of the groups that are narrower, sorted.
    """

    removed: tuple[str, ...] = ()
    widths: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, removed: Collection[str] = (), widths: Mapping[str, int] | None = None) -> Cut:
        """From names and widths in any order."""
        return cls(tuple(sorted(removed)), tuple(sorted((widths or {}).items())))

    def __bool__(self) -> bool:
        return bool(self.removed or self.widths)

    @property
    def words(self) -> str:
        """A few words for people, as in "less 3 blocks and narrower in 12 groups"."""
        said = []
        if self.removed:
            said.append(f"less {len(self.removed)} block{'s' if len(self.removed) != 1 else ''}")
        if self.widths:
            said.append(f"narrower in {len(self.widths)} group{'s' if len(self.widths) != 1 else ''}")
        return " and ".join(said) or "as it is"


@dataclass(frozen=True)
class Plan:
    """What is taken out of a network.

    Attributes:
        network: the network's name.
        digest: the skeleton's digest, which says of what network it was made.
        removed: blocks that go, in the order in which they were chosen.
        predicted_s: the latency foreseen when the plan was made, or None.
        hurt: the criterion's number for the whole set, or None.
        channels: for each group that gets narrower, the channels that stay, ascending.
        input_shape: channels, height, width of one image; needed where channels go, to trace what hangs together.
    """

    network: str
    digest: str
    removed: tuple[str, ...]
    predicted_s: Estimate | None = None
    hurt: float | None = None
    channels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    input_shape: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.channels and self.input_shape is None:
            raise ValueError("a plan that takes channels out needs the shape of the network's input")

    @property
    def widths(self) -> dict[str, int]:
        """How many channels stay of each group that gets narrower."""
        return {group: len(channels) for group, channels in self.channels.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists."""
        return {
            "format": PLAN_FORMAT,
            "network": self.network,
            "digest": self.digest,
            "removed": list(self.removed),
            "predicted_s": None if self.predicted_s is None else self.predicted_s.to_json(),
            "hurt": self.hurt,
            "channels": {group: list(channels) for group, channels in self.channels.items()},
            "input_shape": None if self.input_shape is None else list(self.input_shape),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Reads what `to_json` wrote.

        Raises:
            UserError: it is not a plan, or one of another format.
        """
        if data.get("format") not in (1, PLAN_FORMAT):
            raise UserError(f"a plan of format 1 or {PLAN_FORMAT} was expected, got {data.get('format')!r}")
        try:
            predicted = data["predicted_s"]
            shape = data.get("input_shape")
            if shape is not None:
                channels, height, width = map(int, shape)
                shape = (channels, height, width)
            return cls(
                network=data["network"],
                digest=data["digest"],
                removed=tuple(data["removed"]),
                predicted_s=None if predicted is None else Estimate.from_json(predicted),
                hurt=data["hurt"],
                channels={
                    str(group): tuple(map(int, kept)) for group, kept in data.get("channels", {}).items()
                },
                input_shape=shape,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"the plan is damaged: {error!r}") from error
