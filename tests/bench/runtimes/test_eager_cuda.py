"""What eager does for a CUDA device, with stand-ins for what only a device can do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hand_graphs import conv_relu

import bench.runtimes.eager as adapter
from bench.host import cpu_device
from bench.runtimes.base import Order
from bench.runtimes.cuda import CudaClock
from bench.runtimes.eager import EagerLoaded
from latency_tables.errors import LatheError
from latency_tables.setting import Setting


def loaded() -> EagerLoaded:
    order = Order(conv_relu(), None, None, None, alone=False)
    return EagerLoaded(order, Setting(cpu_device(), "eager", (), "fp32", 1, 1))


def cannot_be_queued(run: Callable[[], object]) -> dict[str, float]:
    raise LatheError(
        "a single run issues more work than the queue holds. Choose launch=graph, or launch=issued."
    )


@pytest.mark.parametrize("launch", ["queued", "issued"])
def test_a_network_that_cannot_be_queued_is_made_ready_without_the_cost_of_queueing(
    monkeypatch: pytest.MonkeyPatch, launch: str
) -> None:
    monkeypatch.setattr(adapter, "launch_cost", cannot_be_queued)
    large = loaded()
    large._on_cuda({"launch": launch, "cache": "warm"}, alone=False)
    assert "launch" not in large.facts
    assert isinstance(large.clock, CudaClock)


def test_the_cost_of_launching_is_told_of_whole_networks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "launch_cost", lambda run: {"queued_s": 1.0, "issued_s": 2.0})
    for alone, facts in ((True, {}), (False, {"launch": {"queued_s": 1.0, "issued_s": 2.0}})):
        made = loaded()
        made._on_cuda({"launch": "queued", "cache": "warm"}, alone=alone)
        assert made.facts == facts
