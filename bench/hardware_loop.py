"""The machine has its say: choose, build, time; where the budget is missed, correct the fit and choose again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from bench.budget import Budget
from latency_tables.context import Coefficients, coefficients
from latency_tables.errors import LatheError, UserError
from latency_tables.estimate import Estimate
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.table import LatencyTable, NetworkMeasurement
from pruning.search import Chosen
from reports.results import Round

T = TypeVar("T", bound=Chosen)


@dataclass(frozen=True)
class Choice(Generic[T]):
    """A turn of the loop.

    Attributes:
        selection: what goes.
        fit: the coefficients it was chosen with.
        met: whether the network was timed within the budget.
    """

    selection: T
    fit: Coefficients
    met: bool


class HardwareLoop(Generic[T]):
    """Chooses and times until the measured latency meets the budget.

    After a miss the search goes on with the line led through the upper end of what was measured, against which
    the budget is held, so that the same choice no longer looks good enough; a budget as a time is then taken
    relative to the unpruned network as it is now. Where that end says that no choice is, as after one timing with a
    wide interval, the line goes through the middle.

    Args:
        skeleton: of the unpruned network.
        table: gives the table of the setting, with everything measured so far.
        budget: what is allowed.
        choose: the search, given a latency model and the latency in seconds that it must predict at most.
        measure: builds and times the network less something, and stores what it saw.
        rounds: most turns, at least 1.
        say: told of each turn in words.
        confirm: whether a choice that meets the budget is timed once more, loaded anew, and must meet it again:
            worth its seconds where making the network takes minutes, and one that misses by a hair is made anew.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        table: Callable[[], LatencyTable],
        budget: Budget,
        *,
        choose: Callable[[Coefficients, float], T],
        measure: Callable[[Cut], NetworkMeasurement],
        rounds: int,
        say: Callable[[str], None],
        confirm: bool = False,
    ) -> None:
        self._skeleton = skeleton
        self._table = table
        self._budget = budget
        self._choose = choose
        self._measure = measure
        self._left = rounds
        self._say = say
        self._confirm = confirm
        self._through: NetworkMeasurement | None = None
        self._unpruned_s: float | None = None
        self.rounds: tuple[Round, ...] = ()

    @property
    def exhausted(self) -> bool:
        """Whether no turn is left."""
        return self._left <= 0

    def search(self) -> Choice[T]:
        """Takes turns until one meets the budget, or none is left.

        Returns:
            The last turn.

        Raises:
            UserError: the budget is out of reach even with all taken out that may go.
            LatheError: a network was timed too few times to say whether it meets the budget.
            MeasurementFailed: the runtime failed.
        """
        while True:
            self._left -= 1
            selection, fit = self._chosen()
            met = self.saw("chosen", self._measure(selection.cut))
            if met and self._confirm and selection.cut:
                met = self.saw("once more", self._measure(selection.cut))
            if met or self.exhausted:
                return Choice(selection, fit, met)

    def _chosen(self) -> tuple[T, Coefficients]:
        """What the search takes out by the hardest miss so far, and the coefficients it went by."""
        missed = self._through
        lines = (None,) if missed is None else (self._at_worst(missed), missed)
        for line in lines:
            fit = coefficients(self._skeleton, self._table(), through=line)
            now_s = self._unpruned_s or fit.unpruned_s.value
            try:
                return self._choose(fit, self._budget.seconds(now_s) * fit.unpruned_s.value / now_s), fit
            except UserError:
                if line is lines[-1]:
                    raise
        raise AssertionError("the last line returns or raises")

    def saw(self, what: str, measured: NetworkMeasurement) -> bool:
        """Takes in a measurement.

        Args:
            what: which form of the network was timed, for the words.
            measured: its measurement.

        Returns:
            Whether it meets the budget at 95 % confidence.
        """
        met = is_met(self._budget, measured)
        self._unpruned_s = measured.unpruned_s.value
        predicted = self.foreseen(measured)
        self.rounds += (Round(measured.removed, dict(measured.widths), predicted, measured.latency_s, met),)
        if not met:
            upper = self._upper(measured)
            if measured.cut:
                self._through = self._harder(measured)
            else:
                # Nothing was taken out, and at its worst that is too slow: the next choice must be below it.
                self._unpruned_s *= upper
        share = predicted.value / measured.unpruned_s.value
        ratio, verdict = measured.ratio, "met" if met else "missed"
        self._say(
            f"{what}: {measured.cut.words}, predicted {share:.3f} of the unpruned latency, "
            f"measured {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f}), {self._budget.text} {verdict}"
        )
        if measured.meanwhile is not None:
            self._say(f"the machine was not quiet meanwhile: {measured.meanwhile}")
        return met

    def foreseen(self, measured: NetworkMeasurement) -> Estimate:
        """What the table says of a network, its own measurements left out, at the speed of the pass it is from."""
        fit = coefficients(self._skeleton, self._table(), blind_to=measured.cut)
        return fit.ratio(measured.removed, dict(measured.widths)).scaled(measured.unpruned_s.value)

    def _harder(self, missed: NetworkMeasurement) -> NetworkMeasurement:
        """Of this miss and the earlier ones, the one that at its worst says that removals free least."""
        if self._through is None:
            return missed
        before, now = (
            coefficients(self._skeleton, self._table(), through=self._at_worst(network)).slope
            for network in (self._through, missed)
        )
        return self._through if before <= now else missed

    def _at_worst(self, missed: NetworkMeasurement) -> NetworkMeasurement:
        upper = self._upper(missed)
        return replace(missed, ratio=Estimate(upper, upper, upper))

    def _upper(self, missed: NetworkMeasurement) -> float:
        """The end that the budget is held against, over the unpruned latency.

        Of a latency and of a ratio from the same pass either may be known less well.
        """
        upper = missed.ratio.high
        if self._budget.ratio is None:
            upper = max(upper, missed.latency_s.high / missed.unpruned_s.value)
        if not math.isfinite(upper):
            raise LatheError(
                f"{self._skeleton.name} {missed.cut.words} was timed too few times to say whether "
                f"it meets {self._budget.text}. Measure on a quieter machine, or with a smaller batch."
            )
        return upper


def is_open(budget: Budget, network: NetworkMeasurement) -> bool:
    """Whether a measurement cannot tell if the budget is met: its middle meets it, and its upper end does not."""
    ratio, latency_s = (Estimate(n.value, n.value, n.value) for n in (network.ratio, network.latency_s))
    return not is_met(budget, network) and is_met(budget, replace(network, ratio=ratio, latency_s=latency_s))


def is_met(budget: Budget, network: NetworkMeasurement) -> bool:
    """Whether a measured network meets a budget at 95 % confidence.

    A budget as a share is held against the ratio to the unpruned network timed in the same pass, so that a machine
    that is slower today than yesterday changes nothing; a budget as a time against the latency itself.
    """
    if budget.ratio is not None:
        return network.ratio.high <= budget.ratio
    return network.latency_s.high <= budget.seconds(network.unpruned_s.value)
