"""What the points of a seed are held against: the unpruned network, as their own setting computes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from bench import points
from bench.budget import parse_budget
from bench.judging import Judged
from bench.points import Recipe, done_point
from bench.shop import Shop
from latency_tables.estimate import Estimate

LABELS = np.array([0, 0, 0, 1])
MODEL = nn.Identity()


def outputs_of(wrong: int) -> torch.Tensor:
    """Outputs that are wrong for so many of the images, shape (4, 2)."""
    said = torch.nn.functional.one_hot(torch.from_numpy(LABELS), 2).float()
    return torch.cat([said[:wrong].flip(1), said[wrong:]])


class Images:
    """Report images on which a network that was loaded in a runtime is wrong once more than in PyTorch."""

    report = SimpleNamespace(labels=LABELS)
    calibration = None

    def outputs(self, model: nn.Module, *_: object) -> torch.Tensor:
        return outputs_of(1 if model is MODEL else 2)


def shop(precision: str) -> Shop:
    skeleton = SimpleNamespace(name="small")
    network = SimpleNamespace(input_shape=(3, 6, 6))
    subject = SimpleNamespace(model=MODEL, outline=SimpleNamespace(skeleton=skeleton), network=network)
    device = SimpleNamespace(kind="cpu")
    setting = SimpleNamespace(precision=precision, digest="s1", device=device)
    session = SimpleNamespace(setting=setting)
    store: Any = SimpleNamespace(table=lambda _: SimpleNamespace(networks=()))
    rest: list[Any] = [None] * 4
    return Shop(
        cast(Any, subject), cast(Any, Images()), outputs_of(1), cast(Any, session), store, *rest, {}, Judged()
    )


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the networks that were loaded in the runtime."""
    found: list[str] = []

    @contextmanager
    def served(name: str, *_: object) -> Iterator[nn.Module]:
        found.append(name)
        yield nn.ReLU()

    monkeypatch.setattr("bench.shop.served", served)
    return found


def test_the_unpruned_network_is_asked_in_the_settings_precision_and_once(loads: list[str]) -> None:
    low = shop("int8")
    for _ in range(2):
        known = low.accuracy(low.unpruned_served)
        assert known is not None and known.value == 0.5
    assert loads == ["small"]
    whole = shop("fp32")
    assert torch.equal(whole.unpruned_served, whole.unpruned_outputs)
    assert loads == ["small"]  # PyTorch gives the same, and is quicker


@pytest.mark.usefixtures("loads")
@pytest.mark.parametrize(("precision", "before"), [("fp32", 0.75), ("int8", 0.5)])
def test_before_and_after_are_of_one_precision(
    precision: str, before: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "_parts", lambda *_: ())
    second = Estimate(1.0, 1.0, 1.0)
    measured = SimpleNamespace(
        latency_s=second, unpruned_s=second, ratio=second, trace=None, meanwhile=None, widths={}
    )
    point = done_point(
        shop(precision),
        Recipe("a", "last", parse_budget("0.9x"), 0, 2, 4, False, "lathe prune", "a"),
        outputs_of(0),
        cast(Any, SimpleNamespace(measured=measured, files={})),
        removed=(),
        sparsity=None,
        predicted_s=second,
        budget_s=None,
        met=None,
        stages_s={},
        rounds=(),
        controls=Judged(),
    )
    assert point.accuracy is not None and point.accuracy.value == 1.0
    assert point.accuracy_before is not None and point.accuracy_before.value == before
    # Always with what PyTorch says in fp32.
    assert point.agreement is not None and point.agreement.value == 0.75
