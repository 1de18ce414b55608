"""What ONNX Runtime's own profiler says a network's layers cost inside of the network."""

from __future__ import annotations

from bench.session import Session
from latency_tables.errors import LatheError
from latency_tables.setting import Setting
from latency_tables.skeleton import Skeleton

WORKERS = ("conv2d", "linear")
"""Kinds of layers that have a node of their own, after the fusion of both."""


def node_times(skeleton: Skeleton, setting: Setting) -> list[float | None]:
    """Seconds of each layer inside of the network, as the runtime's profiler sees its nodes.

    A convolution or linear layer has the time of its nodes. What other layers are made of the runtime fuses in its
    own way, so of them only the whole is told.

    Args:
        skeleton: the unpruned network.
        setting: where it runs.

    Returns:
        By layer, None for those that are neither; last, the time of all other nodes.

    Raises:
        LatheError: such a layer has no node.
    """
    with Session(setting) as session:
        profile = session.node_profile(skeleton.graph)
    home = {place: number for number, layer in enumerate(skeleton.layers) for place in layer.operators}
    seconds = {
        number: 0.0 for number, layer in enumerate(skeleton.layers) if layer.part.kind.startswith(WORKERS)
    }
    others_s = 0.0
    for node in profile.nodes:
        inside = {home[place] for place in node.operators} & seconds.keys()
        if len(inside) == 1:
            seconds[inside.pop()] += node.seconds
        else:
            others_s += node.seconds
    for number, own_s in seconds.items():
        if not own_s:
            raise LatheError(f"{skeleton.layers[number].name} of {skeleton.name} has no node of its own")
    return [*(seconds.get(number) for number in range(len(skeleton.layers))), others_s]
