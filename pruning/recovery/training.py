"""Training a network from scratch, masked or not: the loop, its schedule, and how it goes on after a kill."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, MultiStepLR, SequentialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from latency_tables.errors import LatheError
from pruning.recovery.batches import TrainingImages, batches, mixed_seed, require_fit
from pruning.recovery.checkpoint import digest, read_checkpoint, write_checkpoint
from pruning.recovery.masking import require_masks
from pruning.recovery.objective import Objective
from pruning.search import Progress
from pruning.targets import device_of

BLOWN_UP = 10.0
"""Two epochs on end, or the last one, with a mean loss of so many times the first one's, and of so much, are a
divergence. A training of one epoch has no other to be held against: there a number that is not finite tells."""


@dataclass(frozen=True, slots=True)
class Regime:
    """How long, how fast and in what arithmetic a network is trained: SGD with Nesterov momentum.

    Attributes:
        epochs: passes over the images, at least 1.
        batch_size: images in one step, at least 2.
        learning_rate: the highest, positive.
        momentum: 0 to 1.
        weight_decay: at least 0.
        warmup: share of the steps in which the rate rises from a tenth, 0 to below 1.
        schedule: "cosine" down to 0, or "step": a tenth at half and again at three quarters.
        average: decay of the exponential moving average of the weights and of batch norm's statistics that is kept
            in the end; the decay rises to that, see `_decay`; 0: none.
        bf16: whether passes run in bfloat16 autocast; weights and updates stay float32.
        channels_last: whether images and weights lie with their channels innermost.
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.05
    schedule: Literal["cosine", "step"] = "cosine"
    average: float = 0.0
    bf16: bool = False
    channels_last: bool = True

    def __post_init__(self) -> None:
        if self.epochs < 1 or not self.learning_rate > 0:
            raise ValueError(f"epochs and learning rate must be positive, got {self}")
        if self.batch_size < 2:
            raise ValueError(
                f"a batch needs at least 2 images, since batch norm has nothing to normalise in one, got {self}"
            )
        if not (0 <= self.warmup < 1 and 0 <= self.average < 1 and 0 <= self.momentum < 1):
            raise ValueError(f"warm-up, average and momentum must be 0 to below 1, got {self}")

    def steps(self, images: int) -> int:
        """Steps of an epoch over so many images, at least one of them; see `batches` for the last batch."""
        return images // min(self.batch_size, images)


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the images said.

    Attributes:
        loss: mean over its steps, before each update.
        accuracy: share of images that the network in training classified rightly; None without labels.
    """

    loss: float
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training did.

    Attributes:
        epochs: one entry for each, those of an earlier run of it included.
        resumed: how many of them an earlier run had made.
    """

    epochs: tuple[Epoch, ...]
    resumed: int


def train(
    model: nn.Module,
    images: TrainingImages,
    objective: Objective,
    *,
    regime: Regime,
    seed: int,
    masks: Mapping[str, Tensor] | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Trains a network in place; it ends in evaluation mode.

    With a checkpoint the training goes on after the last whole epoch, and on one thread it ends with the weights,
    to the bit, that it would have had: order, augmentation and dropout depend on seed, epoch and step alone.

    Args:
        model: with the weights to start from; all parameters are trained.
        images: what to train on.
        objective: what for; fresh.
        regime: how.
        seed: of everything random.
        masks: by weight, which entries may differ from zero; the others are set to zero and kept so.
        checkpoint: the file that each epoch's state goes to; None: none.
        progress: told after each step.

    Returns:
        Loss and accuracy by epoch.

    Raises:
        UserError: the objective misses something, the masks do not fit the network or empty a weight, or the
            checkpoint is damaged or of another training.
        LatheError: the loss is not finite, or blew up (see `BLOWN_UP`); the message names the epoch. Or the
            checkpoint cannot be written.
    """
    require_fit(images, objective)
    require_masks(model, masks or {})
    return _Training(model, images, objective, regime, seed, masks or {}, checkpoint).run(progress)


class _Training:
    def __init__(
        self,
        model: nn.Module,
        images: TrainingImages,
        objective: Objective,
        regime: Regime,
        seed: int,
        masks: Mapping[str, Tensor],
        checkpoint: Path | None,
    ) -> None:
        self._model, self._images, self._objective = model, images, objective
        self._regime, self._seed, self._checkpoint = regime, seed, checkpoint
        self._first_weights = digest(model.state_dict().values())
        if regime.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        parameters = dict(model.named_parameters())
        self._device = device_of(model)
        self._masked = [(parameters[name], masks[name].to(self._device)) for name in sorted(masks)]
        model.requires_grad_(True).train()
        self._mask()
        self._optimiser = torch.optim.SGD(
            model.parameters(),
            lr=regime.learning_rate,
            momentum=regime.momentum,
            weight_decay=regime.weight_decay,
            nesterov=regime.momentum > 0,
        )
        self._steps = regime.steps(len(images))
        self._rates = _schedule(self._optimiser, regime, self._steps * regime.epochs)
        self._average = (
            AveragedModel(model, multi_avg_fn=_averaging(regime.average), use_buffers=True)
            if regime.average
            else None
        )
        self._history: list[Epoch] = []

    def run(self, progress: Progress | None) -> Trained:
        resumed = self._resume()
        for epoch in range(resumed, self._regime.epochs):
            self._history.append(self._pass(epoch, progress))
            self._require_no_blow_up()
            self._save()
        if self._average is not None:
            self._model.load_state_dict(self._average.module.state_dict())
            self._mask()
        self._model.eval()
        self._require_finite()
        return Trained(tuple(self._history), resumed)

    def _require_no_blow_up(self) -> None:
        first, last = self._history[0].loss, self._history[-1].loss
        # One bad epoch may be made good, unless none is to come.
        recent = self._history[-2:] if len(self._history) < self._regime.epochs else self._history[-1:]
        if min(epoch.loss for epoch in recent) > BLOWN_UP * max(1.0, first):
            raise LatheError(
                f"training diverged: the mean loss of epoch {len(self._history)} of {self._regime.epochs} is "
                f"{last:.3g}, and that of the first was {first:.3g}; learning rate "
                f"{self._regime.learning_rate:.3g}. Use a smaller learning rate, a longer warm-up, or remove less."
            )

    def _require_finite(self) -> None:
        """Each loss is looked at before its update, so the last update is looked at here."""
        few = self._images.take(torch.arange(min(len(self._images), self._regime.batch_size)), self._seed)
        with torch.no_grad():
            outputs = self._model(few.to(self._device))
        if not bool(outputs.isfinite().all()):
            raise LatheError(
                "training diverged: the trained network's outputs are not finite, learning rate "
                f"{self._regime.learning_rate:.3g}. Use a smaller learning rate, a longer warm-up, or remove less."
            )

    def _pass(self, epoch: int, progress: Progress | None) -> Epoch:
        regime, total = self._regime, self._steps * self._regime.epochs
        share = (epoch + 1) / regime.epochs
        watched = _Watched(self._model)
        losses: list[float] = []
        right = seen = 0
        drawn = batches(self._images, self._objective, regime.batch_size, self._seed, epoch)
        with torch.random.fork_rng():
            torch.manual_seed(mixed_seed("dropout", self._seed, epoch))  # dropout
            layout = torch.channels_last if regime.channels_last else torch.contiguous_format
            for step, batch in enumerate(one.to(self._device, layout) for one in drawn):
                rate = self._optimiser.param_groups[0]["lr"]
                with self._arithmetic():
                    value = self._objective.loss(watched, batch, share)
                losses.append(float(value.detach()))
                if not math.isfinite(losses[-1]):
                    raise LatheError(
                        f"training diverged: the loss is {losses[-1]} in epoch {epoch + 1} of {regime.epochs}, "
                        f"step {step + 1} of {self._steps}, learning rate {rate:.3g}. Use a smaller learning "
                        "rate, a longer warm-up, or remove less."
                    )
                self._optimiser.zero_grad()
                value.backward()  # type: ignore[no-untyped-call]
                self._optimiser.step()
                self._rates.step()
                self._mask()
                if self._average is not None:
                    self._average.update_parameters(self._model)
                if batch.labels is not None:
                    right += int((watched.said(len(batch.labels)) == batch.labels).sum())
                    seen += len(batch.labels)
                if progress is not None:
                    at = f"epoch {epoch + 1} of {regime.epochs}, loss {losses[-1]:.3f}"
                    at += f", accuracy {right / seen:.1%}" if seen else ""
                    progress(epoch * self._steps + step + 1, total, at)
        return Epoch(math.fsum(losses) / len(losses), right / seen if seen else None)

    def _arithmetic(self) -> AbstractContextManager[Any]:
        if not self._regime.bf16:
            return nullcontext()
        return torch.autocast(self._device.type, torch.bfloat16)

    def _mask(self) -> None:
        with torch.no_grad():
            for parameter, mask in self._masked:
                parameter.mul_(mask)

    def _resume(self) -> int:
        if self._checkpoint is None or not self._checkpoint.exists():
            return 0
        state = read_checkpoint(self._checkpoint, self._identity)
        self._model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._rates.load_state_dict(state["rates"])
        self._objective.load_state_dict(state["objective"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self._history = [Epoch(loss, accuracy) for loss, accuracy in state["history"]]
        return len(self._history)

    def _save(self) -> None:
        if self._checkpoint is None:
            return
        state: dict[str, Any] = {
            "model": self._model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "rates": self._rates.state_dict(),
            "objective": self._objective.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "history": [(epoch.loss, epoch.accuracy) for epoch in self._history],
        }
        write_checkpoint(self._checkpoint, self._identity, state)

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be gone on from."""
        labels = self._images.labels
        return {
            **asdict(self._regime),
            "seed": self._seed,
            "images": len(self._images),
            "objective": self._objective.name,
            **{f"the objective's {name}": value for name, value in self._objective.identity().items()},
            # One device's kernels do not go on with another's to the bit.
            "device": self._device.type,
            "labels": "none" if labels is None else digest([labels]),
            "first weights": self._first_weights,
            "masks": digest(mask for _, mask in self._masked) if self._masked else "none",
        }


class _Watched(nn.Module):
    """The network itself; remembers the classes it said, so that accuracy costs no pass of its own."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._first: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        if logits.requires_grad:  # the pass that is learnt from, not one that only gives targets
            self._first = logits.detach().argmax(1)
        return logits

    def said(self, count: int) -> Tensor:
        """Classes of the last batch's images, the repeated ones behind them left out."""
        if self._first is None:
            raise RuntimeError("no pass was made")
        return self._first[:count]


def _decay(most: float, averaged: int) -> float:
    """What the average keeps of itself when it has seen so many steps.

    The usual warm-up, (1 + n) / (10 + n), up to what was asked for: without it 90 steps at 0.999 would keep 91 % of
    what the first one left.
    """
    return min(most, (1 + averaged) / (10 + averaged))


def _averaging(most: float) -> Callable[[Any, Any, Tensor | int], None]:
    """As `AveragedModel` asks for it, which counts the steps and keeps the count in its state."""

    def update(averages: Any, values: Any, averaged: Tensor | int) -> None:
        kept = _decay(most, int(averaged))
        get_ema_multi_avg_fn(kept)(averages, values, averaged)  # type: ignore[no-untyped-call]

    return update


def _schedule(optimiser: torch.optim.Optimizer, regime: Regime, steps: int) -> LRScheduler:
    warmup = round(regime.warmup * steps)
    rest = steps - warmup
    after: LRScheduler
    if regime.schedule == "cosine":
        after = CosineAnnealingLR(optimiser, max(1, rest))
    else:
        after = MultiStepLR(optimiser, [max(1, round(share * steps) - warmup) for share in (0.5, 0.75)])
    if not warmup:
        return after
    rising = LinearLR(optimiser, start_factor=0.1, total_iters=warmup)
    return SequentialLR(optimiser, [rising, after], [warmup])
