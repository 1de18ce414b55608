"""What the experiment on kills counts: measurements that nobody asked for, and those that are missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up
import pytest
from kill_resume import missing, repeated
from test_profiler import run
from test_width_profiler import OUTLINE, WeighingSession

from bench.anchor import ANCHOR_MOVED
from bench.width_profiler import profile_with_widths
from latency_tables.archive import Archive, ArchivedCell
from latency_tables.measurement import Measurement
from latency_tables.store import Store
from pruning.outline import Outline

DEPTH = Outline(made_up.chain([96] * 4), OUTLINE.weights)


def profiled(folder: Path, *, widths: bool) -> tuple[Archive, Outline]:
    store, session = Store(folder / "lathe.db"), WeighingSession()
    if widths:
        profile_with_widths(OUTLINE, session, store)  # type: ignore[arg-type]
    else:
        run(session, store, DEPTH)
    return store.archive(session.setting), OUTLINE if widths else DEPTH


@pytest.mark.parametrize("widths", [False, True])
def test_a_profile_that_nobody_killed_lacks_nothing_and_repeats_nothing(tmp_path: Path, widths: bool) -> None:
    archive, outline = profiled(tmp_path, widths=widths)
    assert (repeated(archive, outline), missing(archive, outline)) == (0, 0)


@pytest.mark.parametrize("widths", [False, True])
def test_what_is_taken_away_is_missed(tmp_path: Path, widths: bool) -> None:
    archive, outline = profiled(tmp_path, widths=widths)
    assert missing(replace(archive, cells=archive.cells[:-1]), outline) == 1
    assert missing(replace(archive, cells=archive.cells[1:], networks=archive.networks[:-1]), outline) == 2


def test_a_cell_that_was_timed_again_counts_but_where_the_anchor_moved(tmp_path: Path) -> None:
    archive, outline = profiled(tmp_path, widths=False)
    first = archive.cells[0]

    def again(dropped: dict[str, int]) -> ArchivedCell:
        return replace(first, cell=replace(made_up.cell(1e-3), dropped=dropped))

    moved = replace(archive, cells=(*archive.cells, again({ANCHOR_MOVED: 10}), again({ANCHOR_MOVED: 20})))
    assert repeated(moved, outline) == 0
    assert repeated(replace(archive, cells=(*archive.cells, again({"of another cause": 10}))), outline) == 1


def test_what_a_killed_profile_left_unsettled_is_asked_for_once_more(tmp_path: Path) -> None:
    archive, outline = profiled(tmp_path, widths=False)
    first = archive.cells[0]
    assert isinstance(first.cell, Measurement)
    unsettled = {**first.cell.host, "anchor": {"level": 1.0, "settled": False}}
    marked = replace(first, cell=replace(first.cell, host=unsettled))
    assert repeated(replace(archive, cells=(*archive.cells, marked, first)), outline) == 0
    assert repeated(replace(archive, cells=(*archive.cells, marked, first, first)), outline) == 1


@pytest.mark.parametrize(
    ("cell", "network"),
    [
        ({"disturbance": "others used the cores"}, {"disturbance": "others used the cores"}),
        ({"cores": {"mode": "far"}}, {"far": True}),
    ],
)
def test_what_others_spoiled_may_be_timed_again(
    tmp_path: Path, cell: dict[str, object], network: dict[str, Any]
) -> None:
    archive, outline = profiled(tmp_path, widths=False)
    first, last = archive.cells[0], archive.networks[-1]
    assert isinstance(first.cell, Measurement)
    part = replace(first, cell=replace(first.cell, host={**first.cell.host, **cell}))
    whole = replace(last, network=replace(last.network, **network))
    more = replace(archive, cells=(part, *archive.cells), networks=(whole, *archive.networks))
    assert repeated(more, outline) == 0


def test_a_network_that_was_timed_once_too_often_counts(tmp_path: Path) -> None:
    archive, outline = profiled(tmp_path, widths=False)
    assert repeated(replace(archive, networks=(*archive.networks, archive.networks[-1])), outline) == 1
