"""What differs between ways to make a small network: how to choose what goes, and how to make what stays good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

from torch import nn

from bench.judging import Judged
from latency_tables.context import Coefficients
from pruning.outline import Outline
from pruning.search import Chosen, Progress

T = TypeVar("T", bound=Chosen)


class Maker(Protocol[T]):
    """Makes one point's network.

    Attributes:
        outline: of the unpruned network, with channel groups where these are chosen from or the fit needs them.
        stage: the word for making the network good.
        needs_controls: whether controls are made for each point, which takes time.
        costly: whether making the network takes minutes, so that what is chosen is timed twice before.
    """

    @property
    def outline(self) -> Outline:
        """Of the unpruned network, with channel groups where these are chosen from or the fit needs them."""
        ...

    @property
    def stage(self) -> str:
        """The word for making the network good."""
        ...

    @property
    def needs_controls(self) -> bool:
        """Whether controls are made for each point, which takes time."""
        ...

    @property
    def costly(self) -> bool:
        """Whether making the network takes minutes, so that what is chosen is timed twice before."""
        ...

    def choose(self, fit: Coefficients, budget_s: float, progress: Progress) -> T:
        """What goes, so that the latency model predicts at most so many seconds.

        Raises:
            UserError: the budget is out of reach.
        """
        ...

    def make(self, chosen: T, progress: Progress) -> nn.Module:
        """The smaller network, healed or trained, in evaluation mode.

        Raises:
            LatheError: a number is not finite.
        """
        ...

    def channels(self, chosen: T) -> Mapping[str, tuple[int, ...]]:
        """For each group that gets narrower, the channels that stay."""
        ...

    def controls(self, chosen: T, fit: Coefficients, progress: Progress) -> Judged:
        """The networks that the result must stand beside."""
        ...
