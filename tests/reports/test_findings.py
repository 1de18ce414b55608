from __future__ import annotations

import made_up_runs as made
import pytest

from reports.finding import Finding, Kind, Level, listed
from reports.findings import SHOWN, findings, of_scene
from reports.results import PartTime
from reports.scenes import Scene, scenes


def scene(*points, **changes) -> Scene:
    return scenes([(made.run(**{"closure": (), **changes}), points)])[0]


def found(*points, kind: Kind, **changes) -> list[Finding]:
    return [finding for finding in of_scene(scene(*points, **changes)) if finding.kind is kind]


def only(*points, kind: Kind, **changes) -> Finding:
    (finding,) = found(*points, kind=kind, **changes)
    return finding


def seeded(method: str, accuracies: list[float], **changes) -> list:
    return [
        made.point(
            **{
                "id": f"{method}-{changes.get('budget', '')}-{seed}",
                "method": method,
                "seed": seed,
                "accuracy": made.estimate(accuracy, 0.008),
                "controls": {},
                **changes,
            }
        )
        for seed, accuracy in enumerate(accuracies)
    ]


def test_the_best_method_stands_beside_random_and_the_strongest_control() -> None:
    controls = {
        "unpruned, finetuned": made.estimate(0.85, 0.005),
        "pruned, statistics": made.estimate(0.7, 0.005),
    }
    points = [
        *seeded("ttmpd", [0.80, 0.82, 0.81], controls=controls),
        *seeded("random", [0.77, 0.80, 0.78]),
    ]
    finding = only(*points, kind=Kind.REACHED)
    assert finding.level is Level.RESULT
    assert finding.hazard == (
        "ttmpd meets 0.7x at 81.0 % (79.2–82.8), 2.7 ± 1.4 points above random and 4.0 ± 2.5 points below the "
        "strongest control, “unpruned, finetuned” (3 seeds)."
    )
    assert "0.691 (0.686–0.696) of the unpruned latency. All 3 of its points met it." in finding.meaning
    assert "ttmpd · 0.7x · seed 2" in finding.remedy
    assert finding.figure == "pareto"
    assert found(*points, kind=Kind.RANDOM) == []


def test_one_seed_gives_no_interval_and_says_so() -> None:
    points = [*seeded("ttmpd", [0.81]), *seeded("random", [0.75])]
    assert "6.0 points above random (one seed, so no interval)." in only(*points, kind=Kind.REACHED).hazard
    finding = only(*points, kind=Kind.SEEDS)
    assert finding.hazard == "Every result comes from a single seed."


def test_only_equal_seeds_that_met_the_budget_are_paired() -> None:
    points = [
        *seeded("ttmpd", [0.80, 0.82, 0.84]),
        made.point(id="r0", method="random", seed=0, accuracy=made.estimate(0.70, 0.01)),
        made.point(id="r1", method="random", seed=1, accuracy=made.estimate(0.90, 0.01), met=False),
        made.point(id="r9", method="random", seed=9, accuracy=made.estimate(0.10, 0.01)),
    ]
    assert "10.0 points above random (one seed" in only(*points, kind=Kind.REACHED).hazard


def test_runs_are_not_paired_with_each_other() -> None:
    runs = [
        (made.run(closure=()), seeded("ttmpd", [0.80, 0.82])),
        (made.run(name="b", closure=()), seeded("random", [0.7, 0.72])),
    ]
    texts = [finding.hazard for finding in of_scene(scenes(runs)[0]) if finding.kind is Kind.REACHED]
    assert texts
    assert not [text for text in texts if "above random" in text]
    both = [
        (made.run(name=name, closure=()), [*seeded("ttmpd", [own]), *seeded("random", [drawn])])
        for name, own, drawn in (("a", 0.80, 0.70), ("b", 0.81, 0.60))
    ]
    (best,) = [finding for finding in of_scene(scenes(both)[0]) if finding.kind is Kind.REACHED]
    assert "ttmpd · B meets 0.7x" in best.hazard
    assert "21.0 points above random" in best.hazard


def test_a_method_that_is_not_above_random_is_a_hazard() -> None:
    noisy = [*seeded("ttmpd", [0.80, 0.84, 0.78]), *seeded("random", [0.79, 0.79, 0.81])]
    finding = only(*noisy, kind=Kind.RANDOM)
    assert finding.level is Level.HAZARD
    assert finding.hazard.startswith(
        "ttmpd does not surely beat blocks drawn at random under 0.7x: 1.0 ± 9.9 points above"
    )
    worse = [*seeded("ttmpd", [0.70, 0.71, 0.69]), *seeded("random", [0.80, 0.80, 0.80])]
    finding = only(*worse, kind=Kind.RANDOM)
    assert finding.hazard.startswith("ttmpd falls behind blocks drawn at random")
    best = only(*worse, kind=Kind.REACHED)
    assert best.level is Level.HAZARD
    assert best.hazard.startswith("No method is above blocks drawn at random: random meets 0.7x")


@pytest.mark.parametrize(("accuracy", "hazard"), [(0.83, False), (0.805, True), (0.75, True)])
def test_with_one_seed_the_images_decide_who_is_above_random(accuracy: float, hazard: bool) -> None:
    points = [*seeded("ttmpd", [accuracy]), *seeded("random", [0.80])]
    assert bool(found(*points, kind=Kind.RANDOM)) is hazard


def test_random_alone_is_no_hazard() -> None:
    points = seeded("random", [0.8, 0.81])
    assert only(*points, kind=Kind.REACHED).level is Level.RESULT
    assert found(*points, kind=Kind.RANDOM) == []


def test_a_control_that_explains_the_result_is_a_hazard() -> None:
    controls = {
        "unpruned, statistics re-estimated": made.estimate(0.842, 0.007),
        "pruned, statistics re-estimated": made.estimate(0.8, 0.007),
        "weak": made.estimate(0.5, 0.007),
    }
    points = seeded("ttmpd", [0.81, 0.79, 0.80], controls=controls)
    both = {finding.hazard.split("”")[0]: finding for finding in found(*points, kind=Kind.CONTROL)}
    assert set(both) == {
        "Not surely above the control “unpruned, statistics re-estimated",
        "Not surely above the control “pruned, statistics re-estimated",
    }
    whole, pruned = both.values()
    assert "whole latency" in whole.meaning
    assert "explains the result" in pruned.meaning
    assert pruned.weight > whole.weight


def test_a_budget_that_nobody_met_is_a_hazard_and_names_the_nearest() -> None:
    late = made.point(met=False, measured_s=made.estimate(6.237e-3, 1e-5))
    later = made.point(id="b", seed=1, met=False, measured_s=made.estimate(8e-3, 1e-5))
    finding = only(late, later, made.failed(), kind=Kind.UNREACHED)
    assert finding.hazard == "No point meets 0.7x: 2 measured, 1 failed."
    assert "“ttmpd · 0.7x · seed 0” at 6.24 ms (6.23–6.25), 1.10 times the budget" in finding.meaning
    assert found(late, later, kind=Kind.MISSED) == []


def test_points_that_missed_what_others_met_are_counted_by_budget() -> None:
    points = [made.point(), made.point(id="b", seed=1, met=False), made.point(id="c", seed=2, met=False)]
    assert only(*points, kind=Kind.MISSED).hazard == (
        "2 of 3 points missed a budget that others met (0.7x: 2)."
    )


def test_failures_are_grouped_by_reason() -> None:
    points = [
        made.point(),
        *(made.failed(id=f"f{i}", seed=i, reason="out of memory.\nlong tail") for i in range(3)),
        made.failed(id="g"),
    ]
    assert only(*points, kind=Kind.FAILED).hazard == (
        "4 of 5 points failed: out of memory (3); the runtime refused the model."
    )


def test_points_that_noise_cannot_order_are_named() -> None:
    finding = only(made.point(), made.point(id="b", method="last"), kind=Kind.UNORDERED)
    assert finding.hazard == (
        "2 points cannot be told apart from a neighbour: ttmpd · 0.7x · seed 0 and last · 0.7x · seed 0."
    )
    assert found(made.point(), kind=Kind.UNORDERED) == []


def test_a_busy_machine_is_told_with_its_causes() -> None:
    points = [
        made.point(disturbance="foreign load"),
        made.point(id="b", seed=1, disturbance="steal time"),
        made.point(id="c", seed=2, disturbance="foreign load"),
        made.point(id="d", seed=3),
    ]
    assert only(*points, kind=Kind.DISTURBED).hazard == (
        "The machine was busy during 3 of 4 measurements (foreign load: 2, steal time: 1)."
    )
    assert found(made.point(), kind=Kind.DISTURBED) == []


def test_a_core_that_others_slow_has_another_remedy() -> None:
    slowed, busy = (made.point(disturbance=cause) for cause in ("foreign load; slowed core", "foreign load"))
    assert "machine with cores of its own" in only(slowed, kind=Kind.DISTURBED).remedy
    assert "cores of its own" not in only(busy, kind=Kind.DISTURBED).remedy


def test_a_throttled_gpu_is_no_busy_machine() -> None:
    heat = "throttled: heat, by hardware in 9 of 12 samples, which count since too few others are left"
    both = f"throttled: power cap in 3 of 12 samples; {heat}"
    points = [
        made.point(disturbance=heat),
        made.point(id="b", seed=1, disturbance=f"1 other process on the GPU; {both}"),
        made.point(id="c", seed=2),
    ]
    throttled = only(*points, kind=Kind.THROTTLED)
    assert throttled.hazard.startswith(
        "The GPU was throttled during 2 of 3 measurements (heat, by hardware: 2, power cap: 1)"
    )
    assert "Stop what else runs" not in throttled.remedy
    assert "nvidia-smi" in throttled.remedy
    assert only(*points, kind=Kind.DISTURBED).hazard == (
        "The machine was busy during 1 of 3 measurements (1 other process on the GPU: 1)."
    )
    assert found(made.point(disturbance=heat), kind=Kind.DISTURBED) == []
    assert found(made.point(disturbance="foreign load"), kind=Kind.THROTTLED) == []


def test_where_launching_is_the_cost_it_is_said_with_both_times() -> None:
    launch = {"s1": {"queued_s": 0.9e-3, "issued_s": 3.2e-3}}
    finding = only(made.unpruned(), kind=Kind.LAUNCHING, launch=launch)
    assert "3.20 ms as its kernels are issued, 900 µs when waiting" in finding.hazard
    assert "narrower layers will hardly make it faster" in finding.meaning
    assert "launch=graph" in finding.remedy
    assert finding.level is Level.HAZARD


def test_whoever_replays_a_cuda_graph_already_is_not_told_to() -> None:
    launch = {"s1": {"queued_s": 0.9e-3, "issued_s": 3.2e-3}}
    settings = {"s1": {"label": "eager on a GPU", "options": [["cache", "warm"], ["launch", "graph"]]}}
    finding = only(made.unpruned(), kind=Kind.LAUNCHING, launch=launch, settings=settings)
    assert "3.20 ms as its CUDA graph is issued, 900 µs when waiting" in finding.hazard
    assert "launch=graph" not in finding.remedy
    assert finding.remedy.startswith("Serve larger batches, and compare")


@pytest.mark.parametrize(
    "launch",
    [{}, {"s2": {"queued_s": 1e-3, "issued_s": 9e-3}}, {"s1": {"queued_s": 1e-3, "issued_s": 1.2e-3}}],
)
def test_where_work_is_the_cost_nothing_is_said_of_launches(launch: dict[str, dict[str, float]]) -> None:
    assert found(made.unpruned(), kind=Kind.LAUNCHING, launch=launch) == []


def test_useless_accuracy_is_told_against_the_unpruned_network() -> None:
    poor = seeded("ttmpd", [0.2])
    finding = only(made.unpruned(), *poor, kind=Kind.USELESS)
    assert (
        "20.0 % (19.2–20.8) at best under 0.7x, less than half of the unpruned network's 86.1 %"
        in finding.hazard
    )
    assert found(*poor, kind=Kind.USELESS) == [], "nothing to hold it against"
    assert found(made.unpruned(), *seeded("ttmpd", [0.5]), kind=Kind.USELESS) == []
    assert found(made.unpruned(), *seeded("ttmpd", [0.425]), kind=Kind.USELESS) == [], (
        "its interval reaches half"
    )


def test_predictions_are_judged_by_share_and_by_the_worst() -> None:
    def predicted(*errors: float):
        points = [
            made.point(id=f"p{i}", seed=i, predicted_s=made.estimate(5.6e-3 * (1 + error), 1e-5))
            for i, error in enumerate(errors)
        ]
        return only(*points, kind=Kind.PREDICTED)

    good = predicted(0.01, -0.04, 0.02, 0.0, 0.06)
    assert good.hazard == (
        "4 of 5 predictions lie within 5 % of the measured latency; the worst, “ttmpd · 0.7x · seed 4”, is off by "
        "+6.0 %."
    )
    assert good.level is Level.NOTE
    assert predicted(0.01, -0.08, 0.09).level is Level.HAZARD
    assert predicted(0.01, 0.01, 0.01, 0.01, 0.2).level is Level.HAZARD
    assert found(made.point(predicted_s=None), kind=Kind.PREDICTED) == []


def parts(outside: float) -> tuple[PartTime, ...]:
    return (
        PartTime("stem", "convolution", None, 0.75 * outside, True),
        PartTime("a.conv", "convolution", "a", 1 - outside, True),
        PartTime("head", "linear", None, 0.25 * outside, True),
    )


def test_the_floor_is_what_lies_outside_all_removable_blocks() -> None:
    def floor(outside: float, budget_s: float) -> list[Finding]:
        return found(made.point(parts=parts(outside), budget_s=budget_s, met=False), kind=Kind.FLOOR)

    (reachable,) = floor(0.4, 0.7 * 8.1e-3)
    assert reachable.hazard == (
        "40 % of the unpruned latency lies, by the table, outside all removable blocks: stem 30 %, head 10 %. "
        "0.40x is the floor."
    )
    assert reachable.level is Level.NOTE
    (out_of_reach,) = floor(0.4, 0.3 * 8.1e-3)
    assert out_of_reach.meaning == "Budget 0.7x cannot be met by removing blocks."
    assert (out_of_reach.level, out_of_reach.weight > reachable.weight) == (Level.HAZARD, True)
    (near,) = floor(0.4, 0.42 * 8.1e-3)
    assert "lies close to" in near.meaning
    assert floor(0.05, 0.7 * 8.1e-3) == [], "too little to be worth a word"
    assert len(floor(0.05, 0.04 * 8.1e-3)) == 1
    assert found(made.point(parts=()), kind=Kind.FLOOR) == []
    narrower = {"widths": {"g": 8}, "removed": (), "parts": parts(0.4), "budget_s": 0.3 * 8.1e-3}
    assert found(made.point(**narrower), kind=Kind.FLOOR) == [], "channels know no such floor"


def test_a_budget_that_was_met_is_not_said_to_be_below_the_floor() -> None:
    met = made.point(parts=parts(0.4), budget_s=0.3 * 8.1e-3)
    (finding,) = found(met, kind=Kind.FLOOR)
    assert finding.level is Level.NOTE
    assert finding.meaning == "A tighter budget than that cannot be met by removing blocks."
    missed = made.point(id="b", budget="0.2x", parts=parts(0.4), budget_s=0.2 * 8.1e-3, met=False)
    (finding,) = found(met, missed, kind=Kind.FLOOR)
    assert finding.meaning == "Budget 0.2x cannot be met by removing blocks."


def test_runs_that_start_from_different_weights_are_told() -> None:
    runs = [
        (made.run(closure=(), weights=weights), [made.point(seed=place)])
        for place, weights in enumerate(["a.safetensors", "a.safetensors", "b.safetensors", "unknown"])
    ]
    told = [
        [finding.hazard for finding in of_scene(scenes(chosen)[0]) if "different weights" in finding.hazard]
        for chosen in (runs, runs[:2], [runs[0], runs[3]])
    ]
    assert told == [
        ["The runs start from different weights (A: a.safetensors, B: a.safetensors and C: b.safetensors)."],
        [],
        [],
    ]


def test_runs_that_trained_differently_are_told_and_those_that_may_have() -> None:
    ways = [
        {"healing": "200 steps"},
        {"healing": "200 steps", "training from scratch": "30 epochs"},
        {"training from scratch": "5 epochs"},
        {"healing": "50 steps"},
        {},
    ]
    runs = [(made.run(closure=(), training=way), [made.point(seed=i)]) for i, way in enumerate(ways)]

    def told(*places: int) -> list[str]:
        chosen = [runs[place] for place in places]
        return [f.hazard for f in of_scene(scenes(chosen)[0]) if "differ in" in f.hazard]

    assert told(0, 3) == ["The runs differ in healing (A: 200 steps; B: 50 steps)."]
    assert told(1, 2) == ["The runs differ in training from scratch (A: 30 epochs; B: 5 epochs)."]
    assert told(0, 4) == ["The runs may differ in healing (A: 200 steps; B: unknown)."]
    assert told(0, 1) == told(0, 2) == told(0) == told(4, 4) == []
    assert len(told(1, 4)) == 2


def test_one_seed_is_told_of_methods_that_take_single_weights_out_too() -> None:
    sparse = {"budget": "90%", "budget_s": None, "met": None, "sparsity": 0.9}
    finding = only(made.point(method="epsd", **sparse), made.unpruned(), kind=Kind.SEEDS)
    assert finding.hazard == "Every result comes from a single seed."


def test_two_runs_that_differ_are_told() -> None:
    runs = [
        (made.run(closure=()), [made.point(), made.point(id="b", seed=1)]),
        (made.run(name="b", closure=()), [made.point(ratio=made.estimate(0.75, 0.004))]),
    ]
    (finding,) = [f for f in of_scene(scenes(runs)[0]) if f.kind is Kind.RUNS]
    assert finding.level is Level.HAZARD
    assert finding.hazard == (
        "Of 1 point that both runs have, B is slower than A in 1, faster in 0, less accurate in 0, more so in 0."
    )


def test_nothing_is_made_up_where_nothing_is_known() -> None:
    assert findings(scenes([(made.run(closure=()), [])])) == []
    bare = made.point(accuracy=None, agreement=None, kl=None, predicted_s=None, parts=(), met=None)
    assert findings(scenes([(made.run(closure=()), [bare])])) == []
    (failed,) = findings(scenes([(made.run(closure=()), [made.failed()])]))
    assert failed.finding.kind is Kind.FAILED


def test_agreement_stands_in_for_accuracy_by_its_name() -> None:
    points = [made.point(accuracy=None, controls={}), made.unpruned(accuracy=None)]
    assert "ttmpd meets 0.7x at 86.1 % (85.4–86.8) agreement with the unpruned network." in (
        only(*points, kind=Kind.REACHED).hazard
    )


def test_the_weightiest_come_first_and_many_results_make_room() -> None:
    budgets = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    points = [
        made.unpruned(),
        *(
            point
            for budget in budgets
            for point in seeded("ttmpd", [0.2, 0.3], budget=f"{budget}x", budget_s=budget * 8.1e-3)
        ),
        made.failed(),
    ]
    order = [one.finding.kind for one in findings([scene(*points)])]
    assert order[:4] == [Kind.REACHED] * 4
    assert {Kind.USELESS, Kind.FAILED} <= set(order[4:SHOWN])
    assert order[-2:] == [Kind.REACHED] * 2
    assert len(order) == len([*of_scene(scene(*points))])


def test_findings_know_their_scene_and_damage_comes_before_all_hazards() -> None:
    groups = scenes([(made.run(), [made.point(), made.point(id="z", setting="s2")])])
    located = findings(groups, damaged=2)
    assert {one.anchor for one in located if one.finding.kind is Kind.REACHED} == {"pareto-1", "pareto-2"}
    first = next(one for one in located if one.finding.level is Level.HAZARD)
    assert (first.finding.kind, first.anchor) == (Kind.DAMAGED, "runs")
    assert first.finding.hazard == "2 files of the runs cannot be read."


def test_names_in_a_row() -> None:
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a", "b", "c", "d"], most=2) == "a, b and 2 more"
