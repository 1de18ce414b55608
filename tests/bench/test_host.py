from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.host import HostState, Severity, cpu_device, look, usable_cores
from latency_tables.errors import LatheError
from latency_tables.setting import Device

CPUINFO = """processor\t: 0
model name\t: Intel(R) Xeon(R) Gold 6448Y
cpu family\t: 6
model\t\t: 143
flags\t\t: fpu avx2 avx512_vnni hypervisor amx_int8 sse2

processor\t: 1
model name\t: another
flags\t\t: avx512_bf16
"""

NOMINAL = {
    "proc/cpuinfo": CPUINFO.replace(" hypervisor", ""),
    "proc/meminfo": "MemTotal: 8000000 kB\n",
    "proc/self/status": "Cpus_allowed_list:\t0-3\n",
    "proc/self/cgroup": "0::/\n",
    "sys/fs/cgroup/cpu.max": "max 100000",
    "proc/loadavg": "1.25 0.5 0.1 1/100 5",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/intel_pstate/no_turbo": "1\n",
}


class FakeHost:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = 0.0
        self.ticks = {"busy": 0, "steal": 0}
        self.spend: dict[str, int] = {}
        self.core = [20e-6]
        for path, text in NOMINAL.items():
            self.write(path, text)
        self.count()

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def remove(self, path: str) -> None:
        (self.root / path).unlink()

    def count(self) -> None:
        self.write("proc/stat", f"cpu0 {self.ticks['busy']} 0 0 0 0 0 0 {self.ticks['steal']} 0 0\n")
        self.write(f"proc/{os.getpid()}/stat", "1 (x) R 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 0")

    def look(self) -> HostState:
        """For a second, in which the core computes as often as told, each time for as long as told."""
        readings = iter(self.core)

        def read() -> float:
            self.now += 1 / len(self.core)
            if self.now.is_integer():
                for name, ticks in self.spend.items():
                    self.ticks[name] += ticks
                self.count()
            return next(readings)

        return look(self.root, read=read, now_s=lambda: self.now)


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path)


def test_a_quiet_host_has_no_findings(host: FakeHost) -> None:
    assert host.look() == HostState(
        cores=4,
        quota_cores=float("inf"),
        governor="performance",
        turbo=False,
        hypervisor=False,
        load_1m=1.25,
        foreign_cores=0.0,
        steal_cores=0.0,
        slowed=0.0,
        window_s=1.0,
        findings=(),
    )
    assert host.look().quiet


@pytest.mark.parametrize(
    ("change", "name", "value", "severity"),
    [
        (lambda host: host.spend.update(busy=16), "foreign load", "0.16 of a core", Severity.WARNING),
        (lambda host: host.spend.update(steal=50), "steal time", "0.50 of a core", Severity.WARNING),
        (
            lambda host: setattr(host, "core", [20e-6] * 6 + [24e-6] * 2),
            "slowed core",
            "29% of the look",
            Severity.WARNING,
        ),
        (
            lambda host: host.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave"),
            "governor",
            "powersave",
            Severity.WARNING,
        ),
        (
            lambda host: host.write("sys/devices/system/cpu/intel_pstate/no_turbo", "0"),
            "turbo",
            "on",
            Severity.NOTE,
        ),
        (lambda host: host.write("proc/cpuinfo", CPUINFO), "hypervisor", "virtual machine", Severity.NOTE),
        (
            lambda host: host.write("sys/fs/cgroup/cpu.max", "250000 100000"),
            "CPU quota",
            "2.5 cores",
            Severity.WARNING,
        ),
    ],
)
def test_findings(
    host: FakeHost, change: Callable[[FakeHost], None], name: str, value: str, severity: Severity
) -> None:
    change(host)
    state = host.look()
    [finding] = state.findings
    assert (finding.name, finding.value, finding.severity) == (name, value, severity)
    assert finding.threshold
    assert finding.remedy
    assert state.quiet == (severity is Severity.NOTE)


def test_what_stays_below_the_threshold_is_no_finding(host: FakeHost) -> None:
    host.spend.update(busy=15, steal=15)
    host.core = [20e-6, 21e-6] * 7 + [20e-6] + [24e-6]
    assert host.look().findings == ()


def test_the_worst_comes_first(host: FakeHost) -> None:
    host.write("proc/cpuinfo", CPUINFO)
    host.write("sys/fs/cgroup/cpu.max", "250000 100000")
    assert [finding.name for finding in host.look().findings] == ["CPU quota", "hypervisor"]


def test_amd_turbo_is_read_where_it_lies(host: FakeHost) -> None:
    host.remove("sys/devices/system/cpu/intel_pstate/no_turbo")
    assert host.look().turbo is None
    host.write("sys/devices/system/cpu/cpufreq/boost", "1\n")
    assert host.look().turbo is True


def test_the_unknown_is_null_and_blind_watching_is_a_finding(tmp_path: Path) -> None:
    now = iter([0.0, 1.0, 2.0, 3.0])
    state = look(tmp_path, read=lambda: 20e-6, now_s=lambda: next(now))
    data = json.loads(json.dumps(state.to_json(), allow_nan=False))
    unknown = ["quota_cores", "governor", "turbo", "hypervisor", "load_1m", "foreign_cores", "steal_cores"]
    assert [data[name] for name in unknown] == [None] * 7
    assert [(found["name"], found["value"], found["severity"]) for found in data["findings"]] == [
        ("foreign load", "unknown", "warning")
    ]
    assert data["quiet"] is False


def test_no_limit_is_not_null(host: FakeHost) -> None:
    assert host.look().to_json()["quota_cores"] == "none"


def test_the_cpu_is_a_device(host: FakeHost) -> None:
    host.write("proc/cpuinfo", CPUINFO)
    assert cpu_device(host.root) == Device(
        kind="cpu",
        name="Intel Xeon Gold 6448Y (family 6, model 143)",
        cores=4,
        memory_bytes=31 * 2**28,
        features=("amx_int8", "avx2", "avx512_vnni"),
    )


def test_an_arm_cpu_is_a_device(host: FakeHost) -> None:
    host.write(
        "proc/cpuinfo", "processor : 0\nFeatures : fp asimd sve\nCPU implementer : 0x41\nCPU part : 0xd40\n"
    )
    device = cpu_device(host.root)
    assert device.features == ("asimd", "sve")
    assert device.name.endswith("0x41/0xd40")


def test_a_machine_without_memory_record_is_refused(host: FakeHost) -> None:
    host.remove("proc/meminfo")
    with pytest.raises(LatheError, match="meminfo"):
        cpu_device(host.root)


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 4), ("250000 100000", 2), ("50000 100000", 1), ("900000 100000", 4)]
)
def test_usable_cores(host: FakeHost, quota: str, cores: int) -> None:
    host.write("sys/fs/cgroup/cpu.max", quota)
    assert usable_cores(host.root) == cores
