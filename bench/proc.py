"""Reading what Linux says of the machine under /proc and /sys; what cannot be read is None, never a guess."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def read_text(root: Path, path: str) -> str | None:
    """A file's text without the white space at its ends, or None where it cannot be read."""
    try:
        return (root / path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def allowed_cpus(root: Path) -> frozenset[int] | None:
    """The logical CPUs that this process may run on, or None where the system does not tell."""
    for line in (read_text(root, "proc/self/status") or "").splitlines():
        name, _, value = line.partition(":")
        if name == "Cpus_allowed_list":
            return frozenset(_cpu_list(value.strip()))
    return None


def quota_cores(root: Path) -> float | None:
    """How many cores' time the control groups allow; infinity without a limit, None where they do not tell."""
    found: list[float] = []
    for folder in _own_groups(root):
        words = (read_text(root, f"{folder}/cpu.max") or "").split()
        if len(words) == 2:
            found.append(float("inf") if words[0] == "max" else int(words[0]) / int(words[1]))
    quota = read_text(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us")
    period = read_text(root, "sys/fs/cgroup/cpu/cpu.cfs_period_us")
    if quota is not None and period is not None:
        found.append(float("inf") if int(quota) <= 0 else int(quota) / int(period))
    return min(found, default=None)


def memory_limit_bytes(root: Path) -> int | None:
    """Main memory, or the control groups' limit where that is lower; None where neither can be read."""
    lines = (read_text(root, "proc/meminfo") or "").splitlines()
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:")]
    for folder in _own_groups(root):
        limit = read_text(root, f"{folder}/memory.max")
        if limit is not None and limit.isdigit():
            found.append(int(limit))
    return min(found, default=None)


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Time since boot, summed over the logical CPUs that count, in seconds.

    Attributes:
        busy_s: spent on anything but waiting.
        steal_s: wanted, but given by the hypervisor to other guests.
    """

    busy_s: float
    steal_s: float


def cpu_times(root: Path, cpus: frozenset[int] | None = None) -> CpuTimes | None:
    """The machine's times.

    Args:
        root: where /proc is.
        cpus: those that count; None: all.

    Returns:
        The times, in steps of a tick (usually 10 ms), or None where they cannot be read.
    """
    busy = steal = 0
    seen = False
    for line in (read_text(root, "proc/stat") or "").splitlines():
        name, *words = line.split()
        if not name.startswith("cpu") or not name[3:].isdigit() or len(words) < 8:
            continue
        if cpus is None or int(name[3:]) in cpus:
            user, nice, system, _idle, _iowait, irq, softirq, stolen = map(int, words[:8])
            busy += user + nice + system + irq + softirq
            steal += stolen
            seen = True
    return CpuTimes(busy / _TICKS_PER_S, steal / _TICKS_PER_S) if seen else None


def process_cpu_s(root: Path, pid: int) -> float | None:
    """CPU time of a process, all its threads, in seconds, or None when it is gone."""
    text = read_text(root, f"proc/{pid}/stat")
    if text is None:
        return None
    # The name, in parentheses, may itself hold spaces and parentheses.
    words = text[text.rindex(")") + 1 :].split()
    return (int(words[11]) + int(words[12])) / _TICKS_PER_S


def _own_groups(root: Path) -> list[str]:
    """Folders of this process's control group and all above it, as the container sees them."""
    for line in (read_text(root, "proc/self/cgroup") or "").splitlines():
        if line.startswith("0::"):
            own = Path(line[3:].lstrip("/"))
            return [f"sys/fs/cgroup/{folder}" for folder in (own, *own.parents)]
    return []


def _cpu_list(text: str) -> list[int]:
    """The numbers in "0-3,8"."""
    numbers: list[int] = []
    for span in filter(None, text.split(",")):
        first, _, last = span.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers
