from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.interpolation import Stairs, Surface, find_stairs


def staircase(step: int, widths: range) -> dict[int, float]:
    return {width: 2e-6 + 1e-6 * math.ceil(width / step) for width in widths}


@pytest.mark.parametrize("step", [4, 8, 16, 32])
def test_the_step_of_a_staircase_is_found(step: int) -> None:
    assert find_stairs(staircase(step, range(step // 4, 8 * step + 1, max(1, step // 4)))).step == step


def test_no_step_where_latency_is_smooth_flat_or_seldom_measured() -> None:
    assert find_stairs({width: 1e-6 * width for width in range(16, 129, 4)}).step == 1
    assert find_stairs({width: 1e-5 * (1 + 0.001 * (width % 3)) for width in range(16, 129, 4)}).step == 1
    assert find_stairs(staircase(16, range(16, 129, 16))).step == 1
    assert find_stairs({}).step == 1


def test_noise_hides_no_step_and_makes_none() -> None:
    drawn = np.random.default_rng(0)
    found = []
    for _ in range(50):
        noisy = {
            w: t * (1 + drawn.uniform(-0.008, 0.008)) for w, t in staircase(16, range(4, 129, 4)).items()
        }
        found.append(find_stairs(noisy).step)
    assert found == [16] * 50
    for _ in range(50):
        smooth = {w: 1e-6 * w * (1 + drawn.uniform(-0.01, 0.01)) for w in range(16, 65, 4)}
        assert find_stairs(smooth).step == 1


def plane(x: int, y: int) -> float:
    return 1e-5 + 2e-7 * x + 3e-7 * y + 4e-8 * x * y


def at(surface: Surface, *values: int) -> float:
    return float(surface.at(np.array([values]))[0])


@given(st.integers(8, 64), st.integers(16, 128))
def test_a_bilinear_latency_is_nearly_met_everywhere(x: int, y: int) -> None:
    surface = Surface({(a, b): plane(a, b) for a in (8, 24, 64) for b in (16, 40, 128)}, [Stairs(), Stairs()])
    assert at(surface, x, y) == pytest.approx(plane(x, y), rel=0.05)


@given(
    st.lists(st.floats(0.1, 10), min_size=8, max_size=8),
    st.lists(st.floats(0.1, 10), min_size=4, max_size=4),
    st.integers(0, 7),
    st.integers(0, 3),
)
def test_a_product_of_two_ragged_lines_is_met_wherever_both_were_measured(
    across: list[float], up: list[float], column: int, row: int
) -> None:
    places = itertools.product(range(8), range(4))
    measured = [(a, b) for a, b in places if a == 7 or b == 3 or (a in (0, 7) and b in (0, 3))]
    surface = Surface({(8 * a + 8, 4 * b + 4): across[a] * up[b] for a, b in measured}, [Stairs(), Stairs()])
    assert surface.anchors == ((8, 64), (4, 16))
    assert surface.checks == ()
    assert at(surface, 8 * column + 8, 4 * row + 4) == pytest.approx(across[column] * up[row])


@given(st.integers(1, 200), st.integers(1, 200))
def test_nothing_is_said_outside_of_what_was_measured(x: int, y: int) -> None:
    surface = Surface({(a, b): plane(a, b) for a in (8, 64) for b in (16, 128)}, [Stairs(), Stairs()])
    assert math.isnan(at(surface, x, y)) == (not (8 <= x <= 64 and 16 <= y <= 128))


@given(st.lists(st.floats(1e-6, 1e-3), min_size=4, max_size=4), st.integers(8, 64))
def test_between_two_anchors_lies_between_their_latencies(latencies: list[float], x: int) -> None:
    surface = Surface(dict(zip(((8,), (20,), (40,), (64,)), latencies, strict=True)), [Stairs()])
    left = max(a for a in (8, 20, 40, 64) if a <= x)
    right = min(a for a in (8, 20, 40, 64) if a >= x)
    ends = [at(surface, left), at(surface, right)]
    assert min(ends) * (1 - 1e-9) <= at(surface, x) <= max(ends) * (1 + 1e-9)


def test_widths_on_one_step_cost_the_same() -> None:
    surface = Surface({(16,): 1.0, (32,): 2.0, (64,): 4.0}, [Stairs(16)])
    assert [at(surface, w) for w in (16, 17, 32, 33, 48, 49, 64)] == [1, 2, 2, 3, 3, 4, 4]
    assert math.isnan(at(surface, 65))
    assert surface.measured(np.array([[16], [31], [40]])).tolist() == [True, True, False]


def test_the_first_step_is_not_taken_to_be_flat() -> None:
    surface = Surface({(4,): 0.4, (16,): 1.0, (32,): 2.0}, [Stairs(16, 4)])
    assert [at(surface, w) for w in (4, 8, 12, 16, 20)] == pytest.approx([0.4, 0.6, 0.8, 1.0, 2.0])
    assert math.isnan(at(Surface({(16,): 1.0, (32,): 2.0}, [Stairs(16)]), 8))


def test_a_full_width_off_the_step_stands_for_its_step() -> None:
    surface = Surface({(16,): 1.0, (24,): 2.0}, [Stairs(16)])
    assert [at(surface, w) for w in (16, 20, 24)] == [1.0, 2.0, 2.0]


def test_points_off_the_grid_are_answers_and_checks() -> None:
    points = {(a, b): plane(a, b) for a in (8, 64) for b in (16, 128)}
    without = Surface(points, [Stairs(), Stairs()])
    probe = {(32, 64): 1.1 * at(without, 32, 64)}
    surface = Surface(points | probe, [Stairs(), Stairs()])
    assert surface.anchors == ((8, 64), (16, 128))
    assert at(surface, 32, 64) == probe[32, 64]
    assert at(surface, 33, 64) == at(without, 33, 64)
    assert surface.checks == pytest.approx((1 / 1.1 - 1,))
    assert surface.rests_on(np.array([[8, 16], [8, 128], [64, 16], [32, 64]])).tolist() == [True] * 3 + [
        False
    ]


def test_an_unfinished_line_is_no_line_but_the_ends_stay() -> None:
    lines = (8, 24, 64), (16, 64, 128)
    points = {place: plane(*place) for place in itertools.product(*lines)}
    del points[24, 64]
    surface = Surface(points, [Stairs(), Stairs()])
    assert surface.anchors in {((8, 64), (16, 64, 128)), ((8, 24, 64), (16, 128))}
    assert at(surface, 24, 128) == pytest.approx(plane(24, 128))


def test_many_at_once_are_the_same_as_one_by_one() -> None:
    points = {(a, b): plane(a, b) for a in (8, 24, 64) for b in (16, 128)} | {(40, 70): 1.0}
    surface = Surface(points, [Stairs(8), Stairs()])
    values = np.random.default_rng(0).integers(1, 140, (200, 2))
    many = surface.at(values)
    ones = [at(surface, *row) for row in values.tolist()]
    np.testing.assert_array_equal(many, ones)


def test_more_than_two_axes_are_one_sum() -> None:
    surface = Surface({(8, 8, 8): 1.0, (16, 16, 16): 2.0}, [Stairs(), Stairs(), Stairs()])
    assert at(surface, 4, 12, 8) == 1.0
    assert at(surface, 20, 8, 8) == pytest.approx(1.5)


def test_on_one_axis_each_inner_anchor_is_a_check() -> None:
    assert Surface({(8,): 1.0, (16,): 3.0, (24,): 3.0}, [Stairs()]).checks == pytest.approx((2 / 3 - 1,))
    assert Surface({(8,): 1.0, (24,): 3.0}, [Stairs()]).checks == ()


def test_a_grid_without_other_points_is_checked_on_its_inner_lines() -> None:
    # Along both far ends nothing bends, so that the lines multiply to a plane through the corner.
    bent = {(8, 16): 1.0, (16, 16): 1.2, (24, 16): 1.0, (8, 32): 1.0, (16, 32): 1.0, (24, 32): 1.0}
    assert Surface(bent, [Stairs(), Stairs()]).checks == pytest.approx((1 / 1.2 - 1,))
    assert Surface({(b, a): known for (a, b), known in bent.items()}, [Stairs(), Stairs()]).checks == (
        pytest.approx((1 / 1.2 - 1,))
    )
    probed = Surface(bent | {(12, 24): 1.05}, [Stairs(), Stairs()])
    assert probed.checks == pytest.approx((0.0,)), "where something was probed, that counts"


def test_points_on_one_step_tell_how_flat_it_is() -> None:
    surface = Surface({(16,): 1.0, (20,): 1.9, (28,): 2.0, (32,): 2.2, (48,): 3.0}, [Stairs(16)])
    assert sorted(surface.treads) == pytest.approx([1.9 / 2 - 1, 0.0, 2.2 / 2 - 1])
    assert surface.exact(np.array([[20], [24], [32], [33]])).tolist() == [True, False, True, False]


def test_another_composition_of_a_measured_sum_is_interpolated() -> None:
    line = {(8, 8, 8): 1.0, (16, 16, 16): 2.0, (32, 32, 32): 5.0}
    summed = Surface(line, [Stairs(), Stairs(), Stairs()])
    asked = np.array([[8, 8, 8], [4, 12, 8], [8, 8, 9], [8, 8, 7], [32, 32, 33]])
    assert summed.measured(asked).tolist() == summed.exact(asked).tolist() == [True] + [False] * 4
    np.testing.assert_allclose(summed.at(asked), [1.0, 1.0, 1 + 1 / 24, np.nan, np.nan])
    assert summed.checks == pytest.approx(((1 + 4 / 3) / 2 - 1,))
    other = Surface(line | {(4, 12, 8): 3.0}, [Stairs(), Stairs(), Stairs()])
    assert other.treads == () and sorted(other.checks[1:]) == pytest.approx([2 / 3 - 1, 2.0 - 1])


@pytest.mark.parametrize("step", [1, 16])
@pytest.mark.parametrize(("multiple", "slow"), [(1, ()), (2, (1, 3)), (4, (1, 2, 3))])
def test_widths_without_a_fast_kernel_are_seen(step: int, multiple: int, slow: tuple[int, ...]) -> None:
    drawn = np.random.default_rng(0)
    for _ in range(20):
        swept = {
            w: 1e-6
            * math.ceil(w / step)
            * step
            * (1.3 if w % 4 in slow else 1.0)
            * (1 + drawn.uniform(-0.01, 0.01))
            for w in (*range(16, 65, 4), 33, 34, 50, 51)
        }
        assert find_stairs(swept) == Stairs(step, multiple)


def test_of_widths_off_the_multiple_only_measurements_are_told() -> None:
    surface = Surface({(16,): 1.0, (26,): 5.0, (32,): 2.0, (64,): 4.0}, [Stairs(16, 4)])
    assert [at(surface, w) for w in (24, 26, 28, 32, 48)] == [2.0, 5.0, 2.0, 2.0, 3.0]
    assert math.isnan(at(surface, 27)) and math.isnan(at(surface, 30))
    assert surface.measured(np.array([[26], [27], [28]])).tolist() == [True, False, True]
    assert surface.checks == pytest.approx((0.0,))


def test_a_single_width_off_the_multiple_answers_for_itself_alone() -> None:
    surface = Surface({(10,): 1.0}, [Stairs(1, 4)])
    assert at(surface, 10) == 1.0
    assert math.isnan(at(surface, 8)) and math.isnan(at(surface, 12))
