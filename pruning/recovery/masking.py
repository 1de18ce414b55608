"""What masks must be, before a training is spent on them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from latency_tables.errors import UserError, unknown


def require_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Makes sure that masks belong to a network and leave something of each weight.

    Args:
        model: to be trained.
        masks: by weight, which entries may differ from zero, of the weight's shape.

    Raises:
        UserError: there is no such weight, a mask has another shape, or nothing would be left; the message names
            the weight.
    """
    weights = dict(model.named_parameters())
    for name, mask in masks.items():
        if name not in weights:
            raise unknown(f"weight of {type(model).__name__} among the masks", name, weights)
        if mask.shape != weights[name].shape:
            raise UserError(
                f"the mask of {name} has shape {tuple(mask.shape)}, and the weight {tuple(weights[name].shape)}; "
                "masks fit only the network that they were made for."
            )
        if not bool(mask.any()):
            raise UserError(
                f"the mask of {name} lets none of its {mask.numel()} entries stay, so that no signal passes. Keep "
                "at least one, or leave the weight out of the masks."
            )
