"""PRACTISE's recoverability: how near a network without a block comes back with a few adaptors trained.

After Wang and Wu, "Practical network acceleration with tiny sets" (CVPR 2023, arXiv 2202.07861); the scoring of
single blocks is that of the code released with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latency_tables.errors import LatheError
from latency_tables.skeleton import Skeleton
from pruning.adaptation import BATCH_SIZE, batches
from pruning.criteria.adaptors import adaptors_in_place, find_places
from pruning.criteria.prefix import Prefix, last_unchanged, played_back, remember
from pruning.features import forward_with_features
from pruning.recovery.finetune import Schedule, shuffled_batches
from pruning.surgery import bypassed
from pruning.targets import Targets, device_of


class PractiseCriterion:
    """Hurt of a set of blocks as the sum of their recoverabilities, each trained alone and once.

    The description ranks single blocks once by recoverability over latency and drops the k lowest (one-shot). The
    sum says the same of sets: greedy search by it takes the blocks in the order of their own scores, whatever
    went before.

    Differences from the released code, each of them ours: images are not augmented, so the teacher's features are
    computed once and stored, where the released code crops, flips and runs the teacher in each step; every block is
    scored on the same images in the same order; and what stands in front of all changes is run once for a block and
    played back, which changes nothing but the time.

    Args:
        model: the unpruned network; modes, parameters and modules are restored after each call, also after errors.
        images: preprocessed, shape (n, channels, height, width), n at least 2.
        targets: of the same images with features, made in evaluation mode (`pruning.targets.pseudo_labels`).
        skeleton: of the same network, for the places of the adaptors; its removable blocks are the candidates.
        iterations: steps of training for each block, at least 0; the published scripts take 2000.
        seed: of the order of the images, the same for each block; every image is seen once before any is again.
        batch_size: images in one step; all images where there are fewer.
        learning_rate: the first rate, positive; a tenth of it at 40 and at 80 % of the steps.
        momentum: 0 to 1.
        weight_decay: at least 0; it pulls the adaptors towards zero, not towards the identity.

    Raises:
        UserError: the adaptors of a removable block have no place; see `find_places`.
        ValueError: targets without features, or of another number of images.
    """

    name = "practise"
    needs_images = True

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        targets: Targets,
        skeleton: Skeleton,
        *,
        iterations: int,
        seed: int,
        batch_size: int = 64,
        learning_rate: float = 0.02,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
    ) -> None:
        if targets.features is None or len(targets.features) != len(images):
            raise ValueError("recoverability needs the stored features of each of its images")
        self._model = model
        self._images = images
        self._wanted = targets.features
        self._skeleton = skeleton
        self._seed = seed
        self._schedule = Schedule(iterations, learning_rate, batch_size, momentum, weight_decay)
        self._places = {block: find_places(skeleton, block) for block in skeleton.removable}
        self._prefix: tuple[str, Prefix | None] | None = None
        self._known: dict[str, float] = {}

    def expect(self, removed: frozenset[str]) -> None:
        """Nothing to prepare: only single blocks are scored."""

    def hurt(self, removed: frozenset[str]) -> float:
        """The sum of the blocks' recoverabilities; see `recoverability` for the errors raised."""
        return math.fsum(self.recoverability(block) for block in removed)

    def recoverability(self, block: str) -> float:
        """R(b): mean squared difference of the features before pooling to the unpruned network's, adaptors trained.

        Args:
            block: a removable block.

        Returns:
            The mean over all elements and images, at least 0, lower is easier to win back; trained when first asked
            for and remembered.

        Raises:
            UserError: the block may not be removed, or a convolution to be adapted is no module.
            LatheError: the training diverged.
        """
        if block not in self._known:
            self._skeleton.check([block])
            self._known[block] = self._train(block)
        return self._known[block]

    def _train(self, block: str) -> float:
        model, places = self._model, self._places[block]
        device = device_of(model)
        with _frozen(model):
            prefix = self._remembered(places.first)
            with (
                bypassed(model, [block]),
                adaptors_in_place(model, places) as adaptors,
                played_back(prefix) as show,
            ):

                def features(index: Tensor) -> Tensor:
                    show(index.to(device))
                    return forward_with_features(model, self._images[index].to(device))[0].float()

                if len(adaptors):
                    self._fit(block, adaptors, features)
                return self._distance(features)

    @torch.enable_grad()  # a search may well run without gradients
    def _fit(self, block: str, adaptors: nn.ModuleList, features: Callable[[Tensor], Tensor]) -> None:
        schedule = self._schedule
        optimiser = torch.optim.SGD(
            adaptors.parameters(),
            lr=schedule.learning_rate,
            momentum=schedule.momentum,
            weight_decay=schedule.weight_decay,
        )
        count = len(self._images)
        order = shuffled_batches(
            count, min(schedule.batch_size, count), torch.Generator().manual_seed(self._seed)
        )
        for iteration in range(schedule.iterations):
            for group in optimiser.param_groups:
                group["lr"] = schedule.rate(iteration)
            index = next(order)
            loss = F.mse_loss(features(index), self._wanted[index.to(self._wanted.device)])
            value = float(loss.detach())
            if not math.isfinite(value):
                raise LatheError(
                    f"the adaptors for block {block!r} diverged: the loss is {value} at iteration "
                    f"{iteration + 1} of {schedule.iterations}. Use a learning rate below "
                    f"{schedule.learning_rate:g}."
                )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()

    @torch.no_grad()
    def _distance(self, features: Callable[[Tensor], Tensor]) -> float:
        squares = 0.0
        for index in batches(torch.arange(len(self._images)), BATCH_SIZE):
            wanted = self._wanted[index.to(self._wanted.device)]
            squares += float((features(index) - wanted).double().square().sum())
        return squares / self._wanted.numel()

    def _remembered(self, first: int) -> Prefix | None:
        """What stands in front of a change; blocks of one stage, asked for one after the other, share it."""
        block = last_unchanged(self._skeleton, first)
        if block is None:
            return None
        if self._prefix is None or self._prefix[0] != block:
            self._prefix = None  # before the next one is made: they are large
            self._prefix = (block, remember(self._model, block, self._images))
        return self._prefix[1]


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """While open, the network is in evaluation mode and no parameter of it takes a gradient."""
    modes = [(module, module.training) for module in model.modules()]
    needs = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, need in needs:
            parameter.requires_grad_(need)
