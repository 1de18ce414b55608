"""How wide each channel group stays, so that the network meets a latency budget and hurts least."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from latency_tables.errors import UserError
from latency_tables.interpolation import MULTIPLE
from latency_tables.random_plans import NARROWEST, uniform_widths
from latency_tables.skeleton import Cut
from latency_tables.widths import ChannelGroup

REACH = 16
"""How many multiples a group may lose at once: latency falls in steps, and the next one must be within sight."""


_SHARES = 97
"""Uniform widths that are tried, from all channels to the least."""


class WidthLatency(Protocol):
    """Says how fast the network would be at many choices of widths."""

    def latencies_s(
        self, removed: list[set[str]] | list[frozenset[str]], widths: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Seconds, shape (plans,), NaN where unknown; widths of shape (plans, groups)."""
        ...


@dataclass(frozen=True, slots=True)
class WidthSelection:
    """The outcome of a search over widths.

    Attributes:
        channels: for each group that gets narrower, the channels that stay, ascending.
        predicted_s: latency predicted for that network, at most the budget.
        hurt: share of the criterion's total that goes, 0 to 1; of the channels, where no criterion chose.
    """

    channels: Mapping[str, tuple[int, ...]]
    predicted_s: float
    hurt: float

    @property
    def removed(self) -> tuple[str, ...]:
        """No blocks."""
        return ()

    @property
    def cut(self) -> Cut:
        """What the network lacks."""
        return Cut.of((), {group: len(stays) for group, stays in self.channels.items()})


def choose_widths(
    groups: Sequence[ChannelGroup],
    scores: Mapping[str, NDArray[np.float64]],
    latency: WidthLatency,
    budget_s: float,
) -> WidthSelection:
    """Takes channels out, the least worth for the time they save first, until the budget is met.

    In each turn every group is offered at several smaller widths, without its least channels; the offer with the
    least loss per second saved is taken, a saving beyond what the budget still needs worth nothing. An offer that
    saves nothing is never taken. At the end groups get back what the budget still allows, the most precious first.

    Args:
        groups: all of the network, in the skeleton's order; frozen ones stay.
        scores: of the groups that may change, what each channel is worth, at least 0, shape (channels,).
        latency: of the network at given widths.
        budget_s: most latency allowed, in seconds.

    Raises:
        UserError: the budget is out of reach at the least widths, or the table knows too few widths.
    """
    search = _Search(groups, scores, latency, budget_s)
    search.narrow()
    search.widen()
    return search.selection()


def choose_uniform(groups: Sequence[ChannelGroup], latency: WidthLatency, budget_s: float) -> WidthSelection:
    """The widest network, every group at the same share of its channels, that meets a budget.

    The first channels of each group stay: for a network that is trained anew they are like any others.

    Args:
        groups: all of the network, in the skeleton's order; frozen ones stay.
        latency: of the network at given widths.
        budget_s: most latency allowed, in seconds.

    Raises:
        UserError: the budget is out of reach at the least widths, or the table knows too few widths.
    """
    return _widest(groups, _uniform(groups), latency, budget_s)


def least_chosen_s(groups: Sequence[ChannelGroup], latency: WidthLatency) -> float:
    """The least latency that `choose_widths` can reach, in seconds; what channels are worth changes little of it.

    Args:
        groups: all of the network, in the skeleton's order; frozen ones stay.
        latency: of the network at given widths.
    """
    alike = {group.name: np.ones(group.channels) for group in groups if group.frozen is None}
    search = _Search(groups, alike, latency, 0.0)
    while search.take():
        pass
    return search.now_s


def least_uniform_s(groups: Sequence[ChannelGroup], latency: WidthLatency) -> float:
    """The same of `choose_uniform`."""
    return float(np.nanmin(_predicted_s(groups, _uniform(groups), latency)))


def _uniform(groups: Sequence[ChannelGroup]) -> list[dict[str, int]]:
    """Widths at one share of every group's channels, from all of them to the least."""
    return [uniform_widths(groups, float(share)) for share in np.linspace(1.0, NARROWEST, _SHARES)]


def choose_smart(groups: Sequence[ChannelGroup], latency: WidthLatency, budget_s: float) -> WidthSelection:
    """The widest network, groups the narrower the nearer they are to the output, that meets a budget.

    Our extension to channels of the smart density profile (`pruning.early.masks.smart_ratio`), which is one of
    single weights: group k counted from the output keeps a share in proportion to sqrt(k^2 + k), so that the
    weights between two neighbours keep about k^2 + k. No share leaves the range from `NARROWEST` to one. As in
    `choose_uniform`, the first channels stay, and the errors are the same.

    Args:
        groups: all of the network, in the skeleton's order; frozen ones stay.
        latency: of the network at given widths.
        budget_s: most latency allowed, in seconds.
    """
    free = [group for group in groups if group.frozen is None]
    depth = np.arange(len(free), 0, -1, dtype=np.float64)
    profile = np.sqrt(depth**2 + depth)
    # From the level at which even the last group is whole to the one at which even the first is at its narrowest.
    levels = np.geomspace(1.0 / math.sqrt(2.0), NARROWEST / profile.max(initial=1.0), _SHARES)
    offers = []
    for level in levels:
        shares = np.clip(level * profile, NARROWEST, 1.0)
        widths = {
            group.name: math.ceil(share * group.channels / MULTIPLE) * MULTIPLE
            for group, share in zip(free, shares.tolist(), strict=True)
        }
        offers.append(
            {group.name: widths[group.name] for group in free if widths[group.name] < group.channels}
        )
    return _widest(groups, offers, latency, budget_s)


def _widest(
    groups: Sequence[ChannelGroup],
    offers: Sequence[Mapping[str, int]],
    latency: WidthLatency,
    budget_s: float,
) -> WidthSelection:
    """The first of some widths, from wide to narrow, that meets the budget; the first is the whole network."""
    full = {group.name: group.channels for group in groups}
    seconds = _predicted_s(groups, offers, latency)
    fitting = np.flatnonzero(seconds <= budget_s)
    if not fitting.size:
        raise UserError(_unreachable(float(np.nanmin(seconds)), float(seconds[0]), budget_s))
    place = int(fitting[0])
    chosen = offers[place]
    free = sum(group.channels for group in groups if group.frozen is None)
    gone = sum(full[name] - width for name, width in chosen.items())
    channels = {name: tuple(range(width)) for name, width in chosen.items()}
    return WidthSelection(channels, float(seconds[place]), gone / free if free else 0.0)


def _predicted_s(
    groups: Sequence[ChannelGroup], offers: Sequence[Mapping[str, int]], latency: WidthLatency
) -> NDArray[np.float64]:
    """Seconds at each of some widths; groups that are not named keep their channels."""
    full = {group.name: group.channels for group in groups}
    widths = np.array([list((full | dict(offer)).values()) for offer in offers], np.int64)
    return latency.latencies_s([frozenset[str]()] * len(offers), widths)


def _unreachable(least_s: float, full_s: float, budget_s: float) -> str:
    return (
        f"a budget of {budget_s * 1e3:.3g} ms ({budget_s / full_s:.2f} of the whole network's) is out of reach by "
        f"taking channels out: {least_s * 1e3:.3g} ms is the least that the table foresees. Choose a larger "
        "budget, or extend the table with `lathe profile --widths`."
    )


class _Search:
    def __init__(
        self,
        groups: Sequence[ChannelGroup],
        scores: Mapping[str, NDArray[np.float64]],
        latency: WidthLatency,
        budget_s: float,
    ) -> None:
        self._groups, self._latency, self._budget_s = groups, latency, budget_s
        self._free = [place for place, group in enumerate(groups) if group.frozen is None]
        self._order = {place: np.argsort(-scores[groups[place].name], kind="stable") for place in self._free}
        # kept[w]: what is worth the w best channels.
        self._kept = {
            place: np.concatenate([[0.0], np.cumsum(scores[groups[place].name][self._order[place]])])
            for place in self._free
        }
        self._widths = np.array([group.channels for group in groups], np.int64)
        (self._now_s,) = self._predict(self._widths[None])

    @property
    def now_s(self) -> float:
        """The latency at the present widths, in seconds."""
        return float(self._now_s)

    def narrow(self) -> None:
        """Until the budget is met."""
        full_s = self._now_s
        while self._now_s > self._budget_s:
            if not self.take():
                raise UserError(_unreachable(self._now_s, full_s, self._budget_s))

    def take(self) -> bool:
        """Makes the group narrower that loses least for what it saves; whether any saves something."""
        offers = self._offers(range(1, REACH + 1), down=True)
        seconds = self._predict(offers)
        saved = np.minimum(self._now_s - seconds, self._now_s - self._budget_s)
        useful = np.flatnonzero(saved > 0)  # also false where a latency is unknown
        if not useful.size:
            return False
        lost = np.array([self._worth(self._widths) - self._worth(offer) for offer in offers])
        best = useful[np.argmin(lost[useful] / saved[useful])]
        self._widths, self._now_s = offers[best], float(seconds[best])
        return True

    def widen(self) -> None:
        """As long as a group can get channels back within the budget."""
        while True:
            offers = self._offers(range(1, REACH + 1), down=False)
            if not len(offers):
                return
            seconds = self._predict(offers)
            gained = np.array([self._worth(offer) - self._worth(self._widths) for offer in offers])
            allowed = np.flatnonzero((seconds <= self._budget_s) & (gained > 0))
            if not allowed.size:
                return
            best = allowed[np.argmax(gained[allowed])]
            self._widths, self._now_s = offers[best], float(seconds[best])

    def selection(self) -> WidthSelection:
        channels = {
            self._groups[place].name: tuple(sorted(self._order[place][: self._widths[place]].tolist()))
            for place in self._free
            if self._widths[place] < self._groups[place].channels
        }
        every = math.fsum(float(self._kept[place][-1]) for place in self._free)
        hurt = 1.0 - self._worth(self._widths) / every if every > 0 else 0.0
        return WidthSelection(channels, self._now_s, max(0.0, hurt))

    def _offers(self, steps: range, *, down: bool) -> NDArray[np.int64]:
        """The present widths with one group changed."""
        found = []
        for place in self._free:
            channels, now = self._groups[place].channels, int(self._widths[place])
            least = math.ceil(NARROWEST * channels / MULTIPLE) * MULTIPLE
            for step in steps:
                # Widths stay multiples, but for a full width that is none.
                width = (
                    (math.ceil(now / MULTIPLE) - step) * MULTIPLE
                    if down
                    else (now // MULTIPLE + step) * MULTIPLE
                )
                width = min(width, channels)
                if width >= least and (width < now if down else width > now):
                    offer = self._widths.copy()
                    offer[place] = width
                    found.append(offer)
        return np.array(found, np.int64).reshape(-1, len(self._groups))

    def _worth(self, widths: NDArray[np.int64]) -> float:
        return math.fsum(float(self._kept[place][widths[place]]) for place in self._free)

    def _predict(self, widths: NDArray[np.int64]) -> NDArray[np.float64]:
        if not len(widths):
            return np.empty(0)
        return self._latency.latencies_s([frozenset[str]()] * len(widths), widths)
