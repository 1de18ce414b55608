"""A module made into an ONNX file."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from bench.runtimes.base import UnsupportedOperatorError
from latency_tables.errors import LatheError
from latency_tables.files import write_atomically

if TYPE_CHECKING:
    import torch

#: 17 has layer norm as one operator; runtimes of the last years know it.
OPSET = 17


def input_names(count: int) -> list[str]:
    """The names of an exported file's inputs: "images" for a single one, else "input0" and so on."""
    return ["images"] if count == 1 else [f"input{index}" for index in range(count)]


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

    output_names = ["output"] if outputs == 1 else [f"output{index}" for index in range(outputs)]
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
                output_names=output_names,
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
