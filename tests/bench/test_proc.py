from __future__ import annotations

import math
from pathlib import Path

import pytest

from bench.proc import (
    CpuTimes,
    allowed_cpus,
    cpu_times,
    memory_limit_bytes,
    process_cpu_s,
    quota_cores,
    read_text,
)

STAT = """cpu  0 0 0 0 0 0 0 0 0 0
cpu0 100 20 30 900 7 5 3 40 50 0
cpu1 200 0 0 800 0 0 0 10 0 0
cpu10 1000 0 0 0 0 0 0 0 0 0
intr 12345
"""


def write(root: Path, path: str, text: str) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def test_busy_time_leaves_out_waiting_and_does_not_count_guests_twice(tmp_path: Path) -> None:
    write(tmp_path, "proc/stat", STAT)
    assert cpu_times(tmp_path, frozenset({0})) == CpuTimes(busy_s=1.58, steal_s=0.40)
    assert cpu_times(tmp_path, frozenset({0, 1})) == CpuTimes(busy_s=3.58, steal_s=0.50)
    assert cpu_times(tmp_path) == CpuTimes(busy_s=13.58, steal_s=0.50)


def test_process_time_survives_any_name(tmp_path: Path) -> None:
    write(tmp_path, "proc/42/stat", "42 (a) S (b c) S 1 42 42 0 -1 0 5 5 5 5 150 25 7 7 20 0 3")
    assert process_cpu_s(tmp_path, 42) == 1.75
    assert process_cpu_s(tmp_path, 43) is None


def test_allowed_cpus(tmp_path: Path) -> None:
    assert allowed_cpus(tmp_path) is None
    write(tmp_path, "proc/self/status", "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t0-2,8\n")
    assert allowed_cpus(tmp_path) == {0, 1, 2, 8}


def test_what_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    assert cpu_times(tmp_path) is None
    assert quota_cores(tmp_path) is None
    assert memory_limit_bytes(tmp_path) is None
    assert read_text(tmp_path, "proc/stat") is None


@pytest.mark.parametrize(
    ("own", "above", "cores"),
    [
        ("max 100000", "max 100000", math.inf),
        ("150000 100000", "max 100000", 1.5),
        ("300000 100000", "50000 100000", 0.5),
    ],
)
def test_the_tightest_quota_counts(tmp_path: Path, own: str, above: str, cores: float) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/slice/unit\n")
    write(tmp_path, "sys/fs/cgroup/slice/unit/cpu.max", own)
    write(tmp_path, "sys/fs/cgroup/slice/cpu.max", above)
    assert quota_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", math.inf), ("250000", 2.5)])
def test_the_older_control_groups(tmp_path: Path, quota: str, cores: float) -> None:
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota)
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    assert quota_cores(tmp_path) == cores


def test_memory_is_the_lower_of_machine_and_limit(tmp_path: Path) -> None:
    write(tmp_path, "proc/meminfo", "MemTotal:       2048 kB\nMemFree: 1 kB\n")
    assert memory_limit_bytes(tmp_path) == 2048 * 1024
    write(tmp_path, "proc/self/cgroup", "0::/\n")
    write(tmp_path, "sys/fs/cgroup/memory.max", "max")
    assert memory_limit_bytes(tmp_path) == 2048 * 1024
    write(tmp_path, "sys/fs/cgroup/memory.max", "1048576")
    assert memory_limit_bytes(tmp_path) == 1048576


def test_this_machine_can_be_read() -> None:
    root = Path("/")
    times = cpu_times(root, allowed_cpus(root))
    assert times is not None
    assert times.busy_s > 0
    assert (memory_limit_bytes(root) or 0) > 2**28
