"""Points as records: of a network that was made, of the unpruned one, of one that could not be made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import torch

from bench import evaluation
from bench.budget import Budget, Sparsity
from bench.delivery import Delivered
from bench.fact_views import remarks
from bench.judging import Judged
from bench.profiler import time_network
from bench.shop import Shop
from latency_tables.context import coefficients
from latency_tables.estimate import Estimate
from latency_tables.setting import Setting
from latency_tables.skeleton import Cut
from reports.results import UNPRUNED, PartTime, Point, Round


@dataclass(frozen=True)
class Recipe:
    """What makes a point.

    Attributes:
        id: the point's name, and that of its folder.
        method: name of the method.
        budget: latency allowed, or share of the weights that goes.
        seed: of everything random.
        iterations: steps of finetuning.
        rounds: most turns of the hardware loop.
        controls: whether a point that needs controls is made with them.
        command: the command line that makes the point again.
        lessons: names the folder of its trainings; points that train the same networks have one together.
    """

    id: str
    method: str
    budget: Budget | Sparsity
    seed: int
    iterations: int
    rounds: int
    controls: bool
    command: str
    lessons: str


def point_id(setting: str, method: str, budget: str, seed: int) -> str:
    """Names a point.

    Args:
        setting: what the sweep calls it, see `bench.sweep_config.SweepConfig.name_of`.
        method: name of the method.
        budget: as the user gave it; empty for the unpruned network.
        seed: of everything random.
    """
    return f"{setting}-{lessons_id(method, budget, seed)}"


def lessons_id(method: str, budget: str, seed: int) -> str:
    """Names what points of several settings train together; arguments as for `point_id`."""
    return "-".join(word for word in (method, budget.replace("%", "pct"), f"s{seed}") if word)


def done_point(
    shop: Shop,
    recipe: Recipe,
    outputs: torch.Tensor,
    delivered: Delivered,
    *,
    removed: tuple[str, ...],
    sparsity: float | None,
    predicted_s: Estimate,
    budget_s: float | None,
    met: bool | None,
    stages_s: Mapping[str, float],
    rounds: tuple[Round, ...],
    controls: Judged,
) -> Point:
    """A network that was made.

    Args:
        shop: where.
        recipe: what was asked for.
        outputs: of the network on the report images, shape (n, classes).
        delivered: its files and latency.
        removed: blocks that went, in the order in which they were chosen.
        sparsity: see `Point`, as the rest.
        predicted_s: latency by the table.
        budget_s: None where nothing was asked of the latency.
        met: whether the latency met it.
        stages_s: seconds of this point alone, by stage.
        rounds: of the hardware loop.
        controls: what it must stand beside.
    """
    measured = delivered.measured
    return Point(
        **_of_recipe(recipe, shop.session.setting),
        accuracy_before=shop.accuracy(shop.unpruned_served),
        status="done",
        reason=None,
        accuracy=shop.accuracy(outputs),
        agreement=evaluation.agreement(outputs, shop.unpruned_outputs),
        kl=evaluation.divergence(outputs, shop.unpruned_outputs),
        predicted_s=predicted_s,
        measured_s=measured.latency_s,
        unpruned_s=measured.unpruned_s,
        ratio=measured.ratio,
        trace=measured.trace,
        disturbance=measured.meanwhile,
        remarks=remarks(measured, shop.store.table(shop.session.setting)),
        budget_s=budget_s,
        met=met,
        removed=removed,
        widths=dict(measured.widths),
        sparsity=sparsity,
        parts=_parts(shop, Cut.of(removed, dict(measured.widths)), measured.unpruned_s.value),
        stages_s={**shop.stages_s, **stages_s},
        rounds=rounds,
        elsewhere={},
        controls=controls.accuracies,
        uncontrolled=controls.failed,
        artefacts={name: path.relative_to(shop.folder).as_posix() for name, path in delivered.files.items()},
    )


def unpruned_point(shop: Shop, id_: str, seed: int, artefacts: Mapping[str, str]) -> Point:
    """The unpruned network as a point, timed against itself.

    Args:
        shop: where.
        id_: the point's name.
        seed: of everything random.
        artefacts: files that were made of it, by what they are, within the run's folder.
    """
    measured = time_network(shop.subject.outline, shop.session, Cut(), "fit", shop.quick_s())
    shop.store.put_network(shop.session.setting, shop.subject.outline.skeleton.name, measured)
    outputs = shop.unpruned_served
    predicted = coefficients(shop.subject.outline.skeleton, shop.store.table(shop.session.setting)).unpruned_s
    return Point(
        **_common(shop.session.setting, id_, UNPRUNED, "", seed, ""),
        accuracy_before=shop.accuracy(outputs),
        status="done",
        reason=None,
        accuracy=shop.accuracy(outputs),
        agreement=evaluation.agreement(outputs, shop.unpruned_outputs),
        kl=evaluation.divergence(outputs, shop.unpruned_outputs),
        predicted_s=predicted,
        measured_s=measured.unpruned_s,
        unpruned_s=measured.unpruned_s,
        ratio=measured.ratio,
        trace=measured.trace,
        disturbance=measured.meanwhile,
        remarks=(),
        budget_s=None,
        met=None,
        removed=(),
        widths={},
        sparsity=None,
        parts=_parts(shop, Cut(), measured.unpruned_s.value),
        stages_s={},
        rounds=(),
        elsewhere={},
        controls={},
        uncontrolled={},
        artefacts=dict(artefacts),
    )


def failed_point(
    recipe: Recipe, setting: Setting, reason: str, accuracy_before: Estimate | None = None
) -> Point:
    """A point that could not be made, kept with its reason.

    Args:
        recipe: what was asked for.
        setting: where it was to be timed.
        reason: why there is none.
        accuracy_before: of the unpruned network; None where that is not known.
    """
    return Point(
        **_of_recipe(recipe, setting),
        accuracy_before=accuracy_before,
        status="failed",
        reason=reason,
        accuracy=None,
        agreement=None,
        kl=None,
        predicted_s=None,
        measured_s=None,
        unpruned_s=None,
        ratio=None,
        trace=None,
        disturbance=None,
        remarks=(),
        budget_s=None,
        met=None,
        removed=(),
        widths={},
        sparsity=None,
        parts=(),
        stages_s={},
        rounds=(),
        elsewhere={},
        controls={},
        uncontrolled={},
        artefacts={},
    )


def _of_recipe(recipe: Recipe, setting: Setting) -> Mapping[str, Any]:
    return _common(setting, recipe.id, recipe.method, recipe.budget.text, recipe.seed, recipe.command)


def _common(
    setting: Setting, id_: str, method: str, budget: str, seed: int, command: str
) -> Mapping[str, Any]:
    return {
        "id": id_,
        "method": method,
        "budget": budget,
        "seed": seed,
        "setting": setting.digest,
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _parts(shop: Shop, cut: Cut, unpruned_s: float) -> tuple[PartTime, ...]:
    """Each layer's share of the unpruned network's latency in context.

    The shares add up to it, and those kept to what is predicted of the network that is left. What belongs to no
    layer stays whatever goes, so that the layers outside of removable blocks share it; where it is less than
    nothing, at most what they have. Of layers that get narrower there are two: what stays, and after those of the
    same block what goes.
    """
    table = shop.store.table(shop.session.setting)
    skeleton = shop.subject.outline_for(table, widths=bool(cut.widths)).skeleton
    fit = coefficients(skeleton, table)
    before = fit.layers_s()
    left = [
        0.0 if layer.block in cut.removed else min(max(seconds, 0.0), whole)
        for layer, seconds, whole in zip(skeleton.layers, fit.layers_s(dict(cut.widths)), before, strict=True)
    ]
    gone = [whole - stays for whole, stays in zip(before, left, strict=True)]
    removable = set(skeleton.removable)
    blocks = [layer.block if layer.block in removable else None for layer in skeleton.layers]
    outside_s = sum(seconds for seconds, block in zip(left, blocks, strict=True) if block is None)
    grown = max(0.0, 1.0 + fit.constant_s / outside_s) if outside_s > 0 else 1.0
    left = [seconds if block else grown * seconds for seconds, block in zip(left, blocks, strict=True)]
    scale = unpruned_s / fit.unpruned_s.value
    found = []
    for _, group in groupby(range(len(blocks)), key=lambda place: blocks[place] or place):
        places = list(group)
        for kept, seconds in ((True, left), (False, gone)):
            for place in places:
                layer, own_s = skeleton.layers[place], scale * seconds[place]
                if own_s > 0:
                    found.append(PartTime(layer.name, layer.part.kind, blocks[place], own_s, kept))
    return tuple(found)
