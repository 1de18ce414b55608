from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import made_up
import pytest

from latency_tables.closure import Closure, HeldOut, closure_of, foreseen, joined
from latency_tables.context import coefficients
from latency_tables.estimate import Estimate
from latency_tables.skeleton import Cut
from latency_tables.table import Failure, LatencyTable, NetworkMeasurement


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


def test_every_sound_timing_stands_beside_what_the_table_says_of_it() -> None:
    narrow = replace(seen([], 0.9), widths=(("block1", 2),))  # the table does not know such widths
    slow = replace(seen(["block2"], 0.9), unpruned_s=made_up.exact(1.2))
    known = table(*FIT, seen(["block2"], 0.7), narrow, slow, seen(["block0"], 0.81))
    found = foreseen(SKELETON, known)
    assert found is not None
    fit, rows = found
    assert fit == coefficients(SKELETON, known)
    assert [(row.timed.ratio.value, row.timed.role, row.fitted) for row in rows] == [
        (0.8, "fit", True),
        (0.5, "fit", True),
        (0.7, "closure", False),
        (0.81, "closure", True),
    ]
    assert rows[2].predicted == fit.ratio(["block2"])


def test_where_a_table_predicts_nothing_nothing_is_foreseen() -> None:
    assert foreseen(SKELETON, table(seen(["block2"], 0.7))) is None
    known = table(*FIT)
    key = SKELETON.parts[0].key
    lacking = {name: cell for name, cell in known.cells.items() if name != key}
    assert foreseen(SKELETON, replace(known, cells=lacking)) is None
    assert foreseen(SKELETON, replace(known, cells={**lacking, key: Failure("hung", "2026-01-01")})) is None


def test_several_timings_of_a_network_are_one() -> None:
    ratios = [Estimate(0.5, 0.49, 0.52), Estimate(0.53, 0.5, 0.54), Estimate(0.51, 0.505, 0.515)]
    assert joined(ratios) == Estimate(0.51, 0.49, 0.54)
    assert joined(ratios[:1]) == ratios[0]
