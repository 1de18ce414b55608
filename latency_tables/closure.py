"""How far predictions are from networks that were really timed, beside how far two timings are from each other."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from latency_tables.context import Coefficients, coefficients
from latency_tables.estimate import Estimate
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.slow_minutes import is_spoiled, quick_of
from latency_tables.table import LatencyTable, NetworkMeasurement


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A network that was predicted without a look at its measurement, then measured twice.

    Attributes:
        cut: what was taken out.
        predicted: latency over the unpruned network's, foreseen.
        measured: the same as measured, in turns with the unpruned network.
        again: the same measured once more, loaded anew.
    """

    cut: Cut
    predicted: Estimate
    measured: Estimate
    again: Estimate

    @property
    def error(self) -> float:
        """The prediction's relative error, as a fraction with its sign."""
        return self.predicted.value / self.measured.value - 1.0

    @property
    def noise(self) -> float:
        """The second measurement's relative difference to the first."""
        return self.again.value / self.measured.value - 1.0


@dataclass(frozen=True, slots=True)
class Closure:
    """What several held-out networks say together; all numbers are fractions.

    Attributes:
        networks: at least one.
        left_out: networks timed twice that are not among them, since fewer than two of their timings were sound.
    """

    networks: tuple[HeldOut, ...]
    left_out: int = 0

    @property
    def mean_abs_error(self) -> float:
        """Mean absolute relative error of the predictions."""
        return _mean([abs(network.error) for network in self.networks])

    @property
    def noise_floor(self) -> float:
        """The same of the second measurement, taken for a prediction of the first."""
        return _mean([abs(network.noise) for network in self.networks])

    @property
    def rms_error(self) -> float:
        """Root mean square relative error of the predictions."""
        return math.sqrt(_mean([network.error**2 for network in self.networks]))

    @property
    def rms_noise(self) -> float:
        """The same of the second measurement, taken for a prediction of the first."""
        return math.sqrt(_mean([network.noise**2 for network in self.networks]))

    @property
    def excess_error(self) -> float:
        """Root mean square error of the predictions less that of the second measurement; 0 where that is larger.

        Squares are subtracted. The second measurement differs from the first by the noise of both, so this takes
        off up to twice the square of the first one's own: `rms_error` and `rms_noise` tell both.
        """
        squares = [network.error**2 - network.noise**2 for network in self.networks]
        return math.sqrt(max(0.0, _mean(squares)))

    @property
    def interval_coverage(self) -> float | None:
        """Share of the networks whose measurement lies in the predicted interval; None where none is bounded."""
        inside = [
            network.predicted.low <= network.measured.value <= network.predicted.high
            for network in self.networks
            if math.isfinite(network.predicted.high - network.predicted.low)
        ]
        return _mean(inside) if inside else None

    def within(self, share: float) -> float:
        """Share of the networks whose prediction is off by at most this much, ends included."""
        return _mean([abs(network.error) <= share for network in self.networks])


def sound_timings(digest: str, table: LatencyTable) -> tuple[NetworkMeasurement, ...]:
    """Timings of a network, and of what was cut from it, that nothing spoiled, oldest first.

    Spoiled are those of slow minutes, those that something disturbed, and those made with the cores far apart where
    others were made with the cores near.

    Args:
        digest: of the unpruned network's skeleton.
        table: any.
    """
    timed = [network for network in table.networks if network.skeleton == digest]
    quick_s, near = quick_of(timed), any(not network.far for network in timed)
    return tuple(network for network in timed if not is_spoiled(network, quick_s, near=near))


def held_out_twice(digest: str, table: LatencyTable) -> dict[Cut, tuple[Estimate, Estimate]]:
    """The latest two sound ratios of each network that a table keeps to judge the fit by, where it has two.

    A profile times such a network once, and again only where that timing was spoiled: these two are no pair.

    Args:
        digest: of the unpruned network's skeleton.
        table: any.
    """
    timed: dict[Cut, list[Estimate]] = {}
    for network in sound_timings(digest, table):
        if network.role == "closure" and network.cut:
            timed.setdefault(network.cut, []).append(network.ratio)
    return {cut: (ratios[-2], ratios[-1]) for cut, ratios in timed.items() if len(ratios) > 1}


@dataclass(frozen=True, slots=True)
class Foreseen:
    """One sound timing of a pruned network beside what the table now says of it.

    Attributes:
        timed: the timing.
        predicted: its latency over the unpruned network's, by the table.
        fitted: whether the table was fitted to this network, so that it proves little.
    """

    timed: NetworkMeasurement
    predicted: Estimate
    fitted: bool


def foreseen(skeleton: Skeleton, table: LatencyTable) -> tuple[Coefficients, list[Foreseen]] | None:
    """Every sound timing of a pruned network that the table can predict, those to fit on first, oldest first.

    Args:
        skeleton: the unpruned network, with channel groups where `LatencyTable.over_widths` asks for them.
        table: any.

    Returns:
        What predicts, and what it says of each; None where a part has no latency, or no whole network was timed.
    """
    if table.missing(skeleton) or table.failed(skeleton) or not table.measured_networks(skeleton, "fit"):
        return None
    fit = coefficients(skeleton, table)
    fitted = {network.cut for network in table.measured_networks(skeleton, "fit")}
    sound = sound_timings(skeleton.digest, table)
    return fit, [
        Foreseen(network, fit.ratio(network.removed, dict(network.widths)), network.cut in fitted)
        for role in ("fit", "closure")
        for network in sound
        if network.role == role and network.cut and fit.costs.knows(network.cut)
    ]


def joined(ratios: Sequence[Estimate]) -> Estimate:
    """Several timings of one network as one: the median, from the lowest end of their intervals to the highest."""
    return Estimate(
        statistics.median(ratio.value for ratio in ratios),
        min(ratio.low for ratio in ratios),
        max(ratio.high for ratio in ratios),
    )


def closure_of(skeleton: Skeleton, table: LatencyTable) -> Closure | None:
    """How far a table's predictions are from the networks that it keeps to judge them by.

    Each is predicted as if it had never been timed; those at widths that the table does not know are left out.

    Args:
        skeleton: the unpruned network, with channel groups where `LatencyTable.over_widths` asks for them.
        table: any.

    Returns:
        None where there is none with two sound timings.

    Raises:
        UserError: a part has no cell, or the unpruned network was never timed.
        LatheError: a part was tried and failed.
    """
    twice = held_out_twice(skeleton.digest, table)
    if not twice:
        return None
    usual = coefficients(skeleton, table)
    fitted = {network.cut for network in table.measured_networks(skeleton, "fit")}
    found = []
    for cut, (measured, again) in twice.items():
        if not usual.costs.knows(cut):
            continue
        fit = coefficients(skeleton, table, blind_to=cut) if cut in fitted else usual
        found.append(HeldOut(cut, fit.ratio(cut.removed, dict(cut.widths)), measured, again))
    times = Counter(network.cut for network in table.measured_networks(skeleton, "closure") if network.cut)
    left_out = [
        cut for cut, count in times.items() if count > 1 and cut not in twice and usual.costs.knows(cut)
    ]
    return Closure(tuple(found), len(left_out)) if found else None


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
