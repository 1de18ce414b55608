"""The numbers of each criterion: by hand, and by derivatives taken another way."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from early_networks import OBJECTIVES, batch, perceptron, residual
from torch import Tensor, nn

from pruning.early.criterion import Scores, scored
from pruning.early.epsd import Epsd
from pruning.early.grasp import TEMPERATURE, Grasp
from pruning.early.magnitude import Magnitude
from pruning.early.meta_gradient import Inner
from pruning.early.prospr import ProsPr
from pruning.early.random import RandomScores
from pruning.early.snip import Snip
from pruning.early.synflow import SynFlow
from pruning.recovery.batches import drawn_by
from pruning.recovery.objective import Batch, CrossEntropy


def one_layer(weight: list[list[float]]) -> nn.Module:
    layer = nn.Linear(len(weight[0]), len(weight), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
    return nn.Sequential(layer)


def one_image(values: list[float], label: int) -> Batch:
    return Batch(torch.tensor([values]), torch.tensor([label]), torch.tensor([0]))


def test_magnitude_is_the_size_of_the_weights() -> None:
    scores = Magnitude().scores(one_layer([[1.0, -2.0], [0.5, 0.0]]), one_image([1.0, 1.0], 0), 0.5)
    assert scores["0.weight"].tolist() == [[1.0, 2.0], [0.5, 0.0]]


def test_random_scores_are_drawn_by_seed() -> None:
    network, image = one_layer([[1.0, -2.0], [0.5, 0.0]]), one_image([1.0, 1.0], 0)
    first, other = (RandomScores(seed).scores(network, image, 0.5)["0.weight"] for seed in (0, 1))
    assert not torch.equal(first, other)


def test_snip_by_hand() -> None:
    # Logits (1, 0) for the image (1, 2): p = (e / (e + 1), 1 / (e + 1)); dL/dz = p - one-hot(1); dL/dW = dL/dz x.
    network = one_layer([[1.0, 0.0], [2.0, -1.0]])
    p = math.e / (math.e + 1)
    scores = Snip().scores(network, one_image([1.0, 2.0], 1), 0.5)
    expected = [[1.0 * p * 1, 0.0], [2.0 * p * 1, 1.0 * p * 2]]
    torch.testing.assert_close(scores["0.weight"], torch.tensor(expected))


def test_synflow_by_hand() -> None:
    network = nn.Sequential(*one_layer([[1.0, -2.0], [3.0, 0.0]]), *one_layer([[1.0, -1.0]]))
    image = one_image([5.0, 7.0], 0)
    scores = SynFlow(1).scores(network, image, 1.0)
    # R = sum |W2| |W1| 1 = 3 + 3; every path's flow counts in both layers. The highest is 3.
    torch.testing.assert_close(scores["0.weight"], torch.tensor([[1.0, 2.0], [3.0, 0.0]]) / 3)
    torch.testing.assert_close(scores["1.weight"], torch.tensor([[3.0, 3.0]]) / 3)


def test_synflow_goes_in_rounds_so_that_no_layer_is_emptied() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(50, 50, bias=False), nn.Linear(50, 3, bias=False))
    image = Batch(torch.zeros(1, 50), torch.tensor([0]), torch.tensor([0]))
    scores = SynFlow(100).scores(network, image, 0.01)
    left = {name: int((score > 0).sum()) for name, score in scores.items()}
    assert sum(left.values()) <= 35  # what all rounds but the last have kept
    assert all(left.values())


def test_synflow_needs_one_round_where_all_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(nn.Linear(5, 4, bias=False), nn.Linear(4, 3, bias=False))
    image = Batch(torch.zeros(1, 5), torch.tensor([0]), torch.tensor([0]))
    rounds = []
    one_round = SynFlow._round

    def counted(*words: object) -> dict[str, Tensor]:
        rounds.append(words)
        return one_round(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(SynFlow, "_round", counted)
    all_kept = SynFlow(100).scores(network, image, 1.0)
    assert len(rounds) == 1
    for name, score in SynFlow(1).scores(network, image, 0.5).items():
        torch.testing.assert_close(all_kept[name], score)


def hessian_product(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """w * (H g) with the Hessian written out."""
    names = [name for name, _ in model.named_parameters()]
    chosen = [name for name in names if name.endswith("weight")]
    values = dict(model.named_parameters())

    def loss(*weights: Tensor) -> Tensor:
        given = dict(values) | dict(zip(chosen, weights, strict=True))
        logits = torch.func.functional_call(model, given, (images,))
        halves = zip(logits.chunk(2), labels.chunk(2), strict=True)
        return sum((F.cross_entropy(z / TEMPERATURE, y) for z, y in halves), torch.zeros(()))

    at = tuple(values[name].detach() for name in chosen)
    gradient = torch.autograd.functional.jacobian(loss, at)
    hessian = torch.autograd.functional.hessian(loss, at)
    found = {}
    for row, name in enumerate(chosen):
        product = sum(
            torch.tensordot(hessian[row][column], gradient[column], dims=gradient[column].ndim)
            for column in range(len(chosen))
        )
        found[name] = at[row] * product
    return found


def test_grasp_is_the_product_with_the_hessian() -> None:
    model, images = perceptron(), batch((4,), torch.float64)
    scores = Grasp(3).scores(model, images, 0.5)
    with torch.no_grad():  # the scoring draws linear layers anew, in their order
        generator = drawn_by("linear layers for grasp", 3)
        for layer in (model[0], model[2]):
            nn.init.xavier_normal_(layer.weight, generator=generator)
    expected = hessian_product(model, images.images, images.labels)
    for name, score in scores.items():
        torch.testing.assert_close(score.double(), expected[name], rtol=1e-5, atol=0)


def losses(name: str) -> Callable[[list[Tensor], Tensor, Batch], Tensor]:
    """Each objective's loss written out for a step, given earlier logits without gradient.

    The arguments are what was said of (images, second view) in the steps before and in this one, logits of this
    step as a function of the weights, and the batch.
    """
    labels = batch().labels

    def soft(wanted: Tensor, got: Tensor, t: float) -> Tensor:
        p = (wanted / t).softmax(1)
        return t * t * (p * (p.log() - (got / t).log_softmax(1))).sum(1).mean()

    def plain(said: list[tuple[Tensor, Tensor]], now: tuple[Tensor, Tensor], _: Batch) -> Tensor:
        return F.cross_entropy(now[0], labels)

    def cs_kd(said: list[tuple[Tensor, Tensor]], now: tuple[Tensor, Tensor], _: Batch) -> Tensor:
        return F.cross_entropy(now[0], labels) + soft(said[-1][1], now[0], 4.0)

    def ps_kd(said: list[tuple[Tensor, Tensor]], now: tuple[Tensor, Tensor], _: Batch) -> Tensor:
        target = F.one_hot(labels, 3).double()
        if len(said) > 1:
            target = 0.2 * target + 0.8 * said[-2][0].softmax(1)
        return -(target * now[0].log_softmax(1)).sum(1).mean()

    def dlb(said: list[tuple[Tensor, Tensor]], now: tuple[Tensor, Tensor], _: Batch) -> Tensor:
        if len(said) == 1:
            return F.cross_entropy(now[0], labels)
        both = F.cross_entropy(torch.cat(now), torch.cat([labels, labels]))
        return both + soft(said[-2][0], now[1], 3.0)

    return {"plain": plain, "cs-kd": cs_kd, "ps-kd": ps_kd, "dlb": dlb}[name]  # type: ignore[return-value]


def descend(
    name: str,
    model: nn.Module,
    given: Batch,
    inner: Inner,
    weights: dict[str, Tensor],
    fixed: list[tuple[Tensor, Tensor]] | None = None,
) -> tuple[Tensor, dict[str, Tensor], list[tuple[Tensor, Tensor]]]:
    """The inner steps written out.

    Returns:
        The loss behind the last, the weights there, by which it can be derived, and what was said in each step.
        Soft targets are ``fixed``, or what is said itself.
    """
    loss = losses(name)
    said: list[tuple[Tensor, Tensor]] = []
    for step in range(inner.steps + 1):
        weights = {key: weight.detach().requires_grad_(True) for key, weight in weights.items()}
        now = tuple(torch.func.functional_call(model, weights, (x,)) for x in (given.images, given.second))
        said.append(tuple(logits.detach() for logits in now))  # type: ignore[arg-type]
        value = loss(fixed[: step + 1] if fixed else said, now, given)  # type: ignore[arg-type]
        if step < inner.steps:
            gradients = torch.autograd.grad(value, list(weights.values()))
            weights = {
                key: weight - inner.rate * gradient
                for (key, weight), gradient in zip(weights.items(), gradients, strict=True)
            }
    return value, weights, said


def by_differences(name: str, model: nn.Module, given: Batch, inner: Inner) -> dict[str, Tensor]:
    """|dL/dm| by central differences; soft targets are those of the undisturbed run, as they carry no gradient."""
    first = {key: parameter.detach() for key, parameter in model.named_parameters()}
    _, _, fixed = descend(name, model, given, inner, first)
    found, h = {}, 1e-4
    for key in first:
        if not key.endswith("weight"):
            continue
        score = torch.zeros_like(first[key])
        for place in range(score.numel()):
            values = []
            for sign in (1, -1):
                moved = first[key].clone()
                moved.view(-1)[place] *= 1 + sign * h
                values.append(
                    float(descend(name, model, given, inner, first | {key: moved}, fixed)[0].detach())
                )
            score.view(-1)[place] = abs(values[0] - values[1]) / (2 * h)
        found[key] = score
    return found


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("name", ["plain", *OBJECTIVES])
def test_meta_gradients_are_the_derivative_by_the_mask(name: str, steps: int) -> None:
    model, given, inner = perceptron(), batch((4,), torch.float64), Inner(steps, 0.3)
    criterion = ProsPr(inner) if name == "plain" else Epsd(OBJECTIVES[name], inner)
    scores = criterion.scores(model, given, 0.5)
    expected = by_differences(name, model, given, inner)
    assert scores.keys() == expected.keys()
    for key, score in scores.items():
        torch.testing.assert_close(score.double(), expected[key], rtol=2e-3, atol=2e-5)


def test_without_steps_the_meta_gradient_is_snip() -> None:
    model, given = perceptron(), batch((4,), torch.float64)
    snip = Snip().scores(model, given, 0.5)
    for order in (False, True):
        scores = ProsPr(Inner(0, 0.1, order)).scores(model, given, 0.5)
        for key in snip:
            torch.testing.assert_close(scores[key], snip[key])


@pytest.mark.parametrize("name", ["plain", *OBJECTIVES])
def test_first_order_is_the_last_gradient_times_the_first_weights(name: str) -> None:
    model, given = perceptron(), batch((4,), torch.float64)
    first = {key: parameter.detach() for key, parameter in model.named_parameters()}

    def scores_of(inner: Inner) -> Scores:
        criterion = ProsPr(inner) if name == "plain" else Epsd(OBJECTIVES[name], inner)
        return criterion.scores(model, given, 0.5)

    inner = Inner(2, 0.3, first_order=True)
    scores, full = scores_of(inner), scores_of(Inner(2, 0.3))
    value, last, _ = descend(name, model, given, inner, first)
    gradients = dict(zip(last, torch.autograd.grad(value, list(last.values())), strict=True))
    for key, score in scores.items():
        expected = (first[key] * gradients[key]).abs()
        torch.testing.assert_close(score.double(), expected, rtol=1e-4, atol=1e-6)
        assert not torch.allclose(score, full[key], rtol=1e-2)


def test_epsd_by_hand_after_one_step() -> None:
    """Logits (a, b) of the image 1, label 0, CS-KD's partner 2: all goes by d = a - b, along u = (1, -1).

    With s = sigma and the partner's part a target, L' = g u, g(d) = s(d) - 1 + T (s(d / T) - s(2 d / T)), and
    L'' = h u u^T, h = s(d) (1 - s(d)) + s(d / T) (1 - s(d / T)). A step of rate r leads to d_1 = d - 2 r g(d); by
    the masks at the start dL(w_1) / dm = w * (1 - r h u u^T) u g(d_1) = (a, -b) (1 - 2 r h) g(d_1).
    """
    a, b, rate, t = 1.0, -0.5, 0.5, 4.0
    image = Batch(torch.tensor([[1.0]]), torch.tensor([0]), torch.tensor([0]), torch.tensor([[2.0]]))
    scores = Epsd(OBJECTIVES["cs-kd"], Inner(1, rate)).scores(one_layer([[a], [b]]), image, 0.5)

    def s(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    def g(d: float) -> float:
        return s(d) - 1 + t * (s(d / t) - s(2 * d / t))

    d = a - b
    h = s(d) * (1 - s(d)) + s(d / t) * (1 - s(d / t))
    felt = abs((1 - 2 * rate * h) * g(d - 2 * rate * g(d)))
    torch.testing.assert_close(scores["0.weight"], torch.tensor([[abs(a) * felt], [abs(b) * felt]]))


def test_the_loss_of_the_training_to_come_changes_what_is_kept() -> None:
    model, given = perceptron(), batch((4,), torch.float64)
    plain = ProsPr().scores(model, given, 0.5)
    for made in OBJECTIVES.values():
        scores = Epsd(made).scores(model, given, 0.5)
        assert any(not torch.allclose(scores[key], plain[key], rtol=1e-3) for key in plain)
    same = Epsd(CrossEntropy).scores(model, given, 0.5)
    assert all(torch.equal(same[key], plain[key]) for key in plain)


@pytest.mark.parametrize("steps", [0, 2])
def test_with_updated_statistics_batch_norm_does_not_follow_the_steps(steps: int) -> None:
    model, given, inner = residual(), batch(), Inner(steps, 0.1, adapted=True)
    scores = ProsPr(inner).scores(model, given, 0.5)
    # The statistics of the batch, taken once, layer by layer, and kept through all steps.
    frozen = copy.deepcopy(model).train()
    for norm in (module for module in frozen.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.momentum = 1.0
    with torch.no_grad():
        frozen(given.images)
    frozen.eval()
    first = {key: parameter.detach() for key, parameter in frozen.named_parameters()}

    def loss(weights: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(frozen, weights, (given.images,)), given.labels)

    def after_steps(masks: dict[str, Tensor]) -> Tensor:
        weights = {key: value * masks.get(key, 1.0) for key, value in first.items()}
        for _ in range(steps):
            gradients = torch.func.grad(loss)(weights)
            weights = {key: weight - inner.rate * gradients[key] for key, weight in weights.items()}
        return loss(weights)

    expected = torch.func.grad(after_steps)({key: torch.ones_like(first[key]) for key in scores})
    for key, score in scores.items():
        torch.testing.assert_close(score, expected[key].abs(), rtol=1e-3, atol=1e-5)
    follows = ProsPr(Inner(steps, 0.1)).scores(model, given, 0.5)
    assert any(not torch.allclose(follows[key], scores[key], rtol=1e-2) for key in scores)


def test_what_a_network_draws_itself_comes_from_the_seed() -> None:
    model = nn.Sequential(nn.Dropout(0.5), perceptron())
    given = batch((4,), torch.float64)
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    first, again, other = (scored(Snip(), model, given, 0.5, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


class Attentive(nn.Module):
    """Attention as networks call it that leave the kernel to PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 12)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.mix(x.unflatten(1, (2, 1, 4))).transpose(1, 2).chunk(3, -1)
        return self.head(F.scaled_dot_product_attention(query, key, value).mean((1, 2)))


@pytest.mark.parametrize("name", ["prospr", "epsd", "grasp"])
def test_attention_has_second_derivatives(name: str) -> None:
    criteria = {"prospr": ProsPr(), "epsd": Epsd(OBJECTIVES["cs-kd"]), "grasp": Grasp(0)}
    torch.manual_seed(0)
    scores = scored(criteria[name], Attentive(), batch((8,)), 0.5, 0)
    assert all(bool((score != 0).any()) for score in scores.values())
