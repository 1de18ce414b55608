"""The networks that a result must stand beside: what each of them is."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import nn

from bench import controls
from bench.judging import NO_LABELS, Judged
from bench.shop import Shop
from latency_tables.estimate import Estimate
from pruning.adaptation import adapt_statistics
from pruning.criteria.variables import Workpiece
from pruning.methods import get_method
from pruning.outline import outline
from pruning.surgery import remove_blocks
from pruning.targets import Targets, pseudo_labels


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.norm(self.conv(x))


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.blocks = nn.Sequential(*(Block() for _ in range(4)))
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


IMAGES = torch.randn(24, 3, 6, 6, generator=torch.Generator().manual_seed(0)) + 1.0


@dataclass
class FakeShop:
    """A shop without a machine: it remembers which networks were healed on which labels, and judged."""

    labelled: bool = True
    healed: list[tuple[nn.Module, Targets | None]] = field(default_factory=list)
    seen: dict[str, nn.Module] = field(default_factory=dict)
    judged = Shop.judged
    device = torch.device("cpu")

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        model = Network().eval()
        self.subject = SimpleNamespace(model=model, outline=outline("tiny", model, (3, 6, 6), 1))
        self.teacher = adapt_statistics(model, IMAGES).model
        self.labels = pseudo_labels(self.teacher, IMAGES, keep_features=True)
        report = SimpleNamespace(labels=torch.zeros(1) if self.labelled else None)
        self.images = SimpleNamespace(report=report, outputs=self.outputs)
        self.piece = Workpiece(self.teacher, IMAGES, self.labels, self.subject.outline.skeleton, seed=3)

    def outputs(self, model: nn.Module, name: str, _: object) -> str:
        self.seen[name] = model
        return name

    def judge(self, networks: dict[str, nn.Module], progress: object) -> dict[str, Estimate]:
        return {name: self.accuracy(self.outputs(model, name, progress)) for name, model in networks.items()}

    def accuracy(self, outputs: str) -> Estimate:
        value = 0.1 * (1 + list(self.seen).index(outputs))
        return Estimate(value, value, value)

    def heal(
        self, student: nn.Module, iterations: int, seed: int, _: object, labels: Targets | None = None
    ) -> None:
        assert (iterations, seed) == (7, 3)
        self.healed.append((student, labels))


class PerBlock:
    """Every block saves a second of five."""

    def latency_s(self, removed: frozenset[str]) -> float:
        return 5.0 - len(removed)


def gone(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, nn.Identity)]


def pruned(shop: FakeShop, removed: tuple[str, ...]) -> Judged:
    fit = cast(Any, PerBlock())
    return controls.pruned_controls(cast(Shop, shop), shop.piece, removed, fit, 7, lambda *_: None)


def test_the_unpruned_network_is_judged_adapted_and_healed() -> None:
    shop = FakeShop()
    before = copy.deepcopy(shop.teacher.state_dict())
    found = controls.unpruned_controls(cast(Shop, shop), 7, 3, lambda *_: None)
    assert list(found.accuracies) == [controls.UNPRUNED_ADAPTED, controls.UNPRUNED_HEALED]
    assert shop.seen[controls.UNPRUNED_ADAPTED] is shop.teacher
    ((healed, labels),) = shop.healed
    assert healed is shop.seen[controls.UNPRUNED_HEALED] is not shop.teacher and labels is None
    assert all(torch.equal(before[name], tensor) for name, tensor in shop.teacher.state_dict().items())


def test_each_pruned_control_differs_in_one_thing() -> None:
    shop = FakeShop()
    removed = ("blocks.1", "blocks.2")
    found = pruned(shop, removed)
    assert list(found.accuracies) == [
        controls.PRUNED_ADAPTED,
        controls.PRUNED_PLAIN_TEACHER,
        controls.PRUNED_RANDOM,
    ]
    only_adapted, plainly_taught, by_chance = (shop.seen[name] for name in found.accuracies)
    # Same blocks, new statistics, not healed.
    assert gone(only_adapted) == list(removed) and all(net is not only_adapted for net, _ in shop.healed)
    cut = remove_blocks(shop.subject.model, removed)
    wanted_state = adapt_statistics(cut, IMAGES).model.state_dict()
    for name, tensor in only_adapted.state_dict().items():
        torch.testing.assert_close(tensor, wanted_state[name])
    # What follows the gap sees other inputs than in the whole network.
    assert not torch.equal(only_adapted.blocks[3].norm.running_mean, shop.teacher.blocks[3].norm.running_mean)
    # Same blocks, healed, from and by the network as it was trained.
    labels = dict(shop.healed)[plainly_taught]
    wanted = pseudo_labels(shop.subject.model, IMAGES, keep_features=True)
    assert gone(plainly_taught) == list(removed)
    assert labels is not None and torch.equal(labels.logits, wanted.logits)
    assert not torch.equal(labels.logits, shop.labels.logits)
    # Other blocks, no slower, healed on the method's own labels.
    draw = get_method("random")
    drawn = draw.select(draw.scorer(shop.piece), shop.piece.candidates, cast(Any, PerBlock()), 3.0)
    assert len(gone(by_chance)) == len(removed) and dict(shop.healed)[by_chance] is None
    assert set(gone(by_chance)) == set(drawn.removed) != set(removed)


def test_without_a_removal_there_is_nothing_to_compare() -> None:
    assert pruned(FakeShop(), ()) == Judged()


def test_without_labels_nothing_is_made_and_every_control_says_why() -> None:
    shop = FakeShop(labelled=False)
    found = pruned(shop, ("blocks.1",))
    found = found.beside(controls.unpruned_controls(cast(Shop, shop), 7, 3, lambda *_: None))
    assert found.accuracies == {} and not shop.healed
    assert found.failed == dict.fromkeys(
        (
            controls.PRUNED_ADAPTED,
            controls.PRUNED_PLAIN_TEACHER,
            controls.PRUNED_RANDOM,
            controls.UNPRUNED_ADAPTED,
            controls.UNPRUNED_HEALED,
        ),
        NO_LABELS,
    )


def test_a_control_that_runs_out_of_memory_costs_itself_alone() -> None:
    shop = FakeShop()

    def fail(*_: object, **__: object) -> None:
        raise MemoryError("16 GiB")

    shop.heal = fail  # type: ignore[method-assign]
    found = pruned(shop, ("blocks.1",))
    assert list(found.accuracies) == [controls.PRUNED_ADAPTED]
    assert set(found.failed) == {controls.PRUNED_PLAIN_TEACHER, controls.PRUNED_RANDOM}
    assert found.failed[controls.PRUNED_RANDOM].startswith("MemoryError in test_controls.py, line ")
    unpruned = controls.unpruned_controls(cast(Shop, shop), 7, 3, lambda *_: None)
    assert (list(unpruned.accuracies), list(unpruned.failed)) == (
        [controls.UNPRUNED_ADAPTED],
        [controls.UNPRUNED_HEALED],
    )
    assert set(found.beside(unpruned).failed) == {*found.failed, *unpruned.failed}
