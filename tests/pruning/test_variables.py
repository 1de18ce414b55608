"""What every criterion keeps to, whatever it measures."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import TinyResNet, images, state_of, workpiece_of
from torch import Tensor, nn

from latency_tables.errors import UserError
from pruning.adaptation import adapt_statistics
from pruning.criteria.criterion import Criterion
from pruning.criteria.damage import Measure, disagreement, feature_damage, kl, kl_after_calibration
from pruning.criteria.linear import unexplained_features
from pruning.criteria.variables import VARIABLES, Workpiece
from pruning.passes import Passes
from pruning.targets import pseudo_labels

NAMES = [*VARIABLES, "practise-5"]


class Plain(nn.Module):
    """Blocks without any normalisation, in two stages."""

    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(width, width, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return x + 2.0 * F.relu(self.conv(x))

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.first = nn.Sequential(self.Block(6), self.Block(6))
        self.down = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.second = nn.Sequential(self.Block(8), self.Block(8))
        self.linear = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.down(self.first(self.stem(x))))
        return self.linear(x.mean((2, 3)))


class Transformer(nn.Module):
    """Patches as tokens; attention and perceptron in each block, as two residual modules."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(8)
            self.qkv = nn.Linear(8, 24)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
            return x + F.scaled_dot_product_attention(q, k, v)

    class Perceptron(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(8)
            self.wide = nn.Linear(8, 16)
            self.narrow = nn.Linear(16, 8)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.narrow(F.gelu(self.wide(self.norm(x))))

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 2, stride=2)
        self.blocks = nn.Sequential(self.Attention(), self.Perceptron(), self.Attention(), self.Perceptron())
        self.linear = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.blocks(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "batch norm": lambda: adapt_statistics(TinyResNet(), images(24)).model,
    "no norm": Plain,
    "tokens": Transformer,
}


@functools.cache
def original(network: str) -> Workpiece:
    with torch.random.fork_rng():
        torch.manual_seed(6)
        return workpiece_of(NETWORKS[network](), images(24), seed=3)


def piece_of(network: str) -> Workpiece:
    """A network of one's own; taking one apart takes time."""
    piece = original(network)
    return dataclasses.replace(piece, teacher=copy.deepcopy(piece.teacher))


def make(name: str, piece: Workpiece) -> Criterion:
    if name.startswith("practise"):
        return piece.practise(int(name.removeprefix("practise-")))
    return VARIABLES[name].make(piece)


def some_sets(piece: Workpiece) -> list[frozenset[str]]:
    a, b, c, d = piece.candidates
    return [frozenset(names) for names in ((), (a,), (b,), (d,), (a, b), (b, d), (a, b, c))]


PAIRS = [
    (name, network) for name in NAMES for network in NETWORKS if (name, network) != ("practise-5", "tokens")
]


@pytest.mark.parametrize(("name", "network"), PAIRS)
def test_answers_are_finite_repeatable_and_zero_for_nothing(name: str, network: str) -> None:
    piece = piece_of(network)
    criterion = make(name, piece)
    assert len(piece.candidates) == 4
    hurts = {removed: criterion.hurt(removed) for removed in some_sets(piece)}
    assert all(isinstance(hurt, float) and math.isfinite(hurt) for hurt in hurts.values())
    none = hurts.pop(frozenset())
    assert none <= min(hurts.values())
    if "end-map" not in name:
        assert none == pytest.approx(0.0, abs=1e-6)
    assert len(set(hurts.values())) > 1
    again = make(name, piece_of(network))
    torch.manual_seed(99)
    assert {removed: again.hurt(removed) for removed in reversed(hurts)} == hurts


@pytest.mark.parametrize(("name", "network"), PAIRS)
def test_the_network_and_the_random_numbers_are_left_as_they_were(name: str, network: str) -> None:
    piece = piece_of(network)
    piece.teacher.train()
    next(piece.teacher.children()).eval()
    next(piece.teacher.parameters()).requires_grad_(False)
    before, drawn = state_of(piece.teacher), torch.get_rng_state()
    criterion = make(name, piece)
    for removed in some_sets(piece)[:5]:
        criterion.expect(removed)
        criterion.hurt(removed)
        assert state_of(piece.teacher) == before
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize(("name", "network"), PAIRS)
def test_what_is_expected_changes_no_answer(name: str, network: str) -> None:
    piece = piece_of(network)
    criterion = make(name, piece)
    sets = some_sets(piece)
    plain = [criterion.hurt(removed) for removed in sets]
    for expected in (sets[1], sets[-1], frozenset(piece.candidates), frozenset()):
        criterion.expect(expected)
        assert [criterion.hurt(removed) for removed in sets] == plain


@pytest.mark.parametrize(("name", "network"), PAIRS)
def test_answers_do_not_depend_on_what_other_criteria_expect(name: str, network: str) -> None:
    piece = piece_of(network)
    criterion = make(name, piece)
    sets = some_sets(piece)
    plain = [criterion.hurt(removed) for removed in sets]
    for expected in (sets[2], sets[-2]):
        for other in ("kl", "kl-trained"):
            make(other, piece).expect(expected)
        assert [criterion.hurt(removed) for removed in sets] == plain


@pytest.mark.parametrize("name", NAMES)
def test_it_says_rightly_whether_it_looks_at_images(name: str) -> None:
    here = piece_of("batch norm")
    x = images(24, seed=2)
    labels = pseudo_labels(here.teacher, x, keep_features=True)
    pair = [make(name, piece) for piece in (here, dataclasses.replace(here, images=x, labels=labels))]
    hurts = [[criterion.hurt(removed) for removed in some_sets(here)] for criterion in pair]
    assert pair[0].needs_images == (hurts[0] != hurts[1])


def test_practise_refuses_a_network_without_convolutions_in_its_blocks() -> None:
    with pytest.raises(
        UserError, match=r"block 'blocks\.0' of tiny has no convolution there.*another method"
    ):
        make("practise-5", piece_of("tokens"))


@pytest.mark.parametrize(
    ("name", "trained", "measures"),
    [
        ("kl", False, [kl]),
        ("calibrated-kl", False, [kl_after_calibration]),
        ("disagreement", False, [disagreement]),
        ("features", False, [feature_damage]),
        ("end-map", False, [unexplained_features]),
        ("kl-trained", True, [kl]),
        ("features-trained", True, [feature_damage]),
        ("calibrated-kl*features", False, [kl_after_calibration, feature_damage]),
        ("calibrated-kl*end-map", False, [kl_after_calibration, unexplained_features]),
    ],
)
def test_damage_is_measured_by_what_the_name_says(name: str, trained: bool, measures: list[Measure]) -> None:
    piece = piece_of("batch norm")
    passes = Passes(piece.teacher, piece.images, piece.candidates, trained=trained)
    for removed in some_sets(piece)[1:]:
        parts = [measure(passes.outputs(removed), passes.unpruned) for measure in measures]
        assert make(name, piece).hurt(removed) == pytest.approx(math.prod(parts) ** (1 / len(parts)))


@pytest.mark.parametrize("name", [name for name in VARIABLES if "*" in name])
def test_a_joint_is_the_geometric_mean_of_what_its_name_says(name: str) -> None:
    piece = piece_of("batch norm")
    for removed in some_sets(piece)[1:]:
        parts = [make(part, piece).hurt(removed) for part in name.split("*")]
        assert make(name, piece).hurt(removed) == pytest.approx(math.prod(parts) ** (1 / len(parts)))


@pytest.mark.parametrize(
    ("name", "measure"),
    [("mapped-kl", kl), ("mapped-calibrated-kl", kl_after_calibration), ("mapped-features", feature_damage)],
)
def test_maps_stand_in_for_whole_runs(name: str, measure: Measure) -> None:
    piece = piece_of("batch norm")
    passes = Passes(piece.teacher, piece.images, piece.candidates)
    a, b, _, d = piece.candidates
    maps = {run.blocks[0]: piece.streams.module(run) for run in piece.streams.runs(frozenset({a, b, d}))}
    assert set(maps) == {a, d}
    wanted = measure(passes.outputs({a, b, d}, maps), passes.unpruned)
    assert make(name, piece).hurt(frozenset({a, b, d})) == pytest.approx(wanted)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_records(name: str) -> None:
    criterion = make(name, piece_of("batch norm"))
    assert criterion.name == name or (name, criterion.name) == ("practise-5", "practise")
    if name in VARIABLES:
        assert VARIABLES[name].name == name and VARIABLES[name].summary


def test_scoring_images_and_what_is_shared_are_made_once() -> None:
    piece = workpiece_of(NETWORKS["batch norm"](), images(24), scoring_images=10)
    assert torch.equal(piece.scored, piece.images[:10])
    assert piece.passes is piece.passes and piece.streams is piece.streams
    assert len(piece.passes.unpruned.logits) == len(piece.trained_passes.unpruned.logits) == 10
    assert not torch.allclose(piece.passes.unpruned.logits, piece.trained_passes.unpruned.logits, atol=1e-3)
    assert piece.candidates == piece.skeleton.removable == tuple(f"layer.{place}" for place in range(4))
