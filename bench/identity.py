"""What a run's folder is made from, so that a folder never mixes points of two jobs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.sweep_config import SweepConfig
from latency_tables.errors import UserError
from latency_tables.files import write_json
from pruning.methods import HEALING_LOSS, HEALING_RATE, HEALING_RATE_WITHOUT_NORM

_FILE = "identity.json"
#: Fields that older folders lack, with what they stand for.
_SINCE = {
    name: SweepConfig.model_fields[name].default
    for name in (
        "train",
        "epochs",
        "learning_rate",
        "schedule",
        "average",
        "self_distillation",
        "augmentation",
    )
}
#: In a folder of before, no network was trained first, and pruned ones were healed in another way.
_LACKING = {**_SINCE, "trains_unpruned": False, "healing": "StoredFeatures() at 0.005"}


def require_identity(folder: Path, config: SweepConfig) -> None:
    """Refuses a folder whose points were made from something else.

    Raises:
        UserError: the folder holds points of another network, weights, images or schedule; the message names the
            first difference.
    """
    path = folder / _FILE
    if not path.exists():
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); name another folder with --name") from error
    if not isinstance(there, dict):
        raise UserError(f"{path} holds no JSON object; name another folder with --name")
    for field, value in _identity(config).items():
        found = there.get(field, _LACKING.get(field))
        if found != value:
            raise UserError(
                f"{folder} holds a run with {field} {found!r}, asked for is {value!r}. Runs are not "
                "mixed; name another folder with --name."
            )


def take_identity(folder: Path, config: SweepConfig, content: Mapping[str, str]) -> None:
    """Writes down what the folder's points are made from.

    Args:
        folder: of the run.
        config: what is asked for.
        content: what stands behind its names now, as digests by name: a file may be another one than it was.

    Raises:
        UserError: it is not what the folder's points were made from.
    """
    path = folder / _FILE
    there = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name, digest in content.items():
        if there.get(name, digest) != digest:
            raise UserError(
                f"{folder} holds a run whose {name} was another one: the name is the same, and what stands behind "
                "it has changed since, as may what reads it. Put it back, or name another folder with --name."
            )
    write_json(path, {**there, **_identity(config), **content})


def identity_digest(config: SweepConfig) -> str:
    """Six hexadecimal digits that stand for what points are made from."""
    text = json.dumps(_identity(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def healing_text() -> str:
    """How a pruned network is healed, whatever its number of steps."""
    return f"{HEALING_LOSS!r} at {HEALING_RATE:g}, {HEALING_RATE_WITHOUT_NORM:g} without batch norm"


def _identity(config: SweepConfig) -> dict[str, Any]:
    """Everything that decides a point beside its method, budget, seed and setting."""
    weights = config.weights
    try:
        digest = None if weights is None else hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise UserError(f"cannot read the weights {weights}: {error.strerror}") from error
    return {
        "network": config.network,
        "weights": digest,
        "input": config.input,
        "images": config.images,
        "shift": config.shift,
        "calibration": config.calibration,
        "iterations": config.iterations,
        "rounds": config.rounds,
        "controls": config.controls,
        **{name: getattr(config, name) for name in _SINCE},
        # A folder never mixes points that stand beside a trained network with those beside an untrained one.
        "trains_unpruned": config.trains_unpruned,
        "healing": healing_text(),
    }
