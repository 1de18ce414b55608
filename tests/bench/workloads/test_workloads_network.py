"""Names of networks, users' factories, and what networks are fed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bench.workloads.network import Preprocess, parse_input_shape, resolve
from latency_tables.errors import UserError

_FACTORY = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout())

def make_fed():
    return make()

make_fed.input_shape = (3, 16, 24)
make_fed.input_mean = (0.5, 0.5, 0.5)
make_fed.input_std = [0.25, 0.25, 0.25]
make_fed.input_scale = 127.5

def broken():
    raise KeyError("width")

def needy(width):
    return nn.Conv2d(3, width, 3)

def wrong():
    return "a network"

ready = make()
number = 7
"""


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "my model.py"
    path.write_text(_FACTORY)
    return path


# Preprocess


def test_the_formula() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
    batch = Preprocess((0.1, 0.2, 0.3), (0.5, 0.6, 0.7), 200.0)(pixels)
    assert batch.shape == (2, 3, 4, 5)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous()
    expected = (pixels / 200.0 - np.array([0.1, 0.2, 0.3])) / np.array([0.5, 0.6, 0.7])
    np.testing.assert_allclose(batch.numpy(), expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("cifar/resnet20", 255, (1 - 0.485) / 0.229),
        ("cifar/resnet8-mlperf", 200, 200.0),
        ("imagenet/mobilenet_v2", 0, -1.0),
        ("imagenet/mobilenet_v2", 192, 0.5),
    ],
)
def test_each_network_is_fed_as_it_was_trained(name: str, value: int, expected: float) -> None:
    network = resolve(name)
    batch = network.preprocess(np.full((1, *network.input_shape[1:], 3), value, np.uint8))
    assert batch[0, 0, 0, 0].item() == pytest.approx(expected, abs=1e-6)


def test_channels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"takes 1 channels, but the images have shape \(2, 4, 4, 3\)"):
        Preprocess((0.0,), (1.0,), 255.0)(np.zeros((2, 4, 4, 3), np.uint8))


def test_preparing_leaves_the_pixels_alone_and_takes_read_only_ones() -> None:
    pixels = np.full((1, 2, 2, 3), 9, np.uint8)
    pixels.flags.writeable = False
    resolve("cifar/resnet20").preprocess(pixels)
    assert (pixels == 9).all()


# Names


@pytest.mark.parametrize("text", ["3x224x224", "1x8x9"])
def test_input_shapes(text: str) -> None:
    assert parse_input_shape(text) == tuple(map(int, text.split("x")))


@pytest.mark.parametrize(
    "text", ["", "224", "3x224", "3x0x5", "3x224x224x1", "3,224,224", "axbxc", "3x-1x4", "3x2.5x4"]
)
def test_input_shapes_of_another_form(text: str) -> None:
    with pytest.raises(UserError, match="channels x height x width, such as 3x224x224; received"):
        parse_input_shape(text)


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_cifar_names_have_their_depth(depth: int) -> None:
    model = resolve(f"cifar/resnet{depth}").build()
    weighted = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weighted) == depth
    assert not model.training


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar/resnet57", r"unknown network 'cifar/resnet57'\. Did you mean 'cifar/resnet5?"),
        ("mobilenet_v2", "Did you mean 'imagenet/mobilenet_v2'"),
        ("", "unknown network ''.*Known: cifar/resnet110.*timm/<name>"),
        ("model.py", "model.py:make_network"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(name)


def test_built_in_networks_take_three_channels_of_any_size() -> None:
    assert resolve("cifar/resnet20", input_shape=(3, 64, 48)).input_shape == (3, 64, 48)
    with pytest.raises(UserError, match="3 channels; received --input 1x32x32"):
        resolve("cifar/resnet20", input_shape=(1, 32, 32))


def test_weights_are_loaded_and_seeds_kept_apart(tmp_path: Path) -> None:
    network = resolve("cifar/resnet8-mlperf")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = network.build(1), network.build(1), network.build(2)
    assert torch.rand(1) == expected
    torch.testing.assert_close(first.state_dict(), again.state_dict())
    assert not torch.equal(first.linear.weight, other.linear.weight)  # type: ignore[arg-type,union-attr]
    save_file(first.state_dict(), tmp_path / "w.safetensors")
    loaded = resolve("cifar/resnet8-mlperf", weights=tmp_path / "w.safetensors").build(2)
    torch.testing.assert_close(loaded.state_dict(), first.state_dict())


def test_a_factory_that_draws_no_weights_is_known(tmp_path: Path) -> None:
    assert resolve("cifar/resnet8-mlperf").draws_weights()
    (tmp_path / "own.py").write_text(
        "import torch\nfrom torch import nn\n\n\ndef make():\n    model = nn.Conv2d(3, 4, 3)\n"
        "    nn.init.ones_(model.weight)\n    nn.init.zeros_(model.bias)\n    return model\n\n\n"
        "make.input_shape = (3, 8, 8)\n"
    )
    assert not resolve(f"{tmp_path}/own.py:make").draws_weights()


# Users' factories


def test_a_file_is_loaded_by_path_alone(model_file: Path) -> None:
    path, modules = list(sys.path), set(sys.modules)
    network = resolve(f"{model_file}:make", input_shape=(3, 8, 8))
    assert sys.path == path
    assert all(name.startswith("_lathe_user_") for name in set(sys.modules) - modules)
    assert network.build()(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 6, 6)
    assert network.preprocess.scale == 255.0
    assert network.preprocess.mean == (0.485, 0.456, 0.406)
    assert not network.build().training


def test_a_factory_may_say_what_it_is_fed(model_file: Path) -> None:
    network = resolve(f"{model_file}:make_fed")
    assert network.input_shape == (3, 16, 24)
    assert network.preprocess == Preprocess((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 127.5)
    assert resolve(f"{model_file}:make_fed", input_shape=(3, 8, 8)).input_shape == (3, 8, 8)


def test_a_module_is_imported() -> None:
    network = resolve("bench.workloads.cifar:ResNet8", input_shape=(3, 32, 32))
    assert sum(p.numel() for p in network.build().parameters()) == 78_186


def test_dataclasses_work_in_a_users_file(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import ClassVar\n"
        "from torch import nn\n@dataclass\nclass C:\n    kind: ClassVar[int] = 1\n    width: int = 4\n"
        "def make():\n    return nn.Conv2d(3, C().width, 1)\n"
    )
    assert resolve(f"{path}:make", input_shape=(3, 4, 4)).build()(torch.zeros(1, 3, 4, 4)).shape == (
        1,
        4,
        4,
        4,
    )


def test_a_factory_needs_an_input_shape(model_file: Path) -> None:
    with pytest.raises(UserError, match="--input 3x224x224"):
        resolve(f"{model_file}:make")


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("missing", "no 'missing'; it defines broken, make, make_fed, needy, wrong"),
        ("ready", "is of type Sequential .*expected a function or class"),
        ("number", r"is of type int \(7\), expected a function or class"),
        ("", "file.py:factory or package.module:factory; received"),
    ],
)
def test_attributes_that_are_no_factory(model_file: Path, attribute: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(f"{model_file}:{attribute}", input_shape=(3, 8, 8))


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("broken", "calling .*broken without arguments failed: KeyError: 'width'"),
        ("needy", "calling .*needy without arguments failed: TypeError: .*'width'"),
        ("wrong", r"returned is of type str \('a network'\), expected a torch.nn.Module"),
    ],
)
def test_factories_that_fail_when_called(model_file: Path, attribute: str, message: str) -> None:
    network = resolve(f"{model_file}:{attribute}", input_shape=(3, 8, 8))
    with pytest.raises(UserError, match=message):
        network.build()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "running .* failed: ZeroDivisionError"),
        ("def make(:", "running .* failed: SyntaxError"),
        ("import beside_me_here", "No module named 'beside_me_here'.* It must run alone"),
    ],
)
def test_files_that_do_not_run(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.py"
    path.write_text(text)
    before = set(sys.modules)
    with pytest.raises(UserError, match=message):
        resolve(f"{path}:make", input_shape=(3, 8, 8))
    assert not {name for name in set(sys.modules) - before if name.startswith("_lathe_user_")}


def test_files_and_modules_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file at .*gone\.py"):
        resolve(f"{tmp_path}/gone.py:make")
    with pytest.raises(UserError, match=r"importing no_such_package\.models failed"):
        resolve("no_such_package.models:make")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("input_shape = (3, 8)", "input_shape of .* received"),
        ("input_shape = (3, 8, 0)", "input_shape of .* received"),
        ("input_mean = (0.1, float('nan'), 0.1)", "input_mean of .* finite"),
        ("input_mean = (0.1,)", "one number for each of the 3 channels"),
        ("input_std = (1.0, 1.0, 0.0)", "input_std of .* above 0"),
        ("input_scale = 0", "input_scale of .* above 0"),
    ],
)
def test_input_attributes_that_are_wrong(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "m.py"
    path.write_text(f"from torch import nn\ndef make():\n    return nn.Identity()\nmake.{line}\n")
    with pytest.raises(UserError, match=message):
        resolve(f"{path}:make", input_shape=None if "shape" in line else (3, 8, 8))


def test_a_factory_of_one_channel_gets_neutral_constants(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text("from torch import nn\ndef make():\n    return nn.Conv2d(1, 2, 1)\n")
    assert resolve(f"{path}:make", input_shape=(1, 8, 8)).preprocess == Preprocess((0.0,), (1.0,), 255.0)


# The package


def test_asking_for_images_does_not_load_torch() -> None:
    code = "import sys; from bench.workloads import Images, apply_shift; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_exports_what_it_names() -> None:
    import bench.workloads as package

    assert all(getattr(package, name).__name__ == name for name in package.__all__)
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = package.nothing_here
