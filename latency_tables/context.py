"""From parts timed alone to the latency of a network: coefficients that prediction and search share.

A part timed alone keeps its weights in cache and pays for layout changes that it never pays inside a network,
so a plain sum is wrong by the context. The form used here is linear in what a search over depth decides:

    T = a + b * sum of c[u] over the units u that stay

A unit is a block, or a layer outside all blocks; c is its latency timed alone, at its widths. A block's cell
counts, not the sum of its layers: the layers' latencies are scaled by one factor per block (kappa) so that both
grains agree.
a and b are fitted on whole networks measured in the same setting, as ratios to the unpruned network that was
timed in the same interleaved pass, with the line held at 1 for the unpruned network itself:

    T / T_unpruned = 1 - slope * (1 - S / S_unpruned)

Networks of one width only do not tell a context factor per kind of layer from b, so there is none here.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import median

import numpy as np
from scipy import stats

from latency_tables.costs import Costs
from latency_tables.errors import LatheError, UserError
from latency_tables.estimate import Estimate
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.table import LatencyTable, NetworkMeasurement

#: Passes whose unpruned latencies are pooled, the latest ones.
_PASSES = 12
#: What a network led through a useless measurement is still allowed to free, as a share of what its parts say.
_LEAST_SLOPE = 0.05


@dataclass(frozen=True)
class Coefficients:
    """What `latency_s` needs to know of a network in a setting; all in seconds, in context.

    Attributes:
        unpruned_s: latency of the unpruned network as measured; its interval covers the passes' spread.
        costs: the parts timed alone.
        slope: how much of a removed part's summed latency the network really loses.
        residual: root mean square of the fit's residuals, as a fraction of the unpruned latency.
        scatter: their standard deviation, allowing for the fitted slope.
        weight: sum of the squared shares of the summed latency that the fitted networks lost.
        freedom: degrees of freedom behind ``scatter``; 0 or less when nothing is known about the error.
    """

    unpruned_s: Estimate
    costs: Costs = field(compare=False)
    slope: float
    residual: float
    scatter: float
    weight: float
    freedom: int

    @property
    def saving_s(self) -> dict[str, float]:
        """By block, the latency that its removal frees at full width."""
        return {name: self.scale * latency for name, latency in self.costs.blocks_s.items()}

    @property
    def layer_s(self) -> tuple[float, ...]:
        """For each layer of the skeleton, its share; with the constant they add up to ``unpruned_s``."""
        return tuple(self.scale * latency for latency in self.costs.layers_s)

    @property
    def constant_s(self) -> float:
        """The part of the latency that belongs to no layer (a of the formula)."""
        return (1.0 - self.slope) * self.unpruned_s.value

    def latency_s(self, removed: Collection[str], widths: Mapping[str, int] | None = None) -> float:
        """The predicted latency with some blocks and channels taken out, seconds.

        Raises:
            UserError: a width at which the table knows nothing.
        """
        return self.constant_s + self.scale * self.costs.total_s(removed, widths)

    def interval(self, removed: Collection[str], widths: Mapping[str, int] | None = None) -> Estimate:
        """The predicted latency with its 95 % interval.

        The half-width joins the unpruned network's own uncertainty with the scatter of the fitted networks
        around the line (Student's t for a new observation) and, at widths between those measured, with what
        interpolation leaves uncertain. With fewer than two fitted networks the ends are
        infinite: nothing is known about the error.
        """
        value = self.latency_s(removed, widths)
        whole = self.unpruned_s
        if not removed and not widths:
            return whole
        if self.freedom < 1:
            return Estimate(value, -math.inf, math.inf)
        lost = (whole.value - value) / (self.slope * whole.value)
        scatter = self.scatter * whole.value * math.sqrt(1.0 + lost**2 / self.weight)
        reach = float(stats.t.ppf(0.975, self.freedom)) * scatter
        if widths:
            reach = math.hypot(reach, 1.96 * self.scale * self.costs.interpolation_spread_s(removed, widths))
        share = value / whole.value
        low = math.hypot(reach, share * (whole.value - whole.low))
        high = math.hypot(reach, share * (whole.high - whole.value))
        return Estimate(value, value - low, value + high)

    @cached_property
    def scale(self) -> float:
        """Seconds in context for a second timed alone."""
        return self.slope * self.unpruned_s.value / self.costs.whole_s


def coefficients(
    skeleton: Skeleton,
    table: LatencyTable,
    *,
    through: NetworkMeasurement | None = None,
    blind_to: Cut | None = None,
) -> Coefficients:
    """Fits a network's coefficients from everything the table holds.

    Args:
        skeleton: the unpruned network.
        table: measured in the setting of interest.
        through: a measured network through which the line must pass exactly, for a search that goes on from a
            measurement that disagreed with the fit; None fits all alike.
        blind_to: measurements of the network that lacks just this are left out, so that the prediction for it is
            one.

    Raises:
        UserError: a part has no cell, or the unpruned network was never timed.
        LatheError: a part was tried and failed, or removing blocks was measured to make the network slower.
    """
    costs = Costs(skeleton, table)
    fitted = table.measured_networks(skeleton, "fit")
    if not fitted:
        raise UserError(
            f"the table for {table.setting.label} holds no measurement of the whole network {skeleton.name}; "
            "run `lathe profile` for it first"
        )

    def lost(networks: Sequence[NetworkMeasurement]) -> np.ndarray:
        return np.array([1.0 - costs.total_s(n.removed, dict(n.widths)) / costs.whole_s for n in networks])

    def freed(networks: Sequence[NetworkMeasurement]) -> np.ndarray:
        return np.array([1.0 - n.ratio.value for n in networks])

    pruned = _distinct([n for n in fitted if n.cut and n.cut != blind_to and costs.knows(n.cut)])
    line = [through] if through is not None else pruned
    slope = _slope(lost(line), freed(line))
    if through is not None:
        # A network measured to be no faster frees next to nothing; the search then takes more out.
        slope = max(slope, _LEAST_SLOPE)
    if slope <= 0:
        raise LatheError(
            f"networks cut from {skeleton.name} were measured to be no faster than the unpruned one in "
            f"{table.setting.label}; there is nothing to predict from. Measure again on a quiet machine."
        )
    errors = freed(pruned) - slope * lost(pruned)
    whole = _pooled(fitted)
    return Coefficients(
        unpruned_s=whole,
        costs=costs,
        slope=slope,
        residual=float(np.sqrt(np.mean(errors**2))) if pruned else 0.0,
        scatter=math.sqrt(float(errors @ errors) / (len(pruned) - 1)) if len(pruned) > 1 else 0.0,
        weight=float(np.sum(lost(pruned) ** 2)),
        freedom=len(pruned) - 1,
    )


def _distinct(networks: Sequence[NetworkMeasurement]) -> list[NetworkMeasurement]:
    """One observation for each distinct network: the median of its ratios, however often it was timed."""
    groups: dict[Cut, list[NetworkMeasurement]] = {}
    for network in networks:
        groups.setdefault(network.cut, []).append(network)
    chosen = []
    for group in groups.values():
        ratio = median(network.ratio.value for network in group)
        chosen.append(replace(group[-1], ratio=Estimate(ratio, -math.inf, math.inf)))
    return chosen


def _slope(lost: np.ndarray, freed: np.ndarray) -> float:
    """Least squares through the origin; 1 (parts add up exactly) where there is nothing to fit."""
    weight = float(lost @ lost)
    return float(lost @ freed) / weight if weight > 0.0 else 1.0


def _pooled(networks: Sequence[NetworkMeasurement]) -> Estimate:
    """The unpruned network's latency over the last passes: the median, and the hull of their intervals.

    Passes made minutes apart differ by more than a pass's own interval tells, so the hull is kept; old passes
    are let go, so that one bad minute is not remembered for ever.
    """
    networks = networks[-_PASSES:]
    value = median(network.unpruned_s.value for network in networks)
    low = min(network.unpruned_s.low for network in networks)
    high = max(network.unpruned_s.high for network in networks)
    return Estimate(value, low, high)
