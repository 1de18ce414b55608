"""The tables of the page on closure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import made_up
import numpy as np
import pytest
from closure_forms import AS_THEY_ARE, IN_USE, Judged
from closure_page import Condition, section, strangers, within

from bench.workbench import SettingChoice
from latency_tables.closure import Closure, HeldOut
from latency_tables.skeleton import Cut


def closure(errors: Sequence[float], measured: float = 1.0) -> Closure:
    truth = made_up.exact(measured)
    return Closure(
        tuple(HeldOut(Cut(("block0",)), made_up.exact(measured * (1 + e)), truth, truth) for e in errors)
    )


def judged(
    *errors: float,
    name: str = "network",
    measured: float = 1.0,
    alone: Sequence[float] = (),
    slopes: tuple[float, ...] = (),
    freed: Sequence[Sequence[float]] = ((),),
    checks: Mapping[str, float] | None = None,
) -> Judged:
    closures = {IN_USE: closure(errors, measured), AS_THEY_ARE: closure(alone or errors, measured)}
    return Judged(name, closures, 0, 0, dict(checks or {}), slopes, np.array(freed), 0.0)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_two_networks_and_ones_alike_have_no_interval(count: int) -> None:
    assert within([judged(0.01, 0.06)] * count, 0.05, 0.9) == "50% (wanted: 90%)"


def test_two_networks_that_differ_have_none_either() -> None:
    assert within([judged(0.01), judged(0.06)], 0.05, 0.9) == "50% (wanted: 90%)"


def test_an_interval_spans_what_networks_differ_by() -> None:
    assert within([judged(0.01), judged(0.06), judged(0.06)], 0.05, 0.9) == "33% (0% to 100%; wanted: 90%)"


def test_a_stranger_is_predicted_by_the_slopes_of_the_others() -> None:
    # The first is measured at 0.5 and by the other's slopes predicted at 0.6; the other way round 0.5 against 0.6.
    first = judged(0.0, name="a", measured=0.5, alone=[0.1], slopes=(1.0,), freed=[[0.5]])
    second = judged(0.0, name="b", measured=0.6, alone=[-0.02], slopes=(0.8,), freed=[[0.5]])
    assert strangers([first, second])[2:] == [
        "| slopes | a | b |",
        "| --- | --- | --- |",
        "| none: parts as they are | 10.0% | 2.0% |",
        "| mean of the other networks' | 20.0% | 16.7% |",
    ]


def test_slopes_of_several_others_are_averaged() -> None:
    slopes = (1.0, 0.6, 0.8)
    every = [judged(0.0, measured=0.6, slopes=(slope,), freed=[[0.5]]) for slope in slopes]
    # Predicted: 0.65, 0.55 and 0.6.
    assert strangers(every)[-1] == "| mean of the other networks' | 8.3% | 8.3% | 0.0% |"


def test_one_network_alone_borrows_no_slopes() -> None:
    lines = strangers([judged(0.0, alone=[0.03])])
    assert lines[-1] == "| none: parts as they are | 3.0% |"


def test_a_section_tells_of_each_form_what_lies_within_and_of_each_network_its_interpolation() -> None:
    kwargs = {"slopes": (1.0,), "freed": [[0.0]] * 2}
    every = [
        judged(0.0, 0.03, name="a", alone=[0.0, 0.06], checks={"conv2d": 0.027, "linear": np.inf}, **kwargs),
        judged(0.0, 0.03, name="b", alone=[0.0, 0.12], checks={"conv2d": 0.031}, **kwargs),
    ]
    lines = section(Condition(SettingChoice(), 0.015, 0.97, 1.0), every, "made today")
    assert f"| {IN_USE} | 2.1% | 2.1% | 2.1% | 100% | 100% |" in lines
    assert f"| {AS_THEY_ARE} | 4.2% | 8.5% | 6.7% | 50% | 75% |" in lines
    start = lines.index("Error of interpolation at probes, by kind of part:")
    assert lines[start + 2 :] == [
        "| network | conv2d | linear |",
        "| --- | --- | --- |",
        "| a | 2.7% | no probe |",
        "| b | 3.1% | none varies |",
        "",
    ]
