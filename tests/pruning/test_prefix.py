from __future__ import annotations

import torch
from tiny_networks import Pooled, Residual, images, state_of
from torch import Tensor, nn

from pruning.criteria.prefix import played_back, remember

IMAGES = images(10)


class WritesOver(Pooled):
    """A function writes over what the blocks gave."""

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x).mul_(1.5).sub_(0.2)
        return x.mean((2, 3))


@torch.no_grad()
def test_what_is_played_back_is_what_the_block_gave_also_where_functions_write_over_it() -> None:
    torch.manual_seed(1)
    model = WritesOver(Residual(3), Residual(3), nn.Conv2d(3, 3, 3)).eval()
    state = state_of(model)
    wanted = model(IMAGES)
    prefix = remember(model, "blocks.0", IMAGES, batch_size=4)
    assert prefix is not None
    torch.testing.assert_close(prefix.outputs, model.blocks[0](IMAGES))
    with played_back(prefix) as show:
        for index in (torch.arange(10), torch.tensor([7, 2, 2]), torch.arange(10)):
            show(index)
            torch.testing.assert_close(model(torch.full_like(IMAGES[index], torch.nan)), wanted[index])
    assert state_of(model) == state


@torch.no_grad()
def test_nothing_remembered_leaves_the_network_running() -> None:
    model = Pooled(Residual(3)).eval()
    with played_back(None) as show:
        show(torch.arange(2))
        assert model(IMAGES[:2]).isfinite().all()
    assert model(IMAGES).shape == (10, 3)


@torch.no_grad()
def test_the_layout_of_what_is_remembered_stays() -> None:
    model = Pooled(nn.Conv2d(3, 3, 3), Residual(3)).eval().to(memory_format=torch.channels_last)
    prefix = remember(model, "blocks.0", IMAGES)
    assert prefix is not None and prefix.outputs.is_contiguous(memory_format=torch.channels_last)
    seen: list[Tensor] = []
    model.blocks[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with played_back(prefix) as show:
        show(torch.tensor([3, 1]))
        model(IMAGES[:2])
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
