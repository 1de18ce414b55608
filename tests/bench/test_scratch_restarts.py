"""What a training from scratch keeps, so that a run that was stopped goes on with the same networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from early_networks import Residual
from numpy.typing import NDArray
from spy_school import (
    PREPROCESS,
    FakeShop,
    PerChannel,
    Spy,
    lessons,
    quiet,
    spy,
)
from torch import nn

from bench.budget import Sparsity
from bench.channel_maker import ChannelMaker
from bench.choices import Choices
from bench.masked_point import _Masked
from bench.school import School, UntrainedError, histories, trained_first
from bench.shop import Shop
from bench.stages import Stages
from bench.workloads.network import Network
from latency_tables.errors import LatheError, StorageError, UserError
from pruning.from_scratch import SCRATCH_METHODS
from pruning.recovery.objective import CrossEntropy
from pruning.recovery.training import Epoch, Trained
from pruning.width_search import WidthSelection


def test_each_training_has_a_file_of_its_own_to_go_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[Path] = []

    def trained(*_: object, checkpoint: Path, **__: object) -> Trained:
        files.append(checkpoint)
        return Trained((Epoch(1.5, 0.25), Epoch(0.5, None)), 0)

    monkeypatch.setattr("bench.school.train", trained)
    given = spy(tmp_path)
    school = School(given.network, given.images, given.regime, given.training, given.folder, given.device)
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
    school = School(network, given.images, given.regime, given.training, given.folder, given.device)
    model = school.untrained()
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
    # Where that one's training fails, the point is what it was before, after a restart as well.
    maker.controls(chosen, refitted, quiet)
    assert begun().choose(refitted, 20.0, quiet) == chosen


def test_channels_of_another_network_do_not_count_and_a_damaged_file_says_so(tmp_path: Path) -> None:
    file = tmp_path / "choices.json"
    Choices(file, "d").keep_point(WidthSelection({"stem": (0, 1)}, 1.0, 0.1))
    assert Choices(file, "d").point == WidthSelection({"stem": (0, 1)}, 1.0, 0.1)
    assert Choices(file, "other").point is None
    file.write_text('{"skeleton": "d"}')
    with pytest.raises(UserError, match=r"choices\.json .*Remove the file to choose anew"):
        Choices(file, "d")


@pytest.mark.parametrize(
    ("error", "raised", "said"),
    [
        (LatheError("training diverged"), UntrainedError, "with seed 0, .*: training diverged"),
        (
            RuntimeError("no kernel"),
            UntrainedError,
            "RuntimeError in test_scratch_restarts.py, line .*no kernel",
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


def test_a_network_with_tied_weights_that_was_trained_first_is_kept(tmp_path: Path) -> None:
    class Tied(Residual):
        def __init__(self) -> None:
            super().__init__()
            self.narrow_norm.weight = self.norm.weight

    tied = replace(spy(tmp_path), network=Network("tied", Tied, (3, 6, 6), PREPROCESS))
    file = tmp_path / "unpruned-s0.safetensors"
    first, again = (trained_first(tied, file, quiet).training.teacher for _ in range(2))
    assert len(lessons) == 1  # the second time it is read
    torch.testing.assert_close(again.state_dict(), first.state_dict())


def test_a_mask_is_kept_for_a_restart_and_a_damaged_one_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun() -> _Masked:
        shop = cast(Shop, FakeShop(tmp_path))
        recipe = cast(Any, SimpleNamespace(id="a", lessons="a"))
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
