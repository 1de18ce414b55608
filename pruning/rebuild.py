"""From a factory, a plan and a file of weights to the pruned network, ready to use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from latency_tables.errors import LatheError, UserError
from latency_tables.skeleton import Plan
from pruning.channels import narrow
from pruning.surgery import remove_blocks
from pruning.witness import require_witnessed

_NAME = "Name the plan.json that lathe wrote beside the weights."


def load(factory: Callable[[], nn.Module], plan: Plan | Path, weights: Path) -> nn.Module:
    """Rebuilds a pruned network.

    Architecture, plan and weights are held against each other by names and shapes of layers and weights, and by
    what the network said of one fixed image when lathe wrote its weights: the plan's digest stands for a capture at
    a batch size that the plan does not name, by the operators of one PyTorch, and would refuse the right one.

    Args:
        factory: makes the unpruned architecture, as it was when the plan was made; its weights do not matter.
        plan: what was taken out, or the ``plan.json`` that says it.
        weights: the pruned network's ``weights.safetensors``.

    Returns:
        The pruned network with its weights, in evaluation mode.

    Raises:
        UserError: a file cannot be read, plan and weights do not belong to this architecture, or it computes
            something else than it did.
    """
    if isinstance(plan, Path):
        plan = read_plan(plan)
    model = factory()
    if plan.input_shape is not None and plan.channels:
        try:
            model = narrow(model.eval(), torch.zeros(1, *plan.input_shape), plan.channels)
        except LatheError as error:
            raise UserError(f"the plan for {plan.network} does not fit this network: {error}") from error
    model = remove_blocks(model, plan.removed)
    try:
        state = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"cannot read the weights {weights}: {error}. Name the weights.safetensors that lathe wrote beside the "
            "plan."
        ) from error
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(
            f"{weights} does not fit {plan.network} less {[*plan.removed, *plan.channels]}: {error}. Give the "
            "factory of the unpruned network, and the weights that lathe wrote beside the plan."
        ) from error
    model.eval()
    require_witnessed(model, weights, plan.network)
    return model


def read_plan(path: Path) -> Plan:
    """Reads a ``plan.json``.

    Raises:
        UserError: the file cannot be read, or is no plan.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"cannot read the plan {path}: {error}. {_NAME}") from error
    if not isinstance(data, dict):
        raise UserError(
            f"{path} is no plan: a JSON object was expected, got one of type {type(data).__name__}. {_NAME}"
        )
    return Plan.from_json(data)
