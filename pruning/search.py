"""Which blocks go, so that the network meets a latency budget and hurts least."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from latency_tables.errors import UserError
from latency_tables.skeleton import Cut
from pruning.criteria.criterion import Remembering

Progress = Callable[[int, int, str], None]
"""Called as progress(done, total, what is being done)."""


class LatencyModel(Protocol):
    """Says how fast the network would be without some blocks; how it knows is its own affair."""

    def latency_s(self, removed: frozenset[str]) -> float:
        """Latency of the network without these blocks, in seconds, positive."""
        ...


class Chosen(Protocol):
    """What a search over blocks or over widths comes back with."""

    @property
    def cut(self) -> Cut:
        """What the network lacks."""
        ...

    @property
    def removed(self) -> tuple[str, ...]:
        """The blocks that go, in the order in which they were taken."""
        ...

    @property
    def predicted_s(self) -> float:
        """Latency predicted for the network without it, at most the budget."""
        ...

    @property
    def hurt(self) -> float | None:
        """What losing it hurts, by the criterion; None where that measures nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One removal of a greedy search.

    Attributes:
        block: the block that went.
        hurt: of all blocks removed so far, together; None where the criterion is an order and measures nothing.
        predicted_s: latency predicted for the network without them.
    """

    block: str
    hurt: float | None
    predicted_s: float


@dataclass(frozen=True, slots=True)
class Selection:
    """The outcome of a search.

    Attributes:
        removed: the blocks that go, in the order in which they were taken; empty where the network meets the
            budget as it is.
        predicted_s: latency predicted for the network without them, at most the budget.
        hurt: of the whole set; None where the criterion is an order and measures nothing.
        steps: one for each removal, those given back at the end included.
    """

    removed: tuple[str, ...]
    predicted_s: float
    hurt: float | None
    steps: tuple[Step, ...]

    @property
    def cut(self) -> Cut:
        """What the network lacks."""
        return Cut.of(self.removed)


def greedy(
    candidates: Sequence[str],
    criterion: Remembering,
    latency: LatencyModel,
    budget_s: float,
    *,
    per_saving: bool,
    progress: Progress | None = None,
) -> Selection:
    """Removes one block after the other, scoring all that remain anew each time, until the budget is met.

    Scores of single blocks need not add up: by damage to the outputs alone, blocks that are harmless one by one are
    neighbours, and harmful together; taking the k best was then no better than chance on a ResNet-56. By the
    default criterion single scores added up choose about as well (``experiments/selection_rules.py``); whether they
    do for another network is not known beforehand, rescoring costs seconds, and it stays the default.

    Per saving, the next block is the one with the least (hurt with it - hurt now) / min(saving, what the budget
    still needs): a saving beyond the gap is worth nothing. A block that is free (hurt does not rise) goes before
    one that costs, the greatest rise times saving first; one that saves nothing goes after all others. Otherwise
    the next block is the one with the least hurt, and latency only says when to stop. Ties go to the candidate
    that stands first.

    The last removal may free more than was needed. So a criterion that measures then gives back, one after the
    other, the block whose return lowers the hurt most among those whose return the budget allows.

    TT-MPD joins approximated accuracy and latency saving in one rule; the form of it here is our reconstruction.

    Args:
        candidates: the removable blocks in the order of the network.
        criterion: harm of a set of blocks.
        latency: seconds of the network without a set of blocks.
        budget_s: most latency allowed, in seconds, positive.
        per_saving: whether hurt is weighed by what it saves.
        progress: told after each score; done and total count the candidates of the current removal.

    Returns:
        The blocks that go.

    Raises:
        UserError: no candidates where some are needed, or a budget out of reach even without all candidates.
        LatheError: a score is not finite.
    """
    removed: frozenset[str] = frozenset()
    predicted_s = latency.latency_s(removed)
    hurt = 0.0
    steps: list[Step] = []
    if predicted_s > budget_s:
        _check_reachable(candidates, latency, predicted_s, budget_s)
    while predicted_s > budget_s:
        remaining = [block for block in candidates if block not in removed]
        gap_s = predicted_s - budget_s
        best: tuple[tuple[int, float], str, float, float] | None = None
        criterion.expect(removed)
        for done, block in enumerate(remaining, start=1):
            with_it = removed | {block}
            hurt_with_it = criterion.hurt(with_it)
            seconds = latency.latency_s(with_it)
            key = (0, hurt_with_it)
            if per_saving:
                key = _price(hurt_with_it - hurt, min(predicted_s - seconds, gap_s))
            if best is None or key < best[0]:
                best = (key, block, hurt_with_it, seconds)
            if progress is not None:
                progress(done, len(remaining), f"removal {len(steps) + 1}")
        if best is None:
            raise UserError(_unreachable(predicted_s, latency.latency_s(frozenset()), budget_s))
        _, block, hurt, predicted_s = best
        removed |= {block}
        steps.append(Step(block, hurt if criterion.needs_images else None, predicted_s))
    if criterion.needs_images:
        removed, hurt = _give_back(removed, hurt, criterion, latency, budget_s)
        predicted_s = latency.latency_s(removed)
    return Selection(
        tuple(step.block for step in steps if step.block in removed),
        predicted_s,
        hurt if criterion.needs_images else None,
        tuple(steps),
    )


def _give_back(
    removed: frozenset[str], hurt: float, criterion: Remembering, latency: LatencyModel, budget_s: float
) -> tuple[frozenset[str], float]:
    """Returns blocks as long as the budget allows it and the hurt falls."""
    while True:
        smaller = [removed - {block} for block in sorted(removed)]
        allowed = [fewer for fewer in smaller if latency.latency_s(fewer) <= budget_s]
        if not allowed:
            return removed, hurt
        lowest, best = min(((criterion.hurt(fewer), fewer) for fewer in allowed), key=lambda entry: entry[0])
        if lowest >= hurt:
            return removed, hurt
        removed, hurt = best, lowest


def _price(rise: float, saving_s: float) -> tuple[int, float]:
    """Sorts candidates: free ones, then those by rise per second, then those that save nothing."""
    if saving_s <= 0.0:
        return (2, rise)
    if rise <= 0.0:
        return (0, rise * saving_s)
    return (1, rise / saving_s)


def _check_reachable(
    candidates: Sequence[str], latency: LatencyModel, full_s: float, budget_s: float
) -> None:
    if not candidates:
        raise UserError(
            f"the network takes {full_s * 1e3:.3g} ms, the budget is {budget_s * 1e3:.3g} ms, and there is no "
            "block that can be removed: no sub-module adds to its input unchanged. Choose a network with "
            "residual blocks, or a budget that it already meets."
        )
    lowest_s = least_without_blocks_s(candidates, latency)
    if lowest_s > budget_s:
        raise UserError(_unreachable(lowest_s, full_s, budget_s))


def least_without_blocks_s(candidates: Sequence[str], latency: LatencyModel) -> float:
    """The least latency that taking blocks out can reach, in seconds.

    Args:
        candidates: the removable blocks.
        latency: seconds of the network without a set of blocks.
    """
    full_s = latency.latency_s(frozenset())
    helpful = frozenset(block for block in candidates if latency.latency_s(frozenset({block})) < full_s)
    return min(latency.latency_s(helpful), latency.latency_s(frozenset(candidates)))


def _unreachable(lowest_s: float, full_s: float, budget_s: float) -> str:
    return (
        f"a budget of {budget_s * 1e3:.3g} ms ({budget_s / full_s:.2f} of the whole network's) cannot be met by "
        f"removing blocks: the lowest latency within reach is {lowest_s * 1e3:.3g} ms as predicted, a ratio of "
        f"{lowest_s / full_s:.2f}. Choose a budget above that, or a smaller network."
    )
