"""Made-up runs for the tests of the reports; no number here was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from latency_tables.estimate import Estimate
from latency_tables.trace import Trace
from reports.results import Closure, PartTime, Point, Round, Run
from reports.run_folder import write_point, write_run

CREATED = "2026-01-02T03:04:05+00:00"
WHOLE_S = 8.1e-3
BLOCKS = tuple(f"stage{stage}.{i}" for stage in (1, 2, 3) for i in range(9))
QUALITY = {"ttmpd": 0.0, "practise": -0.012, "random": -0.06}


def estimate(value: float, half: float) -> Estimate:
    return Estimate(value, value - half, value + half)


def trace(pruned_s: float, unpruned_s: float, count: int = 60) -> Trace:
    """Samples that spread a little, with one slow run."""
    wobble = np.random.default_rng(1).normal(0, 0.006, (2, count))
    wobble[0, count // 3] = 0.3
    times = ((value * (1 + row)).tolist() for value, row in zip((pruned_s, unpruned_s), wobble, strict=True))
    return Trace.of(*times)


def parts(removed: tuple[str, ...] = ()) -> tuple[PartTime, ...]:
    share = WHOLE_S / (len(BLOCKS) + 1)
    found = [PartTime("stem", "convolution", None, 0.7 * share, True)]
    for i, block in enumerate(BLOCKS):
        half = share * (0.8 + 0.4 * ((i * 7) % 5) / 4) / 2
        kept = block not in removed
        found += [PartTime(f"{block}.conv{k}", "convolution", block, half, kept) for k in (1, 2)]
    return (*found, PartTime("head", "linear", None, 0.3 * share, True))


def point(**changes: object) -> Point:
    """A finished point; any field can be changed."""
    removed = BLOCKS[10:16]
    base = Point(
        id="ttmpd-0.7x-0",
        method="ttmpd",
        budget="0.7x",
        seed=0,
        setting="s1",
        status="done",
        reason=None,
        accuracy=estimate(0.812, 0.008),
        accuracy_before=estimate(0.544, 0.01),
        agreement=estimate(0.861, 0.007),
        kl=estimate(0.31, 0.02),
        predicted_s=estimate(5.55e-3, 8e-5),
        measured_s=estimate(5.6e-3, 4e-5),
        unpruned_s=estimate(8.1e-3, 5e-5),
        ratio=None,  # see below
        trace=trace(5.6e-3, 8.1e-3),
        disturbance=None,
        remarks=(),
        budget_s=5.67e-3,
        met=True,
        removed=removed,
        widths={},
        sparsity=None,
        parts=parts(removed),
        stages_s={"score": 31.0, "search": 0.4, "recover": 210.0, "measure": 24.0},
        rounds=(
            Round(removed[:5], {}, estimate(5.6e-3, 9e-5), estimate(5.83e-3, 4e-5), False),
            Round(removed, {}, estimate(5.55e-3, 8e-5), estimate(5.6e-3, 4e-5), True),
        ),
        elsewhere={},
        controls={"unpruned, statistics re-estimated": estimate(0.842, 0.007)},
        uncontrolled={},
        artefacts={"plan": "artefacts/ttmpd-0.7x-0/plan.json", "ONNX": "artefacts/ttmpd-0.7x-0/model.onnx"},
        command="lathe prune cifar/resnet56 --method ttmpd --budget 0.7x --seed 0 --images npz:test.npz",
        created=CREATED,
    )
    made = replace(base, **changes)  # type: ignore[arg-type]
    if "ratio" not in changes and made.measured_s and made.unpruned_s:
        made = replace(made, ratio=made.measured_s.scaled(1 / made.unpruned_s.value))
    return made


def failed(**changes: object) -> Point:
    unknown = dict.fromkeys(
        (
            "accuracy",
            "accuracy_before",
            "agreement",
            "kl",
            "predicted_s",
            "measured_s",
            "unpruned_s",
            "ratio",
            "trace",
            "disturbance",
            "met",
        )
    )
    empty = {"removed": (), "parts": (), "stages_s": {}, "rounds": (), "controls": {}, "artefacts": {}}
    made = {"id": "failed", "status": "failed", "reason": "the runtime refused the model", "budget_s": None}
    return point(**{**unknown, **empty, **made, **changes})


def unpruned(**changes: object) -> Point:
    fields: dict[str, object] = {
        "id": "unpruned-0",
        "method": "unpruned",
        "budget": "",
        "accuracy": estimate(0.861, 0.007),
        "accuracy_before": None,
        "agreement": Estimate(1.0, 1.0, 1.0),
        "kl": None,
        "measured_s": estimate(WHOLE_S, 5e-5),
        "predicted_s": estimate(8.05e-3, 1e-4),
        "ratio": None,
        "trace": trace(WHOLE_S, WHOLE_S),
        "budget_s": None,
        "met": None,
        "removed": (),
        "parts": parts(),
        "rounds": (),
        "controls": {},
        "stages_s": {"measure": 20.0},
    }
    return point(**{**fields, **changes})


def run(**changes: object) -> Run:
    base = Run(
        name="synthetic",
        network="cifar/resnet56",
        input="3x32x32",
        weights="resnet56.safetensors",
        training={"healing": "200 steps"},
        images="npz:test.npz",
        shift="gaussian_noise:3",
        settings={
            "s1": {
                "label": "ONNX Runtime 1.31, one thread, batch 1",
                "batch": 1,
                "threads": 1,
                "precision": "fp32",
                "device": {"cpu": "made up"},
            },
            "s2": {
                "label": "eager torch 2.13, one thread, batch 1",
                "batch": 1,
                "threads": 1,
                "precision": "fp32",
                "device": {"cpu": "made up"},
            },
        },
        host={
            "cpu": "made up",
            "cores": 2,
            "virtual": True,
            "warnings": ["Turbo is on: clocks may drift by 12 %."],
        },
        versions={"torch": "2.13.0", "onnxruntime": "1.31.1"},
        command="lathe sweep sweep.toml",
        created=CREATED,
        closure=(
            Closure("s1", "blocks 3 to 9 dropped", estimate(6.1e-3, 1e-4), estimate(6.02e-3, 5e-5), False),
            Closure("s1", "width 1/2", estimate(3.4e-3, 1e-4), estimate(3.4e-3, 5e-5), True),
        ),
        launch={},
        facts={},
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def many(
    *, budgets: tuple[float, ...] = (0.85, 0.7, 0.55), seeds: int = 3, setting: str = "s1", methods: int = 3
) -> list[Point]:
    """An unpruned point and every method under every budget with every seed."""
    rng = np.random.default_rng(0)
    names = [*QUALITY, *(f"method{i}" for i in range(methods - 3))]
    found = [unpruned(setting=setting, id=f"unpruned-{setting}")]
    for i, method in enumerate(names[:methods]):
        for budget in budgets:
            for seed in range(seeds):
                ratio = budget + float(rng.normal(-0.008, 0.008))
                quality = 0.861 - 0.9 * (1 - budget) ** 2 + QUALITY.get(method, -0.01 * i)
                accuracy = quality + float(rng.normal(0, 0.004))
                count = round((1 - budget) * len(BLOCKS))
                removed = tuple(BLOCKS[int(k)] for k in sorted(rng.choice(len(BLOCKS), count, replace=False)))
                measured = ratio * WHOLE_S
                found.append(
                    point(
                        id=f"{method}-{budget}x-{seed}-{setting}",
                        method=method,
                        budget=f"{budget}x",
                        seed=seed,
                        setting=setting,
                        accuracy=estimate(accuracy, 0.008),
                        accuracy_before=estimate(accuracy - 0.2, 0.01),
                        predicted_s=estimate(measured * (1 + float(rng.normal(0, 0.02))), 9e-5),
                        measured_s=estimate(measured, 4e-5),
                        ratio=estimate(ratio, 0.004),
                        trace=trace(measured, WHOLE_S),
                        budget_s=budget * WHOLE_S,
                        met=ratio <= budget,
                        removed=removed,
                        parts=parts(removed),
                        stages_s={
                            "score": 30.0 - 9 * i,
                            "search": 0.4,
                            "recover": 180.0 + 20 * i,
                            "measure": 24.0,
                        },
                    )
                )
    return found


def write(folder: Path, points: list[Point], **changes: object) -> Path:
    write_run(folder, run(**changes))
    for made in points:
        write_point(folder, made)
    return folder
