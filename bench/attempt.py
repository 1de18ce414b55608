"""A measurement is taken again while something spoils it; here is how, and which attempt counts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from bench.core_distance import CoreDistance, CoresAround
from bench.core_watch import SLOWED, CoreSeen, CoreWatch
from bench.foreign_load import MIN_WINDOW_S, ForeignLoad, Load
from bench.gpu_watch import GpuSeen, Watch
from bench.near_cores import Patience
from bench.timing import Spoiled, trusted
from bench.verdict import Comparison
from latency_tables.measurement import GPU, REMARKS, SLOWED_CORE, Measurement

#: Samples of an attempt that was repeated because others used the cores meanwhile.
DISTURBED = "taken while others used the cores"

#: Samples of an attempt that was repeated because too few of them were taken at the core's full speed.
ON_SLOWED_CORE = "in an attempt on a core that was slowed from outside"

#: Samples of an attempt that was repeated because it may mix two modes of the machine.
MOVED = "taken while the cores moved nearer or farther"

_CORES_MOVED = "cores moved"

Taken: TypeAlias = tuple[tuple[Measurement, ...], tuple[Comparison, ...]]


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One attempt, what was seen around it, and why its samples are left out where another counts."""

    taken: Taken
    load: Load
    cores: CoresAround | None
    gpu: GpuSeen | None
    core: CoreSeen | None
    disturbance: str | None
    cause: str

    @property
    def badness(self) -> tuple[bool, bool, float, float]:
        """Samples of two modes are worst, then those of a slowed core; an unknown load is worse than any other."""
        moved = self.cores is not None and self.cores.moved
        known = [c for c in (self.load.foreign_cores, self.load.steal_cores) if c is not None]
        slowed = 0.0 if self.core is None else self.core.slowed / self.core.readings
        kept = slowed if self.cause == ON_SLOWED_CORE else 0.0
        return self.disturbance is not None, moved, kept, max(known, default=math.inf)

    def lost(self, i: int) -> int:
        """Samples of the i-th thing measured, those left out at once included."""
        measurement = self.taken[0][i]
        return len(measurement.samples_s) + sum(measurement.dropped.values())


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is looked at around an attempt, and what is made of it.

    Attributes:
        threads: that the measurement uses; on another device than the CPU, the cores that may issue its work.
        repeats: how often a spoiled measurement is taken again.
        watch: sees what others do meanwhile.
        sense: tells how the cores lie; None: not asked, since it does not matter.
        patience: waits, where it matters, until the cores are near.
        gpu: looks at the device where it is a GPU.
        core: looks at the core that runs what is timed, where that is one only.
        now_s: a monotonic clock.
        sleep: waits.
        until_s: nothing is taken again beyond this moment of ``now_s``.
    """

    threads: int
    repeats: int
    watch: ForeignLoad
    sense: Callable[[], CoreDistance] | None
    now_s: Callable[[], float]
    sleep: Callable[[float], None]
    patience: Patience
    gpu: Watch | None = None
    core: CoreWatch | None = None
    until_s: float = math.inf

    @property
    def spoiled(self) -> Spoiled:
        """What is asked after each sample."""
        watch = self.gpu or self.core
        return trusted if watch is None else watch.cause


def undisturbed(take: Callable[[], Taken], conditions: Conditions) -> Taken:
    """Measures, and again while others use the cores, slow them or move them; the least spoiled attempt counts.

    Args:
        take: measures once.
        conditions: what is looked at, and how often it may be taken again.

    Returns:
        What that attempt took. The ``host`` of its measurements tells how it was, and ``dropped`` how many samples
        of the others were left out, by cause.
    """
    attempts: list[_Attempt] = []
    while True:
        attempts.append(_attempt(take, conditions, again=bool(attempts)))
        if attempts[-1].disturbance is None or len(attempts) > conditions.repeats:
            break
        if conditions.now_s() >= conditions.until_s:
            break
    best = min(attempts, key=lambda attempt: attempt.badness)
    measurements, comparisons = best.taken
    host: dict[str, Any] = {**best.load.to_json(), "disturbance": best.disturbance, "attempts": len(attempts)}
    if best.cores is not None:
        host["cores"] = best.cores.to_json()
    if best.gpu is not None:
        host[GPU] = {**best.gpu.to_json(), REMARKS: _remarks(best.gpu, measurements)}
    if best.core is not None:
        host["core"] = best.core.to_json()
    marked = []
    for i, kept in enumerate(measurements):
        dropped = Counter(kept.dropped)
        for attempt in attempts:
            if attempt is not best:
                dropped[attempt.cause] += attempt.lost(i)
        marked.append(replace(kept, dropped=dict(dropped), host=host))
    return tuple(marked), comparisons


def _attempt(take: Callable[[], Taken], conditions: Conditions, again: bool) -> _Attempt:
    sense = conditions.sense
    before = None if sense is None else conditions.patience.near(sense)
    started_s = conditions.now_s()
    conditions.watch.start(afresh=again)
    if conditions.gpu is not None:
        conditions.gpu.start()
    if conditions.core is not None:
        conditions.core.start(again=again)
    taken = take()
    seen = None if conditions.gpu is None else conditions.gpu.stop()
    core = None if conditions.core is None else conditions.core.stop()
    if again:
        # Only what happens from now on can clear the suspicion, and it takes that long to see it.
        conditions.sleep(max(0.0, MIN_WINDOW_S - (conditions.now_s() - started_s)))
    load = conditions.watch.stop()
    cores = None if sense is None or before is None else CoresAround(before, sense())
    moved = cores is not None and cores.moved
    disturbance, cause = load.disturbance(conditions.threads), DISTURBED
    if moved:
        disturbance, cause = _CORES_MOVED, MOVED
    elif (
        disturbance is None
        and core is not None
        and core.slowed
        and not any(SLOWED in m.dropped for m in taken[0])
    ):
        disturbance, cause = SLOWED_CORE, ON_SLOWED_CORE  # too few others, so that slowed samples count
    return _Attempt(taken, load, cores, seen, core, disturbance, cause)


def _remarks(seen: GpuSeen, measurements: Sequence[Measurement]) -> list[str]:
    """What a reader should know of the GPU, in words.

    Nothing is taken again for it: a display or an idle notebook beside us, and a power cap, stay as they are.
    """
    company = [seen.company] if seen.company else []
    causes = Counter(look.throttle for look in seen.looks if look.throttle)
    if any(cause in measurement.dropped for measurement in measurements for cause in causes):
        return company
    return company + [
        f"{cause} in {count} of {len(seen.looks)} samples, which count since too few others are left"
        for cause, count in causes.items()
    ]
