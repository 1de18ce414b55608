"""Readers of image files: each takes a path and a size, and gives pixels (N, H, W, 3) and labels."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image

from latency_tables.errors import UserError

Loaded = tuple[NDArray[np.uint8], NDArray[np.int64] | None]

_ENDINGS = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})
_NAMED = 5  # bad files listed in a message before the rest is only counted
_CIFAR_SIDE = 32
_CIFAR_RECORD = 1 + 3 * _CIFAR_SIDE**2  # a label byte, then the red, green and blue planes


def fit(image: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scales an image until it just covers a size (bilinear) and crops it at the centre.

    Args:
        image: any mode with 8 bits a channel or fewer.
        size: (height, width) in pixels.

    Returns:
        uint8 array of shape (height, width, 3), RGB.

    Raises:
        ValueError: the image has more than 8 bits a channel, for which Pillow has no faithful conversion.
    """
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"more than 8 bits a channel (mode {image.mode})")
    image = image.convert("RGB")
    height, width = size
    if (image.height, image.width) != size:
        scale = max(height / image.height, width / image.width)
        scaled = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
        image = image.resize(scaled, Image.Resampling.BILINEAR)
        left, top = (scaled[0] - width) // 2, (scaled[1] - height) // 2
        image = image.crop((left, top, left + width, top + height))
    return np.asarray(image)


def check_memory(count: int, size: tuple[int, int], source: str) -> None:
    """Refuses images that would not fit into the memory that is free now.

    Args:
        count: images.
        size: (height, width) in pixels.
        source: where they come from, for the message.

    Raises:
        UserError: they need more than is available.
    """
    needed = count * size[0] * size[1] * 3
    available = psutil.virtual_memory().available
    if needed > available:
        raise UserError(
            f"{source} has {count} images, which at {size[0]}x{size[1]} need {needed / 1e9:.1f} GB of "
            "memory; "
            f"{available / 1e9:.1f} GB are available. Use a smaller folder or file, or a smaller --input."
        )


def read_folder(path: Path, size: tuple[int, int]) -> Loaded:
    """Reads a folder of images, with a folder for each class or without classes.

    Hidden files and folders, and files of other kinds, are left out.

    Args:
        path: the folder. Class folders are numbered in the order of their sorted names, empty ones included.
        size: (height, width) in pixels.

    Returns:
        Pixels of shape (N, height, width, 3), and labels of shape (N,) or None without class folders.

    Raises:
        UserError: the folder is missing or has no images, images lie both beside and inside class folders, or
            any image is unreadable (the first few are named).
    """
    if not path.is_dir():
        raise UserError(f"no folder of images at {path}; check the path after 'folder:'.")
    classes = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    loose = _image_files(path.iterdir())
    sorted_in = [
        (file, index) for index, folder in enumerate(classes) for file in _image_files(folder.rglob("*"))
    ]
    if loose and sorted_in:
        raise UserError(
            f"{path} has {len(loose)} images beside its folders and {len(sorted_in)} inside them, so "
            "their classes "
            "are not clear. Keep either one folder for each class or images alone."
        )
    files = loose or [file for file, _ in sorted_in]
    if not files:
        raise UserError(f"no images in {path}; expected files ending in {', '.join(sorted(_ENDINGS))}.")
    check_memory(len(files), size, f"folder {path}")
    pixels = np.empty((len(files), *size, 3), np.uint8)
    bad: list[str] = []
    for row, file in zip(pixels, files, strict=True):
        try:
            with Image.open(file) as image:
                row[...] = fit(image, size)
        except Exception as error:  # noqa: BLE001 - decoders raise anything on damaged files; all are reported below
            bad.append(f"{file} ({error})")
    if bad:
        raise UserError(
            f"{len(bad)} of {len(files)} images in {path} cannot be read: {'; '.join(bad[:_NAMED])}"
            f"{'; ...' if len(bad) > _NAMED else ''}. Replace or remove them."
        )
    return pixels, None if loose else np.array([label for _, label in sorted_in], np.int64)


def read_npz(path: Path, size: tuple[int, int]) -> Loaded:
    """Reads a NumPy file.

    Args:
        path: an ``.npz`` file with ``images`` uint8 (N, H, W, 3) and optionally ``labels``, integers (N,) from 0.
        size: (height, width) in pixels.

    Returns:
        Pixels of shape (N, height, width, 3), and labels of shape (N,) or None.

    Raises:
        UserError: the file is missing or damaged, or an array is missing or has another type or shape.
    """
    images, labels = _load_arrays(path)
    if images.dtype != np.uint8:
        raise UserError(
            f"'images' in {path} is {images.dtype}{_nan_note(images)}, expected uint8 with values 0..255. "
            "Bring the values to 0..255 and convert them with .astype(numpy.uint8)."
        )
    if images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
        raise UserError(
            f"'images' in {path} has shape {images.shape}, expected (N, H, W, 3) with at least one image. "
            "Move the channels last with numpy.moveaxis, and repeat a grey channel three times."
        )
    if labels is not None and (
        labels.dtype.kind not in "iu" or labels.shape != (len(images),) or labels.min() < 0
    ):
        raise UserError(
            f"'labels' in {path} is {labels.dtype} of shape {labels.shape}, expected whole numbers from 0 "
            "of shape "
            f"({len(images)},), one for each image."
        )
    pixels = _fit_all(images, size, f"npz {path}")
    return pixels, None if labels is None else labels.astype(np.int64)


def read_cifar10(
    path: Path, size: tuple[int, int], *, training: bool = False
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Reads CIFAR-10's binary version (cifar-10-binary.tar.gz).

    Args:
        path: one ``.bin`` file, or the unpacked folder.
        size: (height, width) in pixels.
        training: whether a folder's five files of training images are read, or that of test images.

    Returns:
        Pixels of shape (N, height, width, 3) and labels of shape (N,), 0..9.

    Raises:
        UserError: a file is missing or is not of this format.
    """
    files = [path]
    if path.is_dir():
        names = [f"data_batch_{number}.bin" for number in range(1, 6)] if training else ["test_batch.bin"]
        inner = path / "cifar-10-batches-bin"
        home = path if (path / names[0]).is_file() or not (inner / names[0]).is_file() else inner
        files = [home / name for name in names]
    records = np.concatenate([_cifar_records(file) for file in files])
    planes = records[:, 1:].reshape(-1, 3, _CIFAR_SIDE, _CIFAR_SIDE)
    pixels = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    return _fit_all(pixels, size, f"cifar10 {path}"), records[:, 0].astype(np.int64)


def _cifar_records(file: Path) -> NDArray[np.uint8]:
    """A file's records, shape (N, bytes), the label first."""
    try:
        content = np.fromfile(file, np.uint8)
    except OSError as error:
        raise UserError(
            f"cannot read CIFAR-10 from {file}: {error.strerror or error}. Unpack cifar-10-binary.tar.gz "
            "(the binary version, not the Python one) and name its folder or one of its .bin files."
        ) from error
    if not content.size or content.size % _CIFAR_RECORD or content[::_CIFAR_RECORD].max() > 9:
        raise UserError(
            f"{file} ({content.size} bytes) is not a file of CIFAR-10's binary version: expected records of "
            f"{_CIFAR_RECORD} bytes that begin with a label 0..9. Unpack cifar-10-binary.tar.gz again."
        )
    return content.reshape(-1, _CIFAR_RECORD)


def _image_files(entries: Iterable[Path]) -> list[Path]:
    return sorted(
        entry
        for entry in entries
        if entry.suffix.lower() in _ENDINGS and not entry.name.startswith(".") and entry.is_file()
    )


def _fit_all(images: NDArray[np.uint8], size: tuple[int, int], source: str) -> NDArray[np.uint8]:
    if images.shape[1:3] == size:
        return images
    check_memory(len(images), size, source)
    fitted = np.empty((len(images), *size, 3), np.uint8)
    for row, image in zip(fitted, images, strict=True):
        row[...] = fit(Image.fromarray(image), size)
    return fitted


def _load_arrays(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise UserError(f"{path} holds a single array, expected an .npz file; write it with numpy.savez.")
        with loaded:
            if "images" not in loaded.files:
                raise UserError(
                    f"{path} has no array 'images'; it has {', '.join(map(repr, loaded.files)) or 'none'}. "
                    "Save it with numpy.savez(path, images=..., labels=...)."
                )
            return loaded["images"], loaded["labels"] if "labels" in loaded.files else None
    except FileNotFoundError as error:
        raise UserError(f"no file at {path}; check the path after 'npz:'.") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"cannot read {path}: {error}. Expected an .npz file of plain arrays, as numpy.savez writes it."
        ) from error


def _nan_note(images: NDArray[Any]) -> str:
    if images.dtype.kind != "f":
        return ""
    count = int(np.isnan(images).sum())
    return f" and has {count} NaN" if count else ""
