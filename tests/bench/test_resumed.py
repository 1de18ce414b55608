"""A sweep goes on in a folder only where that says what its points are."""

from __future__ import annotations

from pathlib import Path

import made_up_runs as made
import pytest

from bench.resumed import resumed
from bench.sweep_config import SweepConfig
from latency_tables.errors import UserError
from reports.run_folder import write_point


def test_points_without_their_run_are_not_made_anew(tmp_path: Path) -> None:
    write_point(tmp_path, made.point())
    config = SweepConfig(network="cifar/resnet8", images="digits")
    with pytest.raises(UserError, match=r"no run\.json"):
        resumed(config, {}, tmp_path)
    assert list((tmp_path / "points").iterdir())
