"""The README's sweep is one that can be run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from bench.sweep_config import SweepConfig, make_config

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def config() -> SweepConfig:
    (block,) = re.findall(r"```toml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return make_config(tomllib.loads(block), "the README")


def test_each_method_of_it_has_budgets_that_it_can_meet(config: SweepConfig) -> None:
    asked = {
        method: [budget for budget, other in config.pairs() if other == method] for method in config.methods
    }
    assert asked["epsd"] == ["90%"]
    latencies = [budget for budget in config.budgets if budget.endswith("x")]
    assert all(budgets == latencies for method, budgets in asked.items() if method != "epsd")
    assert config.train is not None


def test_it_compares_blocks_channels_and_distillation(config: SweepConfig) -> None:
    assert {"ttmpd", "epsd-structured", "kd"} <= set(config.methods)
