"""Real timings as of a machine on which nothing happens, for tests that are about something else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from bench import session
from bench.profiler import profile
from latency_tables.measurement import Measurement


@contextmanager
def calm() -> Iterator[None]:
    """What others do meanwhile spoils nothing, so that how much is timed, and timed again, is known beforehand.

    Tests run side by side and disturb each other, and their timings are coarse. Networks to fit on are timed in one
    pass, as more of them are for the sake of disturbances.
    """
    read = session.measurement_from_json

    def undisturbed(data: Mapping[str, Any]) -> Measurement:
        taken = read(data)
        kept = {name: told for name, told in taken.host.items() if name != "cores"}
        return replace(taken, host={**kept, "disturbance": None})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "measurement_from_json", undisturbed)
        patch.setitem(profile.__kwdefaults__, "passes", 1)
        patch.setattr("bench.anchor.MOVED_BY", math.inf)
        patch.setattr("latency_tables.slow_minutes.SLOW_BY", math.inf)
        yield
