"""Networks by name: how to build one, what it is fed, and where its weights are."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench.workloads import cifar, zoo
from bench.workloads.mobilenet_v2 import MobileNetV2
from bench.workloads.user_factory import UserFactory, load_user_factory
from bench.workloads.weights import load_into, load_state
from latency_tables.errors import UserError, unknown

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Preprocess:
    """From pixels to what the network takes: (pixels / scale - mean) / std.

    Attributes:
        mean: one number a channel, in units of pixels / scale.
        std: one number a channel, above 0, in the same units.
        scale: above 0; 255 brings pixels to 0..1, 1 leaves them as they are.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float

    def __call__(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """Prepares a batch of images.

        Args:
            pixels: uint8 array of shape (N, H, W, C), values 0..255.

        Returns:
            Contiguous float32 tensor of shape (N, C, H, W).

        Raises:
            UserError: the images have another number of channels than the network takes.
        """
        if pixels.ndim != 4 or pixels.shape[-1] != len(self.mean):
            raise UserError(
                f"the network takes {len(self.mean)} channels, but the images have shape {pixels.shape} "
                "(N, H, W, C); "
                "lathe reads images in colour, so accuracy can be had only for networks that take 3 channels."
            )
        batch = (
            torch.tensor(pixels).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        )
        mean = torch.tensor(self.mean).view(1, -1, 1, 1)
        std = torch.tensor(self.std).view(1, -1, 1, 1)
        return batch.div_(self.scale).sub_(mean).div_(std)


_AS_IMAGENET = Preprocess(IMAGENET_MEAN, IMAGENET_STD, 255.0)
_AS_IT_IS = Preprocess((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1.0)
_AROUND_ZERO = Preprocess((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), 128.0)


@dataclass(frozen=True, slots=True)
class Network:
    """A network to work on.

    Attributes:
        name: as the user wrote it.
        factory: makes the unpruned architecture with random weights; takes no arguments.
        input_shape: (channels, height, width) of one image.
        preprocess: from pixels to the network's input.
        weights: the file with trained weights; None leaves the factory's random ones.
    """

    name: str
    factory: Callable[[], nn.Module]
    input_shape: tuple[int, int, int]
    preprocess: Preprocess
    weights: Path | None = None

    def untrained(self, seed: int) -> nn.Module:
        """Makes the network with random weights.

        Args:
            seed: of the weights; the caller's random state is left as it was.

        Returns:
            The network on the CPU, in eval mode.

        Raises:
            UserError: the factory fails.
        """
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.factory().eval()

    def draws_weights(self) -> bool:
        """Whether the factory's weights depend on the seed; else it loads or computes them itself.

        Raises:
            UserError: the factory fails.
        """
        first, other = (self.untrained(seed).state_dict() for seed in (0, 1))
        return any(not torch.equal(weight, other[name]) for name, weight in first.items())

    def build(self, seed: int = 0) -> nn.Module:
        """Makes the network and loads its weights.

        Args:
            seed: of the random weights; the caller's random state is left as it was.

        Returns:
            The network on the CPU, in eval mode.

        Raises:
            UserError: the factory fails, or the weights cannot be read or belong to another network.
        """
        model = self.untrained(seed)
        if self.weights is not None:
            load_into(model, load_state(self.weights))
        return model.eval()


_BUILT_IN: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int], Preprocess]] = {
    **{
        f"cifar/resnet{depth}": (functools.partial(cifar.CifarResNet, depth), (3, 32, 32), _AS_IMAGENET)
        for depth in cifar.DEPTHS
    },
    "cifar/resnet8-mlperf": (cifar.ResNet8, (3, 32, 32), _AS_IT_IS),
    "imagenet/mobilenet_v2": (MobileNetV2, (3, 224, 224), _AROUND_ZERO),
}
_FORMS = ("timm/<name>", "file.py:factory", "package.module:factory")


def resolve(
    name: str, *, weights: Path | None = None, input_shape: tuple[int, int, int] | None = None
) -> Network:
    """Finds a network by name.

    Args:
        name: ``cifar/resnet{20,32,44,56,110}``, ``cifar/resnet8-mlperf``, ``imagenet/mobilenet_v2``,
            ``timm/<name>``, ``file.py:factory`` or ``package.module:factory``. A user's factory may say what its
            network takes in attributes; see `UserFactory`.
        weights: a file that `load_state` reads; None for random weights.
        input_shape: (channels, height, width); None for the network's own.

    Returns:
        The network, not built yet; a user's file is run, but its factory is not called.

    Raises:
        UserError: the name is not known, a file or an attribute is missing, timm is needed and not installed,
            or the input shape is missing or does not fit.
    """
    if ":" in name:
        return _from_user(name, load_user_factory(name), weights, input_shape)
    if name.startswith("timm/"):
        return _from_timm(name, weights, input_shape)
    if name.endswith(".py"):
        raise UserError(
            f"{name!r} names a file; name its factory as well, after a colon: {name}:make_network"
        )
    if name not in _BUILT_IN:
        raise unknown("network", name, (*_BUILT_IN, *_FORMS))
    factory, own_shape, preprocess = _BUILT_IN[name]
    return Network(name, factory, _three_channels(name, input_shape or own_shape), preprocess, weights)


def parse_input_shape(text: str) -> tuple[int, int, int]:
    """Reads an input shape.

    Args:
        text: channels, height and width joined by ``x``, as in ``3x224x224``; each 1 or more.

    Returns:
        (channels, height, width).

    Raises:
        UserError: the text has another form.
    """
    if not re.fullmatch(r"[1-9][0-9]{0,5}(x[1-9][0-9]{0,5}){2}", text):
        raise UserError(
            f"the input shape must be channels x height x width, such as 3x224x224; received {text!r}."
        )
    channels, height, width = map(int, text.split("x"))
    return channels, height, width


def _from_timm(name: str, weights: Path | None, input_shape: tuple[int, int, int] | None) -> Network:
    own_name = name.removeprefix("timm/")
    config = zoo.data_config(own_name)
    shape = _three_channels(name, input_shape or config.input_shape)
    image_size = shape[1:] if config.is_size_fixed and shape != config.input_shape else None
    factory = functools.partial(zoo.create, own_name, image_size)
    return Network(name, factory, shape, Preprocess(config.mean, config.std, 255.0), weights)


def _from_user(
    name: str, factory: UserFactory, weights: Path | None, input_shape: tuple[int, int, int] | None
) -> Network:
    shape = input_shape or factory.input_shape
    if shape is None:
        raise UserError(
            f"the image size that {name} takes is not known: say it with --input 3x224x224 (channels x "
            "height x width), "
            "or set it on the factory: factory.input_shape = (3, 224, 224)."
        )
    channels = shape[0]
    colour = channels == len(IMAGENET_MEAN)
    mean = factory.input_mean or (IMAGENET_MEAN if colour else (0.0,) * channels)
    std = factory.input_std or (IMAGENET_STD if colour else (1.0,) * channels)
    for attribute, values in (("input_mean", mean), ("input_std", std)):
        if len(values) != channels:
            raise UserError(
                f"{attribute} of {name} must have one number for each of the {channels} channels of the "
                "input; "
                f"received {values}."
            )
    return Network(name, factory, shape, Preprocess(mean, std, factory.input_scale or 255.0), weights)


def _three_channels(name: str, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    if shape[0] != 3:
        raise UserError(f"{name} takes images of 3 channels; received --input {'x'.join(map(str, shape))}.")
    return shape
