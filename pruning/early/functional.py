"""A network run with other weights than its own, its own left alone."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.func import functional_call


class Stateless(nn.Module):
    """A network run with weights that are handed in; its own weights, statistics and mode stay.

    Args:
        model: the architecture.
        weights: every parameter by name, as tensors that may have a history.
        training: in which mode it is run; in training mode batch norm uses the batch's statistics.
    """

    def __init__(self, model: nn.Module, weights: Mapping[str, Tensor], *, training: bool = True) -> None:
        super().__init__()
        self._mode = training
        self._network = [
            model
        ]  # in a list, so that it is no submodule and its mode is not changed with this one's
        self._weights = dict(weights)
        self._buffers_now = {name: buffer.clone() for name, buffer in model.named_buffers()}

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape (n, classes)."""
        (model,) = self._network
        mode = {module: module.training for module in model.modules()}
        model.train(self._mode)
        try:
            logits: Tensor = functional_call(model, (self._weights, self._buffers_now), (images,))
        finally:
            for module, training in mode.items():
                module.training = training
        return logits
