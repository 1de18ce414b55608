"""Made-up tables for the tests of their reports; no number here was measured."""

from __future__ import annotations

import math

import numpy as np

from latency_tables.estimate import Estimate
from reports.table_record import (
    CellTrace,
    ClosureRow,
    CurvePoint,
    HeatMap,
    LayerTime,
    MeasuredPlace,
    Staircase,
    TableRecord,
    WidthPoint,
)

CREATED = "2026-01-02T03:04:05+00:00"
STEP = 8


def estimate(value: float, share: float = 0.01) -> Estimate:
    return Estimate(value, value * (1 - share), value * (1 + share))


def layers(blocks: int = 8) -> tuple[LayerTime, ...]:
    found = [_layer("stem", "conv2d+relu", None, 3e-4)]
    for i in range(blocks):
        for k, kind in enumerate(("conv2d+relu", "conv2d+add+relu")):
            found.append(
                _layer(f"layer{1 + i // 3}.{i}.conv{k}", kind, f"layer{1 + i // 3}.{i}", 1e-4 * (1 + i % 3))
            )
    return (*found, _layer("pool", "mean", None, 2e-5), _layer("head", "linear", None, 4e-5))


def _layer(name: str, kind: str, block: str | None, seconds: float) -> LayerTime:
    return LayerTime(name, kind, block, estimate(1.1 * seconds), estimate(seconds), "measured")


def closure(count: int = 12) -> tuple[ClosureRow, ...]:
    errors = np.random.default_rng(1).normal(0, 0.03, count)
    rows = []
    for i, error in enumerate(errors):
        measured = 0.95 - 0.6 * i / count
        rows.append(
            ClosureRow(
                name=f"less {1 + i % 4} blocks and narrower in {i} groups",
                blocks=1 + i % 4,
                groups=i,
                fitted=i % 3 == 2,
                predicted=estimate(measured * (1 + error), 0.05),
                measured=estimate(measured, 0.008),
                passes=1 + i % 2,
                noise=0.01 * (-1) ** (i // 2) if i % 2 else None,
            )
        )
    return tuple(rows)


def _cost(width: int) -> float:
    return 2e-4 + 3e-6 * math.ceil(width / STEP) * STEP


def staircase(**changes: object) -> Staircase:
    """A sweep at the top, anchors below, interpolated between."""
    sweep, far = list(range(16, 65, 4)), (24, 48, 64)
    curve = [
        CurvePoint(
            w, estimate(_cost(w), 0.01 if w in far else 0.06), "measured" if w in far else "interpolated"
        )
        for w in range(24, 65, STEP)
    ]
    fields = {
        "layer": "layer1.0.conv0",
        "kind": "conv2d+relu",
        "axis": "channels out",
        "fixed": "channels in: 64",
        "step": STEP,
        "multiple": 1,
        "error": 0.03,
        "checks": 9,
        "points": tuple(
            WidthPoint(w, estimate(_cost(w)), "anchor" if w % 16 == 0 else "check") for w in sweep
        ),
        "curve": tuple(curve),
    }
    return Staircase(**{**fields, **changes})  # type: ignore[arg-type]


def heat_map(**changes: object) -> HeatMap:
    columns, rows = tuple(range(24, 97, 8)), tuple(range(32, 129, 8))
    fields = {
        "layer": "layer1.0.conv0",
        "kind": "conv2d+relu",
        "across": "channels in",
        "up": "channels out",
        "columns": columns,
        "rows": rows,
        "latency_s": tuple(tuple(1e-4 + 5e-8 * c * r for c in columns) for r in rows),
        "measured": tuple(MeasuredPlace(c, r) for c in (24, 60, 96) for r in (32, 80, 128)),
    }
    return HeatMap(**{**fields, **changes})  # type: ignore[arg-type]


def trace(count: int = 120, **changes: object) -> CellTrace:
    samples = 4e-4 * (1 + np.random.default_rng(2).gamma(2.0, 0.004, count))
    samples[count // 3] *= 1.6
    middle = float(np.median(samples))
    fields = {
        "name": "layer1.0",
        "kind": "block",
        "samples_s": tuple(samples.tolist()),
        "latency_s": estimate(middle, 0.002),
        "warmup": 12,
        "inner": 1,
        "stop": "precision",
        "dropped": {"page faults": 2},
        "findings": ("the samples drift: up by 3 %",),
        "disturbance": None,
        "created": CREATED,
    }
    return CellTrace(**{**fields, **changes})  # type: ignore[arg-type]


def record(**changes: object) -> TableRecord:
    """A table's record; any field can be changed."""
    fields = {
        "network": "cifar/resnet20",
        "digest": "0123456789ab",
        "label": "onnxruntime on Testing CPU, fp32, batch 1, 1 thread",
        "setting": {"format": 1, "device": {"kind": "cpu", "name": "Testing CPU"}, "batch": 1},
        "created": CREATED,
        "command": "lathe table report cifar/resnet20",
        "unpruned_s": estimate(5e-3),
        "constant_s": 2e-4,
        "layers": layers(),
        "closure": closure(),
        "staircases": (staircase(), staircase(axis="channels in", fixed="channels out: 64")),
        "heat_maps": (heat_map(),),
        "traces": (trace(),),
        "notes": (),
    }
    return TableRecord(**{**fields, **changes})  # type: ignore[arg-type]
