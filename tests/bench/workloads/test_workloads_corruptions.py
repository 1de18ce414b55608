"""Shifts: what they keep, how they grow, and what each does to a known image."""

from __future__ import annotations

import colorsys
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from bench.workloads import corruptions
from bench.workloads.corruptions import CORRUPTIONS, SEVERITIES, Shift, apply_shift, parse_shift
from bench.workloads.images import Images
from latency_tables.errors import UserError

_DRAWN = ("gaussian_noise", "impulse_noise", "shot_noise", "speckle_noise")


def _scene(count: int = 6, height: int = 32, width: int = 32) -> Images:
    """Smooth colour fields with some texture, from a fixed seed: enough like photographs for every corruption."""
    generator = np.random.default_rng(7)
    fields = gaussian_filter(generator.normal(size=(count, height, width, 3)), (0, 4, 4, 0), mode="wrap")
    fields += 0.2 * gaussian_filter(generator.normal(size=fields.shape), (0, 1, 1, 0))
    spread = fields.std(axis=(1, 2, 3), keepdims=True)
    pixels = np.clip(110 + 55 * fields / spread, 0, 255).astype(np.uint8)
    return Images(pixels, np.arange(count), "scene")


def _flat(*colour: int, side: int = 64) -> Images:
    return Images(np.broadcast_to(np.array(colour, np.uint8), (1, side, side, 3)).copy(), None, "flat")


def _distance(images: Images, shifted: Images) -> float:
    return float(np.abs(shifted.pixels.astype(int) - images.pixels).mean())


# Names


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_names(name: str) -> None:
    assert parse_shift(f"{name}:3") == Shift(name, 3)
    assert str(Shift(name, 3)) == f"{name}:3"


def test_the_short_name_of_jpeg() -> None:
    assert parse_shift("jpeg:5") == Shift("jpeg_compression", 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gausian_noise:3", "unknown corruption 'gausian_noise'. Did you mean 'gaussian_noise'"),
        ("", "unknown corruption ''.*Known: brightness"),
        ("contrast", "from 1 to 5; received ''. Write contrast:3"),
        ("contrast:0", "from 1 to 5; received '0'"),
        ("contrast:6", "from 1 to 5; received '6'"),
        ("contrast:2.5", "received '2.5'"),
        ("contrast:3:1", "received '3:1'"),
        ("jpeg:x", "severity of jpeg_compression .* received 'x'"),
    ],
)
def test_names_and_severities_that_do_not_exist(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_shift(text)


# What all have in common


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(CORRUPTIONS),
    severity=st.sampled_from(SEVERITIES),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    count=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_shape_type_labels_and_input_are_kept(
    name: str, severity: int, height: int, width: int, count: int, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)
    images, before = Images(pixels, np.arange(count), "noise"), pixels.copy()
    shifted = apply_shift(images, f"{name}:{severity}", seed)
    assert shifted.pixels.shape == pixels.shape
    assert shifted.pixels.dtype == np.uint8
    assert shifted.labels is images.labels
    assert shifted.source == f"noise with {name}:{severity} (seed {seed})"
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(apply_shift(images, f"{name}:{severity}", seed).pixels, shifted.pixels)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_only_noise_depends_on_the_seed(name: str) -> None:
    first, other = (apply_shift(_scene(), f"{name}:3", seed).pixels for seed in (0, 1))
    assert (first != other).any() == (name in _DRAWN)


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name != "saturate"])
def test_severity_grows_the_distance(name: str) -> None:
    scene = _scene()
    distances = [_distance(scene, apply_shift(scene, f"{name}:{severity}", 0)) for severity in SEVERITIES]
    assert distances[0] > 0
    assert distances == sorted(set(distances))


def test_saturation_falls_for_two_severities_and_rises_for_three() -> None:
    scene = _scene()

    def saturation(images: Images) -> float:
        brightest = images.pixels.max(axis=-1).astype(float)
        return float(np.mean((brightest - images.pixels.min(axis=-1)) / np.maximum(brightest, 1)))

    levels = [saturation(apply_shift(scene, f"saturate:{severity}", 0)) for severity in SEVERITIES]
    assert levels[1] < levels[0] < saturation(scene) < levels[2] < levels[3] < levels[4]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_number_of_images_done_at_once_changes_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = apply_shift(_scene(), f"{name}:4", 3).pixels
    monkeypatch.setattr(corruptions, "_CHUNK_VALUES", 2 * 32 * 32 * 3)
    np.testing.assert_array_equal(apply_shift(_scene(), f"{name}:4", 3).pixels, whole)


# What each does


def _centred(images: Images, value: int) -> NDArray[np.float64]:
    # Results are cut, not rounded, so they lie half a grey level low on average.
    return images.pixels[0] + 0.5 - value


@pytest.mark.parametrize(
    ("shift", "value", "deviation"),
    [
        ("gaussian_noise:1", 128, 255 * 0.04),
        ("gaussian_noise:5", 128, 255 * 0.10),
        ("speckle_noise:3", 100, 100 * 0.12),
        ("shot_noise:5", 128, 255 * np.sqrt(128 / 255 / 50)),
        ("shot_noise:1", 128, 255 * np.sqrt(128 / 255 / 500)),
    ],
)
def test_noise_has_its_deviation_and_no_bias(shift: str, value: int, deviation: float) -> None:
    errors = _centred(apply_shift(_flat(value, value, value, side=256), shift, 0), value)
    # 196,608 draws: the mean is within five of its own standard errors, the deviation within 2 %.
    assert abs(errors.mean()) < 5 * deviation / np.sqrt(errors.size) + 0.05
    assert errors.std() == pytest.approx(deviation, rel=0.02)


def test_impulses_are_black_and_white_alike_and_in_single_channels() -> None:
    noisy = apply_shift(_flat(90, 90, 90, side=256), "impulse_noise:5", 0).pixels
    black, white = float((noisy == 0).mean()), float((noisy == 255).mean())
    assert black == pytest.approx(0.035, rel=0.05)
    assert white == pytest.approx(0.035, rel=0.05)
    assert float((noisy == 90).mean()) == pytest.approx(1 - black - white)
    assert ((noisy != 90).sum(axis=-1) == 1).any()


def test_blur_spreads_a_point_as_a_gaussian() -> None:
    point = np.zeros((1, 21, 21, 3), np.uint8)
    point[0, 10, 10] = 255
    blurred = apply_shift(Images(point, None, "point"), "gaussian_blur:5", 0).pixels[0, ..., 0].astype(float)
    weights = np.exp(-0.5 * (np.arange(21) - 10.0) ** 2)
    expected = 255 * np.outer(weights, weights) / weights.sum() ** 2
    np.testing.assert_allclose(blurred, expected, atol=1.0)


def test_blur_keeps_images_and_channels_apart() -> None:
    two = Images(np.concatenate([_flat(10, 120, 240).pixels, _flat(250, 5, 80).pixels]), None, "two")
    np.testing.assert_array_equal(apply_shift(two, "gaussian_blur:5", 0).pixels, two.pixels)


def test_contrast_draws_every_channel_to_its_own_mean() -> None:
    pixels = np.zeros((1, 2, 2, 3), np.uint8)
    pixels[0, ..., 0] = [[0, 200], [0, 200]]
    pixels[0, ..., 1] = 40
    low = apply_shift(Images(pixels, None, "x"), "contrast:2", 0).pixels[0]
    assert low[..., 0].tolist() == [[50, 150], [50, 150]]
    assert (low[..., 1] == 40).all()
    assert (low[..., 2] == 0).all()


_BRIGHTNESS = (0.05, 0.1, 0.15, 0.2, 0.3)
_SATURATE = ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2))


@settings(deadline=None)
@given(
    colour=st.tuples(*[st.integers(0, 255)] * 3),
    name=st.sampled_from(["brightness", "saturate"]),
    severity=st.sampled_from(SEVERITIES),
)
def test_brightness_and_saturation_are_those_of_hsv(
    colour: tuple[int, int, int], name: str, severity: int
) -> None:
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in colour))
    if name == "brightness":
        value = min(value + _BRIGHTNESS[severity - 1], 1.0)
    else:
        factor, addition = _SATURATE[severity - 1]
        saturation = min(saturation * factor + addition, 1.0)
    expected = [255 * channel for channel in colorsys.hsv_to_rgb(hue, saturation, value)]
    found = apply_shift(_flat(*colour, side=1), f"{name}:{severity}", 0).pixels[0, 0, 0]
    assert all(
        want - 1 - 1e-5 < got <= want + 1e-5 for got, want in zip(found.tolist(), expected, strict=True)
    )


def test_whole_values_are_not_cut_to_the_one_below() -> None:
    # In binary fractions 33 comes out as 32.99999999999999 here.
    pixels = np.zeros((1, 2, 2, 3), np.uint8)
    pixels[0, :, 1] = 44
    assert apply_shift(Images(pixels, None, "x"), "contrast:2", 0).pixels[0, 0, :, 0].tolist() == [11, 33]


def test_pixelation_makes_squares_of_one_colour() -> None:
    coarse = apply_shift(_scene(1), "pixelate:5", 0).pixels[0].reshape(-1, 3)
    # 32 * 0.65 = 20 columns and rows are left; scaled back up they repeat.
    assert 1 < len(np.unique(coarse, axis=0)) <= 20 * 20
    flat = _flat(12, 34, 56)
    np.testing.assert_array_equal(apply_shift(flat, "pixelate:5", 0).pixels, flat.pixels)


def test_jpeg_decodes_to_what_its_quality_gives() -> None:
    scene = _scene(1)
    file = io.BytesIO()
    Image.fromarray(scene.pixels[0]).save(file, "JPEG", quality=58)
    np.testing.assert_array_equal(apply_shift(scene, "jpeg:3", 0).pixels[0], np.asarray(Image.open(file)))
