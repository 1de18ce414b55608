"""Every variable that may tell what a removal will cost after finetuning, by name and behind one interface.

Which of them do, and at what price, is measured by ``experiments/ttmpd_signal.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from latency_tables.skeleton import Skeleton
from pruning.criteria.criterion import Criterion, Joint
from pruning.criteria.damage import (
    DamageCriterion,
    Measure,
    disagreement,
    feature_damage,
    kl,
    kl_after_calibration,
)
from pruning.criteria.gradient import GradientCriterion
from pruning.criteria.linear import (
    MappedCriterion,
    RunsCriterion,
    unexplained,
    unexplained_features,
)
from pruning.criteria.order import OrderCriterion, last_first, random_order
from pruning.criteria.practise import PractiseCriterion
from pruning.criteria.streams import Run, Streams
from pruning.criteria.structure import CapacityCriterion
from pruning.passes import Passes
from pruning.targets import Targets

SCORING_IMAGES = 200
"""How many of the images variables are measured on; the time of a search grows in proportion."""


@dataclass(frozen=True)
class Workpiece:
    """What criteria are made from; what several of them need is computed once, when first asked for.

    Attributes:
        teacher: the unpruned network, its statistics re-estimated; as it was after every score.
        images: preprocessed, shape (n, channels, height, width), n at least 2, in random order.
        labels: the teacher's pseudo labels for all images, with features.
        skeleton: of the network; its removable blocks are the candidates.
        seed: of what a criterion draws.
        scoring_images: how many of the first images variables are measured on; all, where there are fewer.
    """

    teacher: nn.Module
    images: Tensor
    labels: Targets
    skeleton: Skeleton
    seed: int = 0
    scoring_images: int = SCORING_IMAGES

    @property
    def candidates(self) -> tuple[str, ...]:
        """The removable blocks in the network's order."""
        return self.skeleton.removable

    @property
    def scored(self) -> Tensor:
        """The images that variables are measured on."""
        return self.images[: self.scoring_images]

    @cached_property
    def passes(self) -> Passes:
        """With the statistics of each batch: with those of training a removal looks far worse than it is."""
        return Passes(self.teacher, self.scored, self.candidates)

    @cached_property
    def trained_passes(self) -> Passes:
        """With the statistics that batch norm keeps."""
        return Passes(self.teacher, self.scored, self.candidates, trained=True)

    @cached_property
    def streams(self) -> Streams:
        """What flows between neighbouring blocks."""
        return Streams(self.teacher, self.scored, self.candidates)

    def practise(self, iterations: int) -> PractiseCriterion:
        """PRACTISE's recoverability, each block's adaptors trained for so many steps on all images."""
        return PractiseCriterion(
            self.teacher, self.images, self.labels, self.skeleton, iterations=iterations, seed=self.seed
        )


@dataclass(frozen=True, slots=True)
class Variable:
    """A way to make a criterion.

    Attributes:
        name: the word for it.
        summary: what it measures, in half a sentence.
        make: the criterion for a workpiece.
    """

    name: str
    summary: str
    make: Callable[[Workpiece], Criterion]


def _outputs(name: str, summary: str, measure: Measure) -> Variable:
    return Variable(name, summary, lambda piece: DamageCriterion(name, piece.passes, measure))


def _outputs_trained(name: str, summary: str, measure: Measure) -> Variable:
    return Variable(name, summary, lambda piece: DamageCriterion(name, piece.trained_passes, measure))


def _mapped(name: str, summary: str, measure: Measure) -> Variable:
    return Variable(name, summary, lambda piece: MappedCriterion(name, piece.passes, piece.streams, measure))


def _streams(name: str, summary: str, measure: Callable[[Streams, Run], float]) -> Variable:
    return Variable(name, summary, lambda piece: RunsCriterion(name, piece.streams, measure))


def _joint(*names: str) -> Variable:
    """The geometric mean of single variables."""
    name = "*".join(names)
    return Variable(
        name,
        "geometric mean of its parts",
        lambda piece: Joint(name, [_SINGLE[part].make(piece) for part in names]),
    )


_SINGLE = {
    variable.name: variable
    for variable in (
        _outputs("kl", "KL of the outputs, batch statistics", kl),
        _outputs("calibrated-kl", "KL once scale and class offsets are made good", kl_after_calibration),
        _outputs("disagreement", "share of images given another class, batch statistics", disagreement),
        _outputs("features", "damage to the features before pooling, batch statistics", feature_damage),
        _outputs("end-map", "features that no linear map behind the network explains", unexplained_features),
        _outputs_trained("kl-trained", "KL of the outputs, statistics of training", kl),
        _outputs_trained("features-trained", "feature damage, statistics of training", feature_damage),
        _mapped("mapped-kl", "KL with the best 1x1 map in the blocks' place", kl),
        _mapped("mapped-calibrated-kl", "the same, scale and class offsets made good", kl_after_calibration),
        _mapped("mapped-features", "feature damage with the best 1x1 map in the place", feature_damage),
        _streams("unexplained", "share of the output that no 1x1 map of the input explains", unexplained),
        _streams("change", "relative change to the input", Streams.change),
        Variable(
            "gradient",
            "loss over its squared gradient",
            lambda piece: GradientCriterion(piece.teacher, piece.scored, piece.passes),
        ),
        Variable("capacity", "how little its stage keeps", lambda piece: CapacityCriterion(piece.streams)),
        Variable(
            "random", "an order drawn at random", lambda piece: random_order(piece.candidates, piece.seed)
        ),
        Variable("last", "the last block first", lambda piece: last_first(piece.candidates)),
        Variable("first", "the first block first", lambda piece: OrderCriterion("first", piece.candidates)),
    )
}

_JOINTS = (
    _joint("calibrated-kl", "features"),
    _joint("calibrated-kl", "unexplained"),
    _joint("calibrated-kl", "capacity"),
    _joint("calibrated-kl", "end-map"),
    _joint("mapped-calibrated-kl", "unexplained"),
    _joint("calibrated-kl", "unexplained", "capacity"),
    _joint("calibrated-kl", "end-map", "capacity"),
)

VARIABLES = _SINGLE | {joint.name: joint for joint in _JOINTS}
"""Every variable and joint score by its name; PRACTISE's recoverability is `Workpiece.practise`."""
