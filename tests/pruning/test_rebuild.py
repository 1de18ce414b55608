"""Plans that do not belong to a network are refused before anything is used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from early_networks import Residual
from safetensors.torch import save_file
from torch import nn

from latency_tables.errors import UserError
from latency_tables.skeleton import Plan
from pruning import load

PLAN = Plan("small", "d", (), channels={"widen": tuple(range(8))}, input_shape=(3, 6, 6))


class Other(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(8, 3)

    def forward(self, x):  # type: ignore[no-untyped-def]
        return self.head(self.stem(x).mean((2, 3)))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "weights.safetensors"
    save_file(Residual().state_dict(), file)
    return file


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (
            PLAN,
            r"the plan for small does not fit this network: unknown channel group of Other 'widen'\. Known: head, "
            r"stem\. A plan fits only the network that it was made for: give the factory that made it",
        ),
        (
            replace(PLAN, channels={"stem": (0, 1, 9)}),
            r"has channels 0 to 7, and 9 should stay\. .* the factory",
        ),
        (
            replace(PLAN, channels={"head": (0, 1)}),
            r"channels of group 'head' in Other must all stay.* the factory",
        ),
        (replace(PLAN, channels={}, removed=("blocks.0",)), r"has no module 'blocks\.0'"),
        (
            replace(PLAN, channels={}),
            r"(?s)weights\.safetensors does not fit small less \[\].*Give the factory of the unpruned network",
        ),
    ],
)
def test_a_plan_for_another_network(plan: Plan, message: str, weights: Path) -> None:
    with pytest.raises(UserError, match=message):
        load(Other, plan, weights)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"cannot read the plan .*Name the plan\.json"),
        ("{", r"cannot read the plan .*Name the plan\.json"),
        ("[]", r"is no plan: a JSON object was expected, got one of type list\. Name the plan\.json"),
        ('{"format": 99}', "a plan of format 1 or 2 was expected, got 99"),
        ('{"format": 2}', "the plan is damaged"),
    ],
)
def test_a_file_that_is_no_plan(text: str | None, message: str, weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=message):
        load(Residual, file, weights)


def test_a_file_that_holds_no_weights(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"none")
    with pytest.raises(UserError, match=r"cannot read the weights .*Name the weights\.safetensors"):
        load(Residual, replace(PLAN, channels={}), file)
