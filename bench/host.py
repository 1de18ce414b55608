"""What machine this is, and whether it is quiet enough to measure."""

from __future__ import annotations

import enum
import math
import os
import platform
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.core_watch import matrix_products, share_slowed
from bench.foreign_load import THRESHOLD, ForeignLoad, Load
from bench.proc import allowed_cpus, memory_limit_bytes, quota_cores, read_text
from latency_tables.errors import LatheError
from latency_tables.setting import Device

# Those for which the runtimes carry kernels of their own, by the names in /proc/cpuinfo (x86 and Arm).
_FEATURES = frozenset({"sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni"})
_FEATURES |= {"avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16"}
_FEATURES |= {"amx_tile", "amx_int8", "amx_bf16"}
_FEATURES |= {"asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"}

_MEMORY_STEP = 2**28

# Share of a look; a core that is left alone is interrupted now and then as well.
_SLOWED_UP_TO = 0.1


class Severity(enum.Enum):
    """How much a finding matters."""

    WARNING = "warning"  #: numbers will be noisier, or differ from those of a quiet machine
    NOTE = "note"  #: worth knowing when numbers of two machines are compared


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the host that bears on what is measured on it.

    Attributes:
        name: what was looked at.
        value: what was found, with its unit.
        threshold: what it was held against.
        severity: how much it matters.
        remedy: what to do about it.
    """

    name: str
    value: str
    threshold: str
    severity: Severity
    remedy: str


@dataclass(frozen=True, slots=True)
class HostState:
    """What the host was like at one moment; None wherever it could not be read.

    Attributes:
        cores: logical CPUs that may be used.
        quota_cores: cores' time that the control groups allow, infinity without a limit.
        governor: of the CPU's frequency, as in "performance".
        turbo: frequencies above the nominal one are allowed.
        hypervisor: it is a virtual machine.
        load_1m: processes running or waiting, mean over a minute, own ones included.
        foreign_cores: cores' worth of others' work during the look.
        steal_cores: cores' worth of time given to other guests during the look.
        slowed: share of the look in which a core computed more slowly than in the quickest tenth of it, 0 to 1.
        window_s: how long the look at these three took.
        findings: what speaks against measuring now, worst first.
    """

    cores: int
    quota_cores: float | None
    governor: str | None
    turbo: bool | None
    hypervisor: bool | None
    load_1m: float | None
    foreign_cores: float | None
    steal_cores: float | None
    slowed: float
    window_s: float
    findings: tuple[Finding, ...]

    @property
    def quiet(self) -> bool:
        """Nothing was found that makes numbers noisier."""
        return all(finding.severity is not Severity.WARNING for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain values; no limit is "none", what is unknown is null."""
        data = asdict(self)
        if self.quota_cores == math.inf:
            data["quota_cores"] = "none"
        data["quiet"] = self.quiet
        data["findings"] = [
            {**asdict(finding), "severity": finding.severity.value} for finding in self.findings
        ]
        return data


def cpu_device(root: Path = Path("/")) -> Device:
    """The CPU as a device that latencies are valid for.

    Args:
        root: where /proc and /sys are.

    Returns:
        Name, usable cores, memory and instruction sets.

    Raises:
        LatheError: the system tells neither the memory nor the CPUs that may be used.
    """
    memory = memory_limit_bytes(root)
    if memory is None:
        raise LatheError(
            f"{root / 'proc/meminfo'} does not tell how much memory there is; a latency is valid for one machine "
            "only, so its record must be complete. Measure on Linux with /proc mounted."
        )
    first = _first_cpu(root)
    flags = set((first.get("flags") or first.get("Features") or "").split())
    return Device(
        kind="cpu",
        name=_cpu_name(first),
        cores=usable_cores(root),
        memory_bytes=max(1, round(memory / _MEMORY_STEP)) * _MEMORY_STEP,
        features=tuple(sorted(flags & _FEATURES)),
    )


def usable_cores(root: Path = Path("/")) -> int:
    """Cores that may be used at once: by affinity, and by the control groups' quota, rounded down, at least 1."""
    cpus = allowed_cpus(root)
    allowed = len(cpus) if cpus is not None else len(os.sched_getaffinity(0))
    quota = quota_cores(root)
    return allowed if quota is None or quota == math.inf else max(1, min(allowed, int(quota)))


def look(
    root: Path = Path("/"),
    *,
    window_s: float = 1.0,
    read: Callable[[], float] | None = None,
    now_s: Callable[[], float] = time.monotonic,
) -> HostState:
    """Looks at the host, for that long.

    Args:
        root: where /proc and /sys are.
        window_s: how long others' work is watched.
        read: does a computation of fixed size, again and again meanwhile; the seconds that it took. None:
            `bench.core_watch.matrix_products`.
        now_s: a monotonic clock.

    Returns:
        The state, with everything that speaks against measuring.
    """
    watch = ForeignLoad([os.getpid()], now_s, root)
    watch.start()
    slowed = share_slowed(read or matrix_products(), now_s, window_s)
    load = watch.stop()
    cpus = allowed_cpus(root)
    loads = (read_text(root, "proc/loadavg") or "").split()
    flags = _first_cpu(root).get("flags")
    cores, quota = usable_cores(root), quota_cores(root)
    governor, turbo = read_text(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"), _turbo(root)
    hypervisor = None if flags is None else "hypervisor" in flags.split()
    findings = [
        *_load_findings(load),
        *_core_findings(slowed),
        *_frequency_findings(governor, turbo),
        *_share_findings(len(cpus) if cpus else cores, quota, hypervisor),
    ]
    return HostState(
        cores=cores,
        quota_cores=quota,
        governor=governor,
        turbo=turbo,
        hypervisor=hypervisor,
        load_1m=float(loads[0]) if loads else None,
        foreign_cores=load.foreign_cores,
        steal_cores=load.steal_cores,
        slowed=slowed,
        window_s=load.window_s,
        findings=tuple(sorted(findings, key=lambda finding: finding.severity is not Severity.WARNING)),
    )


def _load_findings(load: Load) -> list[Finding]:
    threshold = f"{THRESHOLD:.2f} of a core"
    found = []
    if load.foreign_cores is None:
        found.append(
            Finding(
                "foreign load",
                "unknown",
                threshold,
                Severity.WARNING,
                "Measure where /proc/stat can be read; else others' work goes unseen.",
            )
        )
    elif load.foreign_cores > THRESHOLD:
        found.append(
            Finding(
                "foreign load",
                f"{load.foreign_cores:.2f} of a core",
                threshold,
                Severity.WARNING,
                "Stop other programs (top shows them), or give the measurement cores of its own with taskset.",
            )
        )
    if load.steal_cores is not None and load.steal_cores > THRESHOLD:
        found.append(
            Finding(
                "steal time",
                f"{load.steal_cores:.2f} of a core",
                threshold,
                Severity.WARNING,
                "Other guests use the same cores: wait, or take a machine with cores of its own.",
            )
        )
    return found


def _core_findings(slowed: float) -> list[Finding]:
    if slowed <= _SLOWED_UP_TO:
        return []
    return [
        Finding(
            "slowed core",
            f"{slowed:.0%} of the look",
            f"{_SLOWED_UP_TO:.0%}",
            Severity.WARNING,
            "Others have the other half of the core, which only the host sees, or its clock changes. Samples taken "
            "then are left out on one thread, which takes longer; on more threads nothing tells them. Wait, or "
            "take a machine with cores of its own.",
        )
    ]


def _frequency_findings(governor: str | None, turbo: bool | None) -> list[Finding]:
    found = []
    if governor not in (None, "performance"):
        found.append(
            Finding(
                "governor",
                str(governor),
                "performance",
                Severity.WARNING,
                "Run `cpupower frequency-set --governor performance` as root.",
            )
        )
    if turbo:
        found.append(
            Finding(
                "turbo",
                "on",
                "off",
                Severity.NOTE,
                "Frequencies above the nominal one depend on heat and on the other cores; for numbers that "
                "repeat, write 1 to /sys/devices/system/cpu/intel_pstate/no_turbo, or 0 to "
                "/sys/devices/system/cpu/cpufreq/boost.",
            )
        )
    return found


def _share_findings(allowed: int, quota: float | None, hypervisor: bool | None) -> list[Finding]:
    found = []
    if quota is not None and quota < allowed:
        found.append(
            Finding(
                "CPU quota",
                f"{quota:g} cores",
                f"{allowed} cores",
                Severity.WARNING,
                "The control group stops the process for a while in every period once the quota is used up; "
                "raise it, or pin the container to whole cores (--cpuset-cpus) instead.",
            )
        )
    if hypervisor:
        found.append(
            Finding(
                "hypervisor",
                "virtual machine",
                "bare metal",
                Severity.NOTE,
                "Other guests and the host's scheduler move latencies for minutes at a time; prefer one "
                "thread, and compare only what was measured in turns.",
            )
        )
    return found


def _first_cpu(root: Path) -> dict[str, str]:
    block = (read_text(root, "proc/cpuinfo") or "").split("\n\n")[0]
    pairs = (line.partition(":") for line in block.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _cpu_name(first: dict[str, str]) -> str:
    """The maker's name; family and model as well, since a virtual machine often tells only "EPYC"."""
    name = first.get("model name")
    if name is None:
        maker, part = first.get("CPU implementer"), first.get("CPU part")
        return f"{platform.machine()} {maker}/{part}" if maker and part else f"unknown {platform.machine()}"
    name = re.sub(r"\((R|TM)\)", "", name)
    family, model = first.get("cpu family"), first.get("model")
    return f"{name} (family {family}, model {model})" if family and model else name


def _turbo(root: Path) -> bool | None:
    off = read_text(root, "sys/devices/system/cpu/intel_pstate/no_turbo")
    if off is not None:
        return off == "0"
    boost = read_text(root, "sys/devices/system/cpu/cpufreq/boost")
    return None if boost is None else boost == "1"
