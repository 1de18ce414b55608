"""A module made into an ONNX file."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.runtimes.base import Array, UnsupportedOperatorError, random_arrays
from latency_tables.errors import LatheError
from latency_tables.files import write_atomically

if TYPE_CHECKING:
    import torch

    from latency_tables.graph import Graph

#: 17 has layer norm as one operator; runtimes of the last years know it.
OPSET = 17
#: As `bench.runtimes.torch_graph.SCOPE` comes out in a file.
_PLACE = re.compile(r"(?<![A-Za-z0-9_])o(\d+)/")


def input_names(count: int) -> list[str]:
    """The names of an exported file's inputs: "images" for a single one, else "input0" and so on."""
    return ["images"] if count == 1 else [f"input{index}" for index in range(count)]


def output_names(count: int) -> list[str]:
    """The names of an exported file's outputs: "output" for a single one, else "output0" and so on."""
    return ["output"] if count == 1 else [f"output{index}" for index in range(count)]


def operators_of(graph: Graph, *names: str) -> tuple[int, ...]:
    """The places in a graph of the operators from which a file's nodes come.

    Args:
        graph: of which `export_graph` made the file.
        names: of its nodes or values, or made of such names by whoever fused nodes.

    Returns:
        Ascending; empty where the names tell of none.
    """
    found = {int(place) for name in names for place in _PLACE.findall(name)}
    for output, value in zip(output_names(len(graph.outputs)), graph.outputs, strict=True):
        # What makes an output may be called by its name.
        called = re.compile(rf"(?<![A-Za-z0-9_/]){output}(?![A-Za-z0-9])")
        if value >= graph.first_result and any(called.search(name) for name in names):
            found.add(value - graph.first_result)
    return tuple(sorted(found))


def export_graph(
    graph: Graph,
    weights: Sequence[Array] | None,
    path: Path | None = None,
    dtype: torch.dtype | None = None,
) -> bytes:
    """Exports a graph; see `export_onnx`. The names of the file's nodes tell their operators; see `operators_of`.

    Args:
        graph: what the file computes.
        weights: one array for each weight; None: random, seeded.
        path: where the file is written as well.
        dtype: what takes the place of float32 everywhere, inputs and outputs included; None: nothing does.

    Returns:
        The content of the file.
    """
    import torch

    from bench.runtimes.torch_graph import build_module

    chosen = dtype or torch.float32
    module = build_module(graph, weights, dtype=chosen, scoped=True)
    tensors = [torch.from_numpy(array) for array in random_arrays(graph.inputs)]
    inputs = tuple(tensor.to(chosen) if tensor.dtype == torch.float32 else tensor for tensor in tensors)
    return export_onnx(module, inputs, outputs=len(graph.outputs), path=path)


def export_onnx(
    module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], *, outputs: int = 1, path: Path | None = None
) -> bytes:
    """Exports a module in evaluation mode, its shapes fixed to those of the inputs.

    The tracing exporter is used: it takes milliseconds for a single layer, where the newer one takes half a
    second for anything.

    Args:
        module: computes from the inputs one tensor, or a tuple of them.
        inputs: example inputs; their shapes, batch included, become the file's.
        outputs: how many tensors it returns.
        path: where the file is written as well, atomically; None: nowhere.

    Returns:
        The content of the file.

    Raises:
        UnsupportedOperatorError: ONNX has no equivalent of an operator.
        LatheError: the file could not be written or exported.
    """
    import torch

    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # It is deprecated in favour of the slow one, and it warns of each value that it holds constant.
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.onnx")
            warnings.filterwarnings("ignore", message=".*legacy TorchScript.*")
            warnings.filterwarnings("ignore", category=torch.jit._trace.TracerWarning)
            torch.onnx.export(
                module,
                inputs,
                buffer,  # type: ignore[arg-type] # the tracing exporter takes it
                dynamo=False,
                opset_version=OPSET,
                input_names=input_names(len(inputs)),
                output_names=output_names(outputs),
                training=torch.onnx.TrainingMode.EVAL,
            )
    except torch.onnx.errors.UnsupportedOperatorError as error:
        found = re.search(r"'(\S+::\S+)'", str(error))
        name = found.group(1).replace("::", ".") if found else "of the graph"
        raise UnsupportedOperatorError(name, f"ONNX (opset {OPSET})", str(error).split(". ")[0]) from error
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError, ValueError) as error:
        raise LatheError(f"the network cannot be exported to ONNX: {error}") from error
    content = buffer.getvalue()
    if path is not None:
        write_atomically(path, content)
    return content
