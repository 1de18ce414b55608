from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import made_up_table as made
import pytest

from latency_tables.errors import UserError
from latency_tables.estimate import Estimate
from reports import read_table
from reports.table_record import FORMAT, RECORD, encode_table


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / RECORD
    path.write_text(json.dumps(encode_table(made.record()), allow_nan=False))
    return path


def test_what_is_written_is_read_back_equal(file: Path) -> None:
    assert read_table(file) == made.record() == read_table(file.parent)
    assert json.loads(file.read_text())["format"] == FORMAT


def test_an_interval_that_nobody_knows_stays_so(file: Path) -> None:
    staircase = made.staircase(error=None)
    unbounded = [
        {**point, "latency_s": Estimate(point["latency_s"][0], -math.inf, math.inf).to_json()}
        for point in encode_table(made.record(staircases=(staircase,)))["staircases"][0]["curve"]
    ]
    data = encode_table(made.record(staircases=(staircase,)))
    data["staircases"][0]["curve"] = unbounded
    file.write_text(json.dumps(data, allow_nan=False))
    (found,) = read_table(file).staircases
    assert found.error is None
    assert {(p.latency_s.low, p.latency_s.high) for p in found.curve} == {(-math.inf, math.inf)}


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("format",), FORMAT + 1, "newer than"),
        (("format",), "1", "whole number under 'format'"),
        (("layers",), [], "layers must hold at least one"),
        (("layers", 0, "origin"), "guessed", "expected one of measured, interpolated"),
        (("layers", 0, "alone_s"), [0.0, 0.0, 0.0], "alone_s must be above 0"),
        (("layers", 0, "latency_s"), [-1e-3, -1e-3, 1e-3], "latency_s must be at least 0"),
        (("closure", 1, "measured"), [2, 3, 4], r"closure\[1\]"),
        (("closure", 1, "blocks"), 1.5, "whole number"),
        (("staircases", 0, "step"), 0, "step must be above 0"),
        (("staircases", 0, "points"), [], "at least one point"),
        (("staircases", 0, "points", 0, "role"), "guess", "anchor, check"),
        (("staircases", 0, "curve", 0, "width"), 99, "rising widths"),
        (("heat_maps", 0, "columns"), [1, 2], "rows of 2"),
        (("heat_maps", 0, "rows", 0), 500, "rising widths"),
        (("heat_maps", 0, "latency_s", 0, 0), 0.0, "above 0 everywhere"),
        (("traces", 0, "samples_s"), [], "at least one time"),
        (("traces", 0, "stop"), "bored", "precision, stalled, time"),
        (("traces", 0, "created"), "yesterday", "ISO 8601"),
        (("constant_s",), None, "constant_s: expected a number"),
        (("colour",), "blue", "unknown key 'colour'"),
    ],
)
def test_an_edited_record_is_refused_with_the_place(
    file: Path, place: tuple[str | int, ...], value: object, words: str
) -> None:
    data = json.loads(file.read_text())
    inner = data
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    file.write_text(json.dumps(data))
    with pytest.raises(UserError, match=words) as caught:
        read_table(file)
    assert str(file) in str(caught.value)


def test_a_cut_off_or_missing_record_says_what_to_do(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(UserError, match=r"is not JSON.*lathe table report"):
        read_table(file)
    file.unlink()
    with pytest.raises(UserError, match="expected the folder of a table's report"):
        read_table(file.parent)


def test_a_record_of_the_first_format_is_read_without_noise(file: Path) -> None:
    data = json.loads(file.read_text())
    for row in data["closure"]:
        del row["noise"]
    file.write_text(json.dumps(data))
    with pytest.raises(UserError, match="missing noise"):
        read_table(file)
    file.write_text(json.dumps(data | {"format": 1}))
    rows = made.record().closure
    assert read_table(file).closure == tuple(replace(row, noise=None) for row in rows)
