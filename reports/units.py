"""Numbers as people read them; the only place that knows milliseconds and per cent."""

from __future__ import annotations

import math
from collections.abc import Callable

from latency_tables.estimate import Estimate


def scale(seconds: float) -> tuple[float, str]:
    """The unit to show a latency of this size in.

    Args:
        seconds: the largest latency that shall be shown, above 0.

    Returns:
        What to multiply seconds with, and the unit's name.
    """
    if seconds >= 1:
        return 1.0, "s"
    return (1e3, "ms") if seconds >= 1e-3 else (1e6, "µs")


def latency(estimate: Estimate | None) -> str:
    """A latency with its interval, to three digits, as in "5.62 ms (5.58–5.66)"; "–" where unknown."""
    if estimate is None:
        return "–"
    factor, unit = scale(abs(estimate.value) or 1)
    return _with_interval(estimate, lambda number: digits(number * factor), f" {unit}")


def plain_latency(seconds: float) -> str:
    """A latency without an interval, to three digits, as in "5.62 ms"."""
    factor, unit = scale(abs(seconds) or 1)
    return f"{digits(seconds * factor)} {unit}"


def percent(estimate: Estimate | None) -> str:
    """A fraction with its interval in per cent, as in "81.2 % (80.3–82.0)"; "–" where unknown."""
    if estimate is None:
        return "–"
    return _with_interval(estimate, lambda number: f"{100 * number:.1f}", " %")


def number(estimate: Estimate | None) -> str:
    """A number without a unit, to three digits, as in "0.691 (0.687–0.695)"; "–" where unknown."""
    return "–" if estimate is None else _with_interval(estimate, digits, "")


def duration(seconds: float) -> str:
    """A time that people wait, as in "0.42 s", "37 s", "3 min 20 s" or "2 h 05 min"."""
    if seconds < 59.5:
        return f"{digits(seconds) if seconds < 10 else round(seconds)} s"
    if round(seconds) < 3600:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest:02d} s"
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours} h {rest:02d} min"


def digits(value: float) -> str:
    """Three significant digits without an exponent, as in "0.00123", "5.62" or "1234"."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    # The exponent after rounding, since 99.95 becomes 100.
    exponent = int(f"{value:.2e}".split("e")[1])
    places = max(0, 2 - exponent)
    return f"{value:.{places}f}"


def _with_interval(estimate: Estimate, text: Callable[[float], str], unit: str) -> str:
    low, high = math.isfinite(estimate.low), math.isfinite(estimate.high)
    value = text(estimate.value) + unit
    if low and high:
        return (
            value
            if estimate.low == estimate.high
            else f"{value} ({text(estimate.low)}–{text(estimate.high)})"
        )
    if low or high:
        return f"{value} ({'from ' + text(estimate.low) if low else 'up to ' + text(estimate.high)})"
    return f"{value} (no interval)"
