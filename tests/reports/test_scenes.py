from __future__ import annotations

from dataclasses import replace

import made_up_runs as made
import pytest

from latency_tables.errors import UserError
from reports.scenes import run_tag, scenes


def test_settings_images_and_networks_are_never_mixed() -> None:
    base = made.run(closure=())
    runs = [
        (base, [made.point(), made.point(id="b", setting="s2")]),
        (made.run(closure=(), shift=None), [made.point()]),
        (made.run(closure=(), network="cifar/resnet20"), [made.point()]),
        (made.run(closure=(), name="again"), [made.point(seed=1)]),
    ]
    groups = scenes(runs)
    assert [(g.network, g.shift, g.setting, len(g.points)) for g in groups] == [
        ("cifar/resnet56", "gaussian_noise:3", "s1", 2),
        ("cifar/resnet56", "gaussian_noise:3", "s2", 1),
        ("cifar/resnet56", None, "s1", 1),
        ("cifar/resnet20", "gaussian_noise:3", "s1", 1),
    ]


def test_keys_are_unique_though_ids_repeat_between_runs() -> None:
    (group,) = scenes([(made.run(), [made.point()]), (made.run(name="again"), [made.point()])])
    assert [placed.key for placed in group.points] == [0, 1]
    assert [placed.run.name for placed in group.points] == ["synthetic", "again"]


def test_runs_have_letters_where_a_scene_has_points_of_several() -> None:
    runs = [
        (made.run(), [made.point(), made.point(id="b", setting="s2")]),
        (made.run(name="again"), [made.point()]),
        (made.run(name="other", network="cifar/resnet20", closure=()), [made.point()]),
    ]
    first, alone, other = scenes(runs)
    assert [(placed.tag, placed.series, placed.title) for placed in first.points] == [
        ("A", "ttmpd · A", "ttmpd · 0.7x · seed 0 · A"),
        ("B", "ttmpd · B", "ttmpd · 0.7x · seed 0 · B"),
    ]
    assert [(group.points[0].tag, group.points[0].series) for group in (alone, other)] == [("", "ttmpd")] * 2
    assert [run_tag(number) for number in (0, 25, 26)] == ["A", "Z", "R27"]


def test_a_digest_with_two_meanings_is_refused() -> None:
    other = made.run(settings={"s1": {"label": "something else"}}, closure=())
    with pytest.raises(UserError, match=r"'s1'.*described differently"):
        scenes([(made.run(), []), (other, [])])


def test_a_setting_with_closure_alone_is_a_scene_and_an_unused_one_is_not() -> None:
    (group,) = scenes([(made.run(), [])])
    assert (group.setting, len(group.closure), group.points) == ("s1", 2, ())


def test_accuracy_is_shown_where_there_are_labels_and_agreement_where_there_are_none() -> None:
    points = [made.point(), made.point(id="b", accuracy=None), made.failed()]
    (labelled,) = scenes([(made.run(), points)])
    assert labelled.quality == "accuracy"
    assert [placed.key for placed, _, _ in labelled.charted] == [0]
    (unlabelled,) = scenes([(made.run(), points[1:])])
    assert unlabelled.quality == "agreement"
    assert [quality for _, quality, _ in unlabelled.charted] == [points[1].agreement]
    assert [len(unlabelled.done), len(unlabelled.failed)] == [1, 1]


def test_networks_for_images_of_two_sizes_are_two() -> None:
    small, large = (made.run(closure=(), name=size, input=size) for size in ("3x160x160", "3x224x224"))
    quick = made.point(unpruned_s=made.estimate(4e-3, 1e-5), measured_s=made.estimate(2e-3, 1e-5))
    first, second = scenes([(small, [quick]), (large, [made.point()])])
    assert (first.unpruned_s, second.unpruned_s) == (pytest.approx(4e-3), pytest.approx(8.1e-3))
    assert [group.workload.split(" on ")[0] for group in (first, second)] == [
        "cifar/resnet56 at 3x160x160",
        "cifar/resnet56 at 3x224x224",
    ]


def test_settings_with_one_label_say_what_tells_them_apart() -> None:
    label = "ONNX Runtime, one thread, batch 1"
    settings = {
        digest: {"label": label, "versions": [["onnxruntime", version]], "threads": 1}
        for digest, version in (("s1", "1.31.1"), ("s2", "1.32.0"))
    }
    points = [made.point(), made.point(id="b", setting="s2")]
    found = scenes([(made.run(closure=(), settings=settings), points)])
    assert [group.label for group in found] == [
        f"{label} (versions.onnxruntime '1.31.1')",
        f"{label} (versions.onnxruntime '1.32.0')",
    ]


def test_a_network_that_two_runs_predicted_counts_once() -> None:
    before = made.run().closure
    after = (replace(before[0], predicted_s=made.estimate(6.05e-3, 1e-4)), before[1])
    (group,) = scenes([(made.run(), [made.point()]), (made.run(name="b", closure=after), [made.point()])])
    assert group.closure == after


@pytest.mark.parametrize("options", [3, [1], ["ab", "cde"], None, {"a": 1}])
def test_a_setting_edited_by_hand_still_has_a_label(options: object) -> None:
    settings = {
        digest: {"label": "one", "options": options, "threads": n} for n, digest in enumerate(["s1", "s2"])
    }
    points = [made.point(), made.point(id="b", setting="s2")]
    found = scenes([(made.run(closure=(), settings=settings), points)])
    assert [group.label for group in found] == ["one (threads 0)", "one (threads 1)"]
