"""Methods that prune an untrained network and train what is left: by early pruning, or taught by the unpruned one.

Two ways, by one ranking of weights. Single weights: as the other papers have it, and EPSD's by what reviews of it
suggest; a dense runtime is no faster for it. Whole channels: what goes with a channel is added up, the least go
until the latency budget is met, and the network is physically narrower. Which share of the weights a latency leaves
is not known while they are scored, so SynFlow, whose rounds go down to a density, ranks channels in a single round:
`synflow-structured` is not the paper's method.

Teaching is by logits: feature mimicking compares what enters the final pooling, whose channels go with the others,
so that student and teacher do not compare. It is most of what heals networks that lost blocks
(`pruning.methods.HEALING_LOSS`), and stands in the library for those that keep that width
(`pruning.recovery.teachers.Taught`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from latency_tables.errors import unknown
from pruning.early.criterion import EarlyCriterion
from pruning.early.epsd import Epsd
from pruning.early.grasp import Grasp
from pruning.early.magnitude import Magnitude
from pruning.early.meta_gradient import Inner
from pruning.early.prospr import ProsPr
from pruning.early.random import RandomScores
from pruning.early.snip import Snip
from pruning.early.synflow import SynFlow
from pruning.recovery.cs_kd import ClassWise
from pruning.recovery.dlb import LastBatch
from pruning.recovery.losses import StoredLogits
from pruning.recovery.objective import CrossEntropy, Objective
from pruning.recovery.ps_kd import Progressive
from pruning.recovery.teachers import Taught

SCORING_BATCH = 128
"""Images that weights are scored on; of more classes than these not all are among them."""
TEMPERATURE, TAUGHT = 4.0, 0.9
"""Of knowledge distillation, and the teacher's share in the loss: the usual numbers."""


@dataclass(frozen=True, slots=True)
class Training:
    """What a network trained from scratch is trained for.

    Attributes:
        self_distillation: a name of `SELF_DISTILLATIONS`, or "none" for plain cross entropy.
        images: how many training images there are.
        classes: how many outputs the network has.
        teacher: the unpruned trained network, for methods that are taught.
        seed: of everything random.
    """

    self_distillation: str
    images: int
    classes: int
    teacher: nn.Module
    seed: int

    def objective(self) -> Objective:
        """The self-distillation, fresh.

        Raises:
            UserError: there is none of that name.
        """
        if self.self_distillation not in SELF_DISTILLATIONS:
            raise unknown("self-distillation", self.self_distillation, SELF_DISTILLATIONS)
        return SELF_DISTILLATIONS[self.self_distillation](self.images, self.classes)


SELF_DISTILLATIONS: dict[str, Callable[[int, int], Objective]] = {
    "cs-kd": lambda _images, _classes: ClassWise(),
    "ps-kd": Progressive,
    "dlb": lambda _images, _classes: LastBatch(),
    "none": lambda _images, _classes: CrossEntropy(),
}
"""By name, made for so many images and classes."""


@dataclass(frozen=True, slots=True)
class ScratchMethod:
    """A way to make a small network without a trained one to start from.

    Attributes:
        name: the word for it in commands and records.
        criterion: ranks weights; None: every group of channels keeps the same share.
        structured: whether whole channels go, or single weights.
        taught: whether the unpruned trained network teaches, in place of self-distillation.
    """

    name: str
    criterion: Callable[[Training], EarlyCriterion] | None
    structured: bool
    taught: bool = False

    def objective(self, training: Training) -> Objective:
        """What the network is trained for, fresh."""
        if not self.taught:
            return training.objective()
        return Taught(self.name, training.teacher, StoredLogits(TEMPERATURE), TAUGHT)

    def ranks_plainly(self, self_distillation: str) -> bool:
        """Whether it ranks weights as ProsPr does, so that the simple combination is the method itself."""
        word = self.name.removesuffix("-structured")
        return word == "prospr" or (word == "epsd" and self_distillation == "none")


_CRITERIA: dict[str, Callable[[Training], EarlyCriterion]] = {
    "epsd": lambda training: Epsd(training.objective),
    "epsd-first-order": lambda training: Epsd(training.objective, Inner(first_order=True)),
    "prospr": lambda _: ProsPr(),
    "snip": lambda _: Snip(),
    "grasp": lambda training: Grasp(training.seed),
    "synflow": lambda _: SynFlow(),
    "magnitude": lambda _: Magnitude(),
    "random-weights": lambda training: RandomScores(training.seed),
}

SCRATCH_METHODS = {
    method.name: method
    for method in (
        *(ScratchMethod(name, made, structured=False) for name, made in _CRITERIA.items()),
        *(ScratchMethod(f"{name}-structured", made, structured=True) for name, made in _CRITERIA.items()),
        ScratchMethod("kd", None, structured=True, taught=True),
    )
}
"""Every method by its name."""
