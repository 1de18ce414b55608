"""Samples as few bytes as they can be without losing a bit.

A clock counts whole nanoseconds, so a sample is a whole number of them divided by the runs inside one sample. Kept
as distances to the smallest, byte planes apart and deflated, a sample takes between one and three bytes instead
of eight. Float32 would be no smaller and would lose nanoseconds from 17 ms on. What is no such number (another
clock, a made-up value) is kept as float64. Which of the two it is stands in the first byte.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_TICKS, _FLOATS = 1, 2
# Kind, bytes of one distance, the smallest number of nanoseconds.
_HEAD = struct.Struct("<BBq")
_WIDTHS = (1, 2, 4, 8)
_TICK_S = 1e-9
# Up to here every whole number is a float64 of its own.
_MOST_TICKS = 2**53


def encode(samples_s: Sequence[float], inner: int) -> bytes:
    """Packs samples.

    Args:
        samples_s: seconds, in the order taken, at least one.
        inner: runs inside one sample, at least 1.

    Returns:
        Bytes from which `decode` makes exactly these numbers again.
    """
    samples = np.asarray(samples_s, dtype=np.float64)
    ticks = _as_ticks(samples, inner)
    if ticks is None:
        return bytes([_FLOATS]) + _deflate(samples.astype("<f8"))
    least = int(ticks.min())
    distances = (ticks - least).astype(np.uint64)
    most = int(distances.max())
    width = next(width for width in _WIDTHS if most < 1 << (8 * width))
    return _HEAD.pack(_TICKS, width, least) + _deflate(distances.astype(f"<u{width}"))


def decode(data: bytes, inner: int) -> tuple[float, ...]:
    """Unpacks what `encode` packed with the same ``inner``.

    Raises:
        ValueError: the bytes are not such.
    """
    if data[:1] == bytes([_FLOATS]):
        samples = _inflate(data[1:], "<f8", 8)
    elif data[:1] == bytes([_TICKS]) and len(data) > _HEAD.size:
        _, width, least = _HEAD.unpack_from(data)
        if width not in _WIDTHS:
            raise ValueError(f"samples with distances of {width} bytes")
        ticks = _inflate(data[_HEAD.size :], f"<u{width}", width).astype(np.int64) + least
        samples = ticks.astype(np.float64) * _TICK_S / inner
    else:
        raise ValueError("samples in no known form")
    if not np.isfinite(samples).all():
        raise ValueError("a sample is no finite number")
    return tuple(samples.tolist())


def _as_ticks(samples: NDArray[np.float64], inner: int) -> NDArray[np.int64] | None:
    """Whole nanoseconds over all inner runs, or None where the samples are not made of such."""
    with np.errstate(over="ignore"):  # far beyond any clock, and seen in the next line
        scaled = samples * (inner / _TICK_S)
    if not (np.abs(scaled) < _MOST_TICKS).all():
        return None
    ticks = np.rint(scaled).astype(np.int64)
    # The very operations of the clock, so that equality means equality.
    return ticks if np.array_equal(ticks.astype(np.float64) * _TICK_S / inner, samples) else None


def _deflate(values: NDArray[np.generic]) -> bytes:
    planes = values.view(np.uint8).reshape(values.size, -1).T
    return zlib.compress(np.ascontiguousarray(planes).tobytes(), 6)


def _inflate(data: bytes, dtype: str, width: int) -> NDArray[np.float64]:
    try:
        planes = np.frombuffer(zlib.decompress(data), dtype=np.uint8)
    except zlib.error as error:
        raise ValueError(f"samples that cannot be unpacked: {error}") from error
    if planes.size % width:
        raise ValueError("samples that were cut off")
    values: NDArray[np.float64] = np.ascontiguousarray(planes.reshape(width, -1).T).view(dtype).ravel()
    return values
