"""Sources of images, good and bad, and splitting them."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.workloads.images import Images, load_images, require_apart, split
from latency_tables.errors import UserError

_RED, _GREEN, _BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def _save(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size[1], size[0]), colour).save(path)


def _made_up(count: int) -> Images:
    pixels = np.zeros((count, 2, 2, 3), np.uint8) + np.arange(count, dtype=np.uint8)[:, None, None, None]
    return Images(pixels, np.arange(count), "made up")


# Specs


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("digit", "unknown image source 'digit'. Did you mean 'digits'"),
        ("tar:/x", "unknown image source 'tar:/x'.*Known: cifar10:PATH, digits, folder:PATH, npz:PATH"),
        ("", "unknown image source ''"),
        ("digits:/x", "unknown image source 'digits:/x'"),
        ("folder", "needs a place: folder:PATH; received 'folder'"),
        ("npz:", "needs a place: npz:PATH"),
    ],
)
def test_unknown_sources(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_images(spec, size=(8, 8))


def test_digits_are_stretched_to_the_whole_range() -> None:
    images = load_images("digits", size=(8, 8))
    assert images.pixels.shape == (1797, 8, 8, 3)
    assert images.pixels.dtype == np.uint8
    assert (images.pixels.min(), images.pixels.max()) == (0, 255)
    assert (images.pixels[..., 0] == images.pixels[..., 2]).all()
    # The first digit of the set is a zero: dark in the middle, bright to the left of it.
    assert images.labels is not None
    assert images.labels[:4].tolist() == [0, 1, 2, 3]
    assert images.pixels[0, 4, 4, 0] == 0
    assert images.pixels[0, 4, 2, 0] > 100
    assert len(load_images("digits", size=(32, 32)).pixels[0]) == 32


# Folders


def test_class_folders_are_numbered_by_sorted_name_even_when_empty(tmp_path: Path) -> None:
    _save(tmp_path / "b" / "deep" / "2.png", _BLUE)
    _save(tmp_path / "b" / "1.PNG", _GREEN)
    _save(tmp_path / "c" / "3.jpg", _RED)
    (tmp_path / "a").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("no image")
    _save(tmp_path / ".cache" / "0.png", _RED)
    _save(tmp_path / "c" / "._3.jpg", _RED)
    images = load_images(f"folder:{tmp_path}", size=(8, 8))
    assert images.labels is not None
    assert images.labels.tolist() == [1, 1, 2]
    assert images.labels.dtype == np.int64
    np.testing.assert_array_equal(images.pixels[0, 0, 0], _GREEN)
    np.testing.assert_array_equal(images.pixels[1, 0, 0], _BLUE)


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "png", "bmp", "webp"])
def test_images_without_classes_have_no_labels(tmp_path: Path, ending: str) -> None:
    _save(tmp_path / f"x.{ending}", _GREEN)
    images = load_images(f"folder:{tmp_path}", size=(8, 8))
    assert images.labels is None
    np.testing.assert_allclose(images.pixels[0, 4, 4], _GREEN, atol=3)


def test_images_are_scaled_to_cover_and_cropped_at_the_centre(tmp_path: Path) -> None:
    # 20 high, 60 wide: red, green and blue thirds. Scaled to 10 high, the middle 10 columns are the green third.
    thirds = np.zeros((20, 60, 3), np.uint8)
    for index in range(3):
        thirds[:, 20 * index : 20 * (index + 1), index] = 255
    Image.fromarray(thirds).save(tmp_path / "wide.png")
    Image.fromarray(thirds.transpose(1, 0, 2)).save(tmp_path / "x_tall.png")
    wide, tall = load_images(f"folder:{tmp_path}", size=(10, 10)).pixels
    for image in (wide, tall):
        np.testing.assert_array_equal(image[1:-1, 1:-1], np.broadcast_to(np.array(_GREEN), (8, 8, 3)))
    # Not square: 5 high and 15 wide fits without a crop.
    whole, _ = load_images(f"folder:{tmp_path}", size=(5, 15)).pixels
    assert whole[2, [1, 7, 13]].tolist() == [list(_RED), list(_GREEN), list(_BLUE)]


def test_images_of_the_right_size_are_not_touched(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    np.testing.assert_array_equal(load_images(f"folder:{tmp_path}", size=(7, 9)).pixels[0], pixels)


def test_grey_and_transparent_images_become_colour(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 77).save(tmp_path / "grey.png")
    Image.new("RGBA", (8, 8), (1, 2, 3, 9)).save(tmp_path / "half.png")
    pixels = load_images(f"folder:{tmp_path}", size=(8, 8)).pixels
    assert pixels[:, 0, 0].tolist() == [[77, 77, 77], [1, 2, 3]]


def test_every_bad_image_is_counted_and_the_first_few_named(tmp_path: Path) -> None:
    _save(tmp_path / "good.png", _RED)
    for index in range(7):
        (tmp_path / f"bad{index}.jpg").write_bytes(b"" if index % 2 else b"\xff\xd8\xff\xe0 cut")
    with pytest.raises(UserError) as caught:
        load_images(f"folder:{tmp_path}", size=(8, 8))
    text = str(caught.value)
    assert text.startswith(f"7 of 8 images in {tmp_path} cannot be read")
    assert all(f"bad{index}.jpg" in text for index in range(5))
    assert "bad5.jpg" not in text
    assert "good.png" not in text


def test_a_cut_image_is_bad_though_its_head_is_fine(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for name in ("x.png", "y.jpg"):
        Image.fromarray(noise).save(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="2 of 2 images"):
        load_images(f"folder:{tmp_path}", size=(8, 8))


def test_sixteen_bits_a_channel_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "x.png")
    with pytest.raises(UserError, match="more than 8 bits a channel"):
        load_images(f"folder:{tmp_path}", size=(8, 8))


def test_missing_empty_and_unclear_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no folder of images at .*gone"):
        load_images(f"folder:{tmp_path / 'gone'}", size=(8, 8))
    (tmp_path / "a").mkdir()
    (tmp_path / "readme.txt").touch()
    with pytest.raises(UserError, match=r"no images in .*\.bmp, \.jpeg"):
        load_images(f"folder:{tmp_path}", size=(8, 8))
    _save(tmp_path / "a" / "1.png", _RED)
    _save(tmp_path / "2.png", _RED)
    with pytest.raises(UserError, match="1 images beside its folders and 1 inside"):
        load_images(f"folder:{tmp_path}", size=(8, 8))


def test_more_images_than_memory_are_refused_before_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(tmp_path / "1.png", _RED)
    memory = namedtuple("memory", "available")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory(3 * 100 * 100 - 1))
    with pytest.raises(UserError, match=r"1 images, which at 100x100 need 0\.0 GB"):
        load_images(f"folder:{tmp_path}", size=(100, 100))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory(3 * 100 * 100))
    assert len(load_images(f"folder:{tmp_path}", size=(100, 100))) == 1


# NumPy files


def _npz(path: Path, **arrays: Any) -> str:
    np.savez(path / "x.npz", **arrays)
    return f"npz:{path / 'x.npz'}"


def test_numpy_files(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 6, 5, 3), np.uint8)
    spec = _npz(tmp_path, images=pixels, labels=np.array([2, 0, 1], np.uint8))
    images = load_images(spec, size=(6, 5))
    np.testing.assert_array_equal(images.pixels, pixels)
    assert images.labels is not None
    assert images.labels.dtype == np.int64
    assert images.labels.tolist() == [2, 0, 1]
    assert images.source == spec
    assert load_images(spec, size=(12, 12)).pixels.shape == (3, 12, 12, 3)
    assert load_images(_npz(tmp_path, images=pixels), size=(6, 5)).labels is None


_GOOD = np.zeros((2, 4, 4, 3), np.uint8)
_WITH_NAN = np.array([np.nan, 0.5, np.nan] * 16, np.float32).reshape(1, 4, 4, 3)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pixels": _GOOD}, "no array 'images'; it has 'pixels'"),
        ({"images": _GOOD.astype(np.float32)}, r"'images' in .* is float32, expected uint8 .*astype"),
        ({"images": _WITH_NAN}, "is float32 and has 32 NaN, expected uint8"),
        ({"images": _GOOD.astype(np.int64)}, "is int64, expected uint8"),
        ({"images": _GOOD[0]}, r"has shape \(4, 4, 3\), expected \(N, H, W, 3\)"),
        ({"images": _GOOD.transpose(0, 3, 1, 2)}, r"has shape \(2, 3, 4, 4\), expected \(N, H, W, 3\)"),
        ({"images": _GOOD[:0]}, r"has shape \(0, 4, 4, 3\).*at least one image"),
        ({"images": _GOOD, "labels": np.array([0.0, 1.0])}, "'labels' in .* is float64 of shape"),
        ({"images": _GOOD, "labels": np.array([0, 1, 2])}, r"of shape \(3,\), expected .*\(2,\)"),
        ({"images": _GOOD, "labels": np.array([0, -1])}, "whole numbers from 0"),
        ({"images": np.array([{}, {}], object)}, "cannot read .*plain arrays"),
    ],
)
def test_numpy_files_of_another_kind(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_images(_npz(tmp_path, **arrays), size=(4, 4))


def test_files_that_are_no_numpy_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file at .*gone\.npz"):
        load_images(f"npz:{tmp_path}/gone.npz", size=(4, 4))
    for content in (b"", b"text", b"PK\x03\x04 cut"):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(UserError, match="cannot read"):
            load_images(f"npz:{tmp_path}/x.npz", size=(4, 4))
    with pytest.raises(UserError, match="cannot read"):
        load_images(f"npz:{tmp_path}", size=(4, 4))
    np.save(tmp_path / "x.npy", _GOOD)
    with pytest.raises(UserError, match="holds a single array"):
        load_images(f"npz:{tmp_path}/x.npy", size=(4, 4))


@pytest.mark.parametrize("place", ["first byte", "middle"])
def test_a_numpy_file_with_damage_inside(tmp_path: Path, place: str) -> None:
    np.savez_compressed(
        tmp_path / "x.npz", images=np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    )
    content = bytearray((tmp_path / "x.npz").read_bytes())
    # Where zip's local header of 30 bytes, the name and the extra field end, compressed data begins.
    data = 30 + int.from_bytes(content[26:28], "little") + int.from_bytes(content[28:30], "little")
    start = data if place == "first byte" else len(content) // 2
    content[start : start + 50] = b"\xff" * 50
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(UserError, match="cannot read"):
        load_images(f"npz:{tmp_path}/x.npz", size=(8, 8))


# CIFAR-10's binary version


def _cifar_file(path: Path, pixels: np.ndarray, labels: list[int]) -> None:
    rows = [
        bytes([label]) + image.transpose(2, 0, 1).tobytes()
        for image, label in zip(pixels, labels, strict=True)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(rows))


@pytest.mark.parametrize("place", ["file", "folder", "archive"])
def test_cifar10_files_and_folders(tmp_path: Path, place: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    folder = tmp_path / "cifar-10-batches-bin" if place == "archive" else tmp_path
    _cifar_file(folder / "test_batch.bin", pixels, [9, 0, 4])
    _cifar_file(folder / "data_batch_1.bin", pixels[:1], [1])
    spec = f"cifar10:{tmp_path / 'test_batch.bin' if place == 'file' else tmp_path}"
    images = load_images(spec, size=(32, 32))
    np.testing.assert_array_equal(images.pixels, pixels)
    assert images.labels is not None
    assert images.labels.tolist() == [9, 0, 4]
    assert load_images(spec, size=(48, 48)).pixels.shape == (3, 48, 48, 3)


def test_a_cifar10_folder_gives_its_training_images_where_these_are_meant(tmp_path: Path) -> None:
    for number in range(1, 6):
        records = np.full((2, 3073), 10 * number, np.uint8)
        records[:, 0] = number
        records.tofile(tmp_path / f"data_batch_{number}.bin")
    images = load_images(f"cifar10:{tmp_path}", size=(32, 32), training=True)
    assert images.labels is not None
    assert images.labels.tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert images.pixels[::2, 0, 0, 0].tolist() == [10, 20, 30, 40, 50]
    with pytest.raises(UserError, match="test_batch"):
        load_images(f"cifar10:{tmp_path}", size=(32, 32))
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(UserError, match="data_batch_3"):
        load_images(f"cifar10:{tmp_path}", size=(32, 32), training=True)


def test_images_that_judge_are_not_trained_on_under_whatever_name() -> None:
    pixels = np.arange(6 * 4 * 4 * 3, dtype=np.uint8).reshape(6, 4, 4, 3)
    judging, apart = Images(pixels[:3], None, "npz:a"), Images(pixels[3:], None, "npz:b")
    require_apart(apart, judging)
    with pytest.raises(UserError, match=r"2 of 4 images to train on \(npz:b\) are among those to judge on"):
        require_apart(Images(pixels[[1, 4, 2, 5]], None, "npz:b"), judging)


@pytest.mark.parametrize("content", [b"", bytes(3072), bytes([10]) + bytes(3072), b"\x80\x02}q\x00" * 100])
def test_files_that_are_not_cifar10(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "test_batch.bin").write_bytes(content)
    with pytest.raises(UserError, match=r"is not a file of CIFAR-10's binary version: .*3073 bytes"):
        load_images(f"cifar10:{tmp_path}", size=(32, 32))


def test_a_missing_cifar10_folder_says_which_version_to_get(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"test_batch\.bin.*No such file.*not the Python one"):
        load_images(f"cifar10:{tmp_path}", size=(32, 32))


# Taking and splitting


def test_taking_keeps_order_and_labels() -> None:
    taken = _made_up(10).take(np.array([7, 2]))
    assert taken.labels is not None
    assert taken.labels.tolist() == [7, 2]
    assert taken.pixels[:, 0, 0, 0].tolist() == [7, 2]
    unlabelled = Images(taken.pixels, None, "x").take(np.array([1]))
    assert unlabelled.labels is None
    assert len(unlabelled) == 1


@given(count=st.integers(2, 60), data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_a_split_shares_no_image_and_loses_none(count: int, data: st.DataObject, seed: int) -> None:
    calibration = data.draw(st.integers(1, count - 1))
    first, rest = split(_made_up(count), calibration, seed)
    assert len(first) == calibration
    assert first.labels is not None
    assert rest.labels is not None
    assert sorted([*first.labels, *rest.labels]) == list(range(count))
    assert (first.pixels[:, 0, 0, 0] == first.labels).all()
    assert (rest.pixels[:, 0, 0, 0] == rest.labels).all()
    again, _ = split(_made_up(count), calibration, seed)
    assert (again.labels == first.labels).all()
    longer, _ = split(_made_up(count), count - 1, seed)
    assert longer.labels is not None
    assert (longer.labels[:calibration] == first.labels).all()


def test_seeds_split_differently() -> None:
    first, other = (split(_made_up(50), 25, seed)[0].labels for seed in (0, 1))
    assert first is not None
    assert other is not None
    assert set(first) != set(other)


@pytest.mark.parametrize("count", [1, 5])
def test_too_few_images_to_split(count: int) -> None:
    with pytest.raises(UserError, match=rf"need 6 images, but made up has {count}\."):
        split(_made_up(count), 5, 0)


@pytest.mark.parametrize("calibration", [0, -3])
def test_a_split_needs_calibration_images(calibration: int) -> None:
    with pytest.raises(UserError, match=f"at least 1 image .* received {calibration}"):
        split(_made_up(5), calibration, 0)
