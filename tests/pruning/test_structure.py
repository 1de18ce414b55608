from __future__ import annotations

import math

import pytest
from tiny_networks import Pooled, Residual, images
from torch import nn

from pruning.criteria.streams import Streams
from pruning.criteria.structure import CapacityCriterion


def test_capacity_by_hand() -> None:
    """A chain of two blocks and one of three; what makes each chain's stream counts as one more block of it."""
    model = Pooled(*(Residual(3) for _ in range(2)), nn.Conv2d(3, 4, 1), *(Residual(4) for _ in range(3)))
    names = tuple(f"blocks.{place}" for place in (0, 1, 3, 4, 5))
    criterion = CapacityCriterion(Streams(model, images(), names))

    def hurt(*places: int) -> float:
        return criterion.hurt(frozenset(f"blocks.{place}" for place in places))

    assert hurt() == 0.0
    assert hurt(0) == hurt(1) == pytest.approx(math.log(3 / 2))
    assert hurt(0, 1) == pytest.approx(math.log(3))
    assert hurt(4) == pytest.approx(math.log(4 / 3))
    assert hurt(3, 4, 5) == pytest.approx(math.log(4))
    assert hurt(1, 3, 5) == pytest.approx(math.log(3 / 2) + math.log(2))
    assert criterion.name == "capacity" and not criterion.needs_images
