"""Shifts: images as a worse camera, a worse channel or a worse light would have given them.

The corruptions and their five severities are those of CIFAR-10-C (Hendrycks and Dietterich 2019, "Benchmarking
neural network robustness to common corruptions and perturbations"; the authors' make_cifar_c.py). They were tuned
to 32x32 images and are used for every size here, so on larger images a blur of the same number of pixels is
milder than in ImageNet-C, and noise is weaker than there: results on larger images are not comparable with
published ImageNet-C figures. Only corruptions that need no other files or libraries are offered.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from bench.workloads.images import Images
from latency_tables.errors import UserError, unknown

_Floats = NDArray[np.float64]
_Corruption = Callable[[_Floats, int, np.random.Generator], _Floats]

SEVERITIES = (1, 2, 3, 4, 5)
# Values a corruption computes at once, as float64: 64 MiB an array, whatever the number of images.
_CHUNK_VALUES = 8 * 2**20

_GAUSSIAN_NOISE = (0.04, 0.06, 0.08, 0.09, 0.10)  # standard deviation
_SHOT_NOISE = (500, 250, 100, 75, 50)  # photons at full brightness
_IMPULSE_NOISE = (0.01, 0.02, 0.03, 0.05, 0.07)  # share of values set to 0 or 1
_SPECKLE_NOISE = (0.06, 0.1, 0.12, 0.16, 0.2)  # standard deviation as a share of the value
_GAUSSIAN_BLUR = (0.4, 0.6, 0.7, 0.8, 1.0)  # standard deviation in pixels
_CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)  # factor on the distance to the mean
_BRIGHTNESS = (0.05, 0.1, 0.15, 0.2, 0.3)  # added to the value of HSV
_SATURATE = (
    (0.3, 0.0),
    (0.1, 0.0),
    (1.5, 0.0),
    (2.0, 0.1),
    (2.5, 0.2),
)  # factor on and addition to saturation
_JPEG_COMPRESSION = (80, 65, 58, 50, 40)  # quality
_PIXELATE = (0.95, 0.9, 0.85, 0.75, 0.65)  # share of the pixels kept along each side


@dataclass(frozen=True, slots=True)
class Shift:
    """A corruption at a severity.

    Attributes:
        name: the corruption, never an alias.
        severity: 1 (weakest) to 5.
    """

    name: str
    severity: int

    def __str__(self) -> str:
        return f"{self.name}:{self.severity}"


def parse_shift(text: str) -> Shift:
    """Reads a shift.

    Args:
        text: ``NAME:SEVERITY``, as in ``gaussian_noise:3``; ``jpeg`` stands for ``jpeg_compression``.

    Returns:
        The shift.

    Raises:
        UserError: the corruption is not known, or the severity is missing or not 1 to 5.
    """
    given, _, number = text.partition(":")
    name = _ALIASES.get(given, given)
    if name not in _CORRUPTIONS:
        raise unknown("corruption", given, (*_CORRUPTIONS, *_ALIASES))
    if number not in map(str, SEVERITIES):
        raise UserError(
            f"the severity of {name} must be a whole number from {SEVERITIES[0]} to {SEVERITIES[-1]}; "
            f"received {number!r}. Write {name}:3, for example."
        )
    return Shift(name, int(number))


def apply_shift(images: Images, shift: str, seed: int) -> Images:
    """Corrupts images.

    The same seed gives the same noise, and the noise of two severities comes from the same draws. As in
    CIFAR-10-C, results are cut, not rounded, to whole values.

    Args:
        images: clean images of any size; left as they are.
        shift: as for `parse_shift`.
        seed: of the noise, 0 or more; without effect on corruptions that draw nothing.

    Returns:
        New images of the same shape and with the same labels.

    Raises:
        UserError: as for `parse_shift`.
    """
    wanted = parse_shift(shift)
    corrupt, level = _CORRUPTIONS[wanted.name], wanted.severity - 1
    generator = np.random.default_rng(seed)
    shifted = np.empty_like(images.pixels)
    step = max(1, _CHUNK_VALUES // max(1, images.pixels[:1].size))
    for start in range(0, len(images), step):
        chunk = images.pixels[start : start + step]
        values = corrupt(chunk / 255.0, level, generator)
        # The small addition keeps a whole number whole when its last binary digit was lost on the way.
        shifted[start : start + step] = np.clip(values, 0.0, 1.0) * 255.0 + 1e-6
    return Images(shifted, images.labels, f"{images.source} with {wanted} (seed {seed})")


# Each function below takes values (N, H, W, 3) in 0..1, a level 0..4 and a generator, and gives values of the same
# shape that may lie outside 0..1.


def _gaussian_noise(values: _Floats, level: int, generator: np.random.Generator) -> _Floats:
    return values + generator.normal(scale=_GAUSSIAN_NOISE[level], size=values.shape)


def _shot_noise(values: _Floats, level: int, generator: np.random.Generator) -> _Floats:
    photons = _SHOT_NOISE[level]
    counts: _Floats = generator.poisson(values * photons) / photons
    return counts


def _impulse_noise(values: _Floats, level: int, generator: np.random.Generator) -> _Floats:
    share = _IMPULSE_NOISE[level]
    draw = generator.random(values.shape)
    return np.where(draw < share, np.where(draw < share / 2, 0.0, 1.0), values)


def _speckle_noise(values: _Floats, level: int, generator: np.random.Generator) -> _Floats:
    return values * (1.0 + generator.normal(scale=_SPECKLE_NOISE[level], size=values.shape))


def _gaussian_blur(values: _Floats, level: int, _: np.random.Generator) -> _Floats:
    sigma = _GAUSSIAN_BLUR[level]
    blurred: _Floats = gaussian_filter(values, sigma=(0.0, sigma, sigma, 0.0), mode="nearest", truncate=4.0)
    return blurred


def _contrast(values: _Floats, level: int, _: np.random.Generator) -> _Floats:
    means: _Floats = values.mean(axis=(1, 2), keepdims=True)
    return (values - means) * _CONTRAST[level] + means


def _brightness(values: _Floats, level: int, _: np.random.Generator) -> _Floats:
    # Raising HSV's value at the same hue and saturation multiplies the three channels by one factor; black, which
    # has no hue, becomes grey.
    brightest = values.max(axis=-1, keepdims=True)
    raised = np.minimum(brightest + _BRIGHTNESS[level], 1.0)
    black = brightest == 0.0
    brightened: _Floats = np.where(black, raised, values * (raised / np.where(black, 1.0, brightest)))
    return brightened


def _saturate(values: _Floats, level: int, _: np.random.Generator) -> _Floats:
    # Changing HSV's saturation stretches the distances to the brightest channel by one factor. Grey has hue 0 by
    # convention, so saturation added to it makes it reddish, in CIFAR-10-C as here.
    factor, addition = _SATURATE[level]
    brightest = values.max(axis=-1, keepdims=True)
    span = brightest - values.min(axis=-1, keepdims=True)
    saturation = span / np.where(brightest == 0.0, 1.0, brightest)
    wanted = np.clip(saturation * factor + addition, 0.0, 1.0)
    grey = span == 0.0
    coloured = brightest - (brightest - values) / np.where(grey, 1.0, span) * wanted * brightest
    reddish = brightest * (1.0 - wanted * np.array([0.0, 1.0, 1.0]))
    saturated: _Floats = np.where(grey, reddish, coloured)
    return saturated


def _jpeg_compression(values: _Floats, level: int, _: np.random.Generator) -> _Floats:
    def compress(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=_JPEG_COMPRESSION[level])
        return Image.open(file)

    return _each(values, compress)


def _pixelate(values: _Floats, level: int, _: np.random.Generator) -> _Floats:
    share = _PIXELATE[level]

    def pixelate(image: Image.Image) -> Image.Image:
        coarse = (max(1, int(image.width * share)), max(1, int(image.height * share)))
        return image.resize(coarse, Image.Resampling.BOX).resize(image.size, Image.Resampling.BOX)

    return _each(values, pixelate)


def _each(values: _Floats, change: Callable[[Image.Image], Image.Image]) -> _Floats:
    pixels = np.rint(values * 255.0).astype(np.uint8)
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in pixels]) / 255.0


_CORRUPTIONS: dict[str, _Corruption] = {
    "brightness": _brightness,
    "contrast": _contrast,
    "gaussian_blur": _gaussian_blur,
    "gaussian_noise": _gaussian_noise,
    "impulse_noise": _impulse_noise,
    "jpeg_compression": _jpeg_compression,
    "pixelate": _pixelate,
    "saturate": _saturate,
    "shot_noise": _shot_noise,
    "speckle_noise": _speckle_noise,
}
_ALIASES = {"jpeg": "jpeg_compression"}
CORRUPTIONS = tuple(_CORRUPTIONS)
