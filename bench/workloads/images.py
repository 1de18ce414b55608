"""Images to calibrate and to judge on: from a folder, a file, or the digits that scikit-learn carries."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.workloads.image_files import Loaded, check_memory, fit, read_cifar10, read_folder, read_npz
from latency_tables.errors import UserError, unknown


@dataclass(frozen=True, slots=True)
class Images:
    """Images of one size, with their classes where these are known.

    Attributes:
        pixels: uint8 array of shape (N, H, W, 3), RGB, 0..255.
        labels: int64 array of shape (N,), classes from 0; None where the images have none.
        source: where they come from, in words fit for a report.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    source: str

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that stand for pixels and labels."""
        found = hashlib.sha256(repr(self.pixels.shape).encode())
        for array in (self.pixels, self.labels):
            found.update(b"none" if array is None else np.ascontiguousarray(array).data)
        return found.hexdigest()[:16]

    def take(self, indices: NDArray[np.integer]) -> Images:
        """Picks images.

        Args:
            indices: integer array of shape (M,), positions in 0..N-1, in the order wanted.

        Returns:
            Copies of the M images.
        """
        labels = None if self.labels is None else self.labels[indices]
        return Images(self.pixels[indices], labels, self.source)

    def first(self, count: int) -> Images:
        """The first images, as views: a large set is not copied.

        Args:
            count: how many; all where there are fewer.
        """
        labels = None if self.labels is None else self.labels[:count]
        return Images(self.pixels[:count], labels, self.source)


def load_images(spec: str, *, size: tuple[int, int], training: bool = False) -> Images:
    """Loads images.

    Images of another size are scaled (bilinear) until they just cover ``size``, and cropped at the centre. The
    memory needed is N * H * W * 3 bytes.

    Args:
        spec: one of

            - ``digits``: scikit-learn's 1797 handwritten digits, 8x8, values stretched to 0..255;
            - ``folder:PATH``: a folder of JPEG, PNG, BMP or WebP files, or of one folder of them for each class
              (class numbers in the order of the sorted folder names);
            - ``npz:PATH``: a NumPy file with ``images`` uint8 (N, H, W, 3) and, if known, ``labels`` (N,);
            - ``cifar10:PATH``: CIFAR-10's binary version: one of its files, or its folder for the test images.
        size: (height, width) in pixels, each 1 or more.
        training: whether the training images are meant, where a source has both kinds (``cifar10:FOLDER``).

    Returns:
        The images, at least one.

    Raises:
        UserError: the source is not known, missing, empty, damaged or of another kind, any image in it is
            unreadable, or the images would not fit into memory.
    """
    scheme, colon, place = spec.partition(":")
    if spec == "digits":
        return Images(*_digits(size), spec)
    cifar10 = functools.partial(read_cifar10, training=training)
    readers: dict[str, Callable[[Path, tuple[int, int]], Loaded]] = {
        "cifar10": cifar10,
        "folder": read_folder,
        "npz": read_npz,
    }
    if scheme not in readers:
        raise unknown("image source", spec, ("digits", *(f"{known}:PATH" for known in readers)))
    if not colon or not place:
        raise UserError(f"the image source {scheme} needs a place: {scheme}:PATH; received {spec!r}.")
    return Images(*readers[scheme](Path(place).expanduser(), size), spec)


def require_apart(training: Images, judging: Images) -> None:
    """Makes sure that no image is trained on that judges.

    Args:
        training: images to train on.
        judging: images to judge on, of the same size, not shifted.

    Raises:
        UserError: some are in both.
    """
    seen = {pixels.tobytes() for pixels in judging.pixels}
    common = sum(pixels.tobytes() in seen for pixels in training.pixels)
    if common:
        raise UserError(
            f"{common} of {len(training)} images to train on ({training.source}) are among those to judge on "
            f"({judging.source}); name others, or let --train say a number: so many of the images are then trained "
            "on and do not judge."
        )


def split(images: Images, seen: int, seed: int) -> tuple[Images, Images]:
    """Splits images into a part to calibrate or train on and a part to report on.

    The two have no image in common, and both are in random order. A smaller first part with the same seed is the
    beginning of a larger one.

    Args:
        images: all images.
        seen: images of the first part, 1 or more.
        seed: of the random order, 0 or more.

    Returns:
        The images that may be seen and the rest, at least one.

    Raises:
        UserError: there are too few images for both parts, or ``seen`` is below 1.
    """
    require_enough(images, seen)
    order = np.random.default_rng(seed).permutation(len(images))
    return images.take(order[:seen]), images.take(order[seen:])


def require_enough(images: Images, seen: int) -> None:
    """Makes sure that so many images leave others to report on.

    Args:
        images: all images.
        seen: how many are calibrated or trained on.

    Raises:
        UserError: there are too few images for both parts, or ``seen`` is below 1.
    """
    if seen < 1:
        raise UserError(f"at least 1 image is needed for calibration; received {seen}.")
    if len(images) <= seen:
        raise UserError(
            f"{seen} images to calibrate or train on and at least 1 more to report on need {seen + 1} images, "
            f"but {images.source} has {len(images)}. Use fewer of them (--calibration, --train) or more images."
        )


def _digits(size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    grey = np.rint(values.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    check_memory(len(grey), size, "digits")
    pixels = np.stack([fit(Image.fromarray(digit), size) for digit in grey])
    return pixels, labels.astype(np.int64)
