"""Whether two cores lie near each other or far apart, as seen from how long a byte takes to go there and back.

On a virtual machine the host may move the two cores of a guest, for minutes, between one group that shares a cache
and two that do not, and no program of the guest can ask it. Latencies on two threads move with them, by half and
more; those on one thread do not. A round trip was seen to take about 100 ns in one mode and 350 to 500 ns in the
other.
"""

from __future__ import annotations

import enum
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.ping_pong import LIMIT_S

#: A round trip up to this is near.
NEAR_UP_TO_S = 200e-9

#: A round trip from this on is far; between the two it is not known.
FAR_FROM_S = 280e-9

#: Of more cores than this, the first so many are tried.
MOST_CORES = 8

_TIMEOUT_S = MOST_CORES * LIMIT_S
_BUSY = "the cores were too busy to ask"
_SCRIPT = Path(__file__).with_name("ping_pong.py")


class Mode(enum.Enum):
    """How the cores lie."""

    NEAR = "near"  #: a round trip takes about 100 ns
    FAR = "far"  #: a round trip takes several times as long
    UNKNOWN = "unknown"  #: it could not be told, for a reason that is given


@dataclass(frozen=True, slots=True)
class CoreDistance:
    """What was seen at one moment.

    Attributes:
        mode: near, far or unknown.
        round_trip_s: seconds from one core to another and back, of the farthest pair tried, less what the
            interpreter takes, which may be a little too much and leave less than 0; None: not measured.
        reason: why the mode is unknown; None: it is known.
    """

    mode: Mode
    round_trip_s: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CoresAround:
    """How the cores lay before and after a measurement.

    Attributes:
        before: before its first run.
        after: after its last one.
    """

    before: CoreDistance
    after: CoreDistance

    @property
    def moved(self) -> bool:
        """Whether it is known that they lay otherwise afterwards, so that samples of two modes may be mixed."""
        modes = {self.before.mode, self.after.mode}
        return len(modes) == 2 and Mode.UNKNOWN not in modes

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: "mode" ("near", "far", "moved", "unknown"), "before_s", "after_s", "reason".

        Cores that were far apart at one end are "far" where the other end is unknown: such a cell is timed again.
        """
        ends = (self.before, self.after)
        unknown = [seen for seen in ends if seen.mode is Mode.UNKNOWN]
        known = Mode.FAR if any(seen.mode is Mode.FAR for seen in ends) else Mode.NEAR
        mode = Mode.UNKNOWN if unknown and known is Mode.NEAR else known
        return {
            "mode": "moved" if self.moved else mode.value,
            "before_s": self.before.round_trip_s,
            "after_s": self.after.round_trip_s,
            "reason": unknown[0].reason if unknown else None,
        }


def usable_cpus() -> frozenset[int] | None:
    """The logical CPUs that this process may run on; None where the system cannot pin a process to one."""
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else None


def ping(cpus: Sequence[int]) -> list[str]:
    """Runs `bench.ping_pong`, in a process of its own; what it prints, a line for each core but the first.

    Raises:
        OSError: it could not be started.
        subprocess.SubprocessError: it failed or took too long.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(_SCRIPT), *map(str, cpus)],
        stdin=subprocess.DEVNULL,  # not the caller's, where requests may wait
        capture_output=True,
        check=True,
        text=True,
        timeout=_TIMEOUT_S,
    )
    return done.stdout.split()


def core_distance(
    cpus: frozenset[int] | None, ping: Callable[[Sequence[int]], Sequence[str]] = ping
) -> CoreDistance:
    """Tells how far the cores that threads run on are from each other.

    With more than two, a byte goes from the first to each of the others, and the farthest decides.

    Args:
        cpus: those that threads are bound to, or may be put on; None: not known.
        ping: the seconds of a round trip from the first CPU to each other, as text, or "busy".

    Returns:
        The mode and the round trip, or why they are not known; never an exception.
    """
    if cpus is None:
        return _unknown("this system does not let a process choose its core")
    if len(cpus) < 2:
        return _unknown("only one core may be used")
    try:
        answers = ping(sorted(cpus)[:MOST_CORES])
        trips_s = [float(answer) for answer in answers if answer != "busy"]
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        if isinstance(error, subprocess.CalledProcessError) and error.returncode == -signal.SIGALRM:
            return _unknown(_BUSY)  # its own alarm, since it never got both cores for long enough
        return _unknown(f"the processes that ask failed ({type(error).__name__})")
    if not answers or len(trips_s) < len(answers):
        return _unknown(_BUSY)
    round_trip_s = max(trips_s)
    if round_trip_s <= NEAR_UP_TO_S:
        return CoreDistance(Mode.NEAR, round_trip_s)
    if round_trip_s >= FAR_FROM_S:
        return CoreDistance(Mode.FAR, round_trip_s)
    return CoreDistance(
        Mode.UNKNOWN, round_trip_s, f"a round trip of {round_trip_s * 1e9:.0f} ns is neither near nor far"
    )


def _unknown(reason: str) -> CoreDistance:
    return CoreDistance(Mode.UNKNOWN, None, reason)
