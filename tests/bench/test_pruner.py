"""One point: what is made again, what is timed again, and what is kept where a smaller network fails."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from made_up import exact

from bench.budget import parse_budget
from bench.delivery import Delivered
from bench.pruner import _Pruning
from bench.stages import Stages
from bench.terminal import Terminal
from latency_tables.errors import LatheError, StorageError, UserError
from latency_tables.estimate import Estimate
from latency_tables.table import NetworkMeasurement


class Scripted:
    """A loop whose timings are foretold."""

    def __init__(self, met: list[bool]) -> None:
        self.met, self.said, self.searches, self.exhausted = met, [], 0, False

    def search(self) -> SimpleNamespace:
        self.searches += 1
        return SimpleNamespace(selection=self.searches)

    def saw(self, what: str, _: object) -> bool:
        self.said.append(what)
        return self.met.pop(0)


class Begun:
    """A point whose networks are numbers, on a loop that foretells what each delivery shows."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, met: list[bool], *, costly: bool = True
    ) -> None:
        self.loop, self.makings = Scripted(met), []
        self.said: list[str] = []
        monkeypatch.setattr("bench.pruner.HardwareLoop", lambda *_, **__: self.loop)
        maker = SimpleNamespace(
            outline=SimpleNamespace(skeleton=None), costly=costly, stage="train", make=self.make
        )
        terminal = Terminal(quiet=True)
        monkeypatch.setattr(terminal, "say", self.said.append)
        shop = SimpleNamespace(terminal=terminal, session=None, store=None, folder=folder)
        recipe = SimpleNamespace(rounds=4, id="point")
        self.pruning: _Pruning[Any] = _Pruning(
            cast(Any, shop), cast(Any, recipe), parse_budget("0.44x"), cast(Any, maker), Stages()
        )
        monkeypatch.setattr(self.pruning, "_judge", lambda *finished: finished[:-1])

    def make(self, selection: int, _: object) -> int:
        self.makings.append(selection)
        return selection


def timing(half: float) -> SimpleNamespace:
    """0.43 of the unpruned latency, give or take."""
    ratio = Estimate(0.43, 0.43 - half, 0.43 + half)
    seen = NetworkMeasurement("d", ("a",), ratio, exact(1.0), ratio, "fit", "2026-01-01T00:00:00+00:00")
    return SimpleNamespace(measured=seen)


@pytest.mark.parametrize(
    ("costly", "halves", "met", "said", "made"),
    [
        (True, [0.05, 0.0], [False, True], ["delivered", "delivered, once more"], 1),
        (True, [0.0], [True], ["delivered"], 1),
        (False, [0.05, 0.0], [False, True], ["delivered", "delivered"], 2),
        (
            True,
            [0.05, 0.05, 0.0],
            [False, False, True],
            ["delivered", "delivered, once more", "delivered"],
            2,
        ),
    ],
)
def test_what_takes_minutes_to_make_is_timed_again_before_it_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    costly: bool,
    halves: list[float],
    met: list[bool],
    said: list[str],
    made: int,
) -> None:
    begun = Begun(monkeypatch, tmp_path, met, costly=costly)
    timings = [timing(half) for half in halves]
    monkeypatch.setattr(begun.pruning, "_deliver", lambda *_: timings.pop(0))
    assert cast(Any, begun.pruning.run())[0] == made == len(begun.makings)
    assert begun.loop.said == said
    assert not timings


@pytest.mark.parametrize("stage", ["search", "make", "deliver"])
@pytest.mark.parametrize(
    "error", [LatheError("training diverged"), RuntimeError("no kernel"), UserError("out of reach")]
)
def test_a_network_that_missed_by_a_hair_stays_where_the_next_one_fails(
    error: Exception, stage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun = Begun(monkeypatch, tmp_path, [False], costly=False)

    def after_one(does: Any) -> Any:
        calls: list[None] = []

        def call(*given: object) -> object:
            calls.append(None)
            if len(calls) > 1:
                raise error
            return does(*given)

        return call

    deliver = lambda *_: timing(0.05)  # noqa: E731
    monkeypatch.setattr(begun.pruning, "_deliver", after_one(deliver) if stage == "deliver" else deliver)
    if stage == "search":
        monkeypatch.setattr(begun.loop, "search", after_one(begun.loop.search))
    if stage == "make":
        monkeypatch.setattr(begun.pruning._maker, "make", after_one(begun.make))
    student, choice, delivered, met = cast(Any, begun.pruning.run())
    assert (student, choice.selection, met) == (1, 1, False)
    assert delivered.measured.ratio.value == 0.43
    (said,) = begun.said
    assert said.startswith("  what was delivered stays, though it misses 0.44x: ") and str(error) in said


def test_a_first_network_that_fails_and_a_full_disk_are_nobodys_to_keep(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise StorageError("the disk is full")

    begun = Begun(monkeypatch, tmp_path, [False], costly=False)
    monkeypatch.setattr(begun.pruning, "_deliver", lambda *_: fail() if begun.loop.said else timing(0.05))
    with pytest.raises(StorageError):
        begun.pruning.run()
    begun = Begun(monkeypatch, tmp_path, [])
    monkeypatch.setattr(begun.pruning._maker, "make", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        begun.pruning.run()


def test_the_files_of_the_delivery_that_is_judged_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found: list[Delivered] = []

    def deliver(*given: Any, **_: object) -> Delivered:
        folder = given[-1]
        folder.mkdir(parents=True)
        file = folder / "network.onnx"
        file.write_text(f"the {given[2]}.")
        if given[2] == "second":
            raise LatheError("its outputs differ")
        found.append(Delivered({"onnx": file}, cast(Any, None), 0.0, True))
        return found[-1]

    monkeypatch.setattr("bench.pruner.deliver", deliver)
    monkeypatch.setattr("bench.pruner.Plan", lambda **_: None)
    begun = Begun(monkeypatch, tmp_path, [])
    shop, maker = cast(Any, begun.pruning._shop), cast(Any, begun.pruning._maker)
    shop.session, shop.store = SimpleNamespace(setting=None), SimpleNamespace(put_network=lambda *_: None)
    shop.subject = SimpleNamespace(network=SimpleNamespace(input_shape=None))
    shop.images, shop.quick_s = SimpleNamespace(calibration=None), lambda: None
    maker.outline.skeleton, maker.channels = SimpleNamespace(name="n", digest="d"), lambda _: {}
    selection = SimpleNamespace(cut=SimpleNamespace(removed=(), widths={}), removed=(), hurt=0.0)
    choice = cast(
        Any, SimpleNamespace(selection=selection, fit=SimpleNamespace(interval=lambda *_: exact(1.0)))
    )
    begun.pruning._deliver(cast(Any, "first"), choice)
    with pytest.raises(LatheError):
        begun.pruning._deliver(cast(Any, "second"), choice)
    kept = begun.pruning._kept(found[0])
    assert kept.files == {"onnx": tmp_path / "point" / "network.onnx"}
    assert kept.files["onnx"].read_text() == "the first."
    assert [path.name for path in (tmp_path / "point").iterdir()] == ["network.onnx"]
