"""Weight files: read without ever running code from them, put into networks, and written."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import nn

from latency_tables.errors import UserError

_TORCH_ENDINGS = (".pt", ".pth", ".bin", ".th")
_CONTAINERS = ("state_dict", "model")
_NAMED = 3  # names listed in a message before the rest is only counted


def load_state(path: Path) -> dict[str, torch.Tensor]:
    """Reads a state dict to CPU memory.

    A checkpoint that keeps its state dict under ``state_dict`` or ``model`` is opened, and the ``module.``
    that data-parallel training puts before every name is dropped.

    Args:
        path: a ``.safetensors`` file, or ``.pt``, ``.pth``, ``.bin``, ``.th`` as written by ``torch.save``.

    Returns:
        Tensors by name.

    Raises:
        UserError: the file is missing, unreadable, of another kind, holds pickled code or no tensors.
    """
    if not path.is_file():
        raise UserError(f"no weight file at {path}; check the path given with --weights.")
    if path.suffix == ".safetensors":
        state: Any = _read_safetensors(path)
    elif path.suffix in _TORCH_ENDINGS:
        state = _read_torch(path)
    else:
        raise UserError(
            f"weights are read from .safetensors, {', '.join(_TORCH_ENDINGS)}; received {path.name}. "
            "Save them with safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')."
        )
    if isinstance(state, dict):
        state = next((state[key] for key in _CONTAINERS if isinstance(state.get(key), dict)), state)
    if not isinstance(state, dict) or not state:
        raise UserError(
            f"the content of {path} is {_kind(state)}, expected tensors by name. "
            "Save torch.save(model.state_dict(), path) instead of the model or a part of it."
        )
    tensors = {
        key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, torch.Tensor)
    }
    if len(tensors) < len(state):
        other = next(key for key in state if key not in tensors)
        raise UserError(
            f"entry {other!r} of {path} is {_kind(state[other])}, expected only tensors by name. Save "
            f"model.state_dict() alone, or in a dictionary under {' or '.join(map(repr, _CONTAINERS))}."
        )
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


def load_into(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Copies a state dict into a network, all of it or nothing.

    Batch norm's ``num_batches_tracked`` may be absent: it counts training steps and changes no output.

    Args:
        model: the network; changed in place.
        state: tensors by name, of the network's own names and shapes.

    Raises:
        UserError: names are missing or left over, a shape differs, or a tensor has a NaN or an infinity.
    """
    expected = model.state_dict()
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    left_over = [key for key in state if key not in expected]
    if missing or left_over:
        faults = [
            f"{len(names)} {what} ({_some(names)})"
            for names, what in ((missing, "missing from the file"), (left_over, "unknown to the network"))
            if names
        ]
        raise UserError(
            f"these weights belong to another network: of {len(expected)} tensors, {' and '.join(faults)}. "
            "Choose the network that the weights were trained for."
        )
    for key, value in state.items():
        if value.shape != expected[key].shape:
            raise UserError(
                f"tensor {key!r} has shape {tuple(value.shape)} in the file but {tuple(expected[key].shape)} "
                "in the network. Choose the variant (width, number of classes) that the weights were "
                "trained for."
            )
        if value.is_floating_point() and not torch.isfinite(value).all():
            count = int((~torch.isfinite(value)).sum())
            raise UserError(
                f"tensor {key!r} of the weights has {count} values of {value.numel()} that are NaN or "
                "infinite; "
                "the training that wrote it diverged. Use an earlier checkpoint."
            )
    model.load_state_dict(state, strict=False)


def saved(model: nn.Module, metadata: Mapping[str, str] | None = None) -> bytes:
    """A network's state dict as the content of a safetensors file.

    Every tensor is copied, since safetensors refuses names that share their storage, as tied weights do. Each of
    these names gets the values, so that the file loads into a network that ties them and into one that does not.

    Args:
        model: the network.
        metadata: what the file tells beside the weights.
    """
    state = {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    content: bytes = save(state, dict(metadata or {}))
    return content


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        state: dict[str, torch.Tensor] = load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"cannot read {path}: {error}. Copy or download it again.") from error
    return state


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        # torch names the object it refused; a damaged file raises the same type without one.
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if refused:
            raise UserError(
                f"{path} holds a pickled {refused[1]} besides tensors, and reading that would run code "
                "from the file. Where you trust it, load it yourself and save torch.save(model.state_dict(), path)."
            ) from error
        raise UserError(f"cannot read {path}: it is damaged or was not written by torch.save.") from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise UserError(
            f"cannot read {path}: it is damaged or was not written by torch.save ({error})."
        ) from error


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(repr(name) for name in listed[:_NAMED])
    return shown + (", ..." if len(listed) > _NAMED else "")


def _kind(value: object) -> str:
    return (
        "an empty dictionary" if isinstance(value, dict) and not value else f"of type {type(value).__name__}"
    )
