"""Two processes on two cores that hand a byte to and fro; run as a script, by `bench.core_distance`.

It imports nothing but a few modules of the standard library, and forks while it is small and has one thread, which
the process that measures is not and has not. A round trip is: write, the other sees it and writes, we see that. The
time that the interpreter takes over such a loop alone is taken off, twice, since one's loop waits for the other's;
what is left is the way of the cache line from core to core and back, within some 30 ns of what a compiled program
sees on one machine; on another, cores that lie near were seen to take 90 ns to less than nothing.
"""

from __future__ import annotations

import itertools
import mmap
import os
import signal
import sys
import time

#: The process ends so long after it began with a pair of cores, come what may, and its partner as well.
LIMIT_S = 1.0

#: A batch is shorter than the scheduler's slices, so that among many some are never interrupted.
ROUNDS = 200
BATCHES = 100

#: Two cores are tried no longer than this, which is much more than they need where nobody else wants them.
PATIENCE_S = 0.3

#: Fewer batches tell nothing.
LEAST_BATCHES = 20

# A cache line, and the one fetched along with it, hold one of the two bytes only.
_OURS, _THEIRS = 0, 1024


def trips_s(own_cpu: int, other_cpu: int) -> list[float]:
    """Round trips between two cores.

    Args:
        own_cpu: where this process is put.
        other_cpu: where its partner is put.

    Returns:
        Seconds per round trip, the mean of each batch; fewer than `BATCHES` where time ran out.
    """
    shared = mmap.mmap(-1, 4096)
    partner = os.fork()
    if partner == 0:
        signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
        try:
            os.sched_setaffinity(0, {other_cpu})
            _answer(shared)
        finally:
            os._exit(0)
    os.sched_setaffinity(0, {own_cpu})
    found: list[float] = []
    _batch(shared, 0)
    deadline_s = time.perf_counter() + PATIENCE_S
    while len(found) < BATCHES and time.perf_counter() < deadline_s:
        found.append(_batch(shared, (len(found) + 1) * ROUNDS))
    os.kill(partner, signal.SIGKILL)
    os.waitpid(partner, 0)
    return found


def alone_s() -> list[float]:
    """The same steps by one process, which finds its own answer; seconds per round, by batch."""
    shared = mmap.mmap(-1, 4096)
    found = []
    for _ in range(BATCHES):
        started = time.perf_counter_ns()
        for turn in range(1, ROUNDS + 1):
            sign = turn & 255
            shared[_OURS] = sign
            shared[_THEIRS] = sign
            while shared[_THEIRS] != sign:
                pass
        found.append((time.perf_counter_ns() - started) * 1e-9 / ROUNDS)
    return found


def _batch(shared: mmap.mmap, before: int) -> float:
    started = time.perf_counter_ns()
    for turn in range(before + 1, before + ROUNDS + 1):
        sign = turn & 255
        shared[_OURS] = sign
        while shared[_THEIRS] != sign:
            pass
    return (time.perf_counter_ns() - started) * 1e-9 / ROUNDS


def _answer(shared: mmap.mmap) -> None:
    for turn in itertools.count(1):
        sign = turn & 255
        while shared[_OURS] != sign:
            pass
        shared[_THEIRS] = sign


def tenth_lowest(values: list[float]) -> float:
    """What a tenth of the values is below: the fastest batches, but not a single lucky one."""
    return sorted(values)[len(values) // 10]


def main() -> None:
    """Prints the seconds from the first core named to each other and back, a line each; "busy": no telling."""
    first, *others = map(int, sys.argv[1:])
    for other in others:
        signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
        trips = trips_s(first, other)
        seconds = tenth_lowest(trips) - 2 * tenth_lowest(alone_s())
        sys.stdout.write("busy\n" if len(trips) < LEAST_BATCHES else f"{seconds:.3e}\n")


if __name__ == "__main__":
    main()
