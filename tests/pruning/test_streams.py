from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import BLOCKS, Pooled, Residual, TinyResNet, images, state_of
from torch import Tensor, nn

from pruning.adaptation import batch_statistics, batches
from pruning.criteria.streams import RIDGE, Run, Streams

IMAGES = images(10)


@pytest.fixture(autouse=True)
def same_weights() -> None:
    torch.manual_seed(4)


class Unrelated(nn.Module):
    """Noise in the shape of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)  # says where the channels are

    def forward(self, x: Tensor) -> Tensor:
        return torch.randn(x.shape)


class Shift(nn.Module):
    """Adds 3 to what it gets, or takes it away in place."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        return x.add_(3.0) if self.in_place else x + 3.0


class Tokens(nn.Module):
    """Positions as tokens (n, 36, 3), two linear blocks, the mean over the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x.flatten(2).movedim(1, 2)).mean(1)


def rows_of(
    model: nn.Module, blocks: tuple[str, ...], dim: int = 1
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What enters and leaves each block, a row for each position, batch by batch."""
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in blocks}
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda _, inputs, output, name=name: seen[name].append((inputs[0], output))
        )
        for name in blocks
    ]
    with torch.no_grad(), batch_statistics(model):
        for batch in batches(IMAGES, 4):
            model(batch)
    for hook in hooks:
        hook.remove()

    def rows(tensors: list[Tensor]) -> np.ndarray:
        moved = torch.cat(tensors).movedim(dim, -1)
        return moved.reshape(-1, moved.shape[-1]).double().numpy()

    return {name: (rows([a for a, _ in pairs]), rows([b for _, b in pairs])) for name, pairs in seen.items()}


def test_blocks_that_feed_each_other_are_a_chain() -> None:
    streams = Streams(TinyResNet(), IMAGES, BLOCKS, batch_size=4)
    assert streams.place == {name: (0, place) for place, name in enumerate(BLOCKS)}


def test_a_chain_ends_where_another_module_or_function_stands_between() -> None:
    """A block that may not go, a block that is not asked about, a function that writes elsewhere or in place."""

    class Between(nn.Module):
        def __init__(self, in_place: bool) -> None:
            super().__init__()
            self.in_place = in_place

        def forward(self, x: Tensor) -> Tensor:
            return x.mul_(2.0) if self.in_place else x * 2.0

    def place(middle: nn.Module, width: int = 3) -> dict[str, tuple[int, int]]:
        model = Pooled(Residual(3), Residual(3), middle, Residual(width), Residual(width))
        return Streams(model, IMAGES, ("blocks.0", "blocks.1", "blocks.3", "blocks.4"), batch_size=4).place

    apart = {"blocks.0": (0, 0), "blocks.1": (0, 1), "blocks.3": (1, 0), "blocks.4": (1, 1)}
    joined = {"blocks.0": (0, 0), "blocks.1": (0, 1), "blocks.3": (0, 2), "blocks.4": (0, 3)}
    assert place(nn.Conv2d(3, 4, 1), 4) == apart
    assert place(Residual(3)) == apart
    assert place(Between(False)) == place(Between(True)) == apart
    assert place(nn.Identity()) == joined


def test_neighbours_that_go_are_one_run() -> None:
    streams = Streams(TinyResNet(), IMAGES, BLOCKS)
    assert streams.runs(frozenset()) == []
    assert streams.runs(frozenset(BLOCKS[1:2])) == [Run(("layer.1",), 0, 1, 2)]
    assert streams.runs(frozenset(BLOCKS)) == [Run(BLOCKS, 0, 0, 4)]
    assert streams.runs(frozenset({"layer.0", "layer.2", "layer.3"})) == [
        Run(("layer.0",), 0, 0, 1),
        Run(("layer.2", "layer.3"), 0, 2, 4),
    ]
    model = Pooled(Residual(3), Residual(3), nn.Conv2d(3, 3, 1), Residual(3))
    names = ("blocks.0", "blocks.1", "blocks.3")
    assert Streams(model, IMAGES, names).runs(frozenset(names[1:])) == [
        Run(("blocks.1",), 0, 1, 2),
        Run(("blocks.3",), 1, 0, 1),
    ]
    model = Pooled(Residual(3), nn.Conv2d(3, 3, 1), Residual(3), Residual(3))
    assert Streams(model, IMAGES, ("blocks.0", "blocks.2", "blocks.3")).runs(
        frozenset({"blocks.0", "blocks.3"})
    ) == [Run(("blocks.0",), 0, 0, 1), Run(("blocks.3",), 1, 1, 2)]


def by_hand(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Ridge regression on explicit rows, as least squares with rows of the ridge added."""
    centred, target = x - x.mean(0), y - y.mean(0)
    ridge = RIDGE * (centred**2).sum(0).mean()
    more = np.vstack([centred, np.sqrt(ridge) * np.eye(x.shape[1])])
    solved = np.linalg.lstsq(more, np.vstack([target, np.zeros((x.shape[1], y.shape[1]))]), rcond=None)[0]
    left = ((target - centred @ solved) ** 2).sum() / (target**2).sum()
    return solved.T, y.mean(0) - solved.T @ x.mean(0), float(left)


@pytest.mark.parametrize(("first", "last"), itertools.combinations_with_replacement(range(4), 2))
def test_map_and_change_are_those_of_explicit_rows(first: int, last: int) -> None:
    model = TinyResNet()
    rows = rows_of(model, BLOCKS)
    x, y = rows[BLOCKS[first]][0], rows[BLOCKS[last]][1]
    streams = Streams(model, IMAGES, BLOCKS, batch_size=4)
    (run,) = streams.runs(frozenset(BLOCKS[first : last + 1]))
    found = streams.best_map(run)
    weight, bias, left = by_hand(x, y)
    np.testing.assert_allclose(found.weight.numpy(), weight, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.bias.numpy(), bias, rtol=1e-3, atol=1e-4)
    assert found.unexplained == pytest.approx(left, rel=1e-3)
    assert streams.change(run) == pytest.approx(((y - x) ** 2).sum() / (x**2).sum(), rel=1e-4)


def test_tokens_have_their_channels_last() -> None:
    model = Tokens()
    names = ("blocks.0", "blocks.1")
    rows = rows_of(model, names, dim=2)
    streams = Streams(model, IMAGES, names, batch_size=4)
    assert streams.place == {"blocks.0": (0, 0), "blocks.1": (0, 1)}
    (run,) = streams.runs(frozenset(names))
    weight, _, left = by_hand(rows["blocks.0"][0], rows["blocks.1"][1])
    np.testing.assert_allclose(streams.best_map(run).weight.numpy(), weight, rtol=1e-3, atol=1e-4)
    assert streams.best_map(run).unexplained == pytest.approx(left, rel=0.1, abs=1e-5)
    x = torch.randn(2, 5, 3)
    with torch.no_grad():
        torch.testing.assert_close(streams.module(run)(x), model.blocks(x), rtol=0.01, atol=0.01)


def test_tokens_that_are_convolved_inside_a_block_have_their_channels_last_all_the_same() -> None:
    class Mixing(nn.Module):
        """As in pyramid transformers: tokens (n, 36, 3) laid out as a map for a depthwise convolution."""

        def __init__(self) -> None:
            super().__init__()
            self.depthwise = nn.Conv2d(3, 3, 3, padding=1, groups=3)

        def forward(self, x: Tensor) -> Tensor:
            laid_out = x.movedim(1, 2).unflatten(2, (6, 6))
            return x + self.depthwise(laid_out).flatten(2).movedim(1, 2)

    model = Tokens()
    model.blocks = nn.Sequential(Mixing(), Mixing())
    names = ("blocks.0", "blocks.1")
    rows = rows_of(model, names, dim=2)
    streams = Streams(model, IMAGES, names, batch_size=4)
    (run,) = streams.runs(frozenset(names))
    weight, _, _ = by_hand(rows["blocks.0"][0], rows["blocks.1"][1])
    assert streams.best_map(run).weight.shape == (3, 3)
    np.testing.assert_allclose(streams.best_map(run).weight.numpy(), weight, rtol=1e-3, atol=1e-4)
    assert streams.module(run)(torch.randn(2, 36, 3)).shape == (2, 36, 3)


def test_tokens_that_a_function_writes_over_are_taken_as_the_block_gave_them() -> None:
    class WritesOver(Tokens):
        def forward(self, x: Tensor) -> Tensor:
            return self.blocks(x.flatten(2).movedim(1, 2)).mul_(9.0).mean(1)

    model = WritesOver()
    names = ("blocks.0", "blocks.1")
    streams = Streams(model, IMAGES, names)
    torch.testing.assert_close(
        streams.best_map(Run(names[1:], 0, 1, 2)).weight.float(),
        model.blocks[1].weight.detach(),
        rtol=0.01,
        atol=0.01,
    )


def test_a_linear_block_is_explained_and_noise_is_not() -> None:
    model = Pooled(nn.Conv2d(3, 3, 1), Unrelated())
    streams = Streams(model, IMAGES, ("blocks.0", "blocks.1"), batch_size=4)
    linear, noise = (streams.best_map(Run((f"blocks.{place}",), 0, place, place + 1)) for place in (0, 1))
    assert 0 <= linear.unexplained < 1e-5
    assert 0.95 < noise.unexplained <= 1.0
    x = torch.randn(2, 3, 5, 5)
    with torch.no_grad():
        module = streams.module(Run(("blocks.0",), 0, 0, 1))
        torch.testing.assert_close(module(x), model.blocks[0](x), rtol=0.01, atol=0.01)
        assert module(x.double()).dtype == torch.float64


@pytest.mark.parametrize("in_place", [False, True])
def test_what_a_block_gets_is_taken_before_it_writes_over_it(in_place: bool) -> None:
    model = Pooled(nn.Conv2d(3, 3, 1), Shift(in_place))
    streams = Streams(model, IMAGES, ("blocks.0", "blocks.1"), batch_size=4)
    (run,) = streams.runs(frozenset({"blocks.1"}))
    found = streams.best_map(run)
    torch.testing.assert_close(found.weight, torch.eye(3).double(), rtol=0, atol=0.05)
    entry = rows_of(model, ("blocks.0",))["blocks.0"][1] - (3.0 if in_place else 0.0)
    assert streams.change(run) == pytest.approx(27.0 / (entry**2).sum(1).mean(), rel=1e-4)


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 10))
def test_batches_weigh_by_their_images(size: int) -> None:
    """A network without batch norm does not know in what batches it is run."""
    model = Pooled(nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1))
    names = ("blocks.0", "blocks.1")
    (run,) = (streams := Streams(model, IMAGES, names, batch_size=size)).runs(frozenset(names))
    (whole,) = (one := Streams(model, IMAGES, names, batch_size=10)).runs(frozenset(names))
    assert streams.change(run) == pytest.approx(one.change(whole), rel=1e-5)
    assert streams.best_map(run).unexplained == pytest.approx(one.best_map(whole).unexplained, rel=1e-4)


def test_a_constant_input_explains_nothing_and_a_constant_output_cannot_be_judged() -> None:
    model = Pooled(nn.Conv2d(3, 3, 1), Unrelated())
    streams = Streams(model, torch.ones(4, 3, 6, 6), ("blocks.0", "blocks.1"))
    assert streams.best_map(Run(("blocks.1",), 0, 1, 2)).unexplained == pytest.approx(1.0, abs=1e-6)
    assert np.isnan(streams.best_map(Run(("blocks.0",), 0, 0, 1)).unexplained)
    nothing = Streams(model, torch.zeros(4, 3, 6, 6), ("blocks.0",))
    assert np.isnan(nothing.change(Run(("blocks.0",), 0, 0, 1)))


def test_the_network_is_left_as_it_was_also_after_an_error() -> None:
    model = TinyResNet().train()
    before = state_of(model)
    Streams(model, IMAGES, BLOCKS)
    assert state_of(model) == before
    model.linear.register_forward_hook(lambda *_: 1 / 0)
    before = state_of(model)
    with pytest.raises(ZeroDivisionError):
        Streams(model, IMAGES, BLOCKS)
    assert state_of(model) == before
