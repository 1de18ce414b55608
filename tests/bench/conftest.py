"""What holds for all tests of the bench."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_rests() -> Iterator[None]:
    """On a restless machine real timings would rest for seconds each; no test is about how good they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.profiler._rest", lambda _seconds: None)
        yield
