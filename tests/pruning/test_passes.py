from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_networks import BLOCKS, Pooled, Residual, Scale, TinyResNet, images, state_of
from torch import Tensor, nn

from latency_tables.errors import LatheError, UserError
from pruning.adaptation import batch_statistics, batches, trained_statistics
from pruning.features import forward_with_features
from pruning.passes import Outputs, Passes
from pruning.surgery import bypassed


class Chain(nn.Module):
    """A stem, four blocks, mean, linear layer; subclasses join the blocks in their own ways."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.layer = nn.Sequential(*(Residual(4) for _ in range(4)))
        self.linear = nn.Linear(4, 3)

    def body(self, x: Tensor) -> Tensor:
        return self.layer(self.stem(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.body(x).mean((2, 3)))


class LongSkip(Chain):
    """The stem's output returns behind the third block."""

    def body(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.layer[3](self.layer[2](self.layer[1](self.layer[0](x))) + x)


class FaintSkip(Chain):
    """The same, but of a stem that gives zeros nothing would be seen."""

    def body(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.layer[2](self.layer[1](self.layer[0](x)))
        return self.layer[3](y + 1e-7 * x)


class Keeps(nn.Module):
    """Remembers what went through it."""

    def forward(self, x: Tensor) -> Tensor:
        self.kept = x
        return x


class Stash(Chain):
    """A module's memory of its last call returns behind the third block."""

    def __init__(self) -> None:
        super().__init__()
        self.keeps = Keeps()

    def body(self, x: Tensor) -> Tensor:
        x = self.layer[1](self.layer[0](self.keeps(self.stem(x))))
        return self.layer[3](self.layer[2](x) + self.keeps.kept)


class Twice(Chain):
    """A block that is called twice, which no graph would call removable as one."""

    def body(self, x: Tensor) -> Tensor:
        x = self.layer[1](self.layer[0](self.stem(x)))
        return self.layer[3](self.layer[2](self.layer[1](x)))


class OneReLU(Chain):
    """One in-place activation serves stem, blocks and end."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def body(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        for block in self.layer:
            x = self.relu(block(x) - 0.1)
        return self.relu(x)


class InPlace(Chain):
    """Functions write over what the blocks gave."""

    def body(self, x: Tensor) -> Tensor:
        x = F.leaky_relu_(self.stem(x))
        for block in self.layer:
            x = block(x).mul_(1.5).sub_(0.2)
        return x.mul_(0.5).sub_(1.0)


class InPlaceEnd(Chain):
    """Written over is what the last block gave: that of another one, where the last is out."""

    def body(self, x: Tensor) -> Tensor:
        return super().body(x).mul_(0.5).sub_(1.0)


class OwnForward(Chain):
    """A module that carries a forward of its own."""

    def __init__(self) -> None:
        super().__init__()
        first, second = self.layer[0], self.layer[1]
        first.forward = lambda x: 2.0 * Residual.forward(first, x)
        second.forward = lambda x: 3.0 * Residual.forward(second, x)


class Picky(Chain):
    """Checks on the way what an idle stem cannot satisfy."""

    def body(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if not x.std() > 0:
            raise ValueError("the stem gives one number only")
        return self.layer(x)


class Perceptron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.relu(self.linear(x))


class Behind(Chain):
    """Two blocks stand behind the pooling, and so behind the features."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Sequential(Perceptron(), Perceptron())
        self.layer[2], self.layer[3] = nn.Identity(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.last(self.body(x).mean((2, 3))))


class Stages(Chain):
    """Two blocks on whole maps, two on a quarter of the positions with twice the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(Residual(4), Residual(4), nn.Conv2d(4, 8, 1, 2), Residual(8), Residual(8))
        self.linear = nn.Linear(8, 3)


NETWORKS: dict[type[nn.Module], tuple[str, ...]] = {
    TinyResNet: BLOCKS,
    **dict.fromkeys(
        (
            Chain, LongSkip, FaintSkip, Stash, Twice, OneReLU, InPlace, InPlaceEnd, OwnForward, Picky,
        ),
        BLOCKS,
    ),
    Behind: ("layer.0", "layer.1", "last.0", "last.1"),
    Stages: ("layer.0", "layer.1", "layer.3", "layer.4"),
}  # fmt: skip
IMAGES = images(11)


@pytest.fixture(autouse=True)
def same_weights() -> None:
    torch.manual_seed(2)


def full(model: nn.Module, removed: tuple[str, ...] = (), *, trained: bool = False, size: int = 4) -> Outputs:
    """What passes give, by whole passes."""
    statistics = trained_statistics if trained else batch_statistics
    with torch.no_grad(), statistics(model), bypassed(model, removed):
        pairs = [forward_with_features(model, batch) for batch in batches(IMAGES, size)]
    return Outputs(torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs]))


def same(got: Outputs, wanted: Outputs) -> bool:
    """To the bit."""
    return torch.equal(got.features, wanted.features) and torch.equal(got.logits, wanted.logits)


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("kind", NETWORKS)
def test_any_questions_in_any_order_are_answered_as_by_full_passes(
    kind: type[nn.Module], trained: bool
) -> None:
    model, blocks = kind(), NETWORKS[kind]
    passes = Passes(model, IMAGES, blocks, trained=trained, batch_size=4)
    whole = Passes(model, IMAGES, blocks, trained=trained, batch_size=4, memory_bytes=0)
    before = state_of(model)
    assert same(passes.unpruned, full(model, trained=trained)) and same(whole.unpruned, passes.unpruned)

    @settings(max_examples=8, deadline=None)
    @given(st.lists(st.tuples(st.booleans(), st.sets(st.sampled_from(blocks))), min_size=1, max_size=5))
    def ask(questions: list[tuple[bool, set[str]]]) -> None:
        for is_kept, removed in questions:
            if is_kept:
                passes.keep(removed)
            else:
                wanted = full(model, tuple(sorted(removed)), trained=trained)
                assert same(passes.outputs(removed), wanted)
                assert same(whole.outputs(removed), wanted)
            assert state_of(model) == before

    ask()


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_greedy_search_is_answered_as_by_full_passes(kind: type[nn.Module]) -> None:
    model, blocks = kind(), NETWORKS[kind]
    passes = Passes(model, IMAGES, blocks, batch_size=4)
    for kept in ((), (blocks[2],), (blocks[2], blocks[0]), (blocks[3],)):
        passes.keep(kept)
        for block in blocks:
            removed = tuple({*kept, block})
            assert same(passes.outputs(removed), full(model, removed))


@pytest.mark.parametrize(
    ("kind", "starts"),
    [
        (TinyResNet, BLOCKS),
        (Chain, BLOCKS),
        (LongSkip, ("layer.3",)),
        (FaintSkip, ("layer.3",)),
        (Stash, ()),  # idle functions would still read what does not fit
        (Twice, ("layer.0", "layer.2", "layer.3")),
        (OneReLU, BLOCKS),
        (InPlace, BLOCKS),
        (InPlaceEnd, BLOCKS),
        (OwnForward, BLOCKS),
        (Picky, ()),
        (Behind, ("layer.0", "layer.1")),
        (Stages, ("layer.0", "layer.1", "layer.3", "layer.4")),
    ],
)
def test_passes_begin_behind_every_block_that_all_goes_through(
    kind: type[nn.Module], starts: tuple[str, ...]
) -> None:
    assert tuple(Passes(kind(), IMAGES, NETWORKS[kind])._starts) == starts


@pytest.fixture
def convolved(monkeypatch: pytest.MonkeyPatch) -> Counter[nn.Module]:
    """How often each convolution was really computed."""
    counted: Counter[nn.Module] = Counter()
    compute: Callable[..., Tensor] = nn.Conv2d._conv_forward

    def counting(self: nn.Conv2d, *args: Tensor) -> Tensor:
        counted[self] += 1
        return compute(self, *args)

    monkeypatch.setattr(nn.Conv2d, "_conv_forward", counting)
    return counted


def test_what_stands_before_a_removal_is_not_computed_again(convolved: Counter[nn.Module]) -> None:
    model = Chain()
    passes = Passes(model, IMAGES, BLOCKS, batch_size=4)  # three batches
    convolved.clear()

    def count() -> list[int]:
        convolutions = [model.stem, *(block.conv for block in model.layer)]
        counts = [convolved[module] for module in convolutions]
        convolved.clear()
        return counts

    for block in BLOCKS:
        passes.outputs({block})
    assert count() == [3, 0, 3, 6, 9]  # without cache: 12, 9, 9, 9, 9
    passes.outputs({"layer.1", "layer.3"})
    assert count() == [0, 0, 0, 3, 0]
    assert same(passes.outputs(()), passes.unpruned) and count() == [0] * 5
    passes.keep({"layer.1"})
    assert count() == [0, 0, 0, 3, 3]
    for block in BLOCKS:
        passes.outputs({"layer.1", block})
    assert count() == [3, 0, 0, 3, 6]  # layer.1 alone needs nothing but the head
    passes.keep({"layer.1"})
    assert count() == [0] * 5


def test_little_memory_keeps_fewer_starts(convolved: Counter[nn.Module]) -> None:
    model = Chain()
    one = len(IMAGES) * 4 * 36 * 4
    for memory, starts in (
        (4 * one, BLOCKS),
        (4 * one - 1, ("layer.1", "layer.3")),
        (2 * one - 1, ("layer.2",)),
        (one - 1, ()),
        (0, ()),
    ):
        passes = Passes(model, IMAGES, BLOCKS, batch_size=4, memory_bytes=memory)
        assert tuple(passes._starts) == starts
        convolved.clear()
        assert same(passes.outputs({"layer.3"}), full(model, ("layer.3",)))
        # Three batches, and three of the full pass beside it.
        expected = 3 if {"layer.2", "layer.1"} & set(starts) else 6
        assert convolved[model.stem] == expected


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 20_000))
def test_the_memory_limit_holds_also_where_blocks_differ_in_size(memory: int) -> None:
    model = Stages()
    passes = Passes(model, IMAGES, NETWORKS[Stages], memory_bytes=memory)
    for removed in ((), ("layer.1",), ("layer.1", "layer.4")):
        passes.keep(removed)
        held = [tensor.nbytes for kept in passes._kept.behind.values() for tensor in kept]
        assert sum(held) <= memory
    assert same(passes.outputs({"layer.4"}), full(model, ("layer.4",), size=11))


def test_modules_that_stand_in_are_used_also_where_what_was_kept_had_none() -> None:
    model = Pooled(Scale(2.0), Scale(3.0), Scale(5.0), Scale(7.0))
    names = [f"blocks.{place}" for place in range(4)]
    ones = torch.ones(2, 3, 2, 2)
    passes = Passes(model, ones, names)

    def value(*removed: str, **instead: nn.Module) -> float:
        return float(
            passes.outputs(removed, {f"blocks.{key[1:]}": module for key, module in instead.items()}).logits[
                0, 0
            ]
        )

    assert value("blocks.1") == 70.0
    assert value("blocks.1", b1=Scale(11.0)) == 770.0
    passes.keep({"blocks.1"})
    assert value("blocks.1", "blocks.3", b1=Scale(11.0)) == 110.0
    assert value("blocks.1", "blocks.3", b3=Scale(0.5)) == 5.0
    assert value("blocks.1", "blocks.3") == 10.0


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ZeroDivisionError


def test_an_error_inside_a_pass_leaves_the_network_and_the_answers_as_they_were() -> None:
    model = Chain().train()
    model.layer[1].eval()
    model.linear.weight.requires_grad_(False)
    passes = Passes(model, IMAGES, BLOCKS, batch_size=4)
    before = state_of(model)
    with pytest.raises(ZeroDivisionError):
        passes.outputs({"layer.2"}, {"layer.2": Broken()})
    assert state_of(model) == before
    working, model.linear.forward = model.linear.forward, Broken().forward
    for ask in (passes.outputs, passes.keep):
        with pytest.raises(ZeroDivisionError):
            ask({"layer.1"})
    with pytest.raises(ZeroDivisionError):
        Passes(model, IMAGES, BLOCKS)
    del model.linear.forward
    assert working == model.linear.forward and state_of(model) == before
    with pytest.raises(UserError, match=r"no module 'layer\.9'"):
        passes.outputs({"layer.1", "layer.9"})
    assert state_of(model) == before
    for removed in (("layer.1",), ("layer.1", "layer.3"), ("layer.0",)):
        assert same(passes.outputs(removed), full(model, removed))


def test_a_whole_network_that_gives_nan_is_an_error_and_a_pruned_one_is_not() -> None:
    with pytest.raises(LatheError, match="Pooled gives logits that are not finite"):
        Passes(Pooled(Scale(1.0)), images() / 0.0, ["blocks.0"])
    model = Pooled(Scale(1e-30), Scale(1e30))
    passes = Passes(model, torch.full((2, 3, 2, 2), 1e20), ["blocks.0", "blocks.1"])
    assert not passes.outputs({"blocks.0"}).logits.isfinite().any()


def test_one_image_is_an_error() -> None:
    with pytest.raises(UserError, match="at least 2 images"):
        Passes(Chain(), images(1), BLOCKS)


def test_outputs_are_float32_without_gradient_whatever_the_network_computes_in() -> None:
    passes = Passes(Chain().double(), IMAGES.double(), BLOCKS)
    for got in (passes.unpruned, passes.outputs({"layer.1"})):
        assert got.logits.dtype == got.features.dtype == torch.float32
        assert not got.logits.requires_grad


def test_measures_that_ask_for_one_set_in_turn_share_its_pass() -> None:
    model = TinyResNet()
    passes = Passes(model, images(), BLOCKS)
    calls: list[object] = []
    model.linear.register_forward_hook(lambda *_: calls.append(None))
    first = passes.outputs(BLOCKS[:1])
    assert passes.outputs(BLOCKS[:1]) is first and len(calls) == 1
    assert passes.outputs(BLOCKS[:1], {BLOCKS[0]: torch.nn.Identity()}) is not first and len(calls) == 2
    passes.outputs(BLOCKS[1:2])
    assert not torch.equal(passes.outputs(BLOCKS[:1]).logits, passes.outputs(BLOCKS[1:2]).logits)
