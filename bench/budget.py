"""What is allowed, as people write it: a latency as a share of the unpruned one or as a time, or a sparsity."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from latency_tables.errors import UserError

_UNITS_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_FORM = re.compile(r"\s*([0-9]*\.?[0-9]+(?:e-?[0-9]+)?)\s*(x|s|ms|us)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Budget:
    """Latency allowed; exactly one of the two numbers is given.

    Attributes:
        text: as the user wrote it, without blanks.
        ratio: share of the unpruned network's latency, above 0 and below 1; or None.
        limit_s: a time, above 0; or None.
    """

    text: str
    ratio: float | None
    limit_s: float | None

    def seconds(self, unpruned_s: float) -> float:
        """The budget in seconds, given the unpruned network's latency."""
        if self.limit_s is not None:
            return self.limit_s
        assert self.ratio is not None  # noqa: S101  one of the two is always given
        return self.ratio * unpruned_s


def parse_budget(text: str) -> Budget:
    """Reads "0.7x", "8ms", "850us" or "0.01s".

    Raises:
        UserError: another form, a share that is not between 0 and 1, or a time that is not above 0.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise UserError(
            f"the budget {text!r} is not understood; write a share of the unpruned latency, as in 0.7x, or a "
            "time, as in 8ms, 850us or 0.01s"
        )
    number, unit = float(match[1]), match[2].lower()
    plain = f"{match[1]}{unit}"
    if unit == "x":
        if not 0.0 < number < 1.0:
            raise UserError(f"a budget as a share must lie between 0 and 1, both excluded; got {text!r}")
        return Budget(plain, number, None)
    if not 0.0 < number < math.inf:
        raise UserError(f"a budget must be a finite time above 0; got {text!r}")
    return Budget(plain, None, number * _UNITS_S[unit])


@dataclass(frozen=True, slots=True)
class Sparsity:
    """How many single weights go: a budget for methods that take out weights one by one.

    Attributes:
        text: as the user wrote it, without blanks.
        share: of the weights that goes, above 0 and below 1.
    """

    text: str
    share: float


def parse_sparsity(text: str) -> Sparsity | None:
    """Reads "90%"; None for anything that is not written with a percent sign.

    Raises:
        UserError: a percentage that is not between 0 and 100.
    """
    number, sign, rest = text.replace(" ", "").partition("%")
    if not sign:
        return None
    try:
        share = float(number) / 100.0
    except ValueError:
        share = math.nan
    if rest or not 0.0 < share < 1.0:
        raise UserError(
            f"a sparsity is the share of the weights that goes, above 0% and below 100%, as in 90%; got {text!r}"
        )
    return Sparsity(f"{number}%", share)
