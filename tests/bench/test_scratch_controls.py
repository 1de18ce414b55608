"""What each control of a network trained from scratch changes, and that it changes nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from early_networks import CLASSES, Residual
from numpy.typing import NDArray
from torch import Tensor, nn

from bench import channel_maker, masked_point
from bench.budget import Sparsity
from bench.channel_maker import ChannelMaker
from bench.choices import Choices
from bench.judging import judged
from bench.masked_point import _Masked
from bench.school import School, UntrainedError, histories, trained_first
from bench.shop import Shop
from bench.stages import Stages
from bench.workloads.images import Images
from bench.workloads.network import Network, Preprocess
from bench.workloads.training_images import AugmentedImages
from latency_tables.errors import LatheError, StorageError, UserError
from latency_tables.estimate import Estimate
from pruning.channels import find_groups, find_strands
from pruning.early.channel_scores import channel_scores
from pruning.from_scratch import SCRATCH_METHODS, ScratchMethod, Training
from pruning.recovery.objective import CrossEntropy
from pruning.recovery.training import Epoch, Regime, Trained
from pruning.width_search import WidthSelection, choose_smart

PREPROCESS = Preprocess((0.5,) * 3, (0.5,) * 3, 255.0)
NETWORK = Network("small", Residual, (3, 6, 6), PREPROCESS)


class Spy(School):
    """A school that trains nothing, and remembers what it was given."""

    def teach(  # type: ignore[override]
        self, model: nn.Module, objective: Any, what: str, progress: Any, masks: Any = None, apart: str = ""
    ) -> nn.Module:
        words = f"{what} {apart}"
        lessons.append(SimpleNamespace(model=model, objective=objective.name, what=words, masks=masks))
        return model


lessons: list[SimpleNamespace] = []


def spy(folder: Path, self_distillation: str = "cs-kd") -> Spy:
    lessons.clear()
    pixels = np.random.default_rng(0).integers(0, 256, (30, 6, 6, 3), dtype=np.uint8)
    images = AugmentedImages(Images(pixels, np.arange(30) % CLASSES, "made up"), PREPROCESS, "none")
    training = Training(self_distillation, 30, CLASSES, Residual(), 0)
    return Spy(NETWORK, images, Regime(epochs=1), training, folder)


class FakeShop:
    """Judges every network the same."""

    def __init__(self, folder: Path, self_distillation: str = "cs-kd") -> None:
        model = NETWORK.untrained(0)
        groups = find_groups(model, torch.zeros(1, 3, 6, 6))
        skeleton = SimpleNamespace(groups=groups, digest="d")
        self.subject = SimpleNamespace(wide=SimpleNamespace(skeleton=skeleton))
        self.images = SimpleNamespace(report=SimpleNamespace(labels=np.zeros(1)))
        self.school = spy(folder, self_distillation)

    def teaching(self, _: str) -> Spy:
        return self.school

    def judge(self, networks: dict[str, nn.Module], _: object) -> dict[str, Estimate]:
        return dict.fromkeys(networks, Estimate(0.5, 0.4, 0.6))


class PerChannel:
    """Every channel costs a second."""

    def latencies_s(self, removed: list[Any], widths: NDArray[np.int64]) -> NDArray[np.float64]:
        return widths.sum(axis=1).astype(float)

    def latency_s(self, removed: Any, widths: dict[str, int]) -> float:
        full = {
            group.name: group.channels for group in find_groups(Residual().eval(), torch.zeros(1, 3, 6, 6))
        }
        return float(sum((full | widths).values()))


def quiet(*_: object) -> None:
    pass


def first_weights(model: nn.Module) -> list[Tensor]:
    return [parameter.detach() for parameter in model.parameters()]


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = list(zip(first_weights(one), first_weights(other), strict=True))
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)


def by_name() -> dict[str, SimpleNamespace]:
    names = [
        channel_maker.OTHER_CHANNELS,
        channel_maker.WEIGHTS_ANEW,
        channel_maker.BY_CHANCE,
        channel_maker.SMART,
        channel_maker.PLAIN_SCORES,
        channel_maker.UNTAUGHT,
        masked_point.SHUFFLED,
        masked_point.WEIGHTS_ANEW,
        masked_point.BY_CHANCE,
        masked_point.SMART,
        masked_point.PLAIN_SCORES,
        "the point",
    ]
    return {name: lesson for lesson in lessons for name in names if lesson.what.startswith(name)}


def test_channels_beside_their_controls(tmp_path: Path) -> None:
    shop = FakeShop(tmp_path)
    maker = ChannelMaker(cast(Shop, shop), shop.school, SCRATCH_METHODS["epsd-structured"])
    fit = cast(Any, PerChannel())
    chosen = maker.choose(fit, 20.0, quiet)
    assert chosen.channels
    maker.make(chosen, quiet)
    found = maker.controls(chosen, fit, quiet)
    assert len(found.accuracies) == 5 and not found.failed
    told = by_name()
    assert {lesson.objective for lesson in told.values()} == {"cs-kd"}
    point = told["the point"].model
    shapes = [tuple(weight.shape) for weight in first_weights(point)]
    for name in (channel_maker.OTHER_CHANNELS, channel_maker.WEIGHTS_ANEW):
        assert [tuple(weight.shape) for weight in first_weights(told[name].model)] == shapes
        assert not same(told[name].model, point)
    for name in (channel_maker.BY_CHANCE, channel_maker.PLAIN_SCORES):
        size = sum(weight.shape[0] for weight in first_weights(told[name].model) if weight.ndim == 4)
        assert size < sum(w.shape[0] for w in first_weights(NETWORK.untrained(0)) if w.ndim == 4)
        other = FakeShop(tmp_path / name[:6])
        by = channel_maker.RANDOM if name == channel_maker.BY_CHANCE else channel_maker.PLAIN
        alone = ChannelMaker(cast(Shop, other), other.school, SCRATCH_METHODS[by])
        wanted = alone.choose(fit, fit.latency_s((), dict(chosen.cut.widths)), quiet)
        assert str(sorted(wanted.channels.items())) in told[name].what
    assert not same(told[channel_maker.BY_CHANCE].model, point)
    limit_s = fit.latency_s((), dict(chosen.cut.widths))
    by_profile = choose_smart(maker.outline.skeleton.groups, fit, limit_s)
    assert str(sorted(by_profile.channels.items())) in told[channel_maker.SMART].what


@pytest.mark.parametrize(
    "method", [m for m in SCRATCH_METHODS.values() if m.structured and m.criterion], ids=lambda m: m.name
)
def test_every_ranking_keeps_its_best_channels(method: ScratchMethod, tmp_path: Path) -> None:
    shop = FakeShop(tmp_path)
    maker = ChannelMaker(cast(Shop, shop), shop.school, method)
    chosen = maker.choose(cast(Any, PerChannel()), 20.0, quiet)
    scores = maker._known[method.name]
    assert chosen.channels
    for name, stays in chosen.channels.items():
        gone = sorted(set(range(len(scores[name]))) - set(stays))
        assert min(scores[name][list(stays)]) >= max(scores[name][gone])
    if method.name == channel_maker.RANDOM:
        return
    assert method.criterion is not None
    by_weight = shop.school.scores(method, shop.school.untrained(), 1.0)
    free = [group for group in maker.outline.skeleton.groups if group.frozen is None]
    strands = find_strands(shop.school.untrained(), shop.school.example, free)
    signed = method.name == "grasp-structured"  # the only one whose scores may be below zero
    for name, expected in channel_scores(by_weight, strands, free, signed=signed).items():
        assert np.allclose(scores[name], expected.numpy())
    whole = np.concatenate(list(scores.values()))
    assert whole.min() >= 0 and len(set(whole.round(12))) > len(whole) / 2


def test_what_is_taught_stands_beside_the_same_widths_without_a_teacher(tmp_path: Path) -> None:
    shop = FakeShop(tmp_path)
    maker = ChannelMaker(cast(Shop, shop), shop.school, SCRATCH_METHODS["kd"])
    chosen = maker.choose(cast(Any, PerChannel()), 20.0, quiet)
    maker.make(chosen, quiet)
    assert set(maker.controls(chosen, cast(Any, PerChannel()), quiet).accuracies) == {channel_maker.UNTAUGHT}
    told = by_name()
    assert (told["the point"].objective, told[channel_maker.UNTAUGHT].objective) == ("kd", "cross entropy")
    assert same(told["the point"].model, told[channel_maker.UNTAUGHT].model)


def test_masks_beside_their_controls(tmp_path: Path) -> None:
    shop = FakeShop(tmp_path)
    point = _Masked(
        cast(Shop, shop),
        cast(Any, SimpleNamespace(id="a")),
        SCRATCH_METHODS["epsd"],
        Sparsity("60%", 0.6),
        Stages(),
    )
    masks = point._masks(SCRATCH_METHODS["epsd"])
    found = point._controls(masks, quiet)
    assert len(found.accuracies) == 5 and not found.failed
    told = by_name()
    whole = NETWORK.untrained(0)
    kept = {name: int(mask.sum()) for name, mask in masks.items()}
    for name, lesson in told.items():
        anew = name == masked_point.WEIGHTS_ANEW
        assert lesson.objective == "cs-kd"
        assert all(torch.equal(lesson.masks[key], masks[key]) for key in masks) is anew
        counts = {key: int(mask.sum()) for key, mask in lesson.masks.items()}
        assert (counts == kept) is (name in (masked_point.SHUFFLED, masked_point.WEIGHTS_ANEW))
        assert sum(counts.values()) == pytest.approx(sum(kept.values()), rel=0.15)
        assert not anew or not same(lesson.model, whole)
    others = [lesson.model for name, lesson in told.items() if name != masked_point.WEIGHTS_ANEW]
    assert all(same(model, others[0]) for model in others)


def test_each_training_has_a_file_of_its_own_to_go_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[Path] = []

    def trained(*_: object, checkpoint: Path, **__: object) -> Trained:
        files.append(checkpoint)
        return Trained((Epoch(1.5, 0.25), Epoch(0.5, None)), 0)

    monkeypatch.setattr("bench.school.train", trained)
    given = spy(tmp_path)
    school = School(given.network, given.images, given.regime, given.training, given.folder)
    for what in ("the point", "a control", "the point"):
        school.teach(Residual(), CrossEntropy(), what, quiet)
    assert files[0] == files[2] != files[1]
    assert {file.parent for file in files} == {tmp_path}
    school.teach(Residual(), CrossEntropy(), "the point", quiet, apart="of another method")
    assert files[3] not in files[:3]
    told = histories(tmp_path)
    assert [one["training"] for one in told] == ["a control", "the point"]  # of one name the last
    assert told[0]["epochs"] == [{"loss": 1.5, "accuracy": 0.25}, {"loss": 0.5, "accuracy": None}]


def test_first_weights_stand_in_open_branches(tmp_path: Path) -> None:
    class Closed(Residual):
        def __init__(self) -> None:
            super().__init__()
            nn.init.zeros_(self.narrow_norm.weight)

    given = spy(tmp_path)
    network = Network("closed", Closed, (3, 6, 6), PREPROCESS)
    model = School(network, given.images, given.regime, given.training, given.folder).untrained()
    assert bool(model.narrow_norm.weight.all())
    assert not bool(network.build().narrow_norm.weight.any())  # as its factory made it, elsewhere


class Refitted(PerChannel):
    """The same network, found to be slower meanwhile."""

    def latencies_s(self, removed: list[Any], widths: NDArray[np.int64]) -> NDArray[np.float64]:
        return 1.3 * super().latencies_s(removed, widths)


def test_a_restart_goes_on_with_the_channels_that_were_in_training(tmp_path: Path) -> None:
    def begun() -> ChannelMaker:
        shop = FakeShop(tmp_path)
        return ChannelMaker(cast(Shop, shop), shop.school, SCRATCH_METHODS["epsd-structured"])

    first, refitted = cast(Any, PerChannel()), cast(Any, Refitted())
    maker = begun()
    chosen = maker.choose(first, 20.0, quiet)
    assert not list(tmp_path.iterdir())  # nothing is in training yet
    maker.make(chosen, quiet)
    maker.controls(chosen, first, quiet)
    before = {lesson.what for lesson in lessons}

    maker = begun()
    again = maker.choose(refitted, 20.0, quiet)
    assert again == chosen
    maker.make(again, quiet)
    maker.controls(again, refitted, quiet)
    assert {lesson.what for lesson in lessons} == before  # the words name the checkpoints

    # Where it is timed again and misses, the search goes on, and the controls follow.
    maker = begun()
    maker.choose(refitted, 20.0, quiet)
    other = maker.choose(refitted, 20.0, quiet)
    assert other.channels != chosen.channels
    maker.make(other, quiet)
    maker = begun()
    assert maker.choose(first, 20.0, quiet) == other


def test_channels_of_another_network_do_not_count_and_a_damaged_file_says_so(tmp_path: Path) -> None:
    file = tmp_path / "choices.json"
    Choices(file, "d").keep_point(WidthSelection({"stem": (0, 1)}, 1.0, 0.1))
    assert Choices(file, "d").point == WidthSelection({"stem": (0, 1)}, 1.0, 0.1)
    assert Choices(file, "other").point is None
    file.write_text('{"skeleton": "d"}')
    with pytest.raises(UserError, match=r"choices\.json .*Remove the file to choose anew"):
        Choices(file, "d")


@pytest.mark.parametrize(
    ("method", "self_distillation", "missing"),
    [
        ("epsd-structured", "cs-kd", set()),
        ("epsd-structured", "none", {channel_maker.PLAIN_SCORES}),
        ("prospr-structured", "cs-kd", {channel_maker.PLAIN_SCORES}),
        ("random-weights-structured", "cs-kd", {channel_maker.BY_CHANCE}),
    ],
)
def test_no_control_makes_the_same_channels_once_more(
    method: str, self_distillation: str, missing: set[str], tmp_path: Path
) -> None:
    shop, fit = FakeShop(tmp_path, self_distillation), cast(Any, PerChannel())
    maker = ChannelMaker(cast(Shop, shop), shop.school, SCRATCH_METHODS[method])
    chosen = maker.choose(fit, 20.0, quiet)
    found = set(maker.controls(chosen, fit, quiet).accuracies)
    every = {
        channel_maker.OTHER_CHANNELS,
        channel_maker.WEIGHTS_ANEW,
        channel_maker.BY_CHANCE,
        channel_maker.SMART,
        channel_maker.PLAIN_SCORES,
    }
    assert found == every - missing


@pytest.mark.parametrize(
    ("method", "self_distillation", "plain"),
    [("epsd", "cs-kd", True), ("epsd", "none", False), ("prospr", "cs-kd", False), ("snip", "none", True)],
)
def test_no_control_makes_the_same_mask_once_more(
    method: str, self_distillation: str, plain: bool, tmp_path: Path
) -> None:
    shop = cast(Shop, FakeShop(tmp_path, self_distillation))
    recipe = cast(Any, SimpleNamespace(id="a"))
    point = _Masked(shop, recipe, SCRATCH_METHODS[method], Sparsity("60%", 0.6), Stages())
    found = point._controls(point._masks(SCRATCH_METHODS[method]), quiet)
    assert (masked_point.PLAIN_SCORES in found.accuracies) is plain


@pytest.mark.parametrize(
    ("error", "raised", "said"),
    [
        (LatheError("training diverged"), UntrainedError, "with seed 0, .*: training diverged"),
        (
            RuntimeError("no kernel"),
            UntrainedError,
            "RuntimeError in test_scratch_controls.py, line .*no kernel",
        ),
        (UserError("no labels"), UserError, "^no labels$"),
        (StorageError("the disk is full"), StorageError, "^the disk is full$"),
    ],
)
def test_a_network_that_cannot_be_trained_first_says_so(
    error: Exception, raised: type[Exception], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> nn.Module:
        raise error

    monkeypatch.setattr(Spy, "teach", fail)
    file = tmp_path / "unpruned-s0.safetensors"
    with pytest.raises(raised, match=said):
        trained_first(spy(tmp_path), file, quiet)
    assert not file.exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LatheError("the ranking collapses"), "the ranking collapses"),
        (
            RuntimeError("no double backward"),
            r"RuntimeError in test_scratch_controls\.py, line \d+: no double backward",
        ),
        (MemoryError(), r"MemoryError in test_scratch_controls\.py, line \d+: "),
        (OSError("no such disk"), r"OSError in test_scratch_controls\.py, line \d+: no such disk"),
    ],
)
def test_a_control_that_fails_costs_itself_alone(error: Exception, said: str, tmp_path: Path) -> None:
    def fail() -> nn.Module:
        raise error

    shop = cast(Shop, FakeShop(tmp_path))
    found = judged(shop, {"a": Residual, "b": fail, "c": Residual}, quiet)
    assert list(found.accuracies) == ["a", "c"]
    assert list(found.failed) == ["b"] and re.fullmatch(said, found.failed["b"])


def test_a_mask_is_kept_for_a_restart_and_a_damaged_one_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun() -> _Masked:
        shop = cast(Shop, FakeShop(tmp_path))
        recipe = cast(Any, SimpleNamespace(id="a"))
        return _Masked(shop, recipe, SCRATCH_METHODS["snip"], Sparsity("60%", 0.6), Stages())

    masks = begun()._masks(SCRATCH_METHODS["snip"])
    monkeypatch.setattr(School, "scores", None)  # no score is taken again
    again = begun()._masks(SCRATCH_METHODS["snip"])
    assert {mask.dtype for mask in again.values()} == {torch.bool}
    assert list(masks) == list(again)  # controls draw in that order
    assert all(torch.equal(masks[name], again[name]) for name in masks)
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(UserError, match="mask chosen earlier cannot be read"):
        begun()._masks(SCRATCH_METHODS["snip"])


def test_a_full_disk_is_no_controls_own_failure(tmp_path: Path) -> None:
    def fail() -> nn.Module:
        raise StorageError("the disk is full")

    with pytest.raises(StorageError, match="the disk is full"):
        judged(cast(Shop, FakeShop(tmp_path)), {"a": Residual, "b": fail, "c": Residual}, quiet)
