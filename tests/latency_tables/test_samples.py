from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.samples import decode, encode

POSITIVE = st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False)


@given(st.lists(POSITIVE, min_size=1, max_size=40), st.integers(1, 10_000))
def test_any_samples_come_back_to_the_bit(samples: list[float], inner: int) -> None:
    assert decode(encode(samples, inner), inner) == tuple(samples)


@given(st.lists(st.integers(1, 2**52), min_size=1, max_size=40), st.integers(1, 10_000))
def test_a_clock_s_samples_come_back_to_the_bit(ticks: list[int], inner: int) -> None:
    samples = [tick * 1e-9 / inner for tick in ticks]
    assert decode(encode(samples, inner), inner) == tuple(samples)


def test_a_clock_s_samples_are_small() -> None:
    rng = np.random.default_rng(0)
    ticks = np.rint(1e6 * (1 + 0.02 * rng.standard_exponential(200)))
    samples = [float(tick) * 1e-9 / 3 for tick in ticks]
    assert len(encode(samples, 3)) < 3 * len(samples)


@pytest.mark.parametrize(
    "data", [b"", b"\x07abc", b"\x01", b"\x01\x03" + bytes(20), b"\x02abc", encode([1.0, 2.0], 1)[:-1]]
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"sample|distances"):
        decode(data, 1)
