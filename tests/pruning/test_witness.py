"""A factory that changed since the weights were written is told, also where names and shapes agree."""

from __future__ import annotations

from pathlib import Path

import pytest
from early_networks import Residual
from safetensors.torch import save_file
from torch import Tensor, nn

from latency_tables.errors import UserError
from latency_tables.skeleton import Plan
from pruning import load
from pruning.witness import TOLERANCE, witness

SHAPE = (3, 6, 6)
PLAN = Plan("small", "d", ())


class Strided(Residual):
    def __init__(self) -> None:
        super().__init__()
        self.stem.stride = (2, 2)


class Louder(Residual):
    """Another factor in its forward, which no module shows."""

    gain = 1 + 4 * TOLERANCE

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * super().forward(x)


class HardlyLouder(Louder):
    gain = 1 + TOLERANCE / 4


class Longer(Residual):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).repeat(1, 2)


class Broken(Residual):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("shapes cannot be multiplied")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    model = Residual().eval()
    nn.init.constant_(model.head.bias, 3.0)  # above 1, from where differences are relative
    file = tmp_path / "weights.safetensors"
    save_file(model.state_dict(), file, witness(model, SHAPE))
    return file


@pytest.mark.parametrize("factory", [Residual, HardlyLouder])
def test_the_same_network_loads(factory: type[Residual], weights: Path) -> None:
    assert not load(factory, PLAN, weights).training


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (Strided, "computes something else"),
        (Louder, r"computes something else: its outputs differ by 4\.0e-03 of the largest one"),
        (Longer, "gives 6 outputs, and small gave 3"),
        (Broken, r"does not run on an image of shape \(3, 6, 6\).*cannot be multiplied"),
    ],
)
def test_a_network_that_computes_something_else(factory: type[Residual], message: str, weights: Path) -> None:
    with pytest.raises(UserError, match=message):
        load(factory, PLAN, weights)


@pytest.mark.parametrize(
    "told",
    [
        "{",
        "[]",
        '{"input_shape": [3, 6]}',
        '{"input_shape": [3, 6, 6], "outputs": "?"}',
        '{"input_shape": [3, 20000, 20000], "outputs": [0.0]}',
        '{"input_shape": [3, 0, 6], "outputs": [0.0]}',
    ],
)
def test_a_damaged_witness(told: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(Residual().state_dict(), file, {"lathe_witness": told})
    with pytest.raises(UserError, match=r"weights\.safetensors tells of its network is damaged"):
        load(Residual, PLAN, file)


def test_weights_without_a_witness_load_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(Residual().state_dict(), file)
    assert not load(Louder, PLAN, file).training
