"""Networks are adapted, scored, healed, trained and judged on the setting's device, and come home from there.

Each on a stand-in for a device and, where there is one, on a CUDA device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import paper_device
import pytest
import torch
from small_job import write_job
from spy_school import PREPROCESS, quiet, real
from tiny_networks import TinyResNet
from torch import Tensor, nn
from typer.testing import CliRunner

from bench import expectation, sweep
from bench.block_maker import BlockMaker
from bench.cli import app
from bench.evaluation import logits_of
from bench.school import School, UntrainedError, computes_in_bf16, trained_first
from bench.shop import Shop
from bench.sweep_config import SweepConfig, make_config
from bench.workbench import GalleryPart
from bench.workloads.images import Images
from bench.workloads.network import Network
from bench.workloads.weights import load_state, saved
from bench.workplace import at, require_portable, workplace
from latency_tables.errors import LatheError, UserError
from pruning.early.synflow import SynFlow
from pruning.from_scratch import SCRATCH_METHODS, SELF_DISTILLATIONS
from pruning.outline import outline
from pruning.targets import device_of
from reports.run_folder import read_run

# Of paper alone, which goes by the name of a device without content.
pytestmark = pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter:UserWarning")

CPU = torch.device("cpu")
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.fixture(params=["paper", pytest.param("cuda", marks=NEEDS_CUDA)])
def place(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """A device that is not the CPU."""
    if request.param == "cuda":
        yield torch.device("cuda")
        return
    with paper_device.Paper():
        yield paper_device.DEVICE


def watched(model: nn.Module) -> tuple[nn.Module, set[str]]:
    """A network, and on which kinds of devices it and its copies ran."""
    ran: set[str] = set()
    model.register_forward_pre_hook(lambda _, given: ran.add(given[0].device.type))
    return model, ran


def is_home(model: nn.Module) -> bool:
    return all(type(value) is Tensor and value.device == CPU for value in model.state_dict().values())


def close(got: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    torch.testing.assert_close(dict(got), dict(wanted), rtol=1e-2, atol=1e-2)


def test_a_setting_s_workplace_is_its_device() -> None:
    assert (workplace("cpu"), workplace("cuda")) == (CPU, torch.device("cuda"))


def test_a_network_comes_home_whatever_happens(place: torch.device) -> None:
    model = TinyResNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    strides = [value.stride() for value in before.values()]
    with pytest.raises(KeyboardInterrupt), at(place, model):
        assert device_of(model).type == place.type
        raise KeyboardInterrupt
    assert is_home(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [value.stride() for value in model.state_dict().values()] == strides


def test_on_the_cpu_nothing_is_copied() -> None:
    model = TinyResNet()
    before = [(value, value.data_ptr()) for value in model.state_dict(keep_vars=True).values()]
    with at(CPU, model):
        pass
    after = model.state_dict(keep_vars=True).values()
    assert all(
        now is then and now.data_ptr() == where for now, (then, where) in zip(after, before, strict=True)
    )


def out_of_memory(*_: object, **__: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def test_too_little_memory_is_a_reason_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.school.train", out_of_memory)
    with pytest.raises(UntrainedError, match=r"too little memory for Residual: CUDA out of memory\. Tried"):
        trained_first(real(tmp_path, "none"), tmp_path / "unpruned-s0.safetensors", quiet)
    monkeypatch.setattr("bench.school.scored", out_of_memory)
    school = real(tmp_path, "none")
    with pytest.raises(LatheError, match=r"20\.00 GiB.*epsd-first-order"):
        school.scores(SCRATCH_METHODS["epsd"], school.untrained(), 0.5)


@pytest.mark.parametrize("name", [*SELF_DISTILLATIONS, "kd"])
def test_a_training_ends_as_on_the_cpu_and_goes_on_after_a_stop(
    name: str, place: torch.device, tmp_path: Path
) -> None:
    method = SCRATCH_METHODS[name if name == "kd" else "snip"]
    school = real(tmp_path / "there", "none" if name == "kd" else name)
    masks = {"widen.weight": torch.arange(128).view(16, 8, 1, 1) % 2 == 0}

    def taught(at_school: School, progress: Any = quiet) -> tuple[nn.Module, set[str]]:
        model, ran = watched(at_school.untrained())
        try:
            at_school.teach(model, method.objective(at_school.training), "it", progress, masks)
        except KeyboardInterrupt:
            assert is_home(model)
        return model, ran

    def stop(done: int, total: int, _: str) -> None:
        if done == total - 1:
            raise KeyboardInterrupt

    elsewhere = replace(school, device=place)
    taught(elsewhere, stop)
    (checkpoint,) = (tmp_path / "there").glob("*.checkpoint")
    assert torch.load(checkpoint, map_location="cpu", weights_only=True)["identity"]["device"] == place.type
    model, ran = taught(elsewhere)
    assert ran == {place.type}
    assert is_home(model) and not model.training
    wanted, _ = taught(replace(school, folder=tmp_path / "here"))
    close(model.state_dict(), wanted.state_dict())
    assert not model.get_parameter("widen.weight").detach()[~masks["widen.weight"]].any()
    assert saved(model)
    assert is_home(school.training.teacher)


@pytest.mark.parametrize("name", [name for name, method in SCRATCH_METHODS.items() if not method.structured])
def test_weights_are_scored_as_on_the_cpu(
    name: str, place: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SynFlow.__init__, "__defaults__", (3,))  # rounds
    school = real(tmp_path, "dlb")
    model, ran = watched(school.untrained())
    found = replace(school, device=place).scores(SCRATCH_METHODS[name], model, 0.5)
    assert ran == {place.type}
    assert is_home(model)
    wanted = school.scores(SCRATCH_METHODS[name], school.untrained(), 0.5)
    highest = max(float(score.abs().max()) for score in wanted.values())
    close(*({key: score / highest for key, score in scores.items()} for scores in (found, wanted)))


class PerBlock:
    """Every block saves a second of five."""

    def latency_s(self, removed: frozenset[str]) -> float:
        return 5.0 - len(removed)


def pictures(count: int) -> Images:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return Images(pixels, np.arange(count) % 3, "made up")


def opened(kind: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Shop, set[str]]:
    """A shop of a setting on such a device, as a sweep opens it, and on which its networks ran."""
    monkeypatch.setattr(sweep, "unpruned_point", lambda *_: None)
    monkeypatch.setattr(sweep, "write_point", lambda *_: None)
    judges = Shop.outputs

    def outputs(self: Shop, network: nn.Module, *words: Any) -> Tensor:
        assert is_home(network)  # a runtime may be asked, which is given it from there
        return judges(self, network, *words)

    monkeypatch.setattr(Shop, "outputs", outputs)
    network = Network("tiny", TinyResNet, (3, 6, 6), PREPROCESS)
    model, ran = watched(TinyResNet().eval())
    with torch.utils._python_dispatch._disable_current_modes():
        parts = outline("tiny", TinyResNet().eval(), (3, 6, 6), 1)
    part = GalleryPart(network, pictures(12), pictures(12), pictures(20))
    setting = SimpleNamespace(device=SimpleNamespace(kind=kind), precision="fp32")
    config = make_config({"network": "tiny", "images": "digits", "iterations": 3}, "this test")
    job = sweep._Job(
        config,
        config.setting_choices()[0],
        cast(Any, SimpleNamespace(network=network, model=model, outline_for=lambda _: parts)),
        cast(Any, SimpleNamespace(part=lambda _: part)),
        cast(Any, SimpleNamespace(setting=setting)),
        cast(Any, SimpleNamespace(table=lambda _: None)),
        Path(),
        Path(),
        cast(Any, SimpleNamespace(progress=lambda _: nullcontext(quiet))),
    )
    return job._open_shop(0, 0.0), ran


@pytest.mark.parametrize("method", ["ttmpd", "practise-3", "random"])
def test_blocks_are_chosen_and_what_is_left_is_healed_as_on_the_cpu(
    method: str, place: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for kind in (place.type, "cpu"):
        shop, ran = opened(kind, monkeypatch)
        assert len(shop.controls.accuracies) == 2 and not shop.controls.failed
        assert shop.pseudo_labels().logits.device.type == kind
        assert shop.outputs(shop.subject.model, "it") is shop.unpruned_outputs
        maker = BlockMaker(shop, method, 0, 3)
        fit = cast(Any, PerBlock())
        chosen = maker.choose(fit, 3.0, quiet)
        student = maker.make(chosen, quiet)
        controls = maker.controls(chosen, fit, quiet)
        assert len(controls.accuracies) == 5 and not controls.failed
        assert ran == {kind}
        assert all(map(is_home, (student, shop.teacher, shop.subject.model)))
        outputs = shop.outputs(student, "the pruned network")
        assert is_home(student) and type(outputs) is type(shop.unpruned_outputs) is Tensor
        made.append((chosen.removed, student, {"before": shop.unpruned_outputs, "after": outputs}))
    (removed, student, outputs), (removed_here, student_here, outputs_here) = made
    assert len(removed) == 2 and removed == removed_here
    close(student.state_dict(), student_here.state_dict())
    close(outputs, outputs_here)


def test_outputs_come_to_the_cpu_from_where_the_network_is(place: torch.device) -> None:
    model, ran = watched(TinyResNet().eval())
    wanted = logits_of(model, pictures(7), PREPROCESS, "it")
    with at(place, model):
        found = logits_of(model, pictures(7), PREPROCESS, "it")
    assert ran == {"cpu", place.type}
    assert type(found) is Tensor and found.device == CPU
    close({"outputs": found}, {"outputs": wanted})


class Anchored(nn.Module):
    """Keeps a tensor where no device is told of it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.scale = torch.ones(3)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.layer(x.mean((2, 3))) * self.scale)


def test_a_network_that_stays_on_the_cpu_is_told_of_before_anything_is_measured(
    place: torch.device,
) -> None:
    example = torch.zeros(2, 3, 6, 6)
    require_portable(CPU, Anchored(), example)
    require_portable(place, TinyResNet().eval(), example)
    model = Anchored()
    with pytest.raises(UserError, match=f"Anchored does not run on {place.type}: .*same device.*buffers"):
        require_portable(place, model, example)
    assert is_home(model)


@pytest.mark.parametrize("able", [False, True])
def test_bfloat16_is_trained_in_where_the_device_computes_in_it(
    able: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(including_emulation: bool = True) -> bool:
        return able or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", told)
    features = ("avx512_bf16",) if not able else ()
    monkeypatch.setattr("bench.school.cpu_device", lambda: SimpleNamespace(features=features))
    assert computes_in_bf16(torch.device("cuda")) is able
    assert computes_in_bf16(CPU) is not able


def test_the_time_of_a_step_is_that_of_the_setting_s_device(
    place: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def autocast(kind: str, *_: object, **__: object) -> Any:
        asked.append(kind)
        return nullcontext()

    monkeypatch.setattr(torch, "autocast", autocast)
    monkeypatch.setattr(expectation, "computes_in_bf16", lambda device: device == place)
    monkeypatch.setattr(expectation, "_drawing_seconds", lambda *_: 0.0)  # of images that this gallery lacks
    model, ran = watched(TinyResNet().eval())
    skeleton = SimpleNamespace(removable=("layer.0",))
    network = Network("tiny", TinyResNet, (3, 6, 6), PREPROCESS)
    subject = SimpleNamespace(model=model, network=network, outline=SimpleNamespace(skeleton=skeleton))
    gallery = SimpleNamespace(trained_on=10, clean=SimpleNamespace(labels=None))
    config = SweepConfig(network="tiny", images="digits", methods=("kd",), device=place.type)
    work = expectation.workload(cast(Any, subject), cast(Any, gallery), config)
    assert work.step_s > 0 and work.training_step_s > 0
    assert ran == {place.type} and asked == [place.type] * 6
    assert is_home(model)


@NEEDS_CUDA
@pytest.mark.timeout(180)  # a process starts, and parts are timed
def test_a_sweep_on_cuda_trains_there_and_delivers_what_loads_anywhere(tmp_path: Path) -> None:
    job = write_job(tmp_path, blocks=2)
    config = tmp_path / "small.toml"
    config.write_text(
        f"""
network = "{job["network"]}"
images = "{job["images"]}"
calibration = 60
methods = ["snip"]
budgets = ["80%"]
runtimes = ["eager"]
device = "cuda"
epochs = 1
augmentation = "none"
controls = false
"""
    )
    ran = CliRunner().invoke(app, ["sweep", str(config), "--out", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    folder = tmp_path / "runs" / "small"
    point = {point.method: point for point in read_run(folder)[1]}["snip"]
    assert point.status == "done" and point.sparsity == pytest.approx(0.8, abs=0.01)
    state = load_state(folder / point.artefacts["weights"])
    assert all(value.device == CPU for value in state.values())
