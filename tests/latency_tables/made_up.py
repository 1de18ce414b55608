"""A made-up network for tests: a chain of residual blocks, its cells and its whole-network measurements."""

from __future__ import annotations

from collections.abc import Sequence

from latency_tables.estimate import Estimate
from latency_tables.graph import Graph, Operator, TensorType, Value
from latency_tables.measurement import Measurement, Stop
from latency_tables.part import Grain, Part
from latency_tables.setting import Device, Setting
from latency_tables.skeleton import Block, Layer, Skeleton
from latency_tables.table import LatencyTable, NetworkMeasurement
from latency_tables.widths import ChannelGroup, Size, shape_slots

DEVICE = Device("cpu", "Testing CPU", 2, 2**34, features=("avx2",))


def setting(**changes: object) -> Setting:
    fields = {
        "device": DEVICE,
        "runtime": "eager",
        "versions": (("torch", "2.13.0"),),
        "precision": "fp32",
        "batch": 1,
        "threads": 1,
    }
    return Setting(**{**fields, **changes})  # type: ignore[arg-type]


def chain(widths: Sequence[int], *, grouped: bool = False) -> Skeleton:
    """x -> for each width w: x + linear(x) with its own hidden width -> linear head.

    With ``grouped`` the hidden widths may vary: group block0 and so on.
    """
    x = TensorType("float32", (1, 8))
    weights: list[TensorType] = []
    for width in widths:
        weights += [TensorType("float32", (width, 8)), TensorType("float32", (8, width))]
    weights.append(TensorType("float32", (3, 8)))
    first = 1 + len(weights)
    operators: list[Operator] = []
    layers, blocks = [], []
    value = 0
    for index, width in enumerate(widths):
        base = len(operators)
        hidden = TensorType("float32", (1, width))
        operators += [
            _op("aten.linear.default", hidden, input=Value(value), weight=Value(1 + 2 * index)),
            _op("aten.linear.default", x, input=Value(first + base), weight=Value(2 + 2 * index)),
            _op("aten.add.Tensor", x, self=Value(value), other=Value(first + base + 1)),
        ]
        blocks.append((f"block{index}", value, first + base + 2, range(base, base + 3)))
        layers += [(f"block{index}.{name}", (base + i,), f"block{index}") for i, name in enumerate("abc")]
        value = first + base + 2
    head = TensorType("float32", (1, 3))
    operators.append(_op("aten.linear.default", head, input=Value(value), weight=Value(len(weights))))
    layers.append(("head", (len(operators) - 1,), None))
    graph = Graph((x,), tuple(weights), tuple(operators), (first + len(operators) - 1,))
    slots = shape_slots(graph)
    sizes = [
        Size(slot, 0, ((f"block{index}", 1),))
        for index in range(len(widths))
        for slot in (slots[1 + 2 * index][0], slots[2 + 2 * index][1], slots[first + 3 * index][1])
    ]
    return Skeleton(
        name="chain",
        graph=graph,
        layers=tuple(
            Layer(name, Part("linear", Grain.LAYER, graph.select(at)[0]), at, block)
            for name, at, block in layers
        ),
        blocks=tuple(
            Block(name, Part("block", Grain.BLOCK, graph.select(at)[0]), entry, exit_, True)
            for name, entry, exit_, at in blocks
        ),
        groups=tuple(ChannelGroup(f"block{index}", width) for index, width in enumerate(widths))
        if grouped
        else (),
        sizes=tuple(sorted(sizes, key=lambda size: size.slot)) if grouped else (),
    )


def cell(latency_s: float) -> Measurement:
    return Measurement((latency_s,) * 10, 3, Stop.PRECISION, "2026-01-01T00:00:00+00:00")


def exact(value: float) -> Estimate:
    return Estimate(value, value, value)


def network(
    skeleton: Skeleton, removed: Sequence[str], latency_s: float, unpruned_s: float, role: str = "fit"
) -> NetworkMeasurement:
    return NetworkMeasurement(
        skeleton.digest,
        tuple(sorted(removed)),
        exact(latency_s),
        exact(unpruned_s),
        exact(latency_s / unpruned_s),
        role,
        "2026-01-01T00:00:00+00:00",
    )


def table(
    skeleton: Skeleton, latencies: dict[str, float], networks: Sequence[NetworkMeasurement] = ()
) -> LatencyTable:
    """A table with the latency of each part given by the text of its key."""
    cells = {part.key: cell(latencies[part.key]) for part in skeleton.parts}
    return LatencyTable(setting(), cells, tuple(networks))


def _op(name: str, type_: TensorType, **arguments: Value) -> Operator:
    return Operator(name, tuple(arguments.items()), (type_,))
