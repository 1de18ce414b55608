"""A run's folder takes points of one job only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.identity import require_identity, take_identity
from bench.sweep_config import SweepConfig
from latency_tables.errors import UserError


def config(**changes: Any) -> SweepConfig:
    return SweepConfig(**{"network": "cifar/resnet20", "images": "digits", "methods": ("last",), **changes})


def test_the_same_job_goes_on_and_another_one_is_refused(tmp_path: Path) -> None:
    require_identity(tmp_path, config())  # nothing there yet
    take_identity(tmp_path, config(), {"images' content": "a"})
    require_identity(tmp_path, config(methods=("random",)))
    with pytest.raises(UserError, match="holds a run with iterations 200, asked for is 7"):
        require_identity(tmp_path, config(iterations=7))


def test_networks_healed_in_another_way_are_not_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_identity(tmp_path, config(), {})
    monkeypatch.setattr("bench.identity.HEALING_RATE", 0.5)
    with pytest.raises(
        UserError, match=r"holds a run with healing 'StoredBoth.*asked for is 'StoredBoth.* at 0.5,"
    ):
        require_identity(tmp_path, config())


def test_a_folder_of_before_says_how_its_networks_were_healed(tmp_path: Path) -> None:
    take_identity(tmp_path, config(), {})
    file = tmp_path / "identity.json"
    there = json.loads(file.read_text())
    del there["healing"]
    file.write_text(json.dumps(there))
    with pytest.raises(
        UserError, match=r"holds a run with healing 'StoredFeatures\(\) at 0.005', asked for is"
    ):
        require_identity(tmp_path, config())
