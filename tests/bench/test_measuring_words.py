"""Words of `lathe profile` and `lathe predict` that decide whether, what and how long is measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import made_up
import pytest
from cli_driver import Lathe

from bench import host
from bench.checking import Checked, CheckedCell
from bench.lock import locked
from bench.runtimes import make_setting
from bench.workbench import NetworkChoice, Subject
from latency_tables.skeleton import Skeleton
from latency_tables.store import Store
from latency_tables.table import Failure
from latency_tables.verdict import Verdict


def test_strict_measures_nothing_on_a_restless_host(
    lathe: Lathe, job: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = host.Finding("foreign load", "1.7 cores", "0.1 cores", host.Severity.WARNING, "Stop the others.")
    state = replace(host.look(window_s=0.0), findings=(busy,))
    monkeypatch.setattr("bench.host.look", lambda **_: state)
    answer = lathe("profile", job["network"], "--strict", "--out", tmp_path / "out")
    assert answer.status == 2
    assert "1.7 cores" in answer.err
    assert not (tmp_path / "out").exists()


def test_a_profile_keeps_how_quiet_the_host_was(
    lathe: Lathe, job: dict[str, str], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slack = host.Finding("governor", "powersave", "performance", host.Severity.WARNING, "Set it.")
    state = replace(host.look(window_s=0.0), governor="powersave", findings=(slack,))
    monkeypatch.setattr("bench.host.look", lambda **_: state)
    told = json.loads(lathe("profile", job["network"], "--out", workspace, "--json").out)["host"]
    assert told == state.to_json()
    assert (told["governor"], told["quiet"]) == ("powersave", False)


def test_a_time_budget_ends_a_profile_which_goes_on(
    lathe: Lathe, job: dict[str, str], tmp_path: Path
) -> None:
    words = ("profile", job["network"], "--runtime", "eager", "--out", tmp_path, "--json")
    short = json.loads(lathe(*words, "--time-budget", "0.001s").out)
    assert not short["complete"]
    assert short["measured"] < short["parts"]
    told = lathe(*words[:-1], "--time-budget", "0.001s").out
    assert "time was over" in told
    known = len(Store(tmp_path / "lathe.db").table(make_setting("eager")).cells)
    on = json.loads(lathe(*words).out)
    assert on["complete"]
    assert on["measured"] == on["parts"] - known
    assert lathe(*words, "--time-budget", "5").status == 2


def test_what_predict_measures_is_kept_for_the_fit(
    lathe: Lathe, job: dict[str, str], workspace: Path
) -> None:
    setting = make_setting("onnxruntime")
    before = Store(workspace / "lathe.db").table(setting).networks
    words = ("predict", job["network"], "--without", "blocks.0,blocks.2,blocks.4", "--out", workspace)
    told = json.loads(lathe(*words, "--measure", "--json").out)
    *earlier, newest = Store(workspace / "lathe.db").table(setting).networks
    assert tuple(earlier) == before
    assert newest.role == "fit"
    assert newest.removed == ("blocks.0", "blocks.2", "blocks.4")
    assert (newest.latency_s.value, newest.ratio.value) == (told["measured_s"], told["measured_ratio"])
    assert newest.rounds and newest.rounds == told["timing"]["rounds"]
    again = json.loads(lathe(*words, "--json").out)
    assert again["predicted_s"] != told["predicted_s"], "what was measured weighs in from now on"


def test_fill_measures_the_widths_that_are_missing(
    lathe: Lathe, job: dict[str, str], workspace: Path
) -> None:
    words = ("predict", job["network"], "--widths", "0.5", "--out", workspace)
    lacking = lathe(*words)
    assert lacking.status == 2
    assert "--fill" in lacking.err
    setting = make_setting("onnxruntime")
    before = Store(workspace / "lathe.db").table(setting).cells
    filled = json.loads(lathe(*words, "--fill", "--json").out)
    after = Store(workspace / "lathe.db").table(setting).cells
    assert filled["predicted_s"] > 0
    assert set(before) < set(after)
    # Nothing is left to measure, and the answer is the same without.
    assert json.loads(lathe(*words, "--json").out)["predicted_s"] == filled["predicted_s"]


@pytest.mark.parametrize("word", ["--measure", "--fill"])
def test_a_workspace_in_use_is_not_measured_into(
    lathe: Lathe, job: dict[str, str], workspace: Path, word: str
) -> None:
    widths = ("--widths", "0.5") if word == "--fill" else ()
    with locked(workspace):
        answer = lathe("predict", job["network"], *widths, word, "--out", workspace)
    assert answer.status == 2
    assert "in use by another process" in answer.err


@pytest.mark.parametrize(
    ("verdict", "moved", "status"), [("same", False, 0), ("slower", False, 1), ("same", True, 1)]
)
def test_check_tells_scripts_whether_a_table_holds(
    lathe: Lathe,
    job: dict[str, str],
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    verdict: str,
    moved: bool,
    status: int,
) -> None:
    one = made_up.exact(1.0)

    def checked(
        skeleton: Skeleton, _table: object, _session: object, count: int, seed: int, _bar: object
    ) -> Checked:
        assert (count, seed) == (3, 5)
        part, told = skeleton.parts[0], Verdict(verdict)
        return Checked((CheckedCell(part, one, one, one, told, told, ""),), part, 1.0, moved)

    monkeypatch.setattr("bench.checking.check_cells", checked)
    words = ("table", "check", job["network"], "--cells", 3, "--seed", 5, "--out", workspace)
    answer = lathe(*words, "--json")
    assert answer.status == status
    assert json.loads(answer.out)["holds"] is {("same", False): True, ("slower", False): False}.get(
        (verdict, moved)
    )
    assert lathe(*words).status == status


def test_a_retried_failure_and_the_runtimes_own_nodes(
    lathe: Lathe, job: dict[str, str], workspace: Path
) -> None:
    setting = make_setting("onnxruntime")
    store = Store(workspace / "lathe.db")
    skeleton = Subject(NetworkChoice(job["network"]), 1).outline.skeleton
    store.put(setting, skeleton.parts[0], Failure("crash", "then"))
    store.close()
    words = ("profile", job["network"], "--out", workspace, "--json")
    kept = lathe(*words)
    assert kept.status == 1, "a part that failed is a failure"
    assert len(json.loads(kept.out)["failed"]) == 1
    again = lathe(*words, "--retry-failed")
    assert again.status == 0
    assert json.loads(again.out)["failed"] == []
    nodes = json.loads(lathe("predict", job["network"], "--nodes", "--out", workspace, "--json").out)["nodes"]
    assert nodes["nodes"]
    for word in ("--measure", "--fill", "--nodes"):
        refused = lathe("predict", job["network"], "--table", setting.digest, word, "--out", workspace)
        assert refused.status == 2
        assert "need this machine's own" in refused.err
