"""Takes whole channels out of an untrained network, physically, and trains what is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench.choices import Choices
from bench.judging import Judged
from bench.school import School
from bench.shop import Shop
from latency_tables.context import Coefficients
from pruning.channels import find_strands, narrow
from pruning.early.channel_scores import channel_scores
from pruning.early.criterion import EarlyCriterion
from pruning.from_scratch import SCRATCH_METHODS, ScratchMethod, Training
from pruning.outline import Outline
from pruning.recovery.batches import drawn_by, mixed_seed
from pruning.recovery.objective import CrossEntropy, Objective
from pruning.search import Progress
from pruning.width_search import WidthSelection, choose_smart, choose_uniform, choose_widths

OTHER_CHANNELS = "same widths, channels drawn at random, trained the same way"
WEIGHTS_ANEW = "same channels, first weights drawn anew, trained the same way"
PLAIN, RANDOM = "prospr-structured", "random-weights-structured"
PLAIN_SCORES = (
    "simple combination: channels by plain cross entropy, no slower as predicted, trained the same way"
)
BY_CHANCE = "channels at random, no slower as predicted, trained the same way"
SMART = "channels by the smart density profile, no slower as predicted, trained the same way"
UNTAUGHT = "same widths, trained without a teacher"


class ChannelMaker:
    """See `bench.maker.Maker`.

    Args:
        shop: the unpruned network and the report images.
        school: how networks are trained.
        method: a structured one.

    Raises:
        UserError: what a run that was stopped had chosen cannot be read.
    """

    stage = "train"
    needs_controls = True
    costly = True

    def __init__(self, shop: Shop, school: School, method: ScratchMethod) -> None:
        self._shop, self._school, self._method = shop, school, method
        self._groups = self.outline.skeleton.groups
        self._untrained = school.untrained()
        self._known: dict[str, dict[str, NDArray[np.float64]]] = {}
        self._choices = Choices(school.folder / "choices.json", self.outline.skeleton.digest)
        # Of a run that was stopped; once, since it counts no more where it is timed again and misses the budget.
        self._before = self._choices.point

    @property
    def outline(self) -> Outline:
        """With channel groups."""
        return self._shop.subject.wide

    def choose(self, fit: Coefficients, budget_s: float, progress: Progress) -> WidthSelection:
        """See `bench.maker.Maker`."""
        progress(0, 1, "choosing channels")
        before, self._before = self._before, None
        return before or self._choose(self._method, fit, budget_s)

    def make(self, chosen: WidthSelection, progress: Progress) -> nn.Module:
        """See `bench.maker.Maker`."""
        self._choices.keep_point(chosen)
        return self._trained(chosen.channels, self._objective(), "the point", progress)

    def channels(self, chosen: WidthSelection) -> Mapping[str, tuple[int, ...]]:
        """See `bench.maker.Maker`."""
        return chosen.channels

    def controls(self, chosen: WidthSelection, fit: Coefficients, progress: Progress) -> Judged:
        """See `bench.maker.Maker`."""
        if not chosen.channels:
            return Judged()
        # It is that again where a smaller network was tried after it and failed.
        self._choices.keep_point(chosen)

        def trained(channels: Mapping[str, tuple[int, ...]], name: str, luck: int = 0) -> nn.Module:
            return self._trained(channels, self._objective(), name, progress, luck)

        def as_quick(name: str, choose: Callable[[float], WidthSelection]) -> nn.Module:
            limit_s = fit.latency_s((), dict(chosen.cut.widths))
            others = self._choices.control(name, lambda: choose(limit_s))
            return trained(others.channels, name)

        def chosen_by(method: str, name: str) -> nn.Module:
            return as_quick(name, lambda limit_s: self._choose(SCRATCH_METHODS[method], fit, limit_s))

        makers: dict[str, Callable[[], nn.Module]]
        if self._method.taught:
            makers = {UNTAUGHT: lambda: self._trained(chosen.channels, CrossEntropy(), UNTAUGHT, progress)}
        else:
            makers = {
                OTHER_CHANNELS: lambda: trained(self._redrawn(chosen), OTHER_CHANNELS),
                WEIGHTS_ANEW: lambda: trained(chosen.channels, WEIGHTS_ANEW, luck=1),
                SMART: lambda: as_quick(SMART, lambda limit_s: choose_smart(self._groups, fit, limit_s)),
            }
            if self._method.name != RANDOM:
                makers[BY_CHANCE] = lambda: chosen_by(RANDOM, BY_CHANCE)
            if not self._method.ranks_plainly(self._school.training.self_distillation):
                makers[PLAIN_SCORES] = lambda: chosen_by(PLAIN, PLAIN_SCORES)
        return self._shop.judged(makers, progress)

    def _choose(self, method: ScratchMethod, fit: Coefficients, budget_s: float) -> WidthSelection:
        if method.criterion is None:
            return choose_uniform(self._groups, fit, budget_s)
        if method.name not in self._known:
            self._known[method.name] = self._scored(method, method.criterion)
        return choose_widths(self._groups, self._known[method.name], fit, budget_s)

    def _scored(
        self, method: ScratchMethod, made: Callable[[Training], EarlyCriterion]
    ) -> dict[str, NDArray[np.float64]]:
        """What each channel of each group that may change is worth."""
        free = [group for group in self._groups if group.frozen is None]
        if method.name == RANDOM:
            # One number a channel: sums over weights would only tell how many there are.
            draw = np.random.default_rng(mixed_seed("random channels", self._school.training.seed))
            return {group.name: draw.random(group.channels) for group in free}
        # SynFlow goes in rounds down to a density; what a latency budget leaves is not known yet.
        scores = self._school.scores(method, self._untrained, 1.0)
        strands = find_strands(self._untrained, self._school.example, free)
        found = channel_scores(scores, strands, free, signed=made(self._school.training).signed)
        return {name: score.numpy() for name, score in found.items()}

    def _redrawn(self, chosen: WidthSelection) -> dict[str, tuple[int, ...]]:
        """As many channels of each group, but others."""
        draw = drawn_by("redrawn channels", self._school.training.seed)
        full = {group.name: group.channels for group in self._groups}
        return {
            name: tuple(sorted(torch.randperm(full[name], generator=draw)[: len(stays)].tolist()))
            for name, stays in chosen.channels.items()
        }

    def _objective(self) -> Objective:
        return self._method.objective(self._school.training)

    def _trained(
        self,
        channels: Mapping[str, tuple[int, ...]],
        objective: Objective,
        what: str,
        progress: Progress,
        luck: int = 0,
    ) -> nn.Module:
        model = narrow(self._school.untrained(luck), self._school.example, channels)
        apart = f"{self._method.name} {sorted(channels.items())} seed {self._school.training.seed}"
        return self._school.teach(model, objective, what, progress, apart=apart)
