"""What every early-pruning criterion must hold to, whatever it measures."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from early_networks import CRITERIA, Residual, batch, residual

from latency_tables.errors import LatheError, UserError
from pruning.early.criterion import prunable, scored
from pruning.early.masks import keep_best, sparsity
from pruning.from_scratch import SCRATCH_METHODS, Training

every_criterion = pytest.mark.parametrize("name", CRITERIA)


@every_criterion
def test_each_prunable_weight_gets_a_finite_score_for_every_entry(name: str) -> None:
    model = residual()
    scores = CRITERIA[name]().scores(model, batch(), 0.3)
    assert {key: score.shape for key, score in scores.items()} == {
        key: weight.shape for key, weight in prunable(model).items()
    }
    assert all(bool(score.isfinite().all()) for score in scores.values())
    assert all(score.dtype == torch.float32 and not score.requires_grad for score in scores.values())
    assert len({float(x) for score in scores.values() for x in score.flatten()[:5]}) > 5


@every_criterion
def test_the_network_is_left_as_it_is(name: str) -> None:
    model = residual()
    model.head.eval()
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    CRITERIA[name]().scores(model, batch(), 0.3)
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


@every_criterion
def test_the_same_network_and_batch_give_the_same_scores(name: str) -> None:
    once = CRITERIA[name]().scores(residual(), batch(), 0.3)
    criterion = CRITERIA[name]()
    for _ in range(2):  # what one scoring remembers must not reach the next
        again = criterion.scores(residual(), batch(), 0.3)
        assert all(torch.equal(once[key], again[key]) for key in once)


@every_criterion
def test_the_scores_make_a_mask_of_the_sparsity_asked_for(name: str) -> None:
    scores = CRITERIA[name]().scores(residual(), batch(), 0.3)
    total = sum(score.numel() for score in scores.values())
    masks = keep_best(scores, 0.3)
    assert sparsity(masks) == pytest.approx(0.7, abs=1 / total)


@every_criterion
def test_missing_labels_are_said_where_they_are_needed(name: str) -> None:
    criterion, blind = CRITERIA[name](), replace(batch(), labels=None)
    if not criterion.needs_labels:
        assert criterion.scores(residual(), blind, 0.3)
        return
    with pytest.raises(UserError, match="needs labels, and the images have none"):
        criterion.scores(residual(), blind, 0.3)


@every_criterion
def test_a_network_whose_weights_are_not_finite_is_refused(name: str) -> None:
    model = residual()
    with torch.no_grad():
        model.widen.weight[0, 0] = float("nan")
    if name == "random":  # it looks at no weight
        assert all(bool(s.isfinite().all()) for s in CRITERIA[name]().scores(model, batch(), 0.3).values())
        return
    with pytest.raises(LatheError, match="score that is not finite"):
        CRITERIA[name]().scores(model, batch(), 0.3)


@every_criterion
def test_a_layer_that_is_never_run_is_left_alone(name: str) -> None:
    class WithSpare(type(residual())):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.spare = torch.nn.Linear(4, 4)

    torch.manual_seed(0)
    scores = scored(CRITERIA[name](), WithSpare(), batch(), 0.3, 0)
    assert "spare.weight" not in scores
    assert "head.weight" in scores
    assert sparsity(keep_best(scores, 0.3)) == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize("count", [2, 3])
def test_a_half_of_one_image_is_refused(count: int) -> None:
    with pytest.raises(UserError, match=f"it needs at least 4, got {count}"):
        CRITERIA["grasp"]().scores(residual(), batch().first(count), 0.3)


@every_criterion
def test_one_image_is_refused_where_batch_norm_would_normalise_it_by_itself(name: str) -> None:
    class Pointed(Residual):
        """Its maps are one pixel wide, so that PyTorch's batch norm has one value for each channel."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x[:, :, :1, :1])

    torch.manual_seed(0)
    criterion, single = CRITERIA[name](), batch().first(1)
    if not criterion.needs_labels:
        assert scored(criterion, Pointed(), single, 0.3, 0)
        return
    for model in (Pointed(), residual()):
        with pytest.raises(UserError, match=f"{criterion.name} .*batch norm has .* needs at least 2, got 1"):
            scored(criterion, model, single, 0.3, 0)


def test_every_criterion_of_the_command_line_is_tested_here() -> None:
    training = Training("cs-kd", 12, 3, residual(), 0)
    names = {m.criterion(training).name for m in SCRATCH_METHODS.values() if m.criterion is not None}
    assert names == {made().name for made in CRITERIA.values()}
