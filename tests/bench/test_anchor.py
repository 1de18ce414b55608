"""A machine whose speed is written by hand, and what the anchor makes of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import made_up
import pytest

from bench.anchor import (
    AGAIN_IN_ANY_CASE,
    AGAIN_SHARE,
    ANCHOR_MOVED,
    MOST_ROUNDS,
    MOVED_BY,
    Anchor,
    Cell,
    earlier_reading,
    moved,
)
from bench.spoiled import spoiled_parts
from bench.verdict import Verdict
from latency_tables.estimate import Estimate
from latency_tables.measurement import Measurement, Stop
from latency_tables.part import Part
from latency_tables.table import Failure, LatencyTable

PARTS = made_up.chain([4] * 3).parts
BUSY, FAR = {"disturbance": "foreign load"}, {"cores": {"mode": "far"}}


class Machine:
    """Every part takes ten seconds to time; ``slower`` says by what factor it is slower at a moment."""

    def __init__(
        self,
        slower: Callable[[float], float] = lambda now: 1.0,
        spread: float = 0.0,
        before: Machine | None = None,
        deadline_s: float = math.inf,
    ) -> None:
        self.slower, self.spread = slower, spread
        self.now = 0.0
        self.timed: list[Part] = []
        self.stop_after: int | None = None
        self.seen: Callable[[float], dict[str, Any]] = lambda now: {}
        self.broken: set[str] = set()
        self.cells: dict[str, Cell] = {}
        known = None
        if before is not None:
            known = earlier_reading(PARTS, LatencyTable(made_up.setting(), before.cells))
        self.anchor = Anchor(self.measure, self.put, lambda: self.now, earlier=known, deadline_s=deadline_s)

    def measure(self, part: Part) -> Cell:
        if len(self.timed) == self.stop_after:
            raise KeyboardInterrupt
        self.timed.append(part)
        latency, host = 1e-3 * self.slower(self.now), self.seen(self.now)
        self.now += 10.0
        if part.key in self.broken:
            return Failure("crash", "then")
        samples = [latency * (1 + self.spread * (-1) ** i) for i in range(20)]
        return Measurement(tuple(samples), 4, Stop.PRECISION, f"at {self.now:g} s", {"first": 2}, host=host)

    def put(self, part: Part, cell: Cell) -> None:
        self.cells[part.key] = cell

    def take(self, *which: int) -> None:
        for i in which:
            self.anchor.take(PARTS[i])

    def cell(self, i: int) -> Measurement:
        cell = self.cells[PARTS[i].key]
        assert isinstance(cell, Measurement)
        return cell

    def order(self) -> list[int]:
        return [PARTS.index(part) for part in self.timed]

    def unsettled(self) -> list[int]:
        spoiled = spoiled_parts(PARTS, LatencyTable(made_up.setting(), self.cells))
        return [PARTS.index(part) for part in spoiled]


def test_there_are_parts_enough() -> None:
    assert len(PARTS) >= 5


def test_the_anchor_is_read_every_half_minute() -> None:
    machine = Machine()
    machine.take(0, 1, 2, 3, 4, 1, 2)
    # Read after the part that makes it thirty seconds since the last reading ended.
    assert machine.order() == [0, 1, 2, 3, 0, 4, 1, 2, 0]
    assert machine.anchor.moves == ()
    assert machine.cell(3).host == {"anchor": {"level": 1.0, "settled": True}}
    assert machine.cell(3).dropped == {"first": 2}


def test_what_was_timed_while_it_moved_is_timed_again_and_counted() -> None:
    machine = Machine(lambda now: 1.0 if now < 35 else 1.5)
    machine.take(0, 1, 2, 3)
    assert machine.order() == [0, 1, 2, 3, 0, 0, 1, 2, 3, 0]
    [move] = machine.anchor.moves
    assert (move.ratio.value, move.again, move.settled) == (pytest.approx(1.5), 4, True)
    assert move.created == "at 50 s"
    for i in range(4):
        cell = machine.cell(i)
        assert cell.latency_s.value == pytest.approx(1.5e-3)
        assert cell.dropped == {"first": 2, ANCHOR_MOVED: 22}
        assert cell.host["anchor"] == {"level": pytest.approx(1.5), "settled": True}
    assert json.loads(json.dumps(move.to_json()))["again"] == 4


def test_what_was_timed_before_a_good_reading_is_left_alone() -> None:
    machine = Machine(lambda now: 1.0 if now < 55 else 0.8)
    machine.take(0, 1, 2, 3, 4, 1, 2)
    assert machine.order() == [0, 1, 2, 3, 0, 4, 1, 2, 0, 4, 1, 2, 0]
    assert machine.cell(3).latency_s.value == pytest.approx(1e-3)
    assert machine.cell(4).latency_s.value == pytest.approx(0.8e-3)


def test_after_a_move_the_new_place_is_the_measure() -> None:
    machine = Machine(lambda now: 1.0 if now < 35 else 1.5)
    machine.take(0, 1, 2, 3, 4, 1, 2)
    assert len(machine.anchor.moves) == 1
    assert machine.order()[10:] == [4, 1, 2, 0]
    assert machine.cell(4).host["anchor"]["level"] == pytest.approx(1.5)


def test_a_machine_that_never_settles_is_given_up_and_said_so() -> None:
    machine = Machine(lambda now: 1.5 ** (now // 30))
    machine.take(0, 1, 2, 3)
    assert len(machine.anchor.moves) == MOST_ROUNDS
    assert [move.settled for move in machine.anchor.moves] == [False, False]
    assert len(machine.timed) == 4 + 1 + MOST_ROUNDS * (4 + 1)
    for i in range(4):
        assert machine.cell(i).host["anchor"]["settled"] is False
    machine.take(4)
    assert len(machine.timed) == 16  # what was given up is not tried again
    assert machine.unsettled() == [0, 1, 2, 3], "but by the next profile"


def test_where_it_moves_all_the_time_most_is_timed_once() -> None:
    machine = Machine(lambda now: 1.0 if now // 30 % 2 else 1.5)
    taken = 6 * AGAIN_IN_ANY_CASE
    machine.take(*(1 + i % 4 for i in range(taken)))
    assert machine.anchor.settle() == 0
    again = [move.again for move in machine.anchor.moves]
    assert AGAIN_SHARE * taken <= sum(again) <= AGAIN_SHARE * taken + 1
    left = again.index(0)
    assert sum(again[:left]) == AGAIN_IN_ANY_CASE, "as on any machine, up to there"
    assert not any(move.settled or move.between_profiles for move in machine.anchor.moves if not move.again)
    assert machine.unsettled(), "is left to the next profile"


def test_on_a_machine_that_was_restless_a_single_move_is_acted_on_again_later() -> None:
    rest_s, single_s = 6000.0, 60_000.0
    machine = Machine(
        lambda now: (1.5 if now < rest_s and now // 30 % 2 else 1.0) * (1.3 if now > single_s else 1)
    )
    while machine.now < single_s + 200:
        machine.take(1, 2, 3, 4)
    *_, last = machine.anchor.moves
    assert (last.ratio.value, last.settled) == (pytest.approx(1.3), True)
    assert last.again > 0
    assert machine.unsettled() == []


def test_what_was_not_timed_again_before_a_kill_is_left_to_the_next_profile() -> None:
    machine = Machine(lambda now: 1.0 if now < 35 else 1.5)
    machine.stop_after = 7
    with pytest.raises(KeyboardInterrupt):
        machine.take(0, 1, 2, 3)
    assert machine.order() == [0, 1, 2, 3, 0, 0, 1]
    assert machine.unsettled() == [2, 3]
    assert machine.cell(2).host["anchor"] == {"level": 1.0, "settled": False}


def test_a_small_change_is_no_move() -> None:
    machine = Machine(lambda now: 1.0 if now < 35 else 1 + 0.9 * MOVED_BY)
    machine.take(0, 1, 2, 3)
    assert machine.anchor.moves == ()
    assert len(machine.timed) == 5


def test_a_reading_that_cannot_tell_is_taken_once_more_and_what_was_timed_waits() -> None:
    machine = Machine(lambda now: 1.0 if now < 55 else 2.0, spread=0.1)
    machine.take(0, 1, 2, 3)
    assert machine.order() == [0, 1, 2, 3, 0, 0]
    assert machine.anchor.moves == ()
    machine.take(4, 1, 2)
    [move] = machine.anchor.moves
    assert move.again == 7
    # No reading says surely that it stayed, either.
    assert not move.settled


@pytest.mark.parametrize("seen", [BUSY, FAR])
def test_a_reading_that_something_spoiled_is_no_move_and_no_measure(seen: dict[str, Any]) -> None:
    machine = Machine(lambda now: 1.5 if now == 40 else 1.0)
    machine.seen = lambda now: seen if now == 40 else {}
    machine.take(0, 1, 2, 3, 4, 1, 2)
    assert machine.order() == [0, 1, 2, 3, 0, 0, 4, 1, 2, 0], "read once more, and then as if it had not been"
    assert machine.anchor.moves == ()


def test_cores_that_came_near_since_the_anchor_was_read_are_a_move() -> None:
    machine = Machine(lambda now: 1.5 if now < 35 else 1.0)
    machine.seen = lambda now: FAR if now < 35 else {}
    machine.take(0, 1, 2, 3)
    [move] = machine.anchor.moves
    assert (move.ratio.value, move.again, move.settled) == (pytest.approx(1 / 1.5), 4, True)
    assert not any(machine.cell(i).far for i in range(4))


def test_what_others_disturbed_is_no_anchor() -> None:
    machine = Machine()
    machine.seen = lambda now: BUSY if now < 5 else {}
    machine.take(0, 1, 2, 3, 4)
    assert machine.order() == [0, 1, 2, 3, 4, 1]
    assert "anchor" not in machine.cell(0).host


def test_a_later_profile_keeps_its_measure_where_others_disturb_it_at_first() -> None:
    first = Machine()
    first.take(0, 1)
    second = Machine(lambda now: 1.5, before=first)
    second.seen = lambda now: BUSY if now < 15 else {}
    second.take(1)
    assert second.order() == [0, 0, 1]
    assert second.anchor.moves == ()
    second.anchor.look(at_once=True)
    [move] = second.anchor.moves
    assert (move.ratio.value, move.again, move.settled) == (pytest.approx(1.5), 1, True)


def test_the_first_part_that_can_be_timed_is_the_anchor() -> None:
    machine = Machine()
    machine.broken = {PARTS[0].key}
    machine.take(0, 1, 2, 3, 4)
    assert machine.order() == [0, 1, 2, 3, 4, 1]
    assert machine.cells[PARTS[0].key] == Failure("crash", "then")


def test_an_anchor_that_breaks_tells_nothing_and_loses_nothing() -> None:
    machine = Machine()
    machine.take(0, 1, 2)
    machine.broken = {PARTS[0].key}
    machine.take(3)
    assert machine.anchor.moves == ()
    assert all(isinstance(cell, Measurement) for cell in machine.cells.values())


def test_a_part_that_breaks_when_timed_again_keeps_its_first_cell() -> None:
    machine = Machine(lambda now: 1.0 if now < 35 else 1.5)
    machine.take(0, 1, 2)
    machine.broken = {PARTS[2].key}
    machine.take(3)
    assert machine.cell(2).latency_s.value == pytest.approx(1e-3)
    assert machine.cell(2).host["anchor"]["level"] == 1.0
    assert machine.cell(1).latency_s.value == pytest.approx(1.5e-3)
    assert machine.unsettled() == [2]


def test_nothing_timed_nothing_read() -> None:
    machine = Machine()
    machine.anchor.look()
    machine.take(0, 1, 2, 3)
    machine.now += 100
    machine.anchor.look()
    assert machine.order() == [0, 1, 2, 3, 0]


def test_looking_between_other_work_closes_the_last_span() -> None:
    machine = Machine()
    machine.take(0, 1)
    machine.now += 30
    machine.anchor.look()
    assert machine.order() == [0, 1, 0]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.96, 1.04, Verdict.SAME),
        (0.90, 0.94, Verdict.FASTER),
        (1.06, 1.50, Verdict.SLOWER),
        (0.94, 1.00, Verdict.CANNOT_TELL),
        (1.00, 1.06, Verdict.CANNOT_TELL),
        (0.90, 1.20, Verdict.CANNOT_TELL),
        (-math.inf, math.inf, Verdict.CANNOT_TELL),
    ],
)
def test_only_what_is_sure_is_a_move(low: float, high: float, verdict: Verdict) -> None:
    middle = (low + high) / 2 if math.isfinite(low) else 1.0
    assert moved(Estimate(middle, low, high)) is verdict


def test_what_was_timed_while_the_machine_was_slow_is_timed_again_once_it_is_quick() -> None:
    machine = Machine(lambda now: 1.2 if now < 45 else 1.0)
    machine.take(0, 1, 2, 3, 4, 4, 4, 4)
    assert any(machine.cell(i).latency_s.value > 1.1e-3 for i in range(5)), (
        "some cells are of the slow minutes"
    )
    assert machine.anchor.settle() > 0
    assert [machine.cell(i).latency_s.value for i in range(5)] == [1e-3] * 5
    assert machine.anchor.settle() == 0, "nothing is left to do"


def test_while_the_machine_is_slow_nothing_is_timed_again() -> None:
    machine = Machine(lambda now: 1.0 if now < 45 else 1.2)
    machine.take(0, 1, 2, 3, 4)
    machine.anchor.look(at_once=True)
    timed = len(machine.timed)
    assert machine.anchor.settle() == 0
    assert set(machine.timed[timed:]) <= {PARTS[0]}, "at most the anchor was read"


def test_the_last_span_is_ended_by_a_reading() -> None:
    machine = Machine(lambda now: 1.0 if now < 45 else 1.2)
    machine.take(
        0, 1, 2, 3, 4
    )  # the anchor is read at 30 s; what comes then is timed before and after the change
    assert machine.anchor.moves == ()
    machine.anchor.settle()
    [move] = machine.anchor.moves
    assert (move.ratio.value, move.again) == (pytest.approx(1.2), 1)
    assert machine.cell(4).latency_s.value == pytest.approx(1.2e-3)
    assert machine.cell(4).host["anchor"] == {"level": pytest.approx(1.2), "settled": True}


@pytest.mark.parametrize(("left_s", "again"), [(0, 0), (5, 0), (15, 1), (25, 2), (math.inf, 4)])
def test_to_settle_ends_with_the_time_and_counts_what_it_leaves_out(left_s: float, again: int) -> None:
    """Seconds that are left when everything was timed once; the anchor's reading takes ten."""
    machine = Machine(lambda now: 1.2 if now < 45 else 1.0, deadline_s=140.0 + left_s)
    machine.take(0, 1, 2, 3, 4, 4, 4, 4)
    assert machine.now == 140.0
    slow = [i for i in range(5) if machine.cell(i).host["anchor"]["level"] == 1.0]
    assert machine.anchor.settle() == again
    assert sum(machine.cell(i).dropped.get(ANCHOR_MOVED, 0) >= 20 for i in slow) == again
    assert not math.isfinite(left_s) or machine.now < 140.0 + left_s + 10.0, "nothing is begun afterwards"


def test_what_the_anchor_sends_back_is_timed_again_while_there_is_time() -> None:
    machine = Machine(lambda now: 1.0 if now < 35 else 1.5, deadline_s=75.0)
    machine.take(0, 1, 2, 3)
    assert machine.order() == [0, 1, 2, 3, 0, 0, 1, 2], "neither the last part nor the anchor once more"
    [move] = machine.anchor.moves
    assert (move.again, move.settled) == (3, False)
    assert machine.unsettled() == [3]
    assert machine.cell(3).latency_s.value == pytest.approx(1e-3)


def test_a_move_that_is_seen_when_time_is_over_leaves_all_unsettled() -> None:
    machine = Machine(lambda now: 1.0 if now < 35 else 1.5, deadline_s=45.0)
    machine.take(0, 1, 2, 3)
    assert machine.order() == [0, 1, 2, 3, 0]
    [move] = machine.anchor.moves
    assert (move.again, move.settled, move.between_profiles) == (0, False, False)
    assert machine.unsettled() == [0, 1, 2, 3]


def test_when_time_is_over_the_anchor_is_not_read() -> None:
    machine = Machine(deadline_s=40.0)
    machine.take(0, 1, 2, 3)
    machine.anchor.look(at_once=True)
    assert machine.order() == [0, 1, 2, 3]


def test_a_machine_to_which_nothing_happens_is_left_alone() -> None:
    machine = Machine()
    assert machine.anchor.settle() == 0
    assert machine.timed == []
    machine.take(0, 1, 2)
    assert machine.anchor.settle() == 0
    assert set(machine.order()[3:]) <= {0}


def test_a_later_profile_goes_on_by_the_measure_of_the_first() -> None:
    first = Machine(lambda now: 1.0 if now < 15 else 1.2)
    first.take(0, 1)
    first.anchor.settle()
    first.take(2)
    second = Machine(lambda now: 1.5, before=first)
    second.take(3)
    assert second.order() == [0, 3], "the anchor is read before anything is timed"
    [move] = second.anchor.moves
    assert (move.ratio.value, move.again) == (pytest.approx(1.25), 0)
    assert second.cell(3).host["anchor"] == {"level": pytest.approx(1.5), "settled": True}
    third = Machine(lambda now: 1.5, before=second)
    third.take(4)
    assert third.anchor.moves == ()
    assert third.cell(4).host["anchor"]["level"] == pytest.approx(1.5)


def test_where_nothing_is_left_to_time_nothing_is_read() -> None:
    first = Machine()
    first.take(0, 1)
    second = Machine(before=first)
    second.anchor.look()
    assert second.anchor.settle() == 0
    assert second.timed == []


def test_an_anchor_of_old_that_no_longer_runs_is_replaced() -> None:
    first = Machine()
    first.take(0)
    second = Machine(lambda now: 1.3, before=first)
    second.broken = {PARTS[0].key}
    second.take(1, 2, 3, 4)
    assert second.anchor.moves == ()
    assert second.order() == [0, 0, 1, 2, 3, 4, 1]
    assert second.cell(1).host["anchor"]["level"] == 1.0


def test_cells_that_moved_or_tell_nothing_are_no_measure() -> None:
    plain = made_up.cell(1e-3)
    unsettled = replace(plain, host={"anchor": {"level": 1.2, "settled": False}})
    drifting = replace(
        unsettled,
        samples_s=tuple(1e-3 * (1 + 0.01 * i) for i in range(30)),
        host={"anchor": {"level": 1.0, "settled": True}},
    )
    assert drifting.findings
    sound = replace(plain, host={"anchor": {"level": 1.1, "settled": True}})
    cells: list[Cell] = [plain, unsettled, drifting, Failure("crash", "then"), sound]
    table = LatencyTable(
        made_up.setting(), {part.key: cell for part, cell in zip(PARTS, cells, strict=False)}
    )
    assert earlier_reading(PARTS[:4], table) is None
    assert earlier_reading(PARTS, table) == (PARTS[4], sound)


def test_what_was_timed_too_few_times_is_no_anchor() -> None:
    machine = Machine()
    few = replace(made_up.cell(1e-3), samples_s=(1e-3,) * 3)
    assert math.isinf(few.latency_s.high)
    measure = machine.measure
    machine.anchor = Anchor(
        lambda part: few if part is PARTS[0] else measure(part), machine.put, lambda: machine.now
    )
    machine.take(0, 1, 2, 3, 4)
    assert machine.cells[PARTS[0].key] == few
    assert machine.order() == [1, 2, 3, 4, 1], "the next one is read instead"
    table = LatencyTable(
        made_up.setting(), {PARTS[0].key: replace(few, host={"anchor": {"level": 1.0, "settled": True}})}
    )
    assert earlier_reading(PARTS, table) is None


def test_where_nothing_new_can_be_timed_there_is_nothing_to_settle() -> None:
    first = Machine()
    first.take(0, 1)
    second = Machine(before=first)
    second.broken = {PARTS[2].key}
    second.take(2)
    assert second.anchor.settle() == 0
    assert second.order() == [0, 2]
