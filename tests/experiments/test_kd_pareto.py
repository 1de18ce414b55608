"""A runtime's points, their areas and what becomes of them in the other, as the page says it."""

from __future__ import annotations

import made_up_runs as made
from kd_pareto import section

from latency_tables.estimate import Estimate
from reports.results import Point
from reports.scenes import Scene, scenes

HERE, THERE = "s1", "s2"


def near(value: float) -> Estimate:
    return Estimate(value, value - 0.01, value + 0.01)


def point(
    method: str, setting: str, accuracy: float, ratio: float, there: float | None = None, *, met: bool = True
) -> Point:
    return made.point(
        id=f"{setting}-{method}",
        method=method,
        setting=setting,
        accuracy=near(accuracy),
        ratio=near(ratio),
        met=met,
        elsewhere={} if there is None else {THERE: near(there)},
    )


def two_runtimes() -> list[Scene]:
    points = [
        made.unpruned(setting=HERE, id="whole-here"),
        point("ttmpd", HERE, 0.8, 0.5, 0.6),
        point("kd", HERE, 0.9, 0.6, 0.5, met=False),
        made.failed(id="lost", method="epsd-structured", setting=HERE, reason="training diverged: nan"),
        point("ttmpd", THERE, 0.8, 0.65),
        point("kd", THERE, 0.9, 0.55),
    ]
    return scenes([(made.run(), points)])


def test_each_point_has_its_numbers_with_intervals_in_both_runtimes() -> None:
    found = two_runtimes()
    lines = section(found[0], found)
    assert lines[:3] == ["## ONNX Runtime 1.31, one thread, batch 1", "", "Unpruned: 86.1 % (85.4–86.8)."]
    rows = [line for line in lines if line.startswith(("| ttmpd | 0", "| kd | 0", "| epsd", "| unpruned"))]
    assert rows == [
        "| ttmpd | 0.7x | 0 | 80.0 % (79.0–81.0) | 0.500 (0.490–0.510) | yes | 0.600 (0.590–0.610) |",
        "| kd | 0.7x | 0 | 90.0 % (89.0–91.0) | 0.600 (0.590–0.610) | no | 0.500 (0.490–0.510) |",
    ]
    # Half of the latency times 80 %, and 40 % of it times 90 %.
    assert "| ttmpd | 40.0 % (38.7–41.3) | 1 |" in lines and "| kd | 36.0 % (34.7–37.3) | 1 |" in lines


def test_what_becomes_of_them_in_the_other_runtime_is_said() -> None:
    found = two_runtimes()
    other = "eager torch 2.13, one thread, batch 1"
    lines = section(found[0], found)
    assert (
        "Of 1 pairs whose latency intervals do not overlap here, 1 turn round in "
        f"{other}, without overlap there: ttmpd · 0.7x · seed 0 before kd · 0.7x · seed 0."
    ) in lines
    assert "On the front here and behind it there: ttmpd · 0.7x · seed 0." in lines
    # 0.4 * 0.9 + 0.1 * 0.8 here; 0.5 * 0.9 there, where ttmpd adds nothing; 0.45 * 0.9 of those chosen for it.
    assert (
        "Hypervolume (normalised) of the front of all methods, over 2 points: 44.0 % (42.6–45.4) here; the same "
        f"networks in {other} 45.0 % (43.6–46.4), those chosen for it 40.5 % (39.2–41.9)."
    ) in lines
    alone = section(found[1], found)
    assert "Unpruned: unknown." in alone
    assert not [line for line in alone if line.startswith(("Of ", "On the front", "Hypervolume"))]


def test_a_point_that_failed_is_said_with_its_reason() -> None:
    found = two_runtimes()
    assert "- lost failed: training diverged: nan" in section(found[0], found)
    assert not [line for line in section(found[1], found) if "failed" in line]
