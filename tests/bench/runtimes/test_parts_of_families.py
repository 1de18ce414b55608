"""Every part of networks of many families loads and runs where it would be timed, and gives what its graph says."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from bench.runtimes import get_runtime, make_setting
from bench.runtimes.base import Array, Runtime, random_arrays
from bench.workloads import resolve
from latency_tables.part import Grain, Part
from pruning.outline import outline

# Name, image size (None where the network knows but one).
FAMILIES = [
    ("seresnet18", 64),
    ("regnety_002", 64),
    ("mobilenetv2_100", 64),
    ("efficientnet_b0", 64),
    ("ghostnet_050", 64),
    ("repvgg_a0", 64),
    ("convnext_atto", 64),
    ("vit_tiny_patch16_224", 64),
    ("eva02_tiny_patch14_224", 56),
    ("swin_tiny_patch4_window7_224", None),
    ("mixer_s32_224", 64),
    ("poolformer_s12", 64),
]
NAMES = ("eager", "onnxruntime")


@pytest.fixture(scope="module")
def runtimes() -> Iterator[list[Runtime]]:
    """In this process: a worker for each would take longer than all the parts."""
    lacking = [get_runtime(name).availability("cpu") for name in NAMES]
    for availability in lacking:
        if not availability.usable:
            pytest.skip(f"{availability.reason}. {availability.remedy}")
    threads = torch.get_num_threads()
    yield [get_runtime(name)(make_setting(name)) for name in NAMES]
    torch.set_num_threads(threads)


def outputs(runtime: Runtime, part: Part) -> list[Array]:
    """What a part gives, loaded and run once as it is when it is timed."""
    with runtime.load(part.graph, alone=True) as loaded:
        loaded.run()
        return loaded.infer(random_arrays(part.graph.inputs))


def faults(runtimes: list[Runtime], part: Part) -> Iterator[str]:
    """What is wrong with a part; nothing, if all is as promised."""
    known: list[list[Array]] = []
    for runtime in runtimes:
        try:
            known.append(outputs(runtime, part))
        except Exception as error:  # noqa: BLE001 - whatever it is, the part is named, and the others are tried
            yield f"{runtime.name}: {type(error).__name__}: {error}"
            return
        for value, array in zip(part.graph.outputs, known[-1], strict=True):
            type_ = part.graph.type_of(value)
            if (str(array.dtype), array.shape) != (type_.dtype, type_.shape):
                yield f"{runtime.name}: {type_} was to be given, {array.dtype} {array.shape} was"
            elif not np.isfinite(array).all():
                yield f"{runtime.name}: not all numbers are finite"
    for first, other in zip(*known, strict=True):
        if first.shape == other.shape and not np.allclose(
            first, other, rtol=1e-3, atol=1e-3 * np.abs(first).max()
        ):
            yield f"{NAMES[0]} and {NAMES[1]} differ by {np.abs(first - other).max():.1e}"


@pytest.mark.parametrize(("name", "size"), FAMILIES)
def test_every_part_of_a_family_runs(name: str, size: int | None, runtimes: list[Runtime]) -> None:
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed (pip install 'lathe[zoo]')")
    network = resolve(f"timm/{name}", input_shape=None if size is None else (3, size, size))
    skeleton = outline(name, network.build(), network.input_shape, 1).skeleton
    assert {part.grain for part in skeleton.parts} == set(Grain)
    wrong = [f"{part.kind}: {fault}" for part in skeleton.parts for fault in faults(runtimes, part)]
    assert wrong == []
