"""The state of a training in a file: whole or not there, and only for the training that it belongs to."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from latency_tables.errors import UserError
from latency_tables.files import write_atomically

FORMAT = 4
"""Counts what an identity is made of and how trainings go on; a file of another one is not gone on from."""


def digest(tensors: Iterable[Tensor]) -> str:
    """Sixteen hexadecimal digits that stand for values, whatever their layout."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def write_checkpoint(path: Path, identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Replaces a checkpoint.

    Args:
        path: the file.
        identity: plain values that a training must share to go on from it.
        state: tensors, numbers, texts, and lists and dictionaries of them.

    Raises:
        LatheError: it could not be written; the old one is untouched.
    """
    content = io.BytesIO()
    torch.save({"format": FORMAT, "identity": dict(identity), "state": dict(state)}, content)
    write_atomically(path, content.getvalue())


def read_checkpoint(path: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Reads a checkpoint's state; no code in it is run.

    Args:
        path: the file.
        identity: of the training that wants to go on.

    Raises:
        UserError: the file is damaged, or belongs to another training; the message names what differs.
    """
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
        found, state = {"format": data["format"], **data["identity"]}, data["state"]
    except (
        OSError,
        RuntimeError,
        UnpicklingError,
        EOFError,
        zipfile.BadZipFile,
        KeyError,
        TypeError,
    ) as error:
        raise UserError(
            f"the checkpoint {path} cannot be read ({type(error).__name__}: {str(error)[:120]}). Remove it to "
            "start this training anew."
        ) from error
    wanted = {"format": FORMAT, **identity}
    for name in dict.fromkeys([*wanted, *found]):
        if found.get(name) != wanted.get(name):
            raise UserError(
                f"the checkpoint {path} belongs to another training: {name} is {found.get(name)!r} there and "
                f"{wanted.get(name)!r} here. Name another folder, or remove it to start anew."
            )
    return dict(state)
