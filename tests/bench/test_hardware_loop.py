from __future__ import annotations

import math
from collections.abc import Collection

import made_up
import pytest

from bench.budget import parse_budget
from bench.hardware_loop import HardwareLoop, is_met, is_open
from latency_tables.context import Coefficients
from latency_tables.errors import LatheError, UserError
from latency_tables.estimate import Estimate
from latency_tables.skeleton import Cut
from latency_tables.table import LatencyTable, NetworkMeasurement
from pruning.search import Selection

SKELETON = made_up.chain([4] * 6)
PART_S = 1e-3


class World:
    """A machine on which a network is slower than its parts say, by a factor of what is left of it."""

    def __init__(
        self, factor: float = 1.0, speed: float = 1.0, width: float = 0.0, wider: float = 0.0
    ) -> None:
        self.factor, self.speed, self.width, self.wider = factor, speed, width, width + wider
        self.table = made_up.table(
            SKELETON, dict.fromkeys((p.key for p in SKELETON.parts), PART_S), [self.at([])]
        )
        self.timed: list[tuple[str, ...]] = []
        self.said: list[str] = []

    def at(self, removed: Collection[str]) -> NetworkMeasurement:
        whole = 7 * PART_S  # six blocks and the head
        left = whole - len(removed) * PART_S
        ratio = left / whole * (self.factor if removed else 1.0)
        unpruned = whole * self.speed
        return NetworkMeasurement(
            SKELETON.digest,
            tuple(sorted(removed)),
            Estimate(
                ratio * unpruned, ratio * unpruned * (1 - self.wider), ratio * unpruned * (1 + self.wider)
            ),
            made_up.exact(unpruned),
            Estimate(ratio, ratio * (1 - self.width), ratio * (1 + self.width)),
            "fit",
            "2026-01-01T00:00:00+00:00",
        )

    def measure(self, cut: Cut) -> NetworkMeasurement:
        self.timed.append(cut.removed)
        seen = self.at(cut.removed)
        self.table = LatencyTable(self.table.setting, self.table.cells, (*self.table.networks, seen))
        return seen

    def loop(self, budget: str, rounds: int = 6, *, confirm: bool = False) -> HardwareLoop[Selection]:
        return HardwareLoop(
            SKELETON,
            lambda: self.table,
            parse_budget(budget),
            choose=first_that_fits,
            measure=self.measure,
            rounds=rounds,
            say=self.said.append,
            confirm=confirm,
        )


def first_that_fits(fit: Coefficients, budget_s: float) -> Selection:
    for count in range(len(SKELETON.removable) + 1):
        removed = SKELETON.removable[:count]
        if fit.latency_s(removed) <= budget_s * (1 + 1e-12):
            return Selection(removed, fit.latency_s(removed), None, ())
    raise UserError("out of reach")


def test_a_true_table_meets_the_budget_at_once() -> None:
    world = World()
    choice = world.loop("0.5x").search()
    assert choice.met
    assert choice.selection.removed == SKELETON.removable[:4]  # 3/7 is the first share under a half
    assert len(world.timed) == 1


def test_what_was_foreseen_is_told_at_the_speed_of_the_pass() -> None:
    world = World()
    loop = world.loop("0.5x")
    world.speed = 2.0  # the machine is slower than when the table was made
    loop.search()
    (turn,) = loop.rounds
    assert turn.predicted_s.value == pytest.approx(turn.measured_s.value) == pytest.approx(2 * 3 * PART_S)
    assert "predicted 0.429 of the unpruned latency, measured 0.429" in world.said[0]


class Wavering(World):
    """A machine on which the first timing of every network is a little too good."""

    def measure(self, cut: Cut) -> NetworkMeasurement:
        self.factor = 1.1 if cut.removed in self.timed else 1.0
        return super().measure(cut)


def test_a_choice_that_is_costly_to_make_must_meet_the_budget_twice() -> None:
    lucky = Wavering().loop("0.45x").search()
    world = Wavering()
    loop = world.loop("0.45x", confirm=True)
    choice = loop.search()
    assert lucky.met and choice.met
    assert lucky.selection.removed == SKELETON.removable[:4]  # 3/7, and a tenth more the second time
    assert choice.selection.removed == SKELETON.removable[:5]
    assert [turn.met for turn in loop.rounds] == [True, False, True, True]
    assert world.timed == [SKELETON.removable[:4]] * 2 + [SKELETON.removable[:5]] * 2


def test_a_choice_that_failed_is_not_timed_twice() -> None:
    world = World(factor=1.2)
    assert world.loop("0.5x", rounds=1, confirm=True).search().met is False
    assert len(world.timed) == 1


def test_a_miss_is_taken_in_and_more_is_removed_until_the_measurement_meets() -> None:
    world = World(factor=1.2)
    loop = world.loop("0.5x")
    choice = loop.search()
    assert choice.met
    assert [turn.met for turn in loop.rounds] == [False] * (len(loop.rounds) - 1) + [True]
    assert world.at(choice.selection.removed).ratio.high <= 0.5
    assert len(set(world.timed)) == len(world.timed) > 1  # never the same network twice


def test_the_whole_interval_must_lie_under_the_budget() -> None:
    world = World(width=0.2)
    assert world.at(SKELETON.removable[:4]).ratio.value < 0.5 < world.at(SKELETON.removable[:4]).ratio.high
    choice = world.loop("0.5x").search()
    assert choice.met
    assert len(choice.selection.removed) == 5


def test_rounds_are_bounded_and_a_miss_is_told() -> None:
    world = World(factor=1.2)
    loop = world.loop("0.5x", rounds=1)
    assert not loop.search().met
    assert loop.exhausted
    assert "missed" in world.said[-1]


def test_a_slower_machine_changes_nothing_for_a_share_and_much_for_a_time() -> None:
    slow = World(speed=1.0)
    slow.speed = 2.0  # the table was made at full speed
    assert len(slow.loop("0.5x").search().selection.removed) == 4
    slow = World()
    slow.speed = 2.0
    choice = slow.loop("7ms").search()
    assert choice.met
    assert slow.at(choice.selection.removed).latency_s.high <= 7e-3


def test_a_delivered_network_that_misses_sends_the_loop_on() -> None:
    world = World()
    loop = world.loop("0.5x")
    choice = loop.search()
    world.factor = 1.2
    assert not loop.saw("delivered", world.measure(choice.selection.cut))
    again = loop.search()
    assert len(again.selection.removed) > len(choice.selection.removed)


@pytest.mark.parametrize(
    ("budget", "met"), [("0.43x", True), ("0.42x", False), ("3ms", True), ("2.9ms", False)]
)
def test_is_met(budget: str, met: bool) -> None:
    assert is_met(parse_budget(budget), World().at(SKELETON.removable[:4])) is met


def test_a_network_timed_too_few_times_to_tell_is_an_error() -> None:
    world = World(width=math.inf)
    with pytest.raises(LatheError, match=r"timed too few times to say whether it meets 0\.5x"):
        world.loop("0.5x").search()


@pytest.mark.parametrize(
    ("budget", "width", "open_"),
    [
        ("0.44x", 0.0, False),  # met: three of seven is 0.429
        ("0.44x", 0.05, True),  # its middle is below, its upper end above
        ("0.42x", 0.05, False),  # missed, whatever the interval
        ("3.05ms", 0.05, True),
        ("2.9ms", 0.05, False),
    ],
)
def test_a_timing_that_cannot_tell_is_open(budget: str, width: float, open_: bool) -> None:
    seen = World(width=width).at(SKELETON.removable[:4])
    assert is_open(parse_budget(budget), seen) is open_


def test_a_latency_known_less_well_than_its_ratio_does_not_have_one_network_timed_again_and_again() -> None:
    world = World(wider=0.05)
    choice = world.loop("4.1ms").search()  # three of seven out is 4 ms, up to 4.2
    assert choice.met
    assert world.timed == [SKELETON.removable[:3], SKELETON.removable[:4]]


def test_where_the_whole_network_may_be_too_slow_something_is_taken_out() -> None:
    world = World(wider=0.05)
    choice = world.loop("7.1ms").search()  # unpruned it takes 7 ms, up to 7.35
    assert choice.met
    assert world.timed == [(), SKELETON.removable[:1]]


class OnceWide(World):
    """A machine on which the first timing of a pruned network has a wide interval."""

    def measure(self, cut: Cut) -> NetworkMeasurement:
        self.width = 0.163 if not self.timed else 0.0
        return super().measure(cut)


def test_one_wide_timing_does_not_put_a_budget_out_of_reach() -> None:
    world = OnceWide()
    choice = world.loop("0.95x").search()  # one of seven out is 0.857, up to 0.997
    assert choice.met
    assert len(world.timed) == 2


def test_what_is_out_of_reach_after_a_miss_is_told() -> None:
    with pytest.raises(UserError, match="out of reach"):
        World(factor=3.0).loop("0.5x").search()
