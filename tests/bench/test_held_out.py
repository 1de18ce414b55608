"""Networks held out by a check, some of whose timings something spoiled."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up
import pytest
from test_checking import WIDTHS, ChangingSession, check, outline_of

from bench import table_views
from bench.checking import check_networks
from bench.profiler import profile
from bench.session import Handle
from bench.terminal import Terminal
from bench.timing import Rule
from latency_tables.errors import LatheError
from latency_tables.random_plans import draw_plans
from latency_tables.store import Store


class SpoilingSession(ChangingSession):
    """Something is seen around comparisons with some of the pruned networks, which then take half as long again."""

    def __init__(self, spoiled: Collection[str], host: dict[str, Any]) -> None:
        super().__init__()
        self.spoiled, self.host = spoiled, host

    def interleave(self, handles: Sequence[Handle], rule: Rule | None = None) -> Any:
        busy = self.loaded[handles[1].number].text in self.spoiled
        self.noise = 0.5 if busy else 0.0
        timed, comparisons = super().interleave(handles, rule)
        return tuple(replace(one, host=self.host if busy else {}) for one in timed), comparisons


@pytest.mark.parametrize("host", [{"disturbance": "foreign load"}, {"cores": {"mode": "far"}}])
def test_held_out_networks_with_a_spoiled_timing_judge_nothing_and_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], host: dict[str, Any]
) -> None:
    store, outline = Store(tmp_path / "lathe.db"), outline_of(WIDTHS)
    profile(outline, ChangingSession(), store)  # type: ignore[arg-type]
    table, skeleton = store.table(made_up.setting()), outline.skeleton
    plans = draw_plans(skeleton, 3, 0, ("blocks",))
    texts = [skeleton.without(plan.removed)[0].text for plan in plans]

    def check_with(*spoiled: Collection[str]) -> Any:
        sessions: Any = (SpoilingSession(each, host) for each in spoiled)
        return check_networks(outline, store, sessions.__next__, table, 3, 0)

    closure = check_with(texts[:1], [])
    assert ([network.cut for network in closure.networks], closure.left_out) == (plans[1:], 1)
    assert closure.noise_floor == pytest.approx(0.0)
    checked = check(skeleton, store, ChangingSession())
    assert table_views.check_json(made_up.setting(), checked, closure)["left_out"] == 1
    assert table_views.check_json(made_up.setting(), checked, None)["left_out"] is None
    table_views.show_check(Terminal(), made_up.setting(), checked, closure)
    assert "1 more left out, of whose timings fewer than two were sound" in " ".join(
        capsys.readouterr().out.split()
    )
    with pytest.raises(
        LatheError, match=r"of 3 pruned networks, .* none has two sound timings.*quieter machine"
    ):
        check_with([], texts)
    assert len(store.table(made_up.setting()).networks) == len(table.networks) + 12, "all are kept"
