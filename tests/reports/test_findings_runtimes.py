from __future__ import annotations

from dataclasses import replace

import made_up_runs as made
import pytest

from reports.finding import Finding, Kind, Level
from reports.findings import of_scene
from reports.page import render_page
from reports.results import Facts
from reports.scenes import scenes

NOTHING = Facts({}, {}, {}, (), None)
KINDS = (Kind.FLOATS, Kind.BREAKS, Kind.PROVIDERS, Kind.BUILDS, Kind.LAUNCHING)


def found(facts: Facts | None, setting: str = "s1") -> list[Finding]:
    run = made.run(closure=(), facts={} if facts is None else {setting: facts})
    (scene,) = scenes([(run, [made.unpruned()])])
    return [finding for finding in of_scene(scene) if finding.kind in KINDS]


def only(facts: Facts) -> Finding:
    (finding,) = found(facts)
    return finding


@pytest.mark.parametrize("facts", [None, NOTHING, replace(NOTHING, builds_s=(1e-3,))])
def test_where_nothing_was_told_nothing_is_said(facts: Facts | None) -> None:
    assert found(facts) == []


def test_what_another_setting_told_is_not_said_here() -> None:
    assert found(replace(NOTHING, ran_in_floats={"MatMul": 1}), "s2") == []


def test_what_stays_in_floats_is_counted() -> None:
    finding = only(replace(NOTHING, ran_in_floats={"MatMul": 24, "Conv": 1}))
    assert finding.kind is Kind.FLOATS
    assert finding.level is Level.HAZARD
    assert (
        "25 nodes of the unpruned network ran in floats, not integers (24 MatMul and 1 Conv)"
        in finding.hazard
    )
    assert "latency and accuracy are those of this mixture" in finding.meaning
    assert "with and without this precision" in finding.remedy


def test_a_graph_break_is_told_with_its_reason() -> None:
    finding = only(replace(NOTHING, graph_breaks={"data dependent": 2, "a call of <print>": 1}))
    assert finding.kind is Kind.BREAKS
    assert (
        "broke the unpruned network's graph 3 times: “data dependent” (2 times) and “a call" in finding.hazard
    )
    assert "nothing is fused across" in finding.meaning


def test_nodes_left_to_others_are_named_by_provider() -> None:
    left = {"CPUExecutionProvider": ("/o1/Shape", "/o2/Gather"), "Other": tuple(f"n{i}" for i in range(9))}
    finding = only(replace(NOTHING, ran_elsewhere=left))
    assert finding.kind is Kind.PROVIDERS
    assert (
        "CPUExecutionProvider 2 (/o1/Shape and /o2/Gather); Other 9 (n0, n1, n2 and 6 more)" in finding.hazard
    )
    assert "all providers together" in finding.meaning


@pytest.mark.parametrize(("slow_s", "level"), [(1.02e-3, Level.NOTE), (1.1e-3, Level.HAZARD)])
def test_builds_that_differ_much_are_a_hazard(slow_s: float, level: Level) -> None:
    finding = only(replace(NOTHING, builds_s=(slow_s, 1e-3, 1.01e-3)))
    assert (finding.kind, finding.level) == (Kind.BUILDS, level)
    assert (
        f"3 builds of the unpruned network are {1e5 * slow_s - 100:.1f} % apart, 1.00 ms to" in finding.hazard
    )


def test_why_launches_were_not_measured_is_told() -> None:
    finding = only(replace(NOTHING, launch_unknown="a single run issues more work than the queue holds."))
    assert (finding.kind, finding.level) == (Kind.LAUNCHING, Level.NOTE)
    assert finding.hazard.endswith("is not known: a single run issues more work than the queue holds.")
    assert "launch=graph" in finding.remedy


def test_all_of_it_stands_on_the_page() -> None:
    facts = Facts({"a <b>reason</b>": 1}, {"Conv": 2}, {"Other": ("n",)}, (1e-3, 1.2e-3), "a <queue> is full")
    page = render_page([(made.run(facts={"s1": facts}), [made.unpruned(), made.point()])])
    for kind in KINDS:
        assert f'data-kind="{kind}"' in page
    assert "a &lt;b&gt;reason" in page
    assert "a &lt;queue&gt; is full" in page


def test_facts_are_of_a_known_setting() -> None:
    with pytest.raises(ValueError, match="facts names setting 's9'"):
        made.run(facts={"s9": NOTHING})


def test_counts_and_latencies_are_above_0() -> None:
    for wrong in ({"graph_breaks": {"why": 0}}, {"ran_in_floats": {"Conv": -1}}, {"builds_s": (1e-3, 0.0)}):
        with pytest.raises(ValueError, match="must be above 0"):
            replace(NOTHING, **wrong)
