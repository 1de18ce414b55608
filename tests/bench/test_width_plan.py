from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from bench.width_plan import MOST_ON_A_LINE, SWEEP, TOLERANCE, WIDER_SWEEP, Kin, Wanted, WidthPlan
from latency_tables.family import Axis, Family, Slot
from latency_tables.graph import Graph, Operator, TensorType, Value
from latency_tables.interpolation import Stairs, Surface
from latency_tables.part import Grain, Part
from latency_tables.random_plans import NARROWEST
from latency_tables.surfaces import kind_stairs


def convolution(c_in: int, c_out: int) -> Family:
    """A 1x1 convolution with two free widths."""
    graph = Graph(
        inputs=(TensorType("float32", (1, c_in, 7, 7)),),
        weights=(TensorType("float32", (c_out, c_in, 1, 1)),),
        operators=(
            Operator(
                "aten.conv2d.default",
                (("input", Value(0)), ("weight", Value(1))),
                (TensorType("float32", (1, c_out, 7, 7)),),
            ),
        ),
        outputs=(2,),
    )
    return Family(
        part=Part("conv2d", Grain.LAYER, graph),
        axes=(Axis(0, (("in", 1),)), Axis(0, (("out", 1),))),
        full=(c_in, c_out),
        slots=(Slot(1, ((0, 1),), 0), Slot(5, ((0, 1),), 0), Slot(4, ((1, 1),), 0), Slot(9, ((1, 1),), 0)),
    )


def other_kernel(c_in: int, c_out: int) -> Family:
    """Another kernel is another pattern; the name of the kind stays."""
    plain = convolution(c_in, c_out)
    graph = Graph(
        plain.part.graph.inputs,
        (TensorType("float32", (c_out, c_in, 3, 3)),),
        plain.part.graph.operators,
        plain.part.graph.outputs,
    )
    return Family(Part("conv2d", Grain.LAYER, graph), plain.axes, plain.full, plain.slots)


def depthwise(channels: int) -> Family:
    """A 3x3 convolution of each channel by itself: one free width."""
    graph = Graph(
        inputs=(TensorType("float32", (1, channels, 7, 7)),),
        weights=(TensorType("float32", (channels, 1, 3, 3)),),
        operators=(
            Operator(
                "aten.conv2d.default",
                (("input", Value(0)), ("weight", Value(1)), ("groups", channels)),
                (TensorType("float32", (1, channels, 7, 7)),),
            ),
        ),
        outputs=(2,),
    )
    slots = tuple(Slot(place, ((0, 1),), 0) for place in (1, 4, 9))
    return Family(Part("depthwise", Grain.LAYER, graph), (Axis(0, (("out", 1),)),), (channels,), slots)


Latency = Callable[[int, int], float]


Known = dict[str, dict[tuple[int, ...], float]]


def run(kin: list[Kin], latency: Latency) -> tuple[list[Wanted], Known]:
    known = {one.family.pattern: {one.family.full: latency(*one.family.full)} for one in kin}
    asked = []
    for wanted in WidthPlan(kin, known).points():
        asked.append(wanted)
        known[wanted.family.pattern][wanted.values] = latency(*wanted.values)
    return asked, known


def stairs(c_in: int, c_out: int) -> float:
    return 1e-5 + 1e-8 * math.ceil(c_in / 16) * 16 * math.ceil(c_out / 16) * 16


def cliff(c_in: int, c_out: int) -> float:
    return stairs(c_in, c_out) * (1.85 if c_in <= 104 else 1.0)


def error(known: dict[tuple[int, ...], float], latency: Latency, family: Family, grid: int = 1) -> float:
    """The largest relative error at random widths that are multiples of ``grid``."""
    surface = Surface(known, kind_stairs([known], 2))
    drawn = np.random.default_rng(0)
    low = [math.ceil(NARROWEST * full) for full in family.full]
    values = -(-drawn.integers(low, np.array(family.full) + 1, (300, 2)) // grid) * grid
    found = surface.at(values)
    assert np.isfinite(found).all()
    return float(np.max(np.abs(found / [latency(*row) for row in values.tolist()] - 1.0)))


def test_a_staircase_is_met_with_few_points() -> None:
    family = convolution(256, 512)
    asked, known = run([Kin(family, (family.full,), 1.0)], stairs)
    assert error(known[family.pattern], stairs, family) < 0.02
    sweeps = [wanted.values for wanted in asked if wanted.why == "sweep"]
    others = [wanted.values for wanted in asked if wanted.why != "sweep"]
    assert len(sweeps) == 2 * len(SWEEP)  # each way; no wider ones, since these show the step
    exhaustive = len(range(64, 257, 16)) * len(range(128, 513, 16))
    assert len(others) < exhaustive / 5
    assert all(value % 16 == 0 for values in others for value in values)


@pytest.mark.parametrize("step", [4, 8, 16, 32, 64])
def test_every_step_that_is_looked_for_is_found_by_what_a_plan_asks(step: int) -> None:
    def steps(c_in: int, c_out: int) -> float:
        return 1e-5 + 1e-8 * math.ceil(c_in / step) * step * math.ceil(c_out / step) * step

    family = convolution(256, 512)
    asked, known = run([Kin(family, (family.full,), 1.0)], steps)
    assert [one.step for one in kind_stairs([known[family.pattern]], 2)] == [step, step]
    assert error(known[family.pattern], steps, family) < TOLERANCE
    sweeps = sum(wanted.why == "sweep" for wanted in asked)
    assert sweeps == 2 * len(SWEEP) + (2 * len(WIDER_SWEEP) if step > 16 else 0)


def test_a_straight_line_is_not_taken_for_wide_steps() -> None:
    family = convolution(256, 512)
    _, known = run([Kin(family, (family.full,), 1.0)], lambda c_in, c_out: 1e-5 + 1e-8 * c_in * c_out)
    assert [one.step for one in kind_stairs([known[family.pattern]], 2)] == [1, 1]


def test_a_cliff_is_met_at_every_step() -> None:
    family = convolution(256, 256)
    _, known = run([Kin(family, (family.full,), 1.0)], cliff)
    # Between 96 and 112 the cliff lies inside a step, which a table on steps cannot show.
    assert error(known[family.pattern], cliff, family, grid=16) < TOLERANCE


def bump(c_in: int, c_out: int) -> float:
    """Half more at (112, 224), falling to nothing at the first anchors around it: no line shows it."""
    near = max(0.0, 1 - abs(math.ceil(c_in / 16) * 16 - 112) / 48)
    return stairs(c_in, c_out) * (1 + 0.5 * near * max(0.0, 1 - abs(math.ceil(c_out / 16) * 16 - 224) / 96))


def test_where_a_probe_disagrees_anchors_are_added_and_the_error_falls_below_the_tolerance() -> None:
    family = convolution(256, 512)
    asked, known = run([Kin(family, (family.full,), 1.0)], bump)
    why = [wanted.why for wanted in asked]
    added = [wanted.values for wanted in asked[why.index("probe") :] if wanted.why == "anchor"]
    assert {(112, 128), (112, 320), (64, 224), (160, 224)} <= set(added)
    assert all(c_in == 112 or c_out == 224 for c_in, c_out in added), "no lines but those of the probe"
    assert error(known[family.pattern], bump, family) < TOLERANCE
    first = {place: latency_s for place, latency_s in known[family.pattern].items() if place not in added}
    assert error(first, bump, family) > 3 * TOLERANCE, "without them it is well above"


def ridge(c_in: int, c_out: int) -> float:
    """Half more at 112 input channels but for full width on the other axis."""
    near = max(0.0, 1 - abs(math.ceil(c_in / 16) * 16 - 112) / 48)
    return stairs(c_in, c_out) * (1 + 0.5 * near * (c_out < 512))


def wide_bump(c_in: int, c_out: int) -> float:
    """As `bump`, and a little more on one of the first anchors beside it as well."""
    return bump(c_in, c_out) * (1.08 if (math.ceil(c_in / 16), math.ceil(c_out / 16)) == (10, 14) else 1.0)


@pytest.mark.parametrize("latency", [bump, ridge, wide_bump])
def test_a_plan_that_was_stopped_or_is_made_again_ends_with_the_same_cells(latency: Latency) -> None:
    family = convolution(256, 512)
    kin = [Kin(family, (family.full,), 1.0)]
    asked, whole = run(kin, latency)
    probe = [wanted.why for wanted in asked].index("probe")
    assert any(wanted.why == "anchor" for wanted in asked[probe:])
    for stopped in range(probe, len(asked) + 1):
        known = {family.pattern: {family.full: latency(*family.full)}}
        for wanted in asked[:stopped]:
            known[family.pattern][wanted.values] = latency(*wanted.values)
        for wanted in WidthPlan(kin, known).points():
            known[family.pattern][wanted.values] = latency(*wanted.values)
        assert known[family.pattern].keys() == whole[family.pattern].keys(), stopped


def test_where_no_probe_disagrees_none_are_added() -> None:
    family = convolution(256, 512)
    asked, _ = run([Kin(family, (family.full,), 1.0)], stairs)
    assert asked[-1].why == "probe"


def test_noise_does_not_have_every_width_measured() -> None:
    drawn = np.random.default_rng(0)

    def noisy(c_in: int, c_out: int) -> float:
        return stairs(c_in, c_out) * float(drawn.uniform(0.8, 1.25))

    family = convolution(256, 512)
    asked, _ = run([Kin(family, (family.full,), 1.0)], noisy)
    assert len(asked) < 2 * len(SWEEP) + 2 * (MOST_ON_A_LINE + 2) + 2 * 25


def test_the_most_expensive_comes_first_within_each_stage() -> None:
    cheap, dear = other_kernel(64, 64), convolution(128, 128)
    asked, _ = run([Kin(cheap, (cheap.full,), 1.0), Kin(dear, (dear.full,), 5.0)], stairs)
    lines = [wanted.why for wanted in asked].index("line")
    anchors = [wanted.family is dear for wanted in asked[:lines] if wanted.why == "anchor"]
    assert anchors == sorted(anchors, reverse=True)
    assert 0 < sum(anchors) < len(anchors)


def test_a_disturbed_sweep_is_told_from_the_staircase_by_its_like() -> None:
    first, second = convolution(128, 256), other_kernel(128, 128)
    kin = [Kin(first, (first.full,), 5.0), Kin(second, (second.full,), 1.0)]
    known = {one.family.pattern: {one.family.full: stairs(*one.family.full)} for one in kin}
    sweeps: list[tuple[str, int]] = []
    anchors = []
    for wanted in WidthPlan(kin, known).points():
        latency_s = stairs(*wanted.values)
        if wanted.why == "sweep":
            sweeps.append((wanted.family.pattern, wanted.values[0]))
            # A neighbour is busy while the second half of the very first sweep is timed.
            latency_s *= 1.8 if len(sweeps) in (9, 11, 12, 13) else 1.0
        elif wanted.why == "anchor":
            anchors.append(wanted.values)
        known[wanted.family.pattern][wanted.values] = latency_s
    each = 2 * len(SWEEP)
    assert [pattern for pattern, _ in sweeps] == [first.pattern] * each + [second.pattern] * each
    assert anchors and all(value % 16 == 0 for values in anchors for value in values)


def test_layers_that_share_cells_share_anchors() -> None:
    narrow, wide = convolution(64, 64), convolution(128, 96)
    kin = Kin(wide, (wide.full, narrow.full), 1.0)
    _, known = run([kin], stairs)
    surface = Surface(known[wide.pattern], [Stairs(16)] * 2)
    assert {64, 128} <= set(surface.anchors[0])
    assert surface.anchors[0][0] == 16 and surface.anchors[1][0] == 16
    assert narrow.pattern == wide.pattern


def test_nothing_is_asked_for_twice_and_failures_end_a_refinement() -> None:
    family = convolution(256, 256)
    known = {family.pattern: {family.full: stairs(*family.full)}}
    asked = []
    for wanted in WidthPlan([Kin(family, (family.full,), 1.0)], known).points():
        assert wanted.values not in known[family.pattern]
        asked.append(wanted.values)
        if wanted.why == "probe":
            continue  # it failed
        known[family.pattern][wanted.values] = stairs(*wanted.values)
    assert len(asked) < 100
    resumed = [wanted.why for wanted in WidthPlan([Kin(family, (family.full,), 1.0)], known).points()]
    assert set(resumed) <= {"probe"}


@pytest.mark.parametrize("full", [4, 8, 16, 24])
def test_narrow_parts_have_anchors_too(full: int) -> None:
    family = convolution(full, full)
    _, known = run([Kin(family, (family.full,), 1.0)], stairs)
    lowest = math.ceil(NARROWEST * full)
    surface = Surface(known[family.pattern], kind_stairs([known[family.pattern]], 2))
    assert np.isfinite(surface.at(np.array([[lowest, lowest], [full, lowest], [full, full]]))).all()


def test_widths_below_the_first_step_are_measured_and_not_rounded_up() -> None:
    def latency(c_in: int, c_out: int) -> float:
        return stairs(c_in, c_out) * (min(c_in, 16) / 16)

    wide, narrow = convolution(256, 512), convolution(16, 64)
    _, known = run([Kin(wide, (wide.full, narrow.full), 1.0)], latency)
    surface = Surface(known[wide.pattern], kind_stairs([known[wide.pattern]], 2))
    assert {4, 16} < set(surface.anchors[0])
    found = surface.at(np.array([[4, 64], [8, 64], [12, 64], [16, 64]]))
    np.testing.assert_allclose(
        found, [latency(c, d) for c, d in ((4, 64), (8, 64), (12, 64), (16, 64))], rtol=0.02
    )


def along_one_axis(family: Family, latency: Callable[[int], float]) -> tuple[list[Wanted], dict[int, float]]:
    known: Known = {family.pattern: {family.full: latency(family.full[0])}}
    asked = []
    for wanted in WidthPlan([Kin(family, (family.full,), 1.0)], known).points():
        asked.append(wanted)
        known[family.pattern][wanted.values] = latency(wanted.values[0])
    return asked, {width: latency_s for (width,), latency_s in known[family.pattern].items()}


def probed(asked: list[Wanted]) -> list[int]:
    return [wanted.values[0] for wanted in asked if wanted.why == "probe"]


def straight(width: int) -> float:
    return 1e-5 + 1e-7 * width


def test_a_line_with_gaps_is_probed_in_some_of_them() -> None:
    asked, known = along_one_axis(depthwise(1024), straight)
    inner = sorted(set(known) - set(probed(asked)))
    assert 4 <= len(probed(asked)) <= len(inner) / 3
    for width in probed(asked):
        assert width % 4 == 0
        assert any(left < width < right for left, right in itertools.pairwise(inner))


def test_a_line_measured_at_every_step_has_nothing_to_probe() -> None:
    asked, _ = along_one_axis(depthwise(128), straight)
    assert probed(asked) == []


def test_a_bend_between_two_widths_of_a_line_is_found_and_met() -> None:
    def bent(width: int) -> float:
        return straight(width) * (1 + math.exp(-(((width - 612) / 35) ** 2)))

    asked, known = along_one_axis(depthwise(1024), bent)

    def worst(points: dict[int, float]) -> float:
        widths = np.arange(512, 725, 4)
        surface = Surface({(width,): latency_s for width, latency_s in points.items()}, (Stairs(),))
        truth = np.array([bent(int(width)) for width in widths])
        return float(np.abs(surface.at(widths[:, None]) / truth - 1.0).max())

    first = {width: latency_s for width, latency_s in known.items() if width not in probed(asked)}
    assert worst(first) > 2 * TOLERANCE > 2 * worst(known)
    far = [width for width in probed(asked) if abs(width - 612) > 150]
    assert len(far) < len(probed(asked)) / 2, "most probes lie where it bends"


def test_noise_on_a_line_does_not_have_every_width_measured() -> None:
    drawn = np.random.default_rng(0)
    asked, _ = along_one_axis(
        depthwise(4096), lambda width: straight(width) * float(drawn.uniform(0.8, 1.25))
    )
    assert 8 < len(probed(asked)) <= MOST_ON_A_LINE


def test_a_line_that_was_probed_is_not_probed_again() -> None:
    family = depthwise(1024)
    _, known = along_one_axis(family, straight)
    again = {family.pattern: {(w,): s for w, s in known.items()}}
    assert list(WidthPlan([Kin(family, (family.full,), 1.0)], again).points()) == []


def concatenation(*channels: int) -> Family:
    """As many free widths as it has inputs."""
    count = len(channels)
    graph = Graph(
        inputs=tuple(TensorType("float32", (1, width, 7, 7)) for width in channels),
        weights=(),
        operators=(
            Operator(
                "aten.cat.default",
                (("tensors", tuple(Value(place) for place in range(count))), ("dim", 1)),
                (TensorType("float32", (1, sum(channels), 7, 7)),),
            ),
        ),
        outputs=(count,),
    )
    axes = tuple(Axis(0, ((f"in{place}", 1),)) for place in range(count))
    shapes = tuple(Slot(1 + 4 * place, ((place, 1),), 0) for place in range(count))
    return Family(Part("cat", Grain.LAYER, graph), axes, channels, shapes)


@pytest.mark.parametrize("channels", [(64, 64, 64), (32, 128, 64, 16)])
def test_of_a_concatenation_other_compositions_of_the_same_sums_are_probed(channels: tuple[int, ...]) -> None:
    family = concatenation(*channels)

    def plan(first_costs: float) -> tuple[list[Wanted], Surface]:
        def latency(values: tuple[int, ...]) -> float:
            return 1e-6 * (
                sum(values) + first_costs * (values[0] - channels[0] / sum(channels) * sum(values))
            )

        known = {family.pattern: {family.full: latency(family.full)}}
        asked = []
        for wanted in WidthPlan([Kin(family, (family.full,), 1.0)], known).points():
            asked.append(wanted)
            known[family.pattern][wanted.values] = latency(wanted.values)
        return asked, Surface(known[family.pattern], [Stairs()] * len(channels))

    asked, alike = plan(0.0)
    nodes = {sum(wanted.values): wanted.values for wanted in asked if wanted.why == "anchor"}
    probes = [wanted.values for wanted in asked if wanted.why == "probe"]
    first, last = probes[::2], probes[1::2]
    assert first and len(first) == len(last) and len(probes) == len(set(probes))
    for most, least in zip(first, last, strict=True):
        assert sum(most) == sum(least) and sum(most) in nodes
        assert most[0] == channels[0], "as much as can be on the first one"
        assert least[-1] == channels[-1], "as much as can be on the last one"
        for values in (most, least):
            widths = zip(values, channels, strict=True)
            assert all(math.ceil(NARROWEST * full) <= value <= full for value, full in widths)
    assert max(map(abs, alike.checks)) < 1e-9
    _, otherwise = plan(1.0)
    assert max(map(abs, otherwise.checks)) > 0.05, "what the composition costs is in the error"
    for total, node in nodes.items():  # and what widths in proportion cost is left alone
        assert otherwise.at(np.array([node]))[0] == pytest.approx(1e-6 * total, rel=0.03)
