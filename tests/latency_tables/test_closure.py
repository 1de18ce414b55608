from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import made_up
import pytest

from latency_tables.closure import Closure, HeldOut, closure_of
from latency_tables.context import coefficients
from latency_tables.estimate import Estimate
from latency_tables.skeleton import Cut
from latency_tables.table import LatencyTable, NetworkMeasurement


def held_out(predicted: Estimate, measured: float, again: float) -> HeldOut:
    return HeldOut(Cut(), predicted, made_up.exact(measured), made_up.exact(again))


def test_the_numbers_of_a_closure() -> None:
    closure = Closure(
        (
            held_out(Estimate(1.04, 1.01, 1.07), 1.0, 1.03),
            held_out(Estimate(0.54, 0.4, 0.7), 0.5, 0.5),
            held_out(Estimate(0.6, -math.inf, math.inf), 0.5, 0.5),
        )
    )
    assert closure.mean_abs_error == pytest.approx((0.04 + 0.08 + 0.2) / 3)
    assert closure.noise_floor == pytest.approx(0.01)
    assert closure.rms_error == pytest.approx(math.sqrt((0.04**2 + 0.08**2 + 0.2**2) / 3))
    assert closure.rms_noise == pytest.approx(math.sqrt(0.03**2 / 3))
    assert closure.excess_error == pytest.approx(math.sqrt((0.04**2 - 0.03**2 + 0.08**2 + 0.2**2) / 3))
    assert [closure.within(share) for share in (0.03, 0.05, 0.1, 0.3)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert closure.interval_coverage == 0.5  # the first is outside, the third is bounded by nothing
    assert Closure(closure.networks[2:]).interval_coverage is None
    assert Closure((held_out(made_up.exact(1.0), 1.0, 1.1),)).excess_error == 0.0


SKELETON = made_up.chain([4, 5, 6], grouped=True)


def table(*networks: NetworkMeasurement) -> LatencyTable:
    cells = {part.key: made_up.cell(1e-3) for part in SKELETON.parts}
    return LatencyTable(made_up.setting(), cells, networks)


def seen(removed: list[str], ratio: float, role: str = "closure") -> NetworkMeasurement:
    return made_up.network(SKELETON, removed, ratio, 1.0, role)


FIT = [seen([], 1.0, "fit"), seen(["block0"], 0.8, "fit"), seen(["block0", "block1"], 0.5, "fit")]


def test_a_tables_own_closure_is_of_networks_timed_twice() -> None:
    once = seen(["block1"], 0.7)
    assert closure_of(SKELETON, table(*FIT)) is closure_of(SKELETON, table(*FIT, once)) is None
    twice = [seen(["block2"], ratio) for ratio in (0.9, 0.7, 0.77)]  # the latest two count
    closure = closure_of(SKELETON, table(*FIT, once, *twice))
    assert closure is not None
    (network,) = closure.networks
    assert network.cut == Cut(("block2",))
    assert closure.noise_floor == pytest.approx(0.1)
    fit = coefficients(SKELETON, table(*FIT))
    assert network.predicted == fit.ratio(["block2"])
    # One that was fitted on, too, is predicted as if it had not been.
    more = table(*FIT, *twice, seen(["block2"], 0.4, "fit"))
    (blind,) = closure_of(SKELETON, more).networks  # type: ignore[union-attr]
    assert blind.predicted.value == pytest.approx(network.predicted.value)
    # Widths that the table does not know are left out.
    narrow = replace(seen([], 0.9), widths=(("block1", 2),))
    assert closure_of(SKELETON, table(*FIT, narrow, narrow)) is None


@pytest.mark.parametrize(
    "spoiled", [{"unpruned_s": made_up.exact(1.2)}, {"disturbance": "foreign load"}, {"far": True}]
)
def test_a_spoiled_timing_judges_nothing(spoiled: dict[str, Any]) -> None:
    good = seen(["block2"], 0.7)
    bad = replace(seen(["block2"], 0.9), **spoiled)
    assert closure_of(SKELETON, table(*FIT, bad, good)) is None, "as a profile makes it again"
    closure = closure_of(SKELETON, table(*FIT, good, bad, good))
    assert closure is not None
    assert (closure.noise_floor, closure.left_out) == (0.0, 0)
    more = closure_of(SKELETON, table(*FIT, bad, good, *[seen(["block1"], 0.7)] * 2))
    assert more is not None
    assert ([network.cut for network in more.networks], more.left_out) == ([Cut(("block1",))], 1)


def test_cores_that_are_always_far_spoil_nothing() -> None:
    far = [replace(network, far=True) for network in (*FIT, *[seen(["block2"], 0.7)] * 2)]
    assert closure_of(SKELETON, table(*far)) is not None
