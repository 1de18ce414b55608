"""What a network says of one fixed image: kept with its weights, so that another network is told from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from latency_tables.errors import UserError
from pruning.targets import device_of

_KEY = "lathe_witness"
#: Most that outputs may differ, relative to the largest of them or to 1: machines, threads and versions of PyTorch
#: round differently. Ten times what a delivered network may differ from PyTorch in another runtime.
TOLERANCE = 1e-3
#: Of an image; a file that asks for more was not written for a network, and the process might end for it.
_MOST_VALUES = 2**28


def witness(model: nn.Module, input_shape: tuple[int, int, int]) -> dict[str, str]:
    """What a network says of the fixed image, as metadata of a safetensors file.

    Args:
        model: in evaluation mode.
        input_shape: channels, height, width.
    """
    outputs = _outputs(model, input_shape)
    return {_KEY: json.dumps({"input_shape": input_shape, "outputs": outputs.tolist()})}


def require_witnessed(model: nn.Module, weights: Path, network: str) -> None:
    """Holds a network with its weights against what it said of the fixed image when these were written.

    A file without that, as of weights that were trained on elsewhere, is not held against anything.

    Args:
        model: with the weights, in evaluation mode.
        weights: the safetensors file they came from.
        network: its name, for the message.

    Raises:
        UserError: it says something else, or the file's metadata is damaged.
    """
    with safe_open(weights, "pt") as file:
        metadata: Mapping[str, str] = file.metadata() or {}
    if _KEY not in metadata:
        return
    try:
        told = json.loads(metadata[_KEY])
        channels, height, width = map(int, told["input_shape"])
        if not 0 < channels * height * width <= _MOST_VALUES:
            raise ValueError(f"an image of shape {(channels, height, width)}")
        expected = torch.tensor(told["outputs"], dtype=torch.float32)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"what {weights} tells of its network is damaged ({error!r}). Copy the file again from where lathe "
            "wrote it."
        ) from error
    try:
        got = _outputs(model, (channels, height, width))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise UserError(
            f"the network that the factory makes does not run on an image of shape {(channels, height, width)}, as "
            f"{network} did when {weights} was written: {error}. Use the factory as it was then."
        ) from error
    if got.shape != expected.shape:
        raise UserError(
            f"the network that the factory makes gives {len(got)} outputs, and {network} gave {len(expected)} when "
            f"{weights} was written. Use the factory as it was then."
        )
    apart = float((got - expected).abs().max()) / max(1.0, float(expected.abs().max()))
    if not apart <= TOLERANCE:
        raise UserError(
            f"the network that the factory makes has the layers of {network} and computes something else: its "
            f"outputs differ by {apart:.1e} of the largest one from those when {weights} was written, at most "
            f"{TOLERANCE:.0e} was expected. Use the factory as it was then: same activations, strides and "
            "connections."
        )


def _outputs(model: nn.Module, input_shape: tuple[int, int, int]) -> Tensor:
    """Flat, float32; the image is a formula, since random numbers may change with PyTorch's version."""
    count = torch.Size(input_shape).numel()
    image = torch.sin(torch.arange(count, dtype=torch.float64) ** 1.5).float()
    image = image.reshape(1, *input_shape).to(device_of(model))
    with torch.inference_mode():
        outputs: Tensor = model(image).float().flatten().cpu()
    return outputs
