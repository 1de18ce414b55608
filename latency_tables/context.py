"""From parts timed alone to the latency of a network: coefficients that prediction and search share.

A part timed alone keeps its weights in cache and pays for layout changes that it never pays inside a network,
so a plain sum is wrong by the context. The form used here is linear in what a search decides:

    T / T_unpruned = 1 - sum of slope[j] * f[j]

f are the shares of the sum of parts timed alone that a plan frees (`latency_tables.costs.Costs.freed`): by the
blocks that go, and by the layers that get narrower, inside of removable blocks and outside. A block's cell counts,
not the sum of its layers, which are scaled by one factor per block (kappa) so that both grains agree. The last two
are no parts of the sum. One is what stands between two steps of the staircase: its slope says by how much such a
layer is slower in a network than at the next step, which it is not alone. The other is how much more goes of the
weights than of the sum: its slope says what fetching them from memory costs, while alone a layer has them in cache.

The slopes are fitted on whole networks measured in the same setting, as ratios to the unpruned network that was
timed in the same interleaved pass. What counts is a network's error relative to its own latency. What is not known
of a slope is taken to be what it would be if parts in context added up to the unpruned network: layers of removable
blocks as those blocks, the others such that nothing is left over, odd widths no more than their step, weights
nothing. Slopes are drawn to that as far as noise would move them (ridge regression).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from latency_tables.costs import SUMMED, WAYS, Costs
from latency_tables.errors import LatheError, UserError
from latency_tables.estimate import Estimate
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.slow_minutes import is_slow, is_spoiled, quick_latency_s
from latency_tables.table import LatencyTable, NetworkMeasurement

#: Passes whose unpruned latencies are pooled, the latest ones.
_PASSES = 12
# What is typical, as standard deviations: how far a network lies off the fit (relative), how far the slope of
# blocks lies from 1, and slopes of widths from what that makes expect, what a layer off the steps costs more, and
# what all weights together cost beyond what their layers do alone.
_NOISE, _BLOCKS, _WIDTHS, _OFF_STEPS, _WEIGHTS = 0.01, 0.1, 0.07, 0.05, 0.03
#: Where less of the sum than this lies outside of removable blocks, it is not made to answer for all of them.
_LEAST_OUTSIDE = 0.25
#: So many networks are what `_NOISE` is taken from.
_WEIGHT = 3
#: What a network led through a useless measurement is still allowed to free, as a share of what its parts say.
_LEAST_SLOPE = 0.05


@dataclass(frozen=True)
class Coefficients:
    """What `latency_s` needs to know of a network in a setting; all in seconds, in context.

    Attributes:
        unpruned_s: latency of the unpruned network as measured; its interval covers the passes' spread. Where it
            was never timed, the sum of its parts, unbounded.
        costs: the parts timed alone.
        slopes: how much of what is freed alone the network really loses, as shares of each whole, in the order of
            `Costs.freed`.
        residual: root mean square of the fit's residuals, each relative to its network's latency.
        scatter: how far networks lie off the fit, relative, allowing for the fitted slopes; what is typical weighs
            in as `_WEIGHT` networks would, since few are fitted.
        spread: for a plan that frees f and keeps the share s of the latency, f . spread . f / s**2 is the squared
            relative error of the fit over ``scatter`` squared.
        freedom: degrees of freedom behind ``scatter``; 0 when nothing is known about the error.
        timed: whether the unpruned network was ever timed as a whole.
    """

    unpruned_s: Estimate
    costs: Costs = field(compare=False)
    slopes: tuple[float, ...]
    residual: float
    scatter: float
    spread: NDArray[np.float64] = field(compare=False)
    freedom: float
    timed: bool = True

    @property
    def slope(self) -> float:
        """How much of a removed block's summed latency the network really loses."""
        return self.slopes[0]

    @property
    def saving_s(self) -> dict[str, float]:
        """By block, the latency that its removal frees at full width."""
        return {
            name: self.unpruned_s.value * float(self.costs.freed([name]) @ self.slopes)
            for name in self.costs.blocks_s
        }

    @property
    def constant_s(self) -> float:
        """The part of the latency that belongs to no layer."""
        return self.unpruned_s.value - math.fsum(self.layers_s())

    def latency_s(self, removed: Collection[str], widths: Mapping[str, int] | None = None) -> float:
        """The predicted latency with some blocks and channels taken out, seconds.

        Raises:
            UserError: a width at which the table knows nothing.
        """
        return self.unpruned_s.value * (1.0 - float(self.costs.freed(removed, widths) @ self.slopes))

    def latencies_s(
        self, removed: list[set[str]] | list[frozenset[str]], widths: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The same for many plans at once; arguments as for `Costs.freed_by_many`.

        Returns:
            Seconds, shape (plans,); NaN where a part that stays is not known at its width.
        """
        latencies: NDArray[np.float64] = self.unpruned_s.value * (
            1.0 - self.costs.freed_by_many(removed, widths) @ np.array(self.slopes)
        )
        return latencies

    def layers_s(self, widths: Mapping[str, int] | None = None) -> tuple[float, ...]:
        """For each layer of the skeleton, its share; with the constant those that stay add up to `latency_s`.

        Raises:
            UserError: no width of the network.
        """
        costs, slopes = self.costs, np.array(self.slopes)
        shares = self.slope * np.array(costs.layers_s) / costs.whole_s + slopes[-1] * costs.weights_over_sum
        if widths:
            shares = shares - costs.freed_by_layer(widths) @ slopes
        return tuple((self.unpruned_s.value * shares).tolist())

    def interval(self, removed: Collection[str], widths: Mapping[str, int] | None = None) -> Estimate:
        """The predicted latency with its 95 % interval: that of `ratio` joined with the unpruned network's own."""
        whole, ratio = self.unpruned_s, self.ratio(removed, widths)
        low = math.hypot(whole.value * (ratio.value - ratio.low), ratio.value * (whole.value - whole.low))
        high = math.hypot(whole.value * (ratio.high - ratio.value), ratio.value * (whole.high - whole.value))
        value = whole.value * ratio.value
        return Estimate(value, value - low, value + high)

    def ratio(self, removed: Collection[str], widths: Mapping[str, int] | None = None) -> Estimate:
        """The predicted latency as a share of the unpruned network's in the same pass, with its 95 % interval.

        The half-width joins the scatter of the fitted networks around the fit (Student's t for a new observation)
        with what interpolation leaves uncertain at widths between those measured. How fast the unpruned network is
        in a given minute is no part of it. With fewer than two fitted networks the ends are infinite: nothing is
        known about the error.
        """
        if not removed and not widths:
            return Estimate(1.0, 1.0, 1.0)
        freed = self.costs.freed(removed, widths)
        value = 1.0 - float(freed @ self.slopes)
        if self.freedom <= 0:
            return Estimate(value, -math.inf, math.inf)
        scatter = self.scatter * math.hypot(value, math.sqrt(float(freed @ self.spread @ freed)))
        reach = float(stats.t.ppf(0.975, self.freedom)) * scatter
        if widths:
            uncertain = self.costs.interpolation_spread_s(removed, widths) / self.costs.whole_s
            reach = math.hypot(reach, 1.96 * max(self.slopes) * uncertain)
        return Estimate(value, value - reach, value + reach)


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
        raise never_timed(skeleton, table)
    usable = [n for n in fitted if n.cut and n.cut != blind_to and costs.knows(n.cut)]
    pruned = distinct_networks(usable, quick_latency_s(skeleton, table))
    freed = np.array([costs.freed(n.removed, dict(n.widths)) for n in pruned]).reshape(-1, WAYS)
    fit = fit_slopes(freed, np.array([n.ratio.value for n in pruned]), costs.inside)
    slopes = fit.slopes
    if through is not None:
        sound = slopes if slopes[0] > 0 else _AS_ALONE
        factor = (1.0 - through.ratio.value) / float(
            costs.freed(through.removed, dict(through.widths)) @ sound
        )
        # A network measured to be no faster frees next to nothing; the search then takes more out.
        slopes = sound * max(factor, _LEAST_SLOPE / sound[0])
    if slopes[0] <= 0:
        raise LatheError(
            f"networks cut from {skeleton.name} were measured to be no faster than the unpruned one in "
            f"{table.setting.label}; there is nothing to predict from. Measure again on a quiet machine."
        )
    return Coefficients(
        unpruned_s=_pooled(fitted),
        costs=costs,
        slopes=tuple(slopes.tolist()),
        residual=fit.residual,
        scatter=fit.scatter,
        spread=fit.spread,
        freedom=fit.freedom,
    )


def never_timed(skeleton: Skeleton, table: LatencyTable) -> UserError:
    """The error for a network that is to be known as a whole, and is not."""
    return UserError(
        f"the table for {table.setting.label} holds no measurement of the whole network {skeleton.name}; run "
        "`lathe profile` for it first"
    )


def as_alone(skeleton: Skeleton, table: LatencyTable) -> Coefficients:
    """The coefficients of a network of which nothing was timed but its parts: these add up as they are.

    How far off that is nobody knows, so both ends are infinite, and no search may meet a budget by it:
    `coefficients` refuses such a network.

    Raises:
        UserError: a part has no cell.
        LatheError: a part was tried and failed.
    """
    costs = Costs(skeleton, table)
    fit = fit_slopes(np.empty((0, WAYS)), np.empty(0), costs.inside)
    return Coefficients(
        unpruned_s=Estimate(costs.whole_s, -math.inf, math.inf),
        costs=costs,
        slopes=tuple(fit.slopes.tolist()),
        residual=fit.residual,
        scatter=fit.scatter,
        spread=fit.spread,
        freedom=fit.freedom,
        timed=False,
    )


def distinct_networks(
    networks: Sequence[NetworkMeasurement], quick_s: float | None
) -> list[NetworkMeasurement]:
    """One observation for each distinct network: the median of its ratios, however often it was timed.

    Spoiled timings count only for networks that have no others: first those that were merely disturbed, or made
    with the cores far apart, then those of slow minutes.
    """
    near = any(not network.far for network in networks)
    groups: dict[Cut, list[NetworkMeasurement]] = {}
    for network in networks:
        groups.setdefault(network.cut, []).append(network)
    chosen = []
    for group in groups.values():
        quick = [network for network in group if not is_slow(network, quick_s)] or group
        counted = [network for network in quick if not is_spoiled(network, None, near=near)] or quick
        ratio = median(network.ratio.value for network in counted)
        chosen.append(replace(group[-1], ratio=Estimate(ratio, -math.inf, math.inf)))
    return chosen


@dataclass(frozen=True)
class Fit:
    """See `Coefficients`."""

    slopes: NDArray[np.float64]
    residual: float
    scatter: float
    spread: NDArray[np.float64]
    freedom: float


_AS_ALONE = np.array([*[1.0] * SUMMED, *[0.0] * (WAYS - SUMMED)])
"""Slopes of a network whose parts add up exactly."""


def fit_slopes(freed: NDArray[np.float64], ratios: NDArray[np.float64], inside: float) -> Fit:
    """Slopes by ridge regression.

    Args:
        freed: shape (networks, `WAYS`).
        ratios: of the unpruned latency, shape (networks,).
        inside: share of the sum that lies in removable blocks, 0 to 1.

    Returns:
        Slopes of `_AS_ALONE` where there is nothing to fit.
    """
    if not freed.any():
        return Fit(_AS_ALONE, 0.0, 0.0, np.zeros((WAYS, WAYS)), 0.0)
    # Unknowns: how far the slope of blocks lies from 1, by how much those of widths inside and outside differ from
    # what it makes expect, the extras off the steps and of weights. Where blocks weigh more than alone, the rest
    # weighs less.
    rest = -inside / max(1.0 - inside, _LEAST_OUTSIDE)
    to_slopes = np.eye(WAYS)
    to_slopes[1, 0], to_slopes[2, 0] = 1.0, rest
    # The slope of blocks is free where a network that lacks some tells it.
    blocks = np.inf if freed[:, 0].any() else _BLOCKS
    ridge = (_NOISE / np.array([blocks, _WIDTHS, _WIDTHS, _OFF_STEPS, _WEIGHTS])) ** 2
    design = freed @ to_slopes / ratios[:, None]
    lost = (1.0 - ratios - freed @ _AS_ALONE) / ratios
    # No block of a network may be removable, and the first column 0: its slope then stays 1.
    spread = np.linalg.pinv(design.T @ design + np.diag(ridge), hermitian=True)
    slopes = _AS_ALONE + to_slopes @ (spread @ (design.T @ lost))
    if freed[:, -1].any() and not 0.0 <= slopes[-1] <= slopes[0]:
        # To fetch weights can only cost, and less than to work with them: what says otherwise is noise.
        return fit_slopes(freed * (np.arange(WAYS) < WAYS - 1), ratios, inside)
    errors = (1.0 - ratios - freed @ slopes) / ratios
    left = len(ratios) - float(np.einsum("ij,jk,ik->", design, spread, design))
    freedom = _WEIGHT + left
    return Fit(
        slopes,
        residual=float(np.sqrt(np.mean(errors**2))),
        scatter=math.sqrt((_WEIGHT * _NOISE**2 + float(errors @ errors)) / freedom),
        spread=to_slopes @ spread @ to_slopes.T,
        freedom=freedom if len(ratios) > 1 else 0.0,
    )


def _pooled(networks: Sequence[NetworkMeasurement]) -> Estimate:
    """The unpruned network's latency over the last passes: the median, and the hull of their intervals.

    Passes made minutes apart differ by more than a pass's own interval tells, so the hull is kept; old passes
    are let go, so that one bad minute is not remembered for ever. Passes that something disturbed, or that were
    made with the cores far apart, count only where there are no others: the cores' two modes are no interval.
    """
    latest = networks[-_PASSES:]
    near = any(not network.far for network in latest)
    networks = [network for network in latest if not is_spoiled(network, None, near=near)] or latest
    value = median(network.unpruned_s.value for network in networks)
    low = min(network.unpruned_s.low for network in networks)
    high = max(network.unpruned_s.high for network in networks)
    return Estimate(value, low, high)
