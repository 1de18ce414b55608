"""Whether something else used the cores while a measurement was taken."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.proc import CpuTimes, allowed_cpus, cpu_times, process_cpu_s

#: Share of a core, for each core in use, above which foreign work (or stolen time) spoils a measurement: less
#: than that stays within the accounting's own error over `MIN_WINDOW_S`.
THRESHOLD = 0.15

#: Busy time is counted in ticks of 10 ms; over a shorter time than this the count means nothing.
MIN_WINDOW_S = 0.4


@dataclass(frozen=True, slots=True)
class Load:
    """What others did to the cores that may be used.

    Attributes:
        window_s: the time looked at.
        foreign_cores: cores' worth of work that was not ours; None: unknown.
        steal_cores: cores' worth of time that the hypervisor gave to other guests; None: unknown.
    """

    window_s: float
    foreign_cores: float | None
    steal_cores: float | None

    def disturbance(self, threads: int) -> str | None:
        """What disturbed a measurement on that many threads, in words; None: nothing known."""
        for cores, what in ((self.foreign_cores, "foreign load"), (self.steal_cores, "steal time")):
            if cores is not None and cores > THRESHOLD * threads:
                return what
        return None

    def to_json(self) -> dict[str, float | None]:
        """Plain numbers; what is unknown is null."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Look:
    now_s: float
    machine: CpuTimes | None
    own_s: float


@dataclass(frozen=True, slots=True)
class _Span:
    window_s: float
    foreign_s: float
    steal_s: float


class ForeignLoad:
    """Watches what others do from `start` to `stop`, again and again.

    A measurement that is too short for the system's accounting is judged together with those before it. The
    time between a stop and the next start does not count: the process that asks may then work itself, or
    have another of its workers measure.

    Args:
        pids: processes that belong to us: the one that measures, and the one that waits for it.
        now_s: a monotonic clock, seconds.
        root: where /proc is.
    """

    def __init__(self, pids: Sequence[int], now_s: Callable[[], float], root: Path = Path("/")) -> None:
        self._pids = tuple(pids)
        self._now_s = now_s
        self._root = root
        self._cpus = allowed_cpus(root)
        self._spans: deque[_Span] = deque()
        self._started: _Look | None = None

    def start(self, *, afresh: bool = False) -> None:
        """To be called when a measurement begins.

        Args:
            afresh: what was seen before does not count any more.
        """
        if afresh:
            self._spans.clear()
        self._started = self._look()

    def stop(self) -> Load:
        """To be called when it has ended.

        Returns:
            What others did in the meantime and, where that is shorter than `MIN_WINDOW_S`, in the spans before
            it; unknown where all of them together are shorter.

        Raises:
            RuntimeError: not started.
        """
        if self._started is None:
            raise RuntimeError("stop() was called without start()")
        first, last = self._started, self._look()
        self._started = None
        window_s = last.now_s - first.now_s
        if first.machine is None or last.machine is None:
            return Load(window_s, None, None)
        busy_s = last.machine.busy_s - first.machine.busy_s
        steal_s = last.machine.steal_s - first.machine.steal_s
        self._spans.append(_Span(window_s, busy_s - (last.own_s - first.own_s), steal_s))
        total_s = sum(span.window_s for span in self._spans)
        while total_s - self._spans[0].window_s >= MIN_WINDOW_S:
            total_s -= self._spans.popleft().window_s
        if total_s < MIN_WINDOW_S:
            return Load(total_s, None, None)
        return Load(
            total_s,
            foreign_cores=max(0.0, sum(span.foreign_s for span in self._spans)) / total_s,
            steal_cores=max(0.0, sum(span.steal_s for span in self._spans)) / total_s,
        )

    def _look(self) -> _Look:
        own = [process_cpu_s(self._root, pid) for pid in self._pids]
        return _Look(
            self._now_s(), cpu_times(self._root, self._cpus), sum(used for used in own if used is not None)
        )
