"""Networks of timm: names, sizes, and an installation that is missing or broken."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import pytest
import torch

from bench.workloads import zoo
from bench.workloads.network import Preprocess, resolve
from latency_tables.errors import UserError

needs_timm = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None or importlib.util.find_spec("torchvision") is None,
    reason="timm and torchvision are not installed",
)


@needs_timm
def test_a_network_comes_with_its_own_constants() -> None:
    network = resolve("timm/test_vit")
    assert network.preprocess == Preprocess((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 255.0)
    assert network.input_shape == (3, 160, 160)
    model = network.build()
    assert not model.training
    assert model(torch.zeros(1, *network.input_shape)).shape == (1, 1000)


@needs_timm
@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_another_image_size(name: str) -> None:
    network = resolve(f"timm/{name}", input_shape=(3, 64, 96))
    assert network.build()(torch.zeros(1, 3, 64, 96)).shape == (1, 1000)


@needs_timm
def test_a_size_that_timm_cannot_build() -> None:
    with pytest.raises(UserError, match=r"cannot build test_resnet for images of 8x8 .* 3x160x160"):
        zoo.create("test_resnet", (8, 8))


@needs_timm
def test_a_name_may_carry_its_tag() -> None:
    assert resolve("timm/resnet18.a1_in1k").input_shape == (3, 224, 224)
    with pytest.raises(UserError, match=r"tag of timm network resnet18 'a9'.*a1_in1k"):
        resolve("timm/resnet18.a9")


@needs_timm
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5O", "unknown timm network 'resnet5O'. Did you mean 'resnet50'"),
        ("qqqq", r"unknown timm network 'qqqq'; timm .* timm\.list_models"),
        ("", "unknown timm network ''"),
    ],
)
def test_unknown_names_do_not_list_a_thousand(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        resolve(f"timm/{name}")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("missing", ["timm", "torchvision"])
def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    def find(name: str, *_: Any) -> Any:
        return None if name == missing else object()

    monkeypatch.setattr(importlib.util, "find_spec", find)
    with pytest.raises(UserError, match=rf"{missing} is missing.*pip install 'lathe\[zoo\]'"):
        resolve("timm/resnet18")


def test_a_package_that_does_not_load_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> Any:
        raise RuntimeError("operator torchvision::roi_align does not exist")

    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: object())
    monkeypatch.setattr(zoo, "declare_operators", lambda: None)
    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(UserError, match=r"does not load beside torch .*roi_align.*lathe\[zoo\]"):
        resolve("timm/resnet18")


@needs_timm
def test_torchvision_imports_whether_or_not_its_binary_loads() -> None:
    code = (
        "import gc; from bench.workloads import zoo; zoo._import_timm(); zoo._import_timm(); gc.collect()\n"
        "import torch, torchvision; assert torch.ops.torchvision.nms and torch.ops.torchvision.qnms"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
