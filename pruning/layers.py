"""Which operators of a network form one layer: one rule for all runtimes."""

from __future__ import annotations

from latency_tables.graph import Operator
from latency_tables.part import Grain, Part
from latency_tables.skeleton import Layer
from pruning.capture import Capture
from pruning.kinds import (
    ATTENTION_PRODUCTS,
    CONVOLUTIONS,
    MOVES,
    PADS,
    SOFTMAX,
    SUMS,
    is_foreign,
    is_pointwise,
)


def find_layers(captured: Capture, home: dict[int, str]) -> tuple[Layer, ...]:
    """Groups a network's operators into layers, as runtimes fuse them.

    An operator joins a layer only if it alone reads what that layer gives:

    1. A pointwise operator on one activation joins the layer that makes it.
    2. A sum of two activations joins the convolution that makes one of them in the sum's own shape; of two such
       convolutions, the later one.
    3. A softmax joins the matrix product that feeds it, and the next product joins both: an attention core is one
       layer, whether it is written as one operator or as several.
    4. Moves (`pruning.kinds.MOVES`) stand in the layer that makes their operand; at the entry of a block or of the
       network, and padding everywhere, in the first layer that they feed.
    5. Everything else begins a layer. No other working operator joins one from outside PyTorch's own set: nothing
       is known of it.

    So each layer holds an operator that works, except where moves feed nothing in their block but its exit. Such a
    layer is called "moves: ..."; it is timed like the others.

    Args:
        captured: the network.
        home: by position of an operator, the block that it stands in; absent outside blocks. No layer crosses the
            border of a block.

    Returns:
        The layers in an order of execution; each operator stands in exactly one.
    """
    grouping = _Grouping(captured, home)
    layers = [_as_layer(captured, sorted(group), home) for group in grouping.groups if group]
    operators = captured.graph.operators

    def done(layer: Layer) -> int:
        working = [p for p in layer.operators if operators[p].short_name not in MOVES]
        return max(working or layer.operators)

    return tuple(sorted(layers, key=done))


class _Grouping:
    """Puts one operator after the other into a group.

    Attributes:
        groups: positions of operators; a group that was absorbed by another is empty.
    """

    def __init__(self, captured: Capture, home: dict[int, str]) -> None:
        self.groups: list[list[int]] = []
        self._graph = captured.graph
        self._home = home
        self._consumers = captured.graph.consumers()
        self._group_of: dict[int, int] = {}  # operator's position -> its group
        self._waiting: set[int] = (
            set()
        )  # groups of moves and pads only, that wait for the operator they serve
        self._closed: set[int] = set()  # groups that nothing may join
        self._before: list[int] = []  # for each operator, a bit for each operator that it depends on
        for position, operator in enumerate(captured.graph.operators):
            self._place(position, operator)

    def _place(self, position: int, operator: Operator) -> None:
        values = self._activations(operator)
        producers = [value - self._graph.first_result for value in values]
        before = 0
        for producer in producers:
            if producer >= 0:
                before |= self._before[producer] | 1 << producer
        self._before.append(before)
        group = self._host(position, operator, values)
        serves = operator.short_name not in MOVES | PADS
        if group is None:
            group = len(self.groups)
            self.groups.append([])
            if not serves:
                self._waiting.add(group)
            elif is_foreign(operator):
                self._closed.add(group)
        if serves:
            for value in values:
                maker = self._maker(value, position)
                if maker in self._waiting and maker != group:
                    self._absorb(maker, group)
            self._waiting.discard(group)
        self.groups[group].append(position)
        self._group_of[position] = group

    def _host(self, position: int, operator: Operator, values: list[int]) -> int | None:
        """The group that an operator joins, if it does."""
        name = operator.short_name
        if is_foreign(operator):
            return None
        if name in MOVES | PADS:
            maker = self._maker(values[0], position) if len(values) == 1 else None
            return maker if maker not in self._closed and (name in MOVES or maker in self._waiting) else None
        mine = [value for value in values if self._read_only_by(position, value)]
        if len(values) == 1 and mine:
            joins = is_pointwise(operator) or (name in SOFTMAX and self._scores(mine[0]))
            return self._maker(mine[0], position) if joins else None
        for value in sorted(mine, reverse=True):
            same_shape = self._graph.type_of(value) == operator.types[0]
            fits = (name in SUMS and same_shape and self._kinds(value) & CONVOLUTIONS) or (
                name in ATTENTION_PRODUCTS and self._last_kind(value) in SOFTMAX
            )
            if fits and not self._depends(values, value):
                return self._maker(value, position)
        return None

    def _activations(self, operator: Operator) -> list[int]:
        weights = range(len(self._graph.inputs), self._graph.first_result)
        return [value for value in dict.fromkeys(operator.values()) if value not in weights]

    def _maker(self, value: int, position: int) -> int | None:
        """The group that makes a value, if it stands in the same block as the reader at ``position``."""
        made_by = value - self._graph.first_result
        if made_by < 0 or self._home.get(made_by) != self._home.get(position):
            return None
        return self._group_of[made_by]

    def _read_only_by(self, position: int, value: int) -> bool:
        """Whether a value is all that a working group in the same block gives, and for this operator alone."""
        maker = self._maker(value, position)
        if maker is None or maker in self._waiting | self._closed:
            return False
        inside = {*self.groups[maker], position}
        made = [self._graph.first_result + member for member in self.groups[maker]]
        return all(
            inside.issuperset(self._consumers.get(result, ())) and result not in self._graph.outputs
            for result in made
        )

    def _kinds(self, value: int) -> set[str]:
        group = self.groups[self._group_of[value - self._graph.first_result]]
        return {self._graph.operators[position].short_name for position in group}

    def _last_kind(self, value: int) -> str:
        group = self.groups[self._group_of[value - self._graph.first_result]]
        names = [self._graph.operators[position].short_name for position in sorted(group)]
        return next((name for name in reversed(names) if name not in MOVES), "")

    def _scores(self, value: int) -> bool:
        """Whether a value is a matrix product, perhaps scaled and shifted, that no softmax has seen yet."""
        kinds = self._kinds(value)
        return bool(kinds & ATTENTION_PRODUCTS) and not kinds & SOFTMAX

    def _depends(self, values: list[int], joined: int) -> bool:
        """Whether another operand needs something of the group that makes ``joined``: they are not one step."""
        first = self._graph.first_result
        members = sum(1 << position for position in self.groups[self._group_of[joined - first]])
        others = [value - first for value in values if value != joined and value >= first]
        return any((self._before[other] | 1 << other) & members for other in others)

    def _absorb(self, source: int, target: int) -> None:
        for position in self.groups[source]:
            self._group_of[position] = target
        self.groups[target].extend(self.groups[source])
        self.groups[source] = []
        self._waiting.discard(source)


def _as_layer(captured: Capture, positions: list[int], home: dict[int, str]) -> Layer:
    graph = captured.graph
    part_graph, _ = graph.select(positions)
    names = [graph.operators[position].short_name for position in positions]
    working = [name for name in names if name not in MOVES | PADS]
    kind = "+".join(dict.fromkeys(working)) or "moves: " + "+".join(dict.fromkeys(names))
    first = next((p for p in positions if graph.operators[p].short_name in working), positions[0])
    modules = captured.modules[first]
    name = modules[-1] if modules else kind
    return Layer(name, Part(kind, Grain.LAYER, part_graph), tuple(positions), home.get(positions[0]))
