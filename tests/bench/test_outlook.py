"""What a profile will measure, foreseen and then measured by a session that knows its latencies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_profiler import outline_of
from test_width_profiler import OUTLINE, WeighingSession

from bench.outlook import CELL_S, NETWORK_S, Outlook, outlook
from bench.profiler import profile
from bench.width_profiler import profile_with_widths
from latency_tables.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "lathe.db")


def test_a_profile_over_depth_is_foreseen_exactly_and_then_nothing_is_left(store: Store) -> None:
    session, outline = WeighingSession(), outline_of(8)
    foreseen = outlook(outline, store.table(session.setting))
    done = profile(outline, session, store)  # type: ignore[arg-type]
    assert foreseen == Outlook(done.measured, done.networks)
    assert foreseen.seconds == pytest.approx(CELL_S * done.measured + NETWORK_S * done.networks)
    assert outlook(outline, store.table(session.setting)) == Outlook()


def test_other_widths_are_foreseen_within_a_factor_of_two_and_then_nothing_is_left(store: Store) -> None:
    session = WeighingSession()
    foreseen = outlook(OUTLINE, store.table(session.setting))
    done, widths = profile_with_widths(OUTLINE, session, store)  # type: ignore[arg-type]
    parts = done.measured + sum(widths.measured.values())
    # Here latency has no steps, where steps of 16 channels are expected.
    assert parts / 2 < foreseen.parts < parts * 2
    assert foreseen.networks == done.networks
    assert outlook(OUTLINE, store.table(session.setting)) == Outlook()


def test_a_profile_that_goes_on_is_foreseen_by_what_it_lacks(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt):
        profile_with_widths(OUTLINE, WeighingSession(stop_after=40), store)  # type: ignore[arg-type]
    left = outlook(OUTLINE, store.table(WeighingSession().setting))
    session = WeighingSession()
    done, widths = profile_with_widths(OUTLINE, session, store)  # type: ignore[arg-type]
    # What both sweeps measured tells that there are no steps, so what is left is foreseen better than the whole.
    assert left.parts == pytest.approx(sum(widths.measured.values()), rel=0.1)
    assert left.networks == done.networks


def test_what_failed_is_not_foreseen_again(store: Store) -> None:
    session = WeighingSession(fails_at=33)
    profile_with_widths(OUTLINE, session, store)  # type: ignore[arg-type]
    assert outlook(OUTLINE, store.table(session.setting)) == Outlook()


def test_without_channel_groups_no_width_is_foreseen(store: Store) -> None:
    table = store.table(WeighingSession().setting)
    plain = replace(OUTLINE, skeleton=replace(OUTLINE.skeleton, groups=(), sizes=()))
    assert outlook(plain, table).parts == len(OUTLINE.skeleton.parts)
