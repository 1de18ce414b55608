"""Default budgets that a table says are out of reach, and what is asked for in their place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import made_up
import made_up_runs
import pytest
from cli_driver import Lathe
from small_job import write_job

from bench.reach import least_share, pairs_within_reach, reachable
from bench.sweep_config import SweepConfig
from bench.workbench import Subject
from latency_tables.errors import UserError
from latency_tables.skeleton import Skeleton
from latency_tables.table import LatencyTable
from reports.results import Point

DEFAULT = ("0.8x", "0.6x", "0.4x")


@pytest.mark.parametrize(
    ("least", "done", "expected"),
    [
        (0.3, (), DEFAULT),
        (0.55, (), ("0.8x", "0.6x")),  # five per cent above it lies below 0.6
        (0.58, (), ("0.8x", "0.65x")),
        (0.78, (), ("0.85x",)),
        (0.97, (), ()),
        # What was made before stays, so that the same command asks for nothing new.
        (0.58, ("0.6x",), ("0.8x", "0.6x")),
        (0.63, ("0.65x", "90%", "8ms"), ("0.8x", "0.65x")),
    ],
)
def test_budgets_out_of_reach_are_replaced(
    least: float, done: Sequence[str], expected: tuple[str, ...]
) -> None:
    asked, said = reachable(DEFAULT, least, done)
    assert asked == expected
    assert bool(said) == (expected != DEFAULT)


def test_the_words_tell_what_is_out_of_reach_and_why() -> None:
    assert reachable(DEFAULT, 0.62, ())[1] == (
        "0.6x, 0.4x out of reach: the table foresees 0.62 of the latency at the least; 0.7x takes their place"
    )


def chain(width: int) -> tuple[Skeleton, LatencyTable]:
    """Two blocks, each a quarter of the latency; the rest is the head's."""
    skeleton = made_up.chain([width] * 2)
    seconds = {"block": 1.0, "linear": 0.25}
    costs = {part.key: seconds[part.kind] for part in skeleton.parts}
    costs[skeleton.layers[-1].part.key] = 2.0
    networks = [made_up.network(skeleton, removed, 4.0 - len(removed), 4.0) for removed in ((), ("block0",))]
    return skeleton, made_up.table(skeleton, costs, networks)


def subject_of(skeleton: Skeleton) -> Subject:
    outline = SimpleNamespace(skeleton=skeleton)
    return cast(Subject, SimpleNamespace(outline=outline, outline_for=lambda _: outline))


def pairs(config: SweepConfig, present: dict[str, Point], said: list[str]) -> list[tuple[str, str]]:
    skeleton, table = chain(8)
    return pairs_within_reach(config, subject_of(skeleton), table, present, said.append)


def config_of(**changes: Any) -> SweepConfig:
    return SweepConfig(network="chain", images="digits", methods=("random", "last"), **changes)


def test_blocks_end_where_all_of_them_are_gone() -> None:
    skeleton, table = chain(8)
    assert least_share("last", subject_of(skeleton), table) == pytest.approx(0.5, abs=0.02)


def test_default_budgets_follow_the_table_and_named_ones_do_not() -> None:
    said: list[str] = []
    found = pairs(config_of(), {}, said)
    assert found == [
        ("0.8x", "random"),
        ("0.8x", "last"),
        ("0.6x", "random"),
        ("0.6x", "last"),
        ("0.55x", "random"),
        ("0.55x", "last"),
    ]
    assert [line.partition(":")[0] for line in said] == ["random", "last"]
    said.clear()
    named = config_of(budgets=DEFAULT)
    assert pairs(named, {}, said) == named.pairs()
    assert not said


def test_only_finished_points_of_the_setting_count_as_made() -> None:
    here = made_up.setting().digest
    point = made_up_runs.point(method="last", budget="0.4x", setting=here)
    assert ("0.4x", "last") in pairs(config_of(), {"a": point}, [])
    other = made_up_runs.point(method="last", budget="0.4x", setting="other")
    failed = made_up_runs.failed(method="last", budget="0.4x", setting=here)
    assert ("0.4x", "last") not in pairs(config_of(), {"a": other, "b": failed}, [])


def test_a_network_that_nothing_makes_faster_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.reach.least_share", lambda *_: 0.99)
    with pytest.raises(UserError, match="no method here makes chain surely faster"):
        pairs(config_of(), {}, [])


def test_a_sweep_without_named_budgets_asks_for_what_can_be_had(
    tmp_path: Path, lathe: Lathe, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the table foresees is said here, not timed: how much of so small a network its blocks are, noise decides.
    monkeypatch.setattr("bench.reach.least_share", lambda *_: 0.7)
    words = write_job(tmp_path)
    file = tmp_path / "small.toml"
    file.write_text(
        f'network = "{words["network"]}"\nimages = "{words["images"]}"\ncalibration = 40\n'
        'methods = ["last"]\niterations = 2\ncontrols = false\n'
    )
    answer = lathe("sweep", file, "--out", tmp_path, "--json")
    assert answer.status == 0, answer.err
    points = json.loads(answer.out)["points"]
    assert all(point["status"] == "done" for point in points)
    assert {point["budget"] for point in points if point["method"] == "last"} == {"0.8x", "0.75x"}
