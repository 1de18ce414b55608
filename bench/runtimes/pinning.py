"""Each thread of a computation on a core of its own.

Where two of them come to lie on one core they take the time of one, until the system notices: cells of a table for
two threads were seen 60 % too slow so, with a narrow interval.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from latency_tables.setting import Setting

#: The setting's option that asks for it, and its value.
OPTION, PINNED = "threads", "each on a core of its own"

#: What binds OpenMP's threads, in the environment of the process; the caller is then bound when OpenMP is loaded.
ENVIRONMENT = {"OMP_PLACES": "cores", "OMP_PROC_BIND": "true"}


def wanted(device_kind: str, threads: int) -> bool:
    """Whether threads are bound: several on a CPU, where the system can bind them."""
    return threads > 1 and device_kind == "cpu" and hasattr(os, "sched_setaffinity")


def is_pinned(setting: Setting) -> bool:
    """Whether a setting asks for it."""
    return dict(setting.options).get(OPTION) == PINNED


def thread_cpus(setting: Setting) -> list[int]:
    """The logical CPUs of all threads, the caller's first, while it is not bound yet; none where none is bound."""
    return apart(os.sched_getaffinity(0))[: setting.threads] if is_pinned(setting) else []


def bind_caller(setting: Setting) -> list[int]:
    """Binds the calling thread to a core where the setting asks for that.

    Returns:
        The logical CPUs of all threads, the caller's first; none where the setting does not ask.
    """
    cpus = thread_cpus(setting)
    if not cpus:
        return []
    os.sched_setaffinity(0, cpus[:1])
    return cpus


def apart(cpus: Iterable[int], root: Path = Path("/")) -> list[int]:
    """Logical CPUs in an order in which those that share a core come last.

    Args:
        cpus: those that may be used.
        root: where /sys is.
    """
    first: dict[str, int] = {}
    rest = []
    for cpu in sorted(cpus):
        path = root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        try:
            core = path.read_text(encoding="ascii").strip()
        except OSError:
            core = str(cpu)  # not told: taken for a core of its own
        if first.setdefault(core, cpu) != cpu:
            rest.append(cpu)
    return [*first.values(), *rest]
