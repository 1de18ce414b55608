"""What ONNX Runtime's own profiler says a network's layers cost inside of the network."""

from __future__ import annotations

import json
import re
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

import torch

from bench.runtimes.base import random_arrays
from bench.runtimes.onnx_export import export_onnx
from bench.runtimes.torch_graph import build_module
from latency_tables.errors import LatheError
from latency_tables.skeleton import Skeleton

RUNS = 30
"""Forward passes; the first third is not counted."""
WORKERS = {"Conv": "conv2d", "Gemm": "linear"}
"""Kinds of nodes that are matched with layers one by one, after the fusion of both."""


def node_times(skeleton: Skeleton, threads: int) -> list[float | None]:
    """Seconds of each layer inside of the network, as ONNX Runtime's profiler sees its nodes.

    A convolution or linear layer has the time of its node. What other layers are made of the runtime fuses in its
    own way, so of them only the whole is told.

    Args:
        skeleton: the unpruned network.
        threads: inside an operator.

    Returns:
        By layer, None for those that are neither; last, the time of all other nodes.

    Raises:
        LatheError: the nodes left after fusion are not one for each such layer.
    """
    import onnx
    import onnxruntime

    graph = skeleton.graph
    inputs = tuple(torch.from_numpy(array) for array in random_arrays(graph.inputs))
    content = export_onnx(build_module(graph, None), inputs, outputs=len(graph.outputs))
    nodes = {node.output[0]: node for node in onnx.load_from_string(content).graph.node}
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "nodes")
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        feed = {put.name: array.numpy() for put, array in zip(session.get_inputs(), inputs, strict=True)}
        for _ in range(RUNS):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_bytes())
    seen: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            key = (event["args"]["op_name"], event["name"].removesuffix("_kernel_time"))
            seen[key].append(event["dur"] * 1e-6)
    seconds = {key: median(durations[RUNS // 3 :]) for key, durations in seen.items()}

    times: list[float | None] = [None] * len(skeleton.layers)
    for kind, short_name in WORKERS.items():
        layers = [
            place for place, layer in enumerate(skeleton.layers) if layer.part.kind.startswith(short_name)
        ]
        layers.sort(key=lambda place: skeleton.layers[place].operators)
        found = [(name, time_s) for (op, name), time_s in seconds.items() if op == kind]
        if kind == "Conv":
            # Branches run in another order than they stand in the graph.
            found.sort(key=lambda entry: _convolution(entry[0], nodes))
        if len(found) != len(layers):
            raise LatheError(
                f"{len(layers)} layers of kind {short_name} and {len(found)} nodes in {skeleton.name}"
            )
        for place, (_, time_s) in zip(layers, found, strict=True):
            times[place] = time_s
    return [*times, sum(time_s for (op, _), time_s in seconds.items() if op not in WORKERS)]


def _convolution(name: str, nodes: dict[str, object]) -> int:
    """The number of the convolution at the beginning of what was fused into a node named for the value it makes."""
    value = name.removesuffix("_nchwc")
    node = nodes.get(value)
    while node is not None and node.op_type != "Conv":  # type: ignore[attr-defined]
        node = next((nodes[put] for put in node.input if put in nodes), None)  # type: ignore[attr-defined]
    if node is None:
        raise LatheError(f"the node {name!r} comes from no convolution of the exported file")
    number = re.search(r"Conv_(\d+)_output", node.output[0])  # type: ignore[attr-defined]
    return int(number[1]) if number else 0
