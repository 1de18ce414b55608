"""What ONNX Runtime's profile tells of what its nodes were for."""

from __future__ import annotations

from typing import Any

import pytest
from hand_graphs import conv_relu

from bench.host import cpu_device
from bench.runtimes.onnx_placement import reordering
from latency_tables.measurement import REORDERING
from latency_tables.setting import Setting

pytest.importorskip("onnxruntime")
from bench.runtimes.onnxruntime import OnnxRuntime


def event(kind: str, duration_us: int, name: str | None = None) -> dict[str, Any]:
    return {"name": name or kind, "dur": duration_us, "args": {"op_name": kind}}


def test_reordering_is_a_share_of_all_runs_but_the_first() -> None:
    first = [event("ReorderInput", 900), event("Conv", 1), event("ReorderOutput", 900)]
    later = [event("ReorderInput", 10), event("Conv", 28), event("ReorderOutput", 0)]
    # Half a microsecond is cut off of each node in the mean.
    assert reordering([*first, *later, *later]) == pytest.approx((10.5 + 0.5) / (10.5 + 28.5 + 0.5))


def test_without_a_second_run_nothing_is_known_to_be_reordered() -> None:
    assert reordering([event("ReorderInput", 900)]) == 0.0
    assert reordering([]) == 0.0


def loaded_facts(*, alone: bool) -> dict[str, Any]:
    here = Setting(
        cpu_device(), "onnxruntime", (), "fp32", 1, 1, options=(("provider", "CPUExecutionProvider"),)
    )
    with OnnxRuntime(here).load(conv_relu(16, 16), alone=alone) as loaded:
        return dict(loaded.facts)


def test_a_convolution_alone_lays_out_what_it_reads_and_writes_and_a_network_does_not_say() -> None:
    assert 0.01 < loaded_facts(alone=True)[REORDERING] < 0.99
    assert loaded_facts(alone=False) == {}
