"""What a sweep keeps of an old point while a new one is made."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import made_up_runs as made
import pytest
import torch
from torch import nn

from bench import sweep
from bench.budget import parse_budget
from bench.points import Recipe
from bench.requirements import require_free_groups
from bench.school import UntrainedError
from bench.workplace import at
from latency_tables.errors import LatheError, StorageError, UserError
from latency_tables.widths import ChannelGroup
from reports.results import Point
from reports.run_folder import read_run, write_point, write_run


def recipe(id_: str, seed: int = 0) -> Recipe:
    return Recipe(id_, "ttmpd", parse_budget("0.7x"), seed, 200, 4, True, "lathe prune", id_)


class Job:
    """A sweep's folder with one finished point, and the machinery that makes it anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.old = made.point()
        write_run(folder, made.run())
        write_point(folder, self.old)
        self.files = folder / self.old.id
        self.files.mkdir()
        (self.files / "network.onnx").write_text("old")
        silent = SimpleNamespace(say=lambda _: None)
        session = SimpleNamespace(setting=SimpleNamespace(digest="s1"))
        parts: list[Any] = [*[None] * 4, session, None]
        self.job = sweep._Job(*parts, folder, folder, cast(Any, silent))
        shop = SimpleNamespace(
            folder=folder / ".making", session=session, accuracy=lambda _: None, unpruned_served=None
        )
        self.shop = cast(Any, shop)
        self.recipe = recipe(self.old.id)

    def make(self, *, keep_failures: bool = False) -> Point:
        return self.job._make(self.shop, self.recipe, keep_failures=keep_failures)

    def there(self) -> tuple[list[Point], str]:
        return read_run(self.folder)[1], (self.files / "network.onnx").read_text()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_a_failure_leaves_the_old_point_and_its_files(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(shop: Any, _: Any) -> Point:
        (shop.folder / job.old.id).mkdir(parents=True)
        (shop.folder / job.old.id / "network.onnx").write_text("half")
        raise LatheError("the disk is full")

    monkeypatch.setattr(sweep, "make_point", fail)
    with pytest.raises(LatheError, match="disk is full"):
        job.make()
    assert job.there() == ([job.old], "old")
    assert not list((job.folder / ".making").iterdir())


class Slice(nn.Module):
    """A network with a mistake in it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wrong: Any = x.shape
        return cast(torch.Tensor, wrong + 1)


def test_a_mistake_in_the_network_costs_one_point(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Point:
        Slice()(torch.zeros(1))
        raise AssertionError("the network made no mistake")

    monkeypatch.setattr(sweep, "make_point", fail)
    point = job.make(keep_failures=True)
    assert point.status == "failed"
    assert point.reason is not None
    assert re.match(r"TypeError in test_sweep\.py, line \d+: can only concatenate", point.reason)
    assert read_run(job.folder)[1] == [point]
    with pytest.raises(LatheError, match=rf"{job.old.id} failed: TypeError in test_sweep\.py"):
        job.make()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, StorageError])
def test_what_ends_the_sweep_is_no_failed_point(
    job: Job, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> Point:
        raise error

    monkeypatch.setattr(sweep, "make_point", stop)
    with pytest.raises(error):
        job.make(keep_failures=True)
    assert job.there() == ([job.old], "old")


def test_a_device_without_room_costs_one_point(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Point:
        with at(torch.device("cpu"), nn.Identity()):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(sweep, "make_point", fail)
    point = job.make(keep_failures=True)
    assert point.status == "failed" and point.reason is not None
    assert "too little memory for Identity: CUDA out of memory. Tried to allocate 2.00 GiB" in point.reason


def test_a_new_point_comes_with_its_own_files(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    new = replace(job.old, command="lathe prune again")

    def succeed(shop: Any, _: Any) -> Point:
        files = shop.folder / job.old.id
        assert not files.exists()  # nothing of a killed process is mixed in
        files.mkdir(parents=True)
        (files / "network.onnx").write_text("new")
        assert job.there() == ([job.old], "old")  # whole to the end
        return new

    (job.folder / ".making" / job.old.id).mkdir(parents=True)
    (job.folder / ".making" / job.old.id / "network.onnx").write_text("killed")
    monkeypatch.setattr(sweep, "make_point", succeed)
    monkeypatch.setattr(sweep, "leaflet", lambda *_: "how it was made")
    whole = replace(new, artefacts={**new.artefacts, "readme": f"{new.id}/README.md"})
    assert job.make() == whole
    assert job.there() == ([whole], "new")
    assert (job.folder / new.id / "README.md").read_text() == "how it was made"


def test_a_seed_that_cannot_be_trained_leaves_the_other_seeds_alone(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_shop(_: sweep._Job, seed: int, profiling_s: float) -> Any:
        if seed == 0:
            raise UntrainedError("training diverged")
        return job.shop

    def make(shop: Any, asked: Recipe) -> Point:
        (shop.folder / asked.id).mkdir(parents=True)
        return replace(job.old, id=asked.id, seed=asked.seed)

    monkeypatch.setattr(sweep._Job, "_open_shop", open_shop)
    monkeypatch.setattr(sweep, "make_point", make)
    monkeypatch.setattr(sweep, "leaflet", lambda *_: "how it was made")
    monkeypatch.setattr(sweep, "recipes_of", lambda _c, _s, seed, *_: [recipe(f"a-s{seed}", seed)])
    two = replace(job.job, config=cast(Any, SimpleNamespace(seeds=(0, 1))))
    points = two.run([], {}, 0.0, keep_failures=True)
    assert [(p.id, p.status, p.reason) for p in points] == [
        ("a-s0", "failed", "training diverged"),
        ("a-s1", "done", None),
    ]
    assert {p.id for p in read_run(job.folder)[1]} == {job.old.id, "a-s0", "a-s1"}
    with pytest.raises(UntrainedError):
        two.run([], {}, 0.0, keep_failures=False)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            (),
            r"no channels of small can be taken out \(it has no channel groups\)\. Choose a method that takes",
        ),
        (
            tuple(ChannelGroup(f"conv{k}", 8, "a norm over channels mixes them") for k in range(4)),
            r"\(conv0: a norm over channels mixes them; conv1: .*; conv2: [^;]*; \.\.\.\)",
        ),
    ],
)
def test_a_network_whose_channels_must_all_stay(groups: tuple[ChannelGroup, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        require_free_groups(cast(Any, SimpleNamespace(name="small", groups=groups)))
    free = (*groups, ChannelGroup("free", 8, None))
    require_free_groups(cast(Any, SimpleNamespace(name="small", groups=free)))
