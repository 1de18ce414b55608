"""What all points of a run share, as its record says it."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Collection
from dataclasses import asdict, replace
from datetime import UTC, datetime

from bench.fact_views import facts_of, launch_cost
from bench.host import HostState, Severity, cpu_device
from bench.identity import healing_text
from bench.sweep_config import SweepConfig
from latency_tables.closure import Foreseen, foreseen, joined
from latency_tables.setting import Setting
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.store import Store
from reports.results import FROM_SCRATCH, HEALING, Closure, Run

_PACKAGES = ("lathe", "torch", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "timm")


def make_record(
    config: SweepConfig,
    settings: Collection[Setting],
    skeleton: Skeleton,
    store: Store,
    state: HostState,
    *,
    name: str,
    weights: str,
    command: str,
) -> Run:
    """The run's record, with the closure of every setting profiled so far.

    Args:
        config: what is run.
        settings: all in which it is run.
        skeleton: of the unpruned network.
        store: holds the tables.
        state: of the host before anything was run.
        name: of the run.
        weights: where those of the unpruned network are from, in words.
        command: the command line that makes the run again.
    """
    warnings = [f"{f.name}: {f.value}. {f.remedy}" for f in state.findings if f.severity is Severity.WARNING]
    closure = [row for setting in settings for row in _closure(skeleton, setting, store)]
    return Run(
        name=name,
        network=config.network,
        input="x".join(map(str, skeleton.graph.inputs[0].shape[1:])),
        weights=weights,
        training=training_texts(config),
        images=images_text(config),
        shift=config.shift,
        settings={s.digest: {**s.to_json(), "label": s.label} for s in settings},
        host={"device": asdict(cpu_device()), **state.to_json(), "warnings": warnings},
        versions=software(),
        command=command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        closure=tuple(closure),
        launch={
            s.digest: launch
            for s in settings
            if (launch := launch_cost(skeleton, store.table(s))) is not None
        },
        facts={
            s.digest: facts for s in settings if (facts := facts_of(skeleton, store.table(s))) is not None
        },
    )


def merged(before: Run, now: Run) -> Run:
    """The record of a folder that was run before: what is known of earlier settings stays."""
    others = {digest: setting for digest, setting in before.settings.items() if digest not in now.settings}
    kept = tuple(row for row in before.closure if row.setting in others)
    launch = {digest: known for digest, known in before.launch.items() if digest in others}
    facts = {digest: known for digest, known in before.facts.items() if digest in others}
    return replace(
        now,
        settings={**others, **now.settings},
        closure=(*kept, *now.closure),
        launch={**launch, **now.launch},
        facts={**facts, **now.facts},
        training={**before.training, **now.training},
        created=before.created,
    )


def training_texts(config: SweepConfig) -> dict[str, str]:
    """How networks are trained once something was taken out, by its name; only what the methods do."""
    texts = {}
    if config.takes_blocks:
        texts[HEALING] = f"{config.iterations} steps, {healing_text()}"
    if config.scratch_methods:
        average = f", weights averaged ({config.average:g})" if config.average else ""
        texts[FROM_SCRATCH] = (
            f"{config.epochs} epochs at {config.learning_rate:g} ({config.schedule}){average}, "
            f"self-distillation {config.self_distillation}, images {config.augmentation}, "
            f"of {config.train or 'those to calibrate'}"
        )
    return texts


def images_text(config: SweepConfig) -> str:
    """The images in words: where from, how many of them to calibrate and to train on."""
    count = config.image_choice().train_count
    trained = "" if count is None else f", {count} to train on"
    return f"{config.images}, {config.calibration} to calibrate{trained}"


def _closure(skeleton: Skeleton, setting: Setting, store: Store) -> list[Closure]:
    """Every whole network so far, by its sound timings, against what the table now says of it.

    Both are given for the same unpruned latency, since passes minutes apart are made at different speeds.
    """
    found = foreseen(skeleton, store.table(setting))
    if found is None:
        return []
    fit, rows = found
    networks: dict[Cut, list[Foreseen]] = {}
    for row in rows:
        networks.setdefault(row.timed.cut, []).append(row)
    return [
        Closure(
            setting=setting.digest,
            name=f"{skeleton.name} {_lack(cut)}",
            predicted_s=timings[0].predicted.scaled(fit.unpruned_s.value),
            measured_s=joined([row.timed.ratio for row in timings]).scaled(fit.unpruned_s.value),
            fitted=timings[0].fitted,
        )
        for cut, timings in networks.items()
    ]


def _lack(cut: Cut) -> str:
    if not cut.widths:
        return f"less {', '.join(cut.removed)}"
    return cut.words


def software() -> dict[str, str]:
    """Versions of what takes part, by name."""
    # A release goes on with what its builder calls it, which says nothing but whose machine it is.
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    versions = {"python": platform.python_version(), "system": system}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
