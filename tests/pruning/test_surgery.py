from __future__ import annotations

import pytest
import torch
from tiny_networks import Pooled, Scale, TinyResNet, images
from torch import nn

from latency_tables.errors import UserError
from pruning.surgery import bypassed, remove_blocks


def two_scales() -> Pooled:
    return Pooled(Scale(2.0), Scale(5.0))


ONES = torch.ones(1, 3, 2, 2)


def test_removing_leaves_the_other_blocks_and_the_original() -> None:
    model = two_scales()
    assert remove_blocks(model, ["blocks.0"])(ONES).tolist() == [[5.0] * 3]
    assert remove_blocks(model, ["blocks.1", "blocks.0"])(ONES).tolist() == [[1.0] * 3]
    assert model(ONES).tolist() == [[10.0] * 3]


def test_a_pruned_network_shares_no_tensor_with_the_original() -> None:
    model = two_scales()
    pruned = remove_blocks(model, ["blocks.0"])
    with torch.no_grad():
        pruned.get_parameter("blocks.1.factor").fill_(7.0)
    assert model(ONES).tolist() == [[10.0] * 3]


def test_a_pruned_network_holds_fewer_parameters_under_the_same_names() -> None:
    model = TinyResNet()
    pruned = remove_blocks(model, ["layer.1"])
    gone = set(model.state_dict()) - set(pruned.state_dict())
    assert gone == {key for key in model.state_dict() if key.startswith("layer.1.")}
    assert set(pruned.state_dict()) < set(model.state_dict())


def test_bypassed_returns_the_very_same_modules() -> None:
    model = two_scales()
    before = dict(model.named_modules())
    with bypassed(model, {"blocks.1"}):
        assert model(ONES).tolist() == [[2.0] * 3]
    assert dict(model.named_modules()) == before


def test_bypassed_returns_the_modules_after_an_error() -> None:
    model = two_scales()
    with pytest.raises(ZeroDivisionError), bypassed(model, ["blocks.0", "blocks.1"]):
        raise ZeroDivisionError
    assert model(ONES).tolist() == [[10.0] * 3]


def test_bypassing_a_module_and_one_inside_it() -> None:
    for names in (["blocks", "blocks.0"], ["blocks.0", "blocks"]):
        model = two_scales()
        with bypassed(model, names):
            assert model(ONES).tolist() == [[1.0] * 3]
        assert model(ONES).tolist() == [[10.0] * 3]


def test_a_direct_child_of_the_network_can_go() -> None:
    assert isinstance(remove_blocks(TinyResNet(), ["drop"]).drop, nn.Identity)


@pytest.mark.parametrize("name", ["blocks.2", "", "blocks.0.factor"])
def test_a_name_that_is_no_module_is_an_error_and_changes_nothing(name: str) -> None:
    model = two_scales()
    with pytest.raises(UserError, match=f"Pooled has no module '{name}'.*as in .*'blocks.1'"):
        remove_blocks(model, ["blocks.0", name])
    with pytest.raises(UserError, match="has no module"), bypassed(model, ["blocks.0", name]):
        pass
    assert model(ONES).tolist() == [[10.0] * 3]


def test_removing_nothing_computes_the_same() -> None:
    model = TinyResNet().eval()
    assert torch.equal(remove_blocks(model, [])(images()), model(images()))


def test_something_else_may_stand_in_the_place_of_a_block() -> None:
    model = two_scales()
    before = dict(model.named_modules())
    with bypassed(model, ["blocks.0", "blocks.1"], {"blocks.1": Scale(7.0)}):
        assert model(ONES).tolist() == [[7.0] * 3]
    with bypassed(
        model, ["blocks.0", "blocks.1"], {"blocks.0": nn.Sequential()}
    ):  # of length 0, but something
        assert isinstance(model.blocks[0], nn.Sequential)
    with bypassed(model, ["blocks", "blocks.0"], {"blocks.0": Scale(7.0)}):
        assert model(ONES).tolist() == [[1.0] * 3]
    assert dict(model.named_modules()) == before
