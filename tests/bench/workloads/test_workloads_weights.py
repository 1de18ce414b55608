"""Weight files, good and bad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bench.workloads.weights import load_into, load_state, saved
from latency_tables.errors import UserError


def _model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def _wrap_nothing(state: dict[str, torch.Tensor]) -> Any:
    return state


@pytest.mark.parametrize("ending", [".pt", ".pth", ".bin", ".th"])
@pytest.mark.parametrize(
    "wrap",
    [
        _wrap_nothing,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state},
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
    ],
    ids=["plain", "state_dict", "model", "data-parallel"],
)
def test_torch_files_and_their_wrappings(tmp_path: Path, ending: str, wrap: Any) -> None:
    source, target = _model(), _model()
    path = tmp_path / f"weights{ending}"
    torch.save(wrap(source.state_dict()), path)
    load_into(target, load_state(path))
    torch.testing.assert_close(target.state_dict(), source.state_dict())


def test_safetensors(tmp_path: Path) -> None:
    source, target = _model(), _model()
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    load_into(target, load_state(tmp_path / "weights.safetensors"))
    torch.testing.assert_close(target.state_dict(), source.state_dict())


def test_only_a_prefix_common_to_all_is_dropped(tmp_path: Path) -> None:
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "w.pt")
    assert set(load_state(tmp_path / "w.pt")) == {"module.a", "b"}


class _Marker:
    """Reading this from a pickle creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_pickled_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"weight": _Marker(tmp_path / "ran")}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"would run code.*state_dict"):
        load_state(tmp_path / "w.pt")
    assert not (tmp_path / "ran").exists()


def test_a_pickled_model_is_refused(tmp_path: Path) -> None:
    torch.save(_model(), tmp_path / "w.pth")
    with pytest.raises(UserError, match="would run code"):
        load_state(tmp_path / "w.pth")


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x80\x02}q\x00(", bytes(5000)])
def test_damaged_files(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"w.{ending}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"cannot read .*w\.{ending}"):
        load_state(path)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_cut_files(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"w.{ending}"
    state = {"weight": torch.ones(1000)}
    torch.save(state, path) if ending == "pt" else save_file(state, path)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(UserError, match="cannot read"):
        load_state(path)


def test_a_missing_file_and_an_unknown_ending(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no weight file at .*gone\.pt.*--weights"):
        load_state(tmp_path / "gone.pt")
    (tmp_path / "w.h5").touch()
    with pytest.raises(UserError, match=r"\.safetensors.*w\.h5.*save_file"):
        load_state(tmp_path / "w.h5")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.ones(3), "is of type Tensor, expected tensors by name"),
        ({}, "is an empty dictionary"),
        ({"weight": torch.ones(1), "epoch": 3}, "entry 'epoch' .* is of type int"),
        ({0: torch.ones(1)}, "entry 0 "),
    ],
)
def test_contents_that_are_no_state(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(UserError, match=message):
        load_state(tmp_path / "w.pt")


def test_a_shape_that_differs_is_named_with_both_shapes() -> None:
    state = _model().state_dict()
    state["0.weight"] = torch.ones(8, 3, 3, 3)
    with pytest.raises(
        UserError, match=r"'0\.weight' has shape \(8, 3, 3, 3\) in the file but \(4, 3, 3, 3\)"
    ):
        load_into(_model(), state)


def test_missing_and_left_over_names_are_listed_and_counted() -> None:
    state = {f"extra{i}": torch.ones(1) for i in range(5)}
    with pytest.raises(UserError) as caught:
        load_into(_model(), state)
    assert "6 missing from the file ('0.weight', '0.bias', '1.weight', ...)" in str(caught.value)
    assert "5 unknown to the network ('extra0', 'extra1', 'extra2', ...)" in str(caught.value)


def test_the_counter_of_batch_norm_may_be_absent() -> None:
    source, target = _model(), _model()
    state = {key: value for key, value in source.state_dict().items() if "num_batches" not in key}
    load_into(target, state)
    torch.testing.assert_close(target[0].weight, source[0].weight)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused_and_nothing_is_loaded(value: float) -> None:
    target = _model()
    before = {key: tensor.clone() for key, tensor in target.state_dict().items()}
    state = _model().state_dict()
    state["1.running_var"][2] = value
    with pytest.raises(UserError, match=r"'1\.running_var' of the weights has 1 values of 4"):
        load_into(target, state)
    torch.testing.assert_close(dict(target.state_dict()), before)


def test_half_precision_weights_are_widened() -> None:
    target = _model()
    load_into(
        target,
        {
            key: value.half() if value.is_floating_point() else value
            for key, value in _model().state_dict().items()
        },
    )
    assert target[0].weight.dtype == torch.float32


def test_weights_that_are_tied_are_written_under_both_names(tmp_path: Path) -> None:
    source, target = _model(), _model()
    for model in (source, target):
        model.append(nn.Conv2d(3, 4, 3))
        model[2].weight = model[0].weight
    source.to(memory_format=torch.channels_last)
    path = tmp_path / "tied.safetensors"
    path.write_bytes(saved(source))
    state = load_state(path)
    torch.testing.assert_close(state, dict(source.state_dict()))
    load_into(target, state)
    assert target[2].weight is target[0].weight
    torch.testing.assert_close(target[0].weight, source[0].weight)
