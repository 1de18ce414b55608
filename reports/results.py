"""The records of a run: what it was, and one point for each network that was made."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from latency_tables.estimate import Estimate
from latency_tables.trace import Trace

UNPRUNED = "unpruned"
"""The method of the point that stands for the whole network."""

UNKNOWN = "unknown"
"""What a run's text says of what its format did not tell."""

HEALING = "healing"
"""A run's training of what is left of a trained network."""

FROM_SCRATCH = "training from scratch"
"""A run's training of networks that were narrowed or thinned out before it."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=,@-]*")


@dataclass(frozen=True, slots=True)
class PartTime:
    """One layer or block of the unpruned network with its time in context.

    Attributes:
        name: the part's name in the network.
        kind: what it is, as in "convolution" or "block".
        block: the removable block that it belongs to; None outside of blocks.
        latency_s: its share of the network's latency, at least 0.
        kept: whether the pruned network still has it.
    """

    name: str
    kind: str
    block: str | None
    latency_s: float
    kept: bool

    def __post_init__(self) -> None:
        if self.latency_s < 0:
            raise ValueError(f"latency_s must be at least 0, got {self.latency_s}")


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of the hardware loop: a plan was predicted, built and timed.

    Attributes:
        removed: names of the blocks that the plan takes out.
        widths: channels that stay, by group, of the groups that get narrower.
        predicted_s: whole-network latency by the table as it stood then.
        measured_s: whole-network latency on the device.
        met: whether the measured latency met the budget at the stated confidence.
    """

    removed: tuple[str, ...]
    widths: dict[str, int]
    predicted_s: Estimate
    measured_s: Estimate
    met: bool

    def __post_init__(self) -> None:
        _check_above_0(predicted_s=self.predicted_s.value, measured_s=self.measured_s.value)


@dataclass(frozen=True, slots=True)
class Point:
    """What one method made of the network under one budget with one seed.

    Attributes:
        id: names the file; letters, digits and ``._+=,@-``.
        method: the method's name; "unpruned" for the whole network.
        budget: as the user gave it, "0.7x" or "8ms"; empty for the unpruned network.
        seed: of everything random.
        setting: digest of the setting that the latencies are valid for.
        status: "done" or "failed".
        reason: why it failed; None when done.
        accuracy: share of the test images classified rightly, 0 to 1; None without labels.
        accuracy_before: the same of the unpruned network on the same images, in the same setting.
        agreement: share of the test images given the class that the unpruned network gives in fp32, 0 to 1.
        kl: mean divergence from that network's outputs in fp32, in nats, at least 0.
        predicted_s: latency by the table.
        measured_s: latency on the device; a done point has one.
        unpruned_s: the unpruned network's latency in the same interleaved pass.
        ratio: measured over unpruned latency, from pairs of the same pass.
        trace: samples of the pruned and the unpruned network in that pass; None where not kept.
        disturbance: what else used the machine in that pass, in words; None: nothing seen.
        remarks: what the runtime told of this network and not of the unpruned one, in words.
        budget_s: the budget in seconds.
        met: whether the measured latency met the budget; None without a budget.
        removed: names of the blocks taken out.
        widths: channels that stay, by group, of the groups that are narrower.
        sparsity: share of the weights taken out one by one, 0 to 1; None where whole parts go.
        parts: all parts of the unpruned network, in its order; one that gets narrower stands there twice, with the
            time that stays and with the time that goes.
        stages_s: seconds spent in each stage, by its name.
        rounds: the hardware loop, in order.
        elsewhere: measured over unpruned latency in other settings of the run, by the setting's digest.
        controls: accuracy of the networks that the result must stand beside, by name.
        uncontrolled: why other such networks could not be made, by name.
        artefacts: files of the point by what they are; paths relative to the run's folder.
        command: the command line that makes this point again.
        created: time in ISO 8601.
    """

    id: str
    method: str
    budget: str
    seed: int
    setting: str
    status: Literal["done", "failed"]
    reason: str | None
    accuracy: Estimate | None
    accuracy_before: Estimate | None
    agreement: Estimate | None
    kl: Estimate | None
    predicted_s: Estimate | None
    measured_s: Estimate | None
    unpruned_s: Estimate | None
    ratio: Estimate | None
    trace: Trace | None
    disturbance: str | None
    remarks: tuple[str, ...]
    budget_s: float | None
    met: bool | None
    removed: tuple[str, ...]
    widths: dict[str, int]
    sparsity: float | None
    parts: tuple[PartTime, ...]
    stages_s: dict[str, float]
    rounds: tuple[Round, ...]
    elsewhere: dict[str, Estimate]
    controls: dict[str, Estimate]
    uncontrolled: dict[str, str]
    artefacts: dict[str, str]
    command: str
    created: str

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(f"id must be letters, digits and ._+=,@- (no leading dot), got {self.id!r}")
        if (self.status == "failed") != bool(self.reason):
            raise ValueError(f"reason must tell why exactly if failed, got {self.status!r}, {self.reason!r}")
        if self.status == "done" and self.measured_s is None:
            raise ValueError("measured_s must be known for a point that is done, got none")
        if self.sparsity is not None and not 0 <= self.sparsity <= 1:
            raise ValueError(f"sparsity must be a share from 0 to 1, got {self.sparsity}")
        shares = {"accuracy": self.accuracy, "accuracy_before": self.accuracy_before}
        for name, share in {**shares, "agreement": self.agreement, **self.controls}.items():
            if share is not None and not 0 <= share.value <= 1:
                raise ValueError(f"{name} must be a fraction from 0 to 1, got {share.value}")
        times = {name: getattr(self, name) for name in ("predicted_s", "measured_s", "unpruned_s", "ratio")}
        _check_above_0(**{name: time and time.value for name, time in times.items()}, budget_s=self.budget_s)
        _check_above_0(**{f"elsewhere.{name}": ratio.value for name, ratio in self.elsewhere.items()})
        if self.kl is not None and self.kl.value < 0:
            raise ValueError(f"kl must be at least 0, got {self.kl.value}")
        for name, seconds in self.stages_s.items():
            if seconds < 0:
                raise ValueError(f"stages_s.{name} must be at least 0, got {seconds}")
        for name, path in self.artefacts.items():
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise ValueError(f"artefacts.{name} must lie in the run's folder, got {path!r}")
        _check_time(self.created)


@dataclass(frozen=True, slots=True)
class Closure:
    """Predicted against measured latency of one network, to judge the table by.

    Attributes:
        setting: digest of the setting.
        name: which network or plan.
        predicted_s: by the table.
        measured_s: on the device.
        fitted: whether the table was fitted to this measurement, so that it proves little.
    """

    setting: str
    name: str
    predicted_s: Estimate
    measured_s: Estimate
    fitted: bool

    def __post_init__(self) -> None:
        _check_above_0(predicted_s=self.predicted_s.value, measured_s=self.measured_s.value)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a runtime told of the unpruned network when it was made ready; empty where there was nothing to tell.

    Attributes:
        graph_breaks: how often a compiler gave up, by reason.
        ran_in_floats: how many nodes multiplied floats though integers were asked for, by operator.
        ran_elsewhere: names of nodes that others ran than the provider that is timed, by provider.
        builds_s: the network's latency in each of several builds, seconds.
        launch_unknown: why what launching costs could not be measured; None: it could, or nothing is launched.
    """

    graph_breaks: dict[str, int]
    ran_in_floats: dict[str, int]
    ran_elsewhere: dict[str, tuple[str, ...]]
    builds_s: tuple[float, ...]
    launch_unknown: str | None

    def __post_init__(self) -> None:
        for what, counts in (("graph_breaks", self.graph_breaks), ("ran_in_floats", self.ran_in_floats)):
            _check_above_0(**{f"{what}.{name}": count for name, count in counts.items()})
        _check_above_0(**{f"builds_s[{i}]": seconds for i, seconds in enumerate(self.builds_s)})


@dataclass(frozen=True, slots=True)
class Run:
    """What all points of a run share.

    Attributes:
        name: the run's name.
        network: as named on the command line.
        input: the size of an image that it takes, as in "3x224x224"; "unknown" of a run that did not tell.
        weights: where those of the unpruned network are from, in words.
        training: how its networks were trained once something was taken out, in words, under `HEALING` or
            `FROM_SCRATCH`; only what its methods did; empty of a run that did not tell.
        images: the image source, as named on the command line.
        shift: the corruption applied to the images; None for clean ones.
        settings: plain JSON description of each setting by its digest, with a short text under "label".
        host: plain JSON record of the machine and its state, with texts under "warnings".
        versions: of the software that took part, by name.
        command: the command line that makes the run again.
        created: time in ISO 8601.
        closure: how well the table predicts whole networks.
        launch: by setting, what the unpruned network takes when its work waits in the device's queue ("queued_s")
            and when it is issued as it comes ("issued_s"), seconds; only settings where that was measured.
        facts: by setting, what its runtime told; only settings where there was something to tell.
    """

    name: str
    network: str
    input: str
    weights: str
    training: dict[str, str]
    images: str
    shift: str | None
    settings: dict[str, dict[str, Any]]
    host: dict[str, Any]
    versions: dict[str, str]
    command: str
    created: str
    closure: tuple[Closure, ...]
    launch: dict[str, dict[str, float]]
    facts: dict[str, Facts]

    def __post_init__(self) -> None:
        for digest in self.launch:
            if digest not in self.settings:
                raise ValueError(f"launch names setting {digest!r}, which is not in settings")
            _check_above_0(**{name: self.launch[digest].get(name) for name in ("queued_s", "issued_s")})
        for digest in self.facts:
            if digest not in self.settings:
                raise ValueError(f"facts names setting {digest!r}, which is not in settings")
        for digest, setting in self.settings.items():
            if not isinstance(setting.get("label"), str):
                raise ValueError(f'settings.{digest} must have a text under "label", got {setting!r}')
        for row in self.closure:
            if row.setting not in self.settings:
                raise ValueError(
                    f"closure of {row.name!r} names setting {row.setting!r}, which is not in settings"
                )
        _check_time(self.created)


def _check_above_0(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and value <= 0:
            raise ValueError(f"{name} must be above 0, got {value}")


def _check_time(text: str) -> None:
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"created must be a time in ISO 8601, got {text!r}") from error
