from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from bench.foreign_load import MIN_WINDOW_S, THRESHOLD, ForeignLoad, Load


class FakeMachine:
    """Two CPUs whose counters are written by hand; only CPU 0 may be used."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = 0.0
        self.busy = self.steal = 0
        self.own = {7: 0, 8: 0}
        self._write("proc/self/status", "Cpus_allowed_list:\t0\n")
        self.passes(0.0)

    def _write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def passes(self, seconds: float, busy: int = 0, steal: int = 0, own: int = 0, parent: int = 0) -> None:
        """Lets time pass, in which ticks of 10 ms are spent."""
        self.now += seconds
        self.busy += busy
        self.steal += steal
        self.own[7] += own
        self.own[8] += parent
        self._write(
            "proc/stat",
            f"cpu0 {self.busy} 0 0 0 0 0 0 {self.steal} 0 0\ncpu1 {99 * self.busy} 0 0 0 0 0 0 0 0 0\n",
        )
        for pid, ticks in self.own.items():
            self._write(f"proc/{pid}/stat", f"{pid} (x) R 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0")

    def watch(self) -> ForeignLoad:
        return ForeignLoad([7, 8], lambda: self.now, self.root)


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


def test_own_work_is_not_foreign(machine: FakeMachine) -> None:
    watch = machine.watch()
    watch.start()
    machine.passes(1.0, busy=90, own=80, parent=10)
    assert watch.stop() == Load(1.0, 0.0, 0.0)


def test_foreign_work_and_stolen_time_are_counted_in_cores(machine: FakeMachine) -> None:
    watch = machine.watch()
    watch.start()
    machine.passes(2.0, busy=150, own=100, steal=20)
    assert watch.stop() == Load(2.0, 0.25, 0.1)


def test_what_was_before_a_long_measurement_does_not_count(machine: FakeMachine) -> None:
    watch = machine.watch()
    watch.start()
    machine.passes(1.0, busy=100)
    assert watch.stop().foreign_cores == 1.0
    watch.start()
    machine.passes(1.0, busy=50, own=50)
    assert watch.stop() == Load(1.0, 0.0, 0.0)


def test_short_measurements_are_judged_together(machine: FakeMachine) -> None:
    watch = machine.watch()
    loads = []
    for _ in range(4):
        watch.start()
        machine.passes(0.125, busy=12, own=2)
        loads.append(watch.stop())
    assert loads[:3] == [Load(0.125, None, None), Load(0.25, None, None), Load(0.375, None, None)]
    assert (loads[3].window_s, loads[3].foreign_cores) == (0.5, pytest.approx(0.8))
    watch.start()
    machine.passes(0.125)
    assert watch.stop().foreign_cores == pytest.approx(0.6)


def test_the_time_in_between_does_not_count(machine: FakeMachine) -> None:
    watch = machine.watch()
    for _ in range(4):
        machine.passes(5.0, busy=500)
        watch.start()
        machine.passes(0.125, busy=12, own=12)
        load = watch.stop()
    assert (load.window_s, load.foreign_cores) == (0.5, pytest.approx(0.0))


def test_afresh_forgets(machine: FakeMachine) -> None:
    watch = machine.watch()
    watch.start()
    machine.passes(0.3, busy=30)
    watch.stop()
    watch.start(afresh=True)
    machine.passes(0.3)
    assert watch.stop() == Load(0.3, None, None)


def test_unreadable_counters_are_unknown(tmp_path: Path) -> None:
    now = iter([0.0, 2.0])
    watch = ForeignLoad([1], lambda: next(now), tmp_path)
    watch.start()
    assert watch.stop() == Load(2.0, None, None)


def test_stop_needs_a_start(machine: FakeMachine) -> None:
    with pytest.raises(RuntimeError, match="without start"):
        machine.watch().stop()


def test_disturbance() -> None:
    assert Load(1.0, THRESHOLD, THRESHOLD).disturbance(1) is None
    assert Load(1.0, THRESHOLD + 0.01, 1.0).disturbance(1) == "foreign load"
    assert Load(1.0, 0.0, THRESHOLD + 0.01).disturbance(1) == "steal time"
    assert Load(1.0, None, None).disturbance(1) is None


def _spin(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def test_sees_another_process_on_this_machine() -> None:
    other = multiprocessing.get_context("spawn").Process(target=_spin, args=(60.0,))
    other.start()
    try:
        assert other.pid is not None
        strangers = ForeignLoad([os.getpid()], time.monotonic)
        family = ForeignLoad([os.getpid(), other.pid], time.monotonic)
        while (used := family._look().own_s) - strangers._look().own_s < 0.3:
            time.sleep(0.05)
        strangers.start()
        family.start()
        _spin(2 * MIN_WINDOW_S)
        alone, together = strangers.stop().foreign_cores, family.stop().foreign_cores
    finally:
        other.kill()
        other.join()
    assert used > 0
    assert alone is not None
    assert together is not None
    assert alone - together > 0.2
