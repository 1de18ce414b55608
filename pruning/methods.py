"""Depth pruning methods by name: which criterion chooses, and whether latency weighs in the choice.

All methods share what comes before and after, so that a comparison is one of choices. The controls take their order
as it comes; the methods that measure also give back what a last removal freed beyond need. The stages, in order,
each a call of its own so that a caller can time it::

    teacher = adapt_statistics(model, images).model
    labels = pseudo_labels(teacher, images, keep_features=HEALING_LOSS.needs_features)
    scorer = method.scorer(Workpiece(teacher, images, labels, skeleton, seed))
    selection = method.select(scorer, skeleton.removable, latency, budget_s)   # again, with a corrected latency
    student = remove_blocks(teacher, selection.removed)
    heal(student, images, labels, seed=seed, iterations=200)

A second `select` with the same scorer scores no set twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor, nn

from latency_tables.errors import unknown
from pruning.adaptation import batch_norms
from pruning.criteria.criterion import Additive, Criterion, Remembering
from pruning.criteria.variables import VARIABLES, Workpiece
from pruning.from_scratch import SCRATCH_METHODS
from pruning.recovery.finetune import Finetuned, Schedule, finetune
from pruning.recovery.losses import StoredBoth
from pruning.recovery.teachers import Stored
from pruning.search import LatencyModel, Progress, Selection, greedy
from pruning.targets import Targets

HEALING_LOSS = StoredBoth(0.03)
"""What a pruned network is pulled towards, by ``experiments/healing.py``."""

HEALING_RATE = 0.05
"""The first rate of finetuning with `HEALING_LOSS`, by the same."""

HEALING_RATE_WITHOUT_NORM = 0.003
"""The same where no batch norm keeps a step from running away."""

_CriterionFactory = Callable[[Workpiece], Criterion]


class Scored(Enum):
    """What a method scores with images, which is most of the time that its choice takes."""

    NOTHING = "nothing"
    BLOCKS = "blocks"  #: each block once
    SETS = "sets"  #: after each removal whatever may go next


@dataclass(frozen=True, slots=True)
class Method:
    """A way to choose the blocks that go.

    Attributes:
        name: the word for it in commands and records.
        criterion: makes the criterion for a network and its scoring images.
        per_saving: whether hurt is weighed by the latency it saves; without, latency only says when to stop.
        scored: what it scores with images.
        needs_controls: whether its points stand beside controls of their own, which cost as much again.
        block_steps: steps of training that the score of a block takes; 0: passes over the scoring images.
    """

    name: str
    criterion: _CriterionFactory
    per_saving: bool
    scored: Scored
    needs_controls: bool = False
    block_steps: int = 0

    def scorer(self, piece: Workpiece) -> Remembering:
        """Prepares the scoring of candidates; to be kept for every search on the same network and images."""
        return Remembering(self.criterion(piece))

    def select(
        self,
        scorer: Remembering,
        candidates: Sequence[str],
        latency: LatencyModel,
        budget_s: float,
        *,
        progress: Progress | None = None,
    ) -> Selection:
        """The blocks that go; see `pruning.search.greedy` for the rule and the errors raised."""
        return greedy(candidates, scorer, latency, budget_s, per_saving=self.per_saving, progress=progress)


def heal(
    student: nn.Module,
    images: Tensor,
    labels: Targets,
    *,
    seed: int,
    iterations: int,
    progress: Progress | None = None,
) -> Finetuned:
    """Finetunes a pruned network on the pseudo labels, in place, the same way for every method.

    Args:
        student: the pruned network, cut from the adapted one.
        images: all images, shape (n, channels, height, width).
        labels: pseudo labels of the same images, with features.
        seed: of the order of the images.
        iterations: steps, at least 1.
        progress: told after each step.

    Returns:
        The loss of each step; errors as in `pruning.recovery.finetune.finetune`.
    """
    generator = torch.Generator().manual_seed(seed)
    objective = Stored(labels, HEALING_LOSS)
    rate = HEALING_RATE if batch_norms(student) else HEALING_RATE_WITHOUT_NORM
    schedule = Schedule(iterations, rate)
    return finetune(student, images, objective, schedule=schedule, generator=generator, progress=progress)


def get_method(name: str) -> Method:
    """The method of that name; ``practise-N`` is PRACTISE with N steps of adaptor training for each block.

    Raises:
        UserError: there is none; the message lists all.
    """
    if match := re.fullmatch(r"practise-([1-9]\d{0,5})", name):
        return practise(name, int(match[1]))
    if name not in METHODS:
        raise unknown("method", name, (*METHODS, "practise-N", *SCRATCH_METHODS))
    return METHODS[name]


def practise(name: str, iterations: int) -> Method:
    """PRACTISE's choice: the blocks with the least trained recoverability over latency, ranked once.

    After Wang and Wu, "Practical network acceleration with tiny sets" (CVPR 2023). The search is that of all
    methods here: over summed scores it takes blocks in the order of score over latency, but weighs the last ones
    by what the budget still needs and gives back what they freed beyond it. Finetuning, too, is that of all
    methods, where PRACTISE mimics features alone. See `pruning.criteria.practise` for what else differs.

    Args:
        name: the word for it in commands and records.
        iterations: steps of training of each block's adaptors, at least 1.
    """
    return Method(
        name,
        lambda piece: piece.practise(iterations),
        per_saving=True,
        scored=Scored.BLOCKS,
        block_steps=iterations,
    )


JOINT = VARIABLES["calibrated-kl*unexplained*capacity"]
"""What a set of blocks is worth in one number (our reconstruction): the geometric mean of what the outputs lose
once their scale and offsets are made good, of what no linear map in the blocks' place could make good, and of how
little the blocks' stages keep.

The first measures damage, the second and third what of it cannot come back. Of all variables and joints that were
tried it ranks blocks, and sets of them, most like real finetuning does over three networks, three shifts and two
seeds, and its plans of three blocks lose least; without capacity it ranks about as well, and its plans lose more on
the smallest network: ``experiments/ttmpd_signal.py``, with its page ``docs/results/ttmpd_signal.md``.
"""

METHODS = {
    method.name: method
    for method in (
        # Our reconstruction of TT-MPD: least damage per second saved, scored anew after each removal.
        Method("ttmpd", JOINT.make, per_saving=True, scored=Scored.SETS, needs_controls=True),
        # The same by the scores of single blocks, added up: a fifth of the scoring on 25 blocks.
        Method(
            "ttmpd-once",
            lambda piece: Additive(Remembering(JOINT.make(piece))),
            per_saving=True,
            scored=Scored.BLOCKS,
            needs_controls=True,
        ),
        # The same choice without its latency term: least damage, until the budget is met.
        Method("ttmpd-no-latency", JOINT.make, per_saving=False, scored=Scored.SETS),
        practise("practise", 1000),
        # Controls.
        Method("random", VARIABLES["random"].make, per_saving=False, scored=Scored.NOTHING),
        Method("last", VARIABLES["last"].make, per_saving=False, scored=Scored.NOTHING),
    )
}
"""Every method by its name; `get_method` knows ``practise-N`` besides."""
