"""What was seen when something was timed: every sample, and what is needed to doubt it."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from latency_tables.diagnosis import Finding, diagnose
from latency_tables.estimate import Estimate

#: The confidence of the order statistics behind an interval that is stated at 95 %, where the samples were looked
#: at again and again until it was narrow enough: to stop while it is narrow by luck costs coverage, which this pays
#: for. By simulation 95.0 % of such intervals or more then hold the median (independent samples of four shapes,
#: looks at every fifth sample from ten to five thousand, or at every round of a comparison), against 92.4 % at a
#: confidence of 95 %. It takes up to a third more samples. Six are the fewest that bound a median so surely.
SEQUENTIAL_CONFIDENCE = 1 - 2 / 2**6

#: Under this name in `Measurement.host`: what a runtime told when it made ready what was timed, as how long it
#: compiled.
FACTS = "made_ready"
#: Under this name in those facts, of a part alone: the share of its time, 0 to 1, in which tensors are only laid
#: out anew, as its first and last operators need it alone and hardly ever inside of a network.
REORDERING = "reordering"
#: Under this name in `Measurement.host`, and in the facts of a whole network: what a GPU did meanwhile, its clocks,
#: heat and power, or why nobody could look.
GPU = "gpu"
#: Under this name there: what a reader should know of it, a list of words; nothing was spoiled by it.
REMARKS = "remarks"
#: How it begins where words tell that a GPU was slower than asked for, and why.
THROTTLED = "throttled: "
#: The disturbance of a measurement on a core that was slowed from outside so often that slowed samples count.
SLOWED_CORE = "slowed core"
#: From here on a network is said to cost its launches: its time as issued over that of the work alone.
LAUNCH_BOUND = 1.25


class Stop(enum.Enum):
    """Why sampling stopped."""

    PRECISION = "precision"  #: the interval of the median became as narrow as asked
    STALLED = "stalled"  #: more samples no longer narrowed the interval
    TIME = "time"  #: the time, or the number of samples, allowed was used up


@lru_cache(maxsize=4096)
def _edge_rank(n: int, confidence: float) -> int:
    """How many samples lie below the interval's lower end, or -1 where n samples cannot cover enough.

    The sign test turned round: k is the largest with 2 P(X <= k) <= 1 - confidence, X binomial(n, 1/2).
    Integers keep it exact and spare the measuring worker an import of SciPy.
    """
    limit = (int((1.0 - confidence) * 2**53) << n) >> 53
    term, below, k = 1, 1, 0  # binomial coefficient, its running sum, and the rank
    while 2 * below <= limit:
        term = term * (n - k) // (k + 1)
        below += term
        k += 1
    return k - 1


def median_interval(samples: Sequence[float] | np.ndarray, confidence: float = 0.95) -> Estimate:
    """The median and its distribution-free interval from order statistics.

    The interval runs from the (k+1)-th smallest to the (k+1)-th largest sample, k as large as the coverage
    allows. It assumes independent samples of one distribution and nothing else about them.

    Args:
        samples: shape (n,), at least one, all finite.
        confidence: coverage wanted, between 0 and 1, ends excluded.

    Returns:
        The estimate; with fewer than six samples at 95 %, where no pair of samples covers enough, its ends
        are infinite.

    Raises:
        ValueError: no samples, or one that is not finite.
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    if ordered.size == 0 or not np.isfinite(ordered).all():
        raise ValueError("the median needs at least one sample, all finite")
    median = float(np.median(ordered))
    k = _edge_rank(ordered.size, confidence)
    if k < 0:
        return Estimate(median, -np.inf, np.inf)
    return Estimate(median, float(ordered[k]), float(ordered[-1 - k]))


_NOT_NEAR = ("far", "moved")
"""Modes of the cores, as `bench.core_distance` has them."""


def reordering_told(host: Mapping[str, Any]) -> float | None:
    """Of a part's time alone the share in which tensors are only laid out anew, 0 to below 1; None: not told.

    Args:
        host: of its measurement.

    Raises:
        ValueError: what stands there is no such share.
    """
    told = host.get(FACTS, {}).get(REORDERING)
    if told is not None and not (isinstance(told, int | float) and 0.0 <= told < 1.0):
        raise ValueError(repr(told))
    return told


@dataclass(frozen=True)
class Measurement:
    """Repeated timings of one thing in one setting.

    Attributes:
        samples_s: seconds per run, in the order taken, those kept.
        warmup: runs before the first sample.
        stop: why sampling stopped.
        dropped: how many samples were left out, by cause.
        inner: runs inside one sample (more than one where a single run is near the clock's resolution).
        host: the host's state around it, plain JSON.
        created: when, ISO 8601 with zone.
        findings: what in the samples makes their interval claim too much; looked for when asked for, so that
            measurements of any age have it.
    """

    samples_s: tuple[float, ...]
    warmup: int
    stop: Stop
    created: str
    dropped: Mapping[str, int] = field(default_factory=dict)
    inner: int = 1
    host: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.samples_s or min(self.samples_s) <= 0:
            raise ValueError("a measurement needs at least one sample, all positive")

    @property
    def latency_s(self) -> Estimate:
        """The median and its 95 % interval, seconds; where there are `findings`, it claims too much."""
        return median_interval(self.samples_s, SEQUENTIAL_CONFIDENCE)

    @property
    def far(self) -> bool:
        """Whether the cores that it ran on lay far apart, or moved meanwhile."""
        return self.host.get("cores", {}).get("mode") in _NOT_NEAR

    @property
    def disturbance(self) -> str | None:
        """What others did meanwhile that spoils it, in words; None: nothing, or nobody looked."""
        found: str | None = self.host.get("disturbance")
        return found

    @property
    def settled(self) -> bool | None:
        """Whether the anchor may have stayed where it was meanwhile, see `bench.anchor`; None: nobody looked."""
        found: bool | None = self.host.get("anchor", {}).get("settled")
        return found

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader should know of the GPU that it ran on, in words; nothing was spoiled by it."""
        return tuple(self.host.get(GPU, {}).get(REMARKS, ()))

    @property
    def meanwhile(self) -> str | None:
        """The disturbance and the remarks; None: there is neither."""
        return "; ".join(filter(None, (self.disturbance, *self.remarks))) or None

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Drift, dependence or two modes in the samples, each with its numbers; empty: none recognised."""
        return diagnose(self.samples_s)
