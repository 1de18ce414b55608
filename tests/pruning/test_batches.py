"""What a training is fed: every image once an epoch, second views, balanced batches, and what does not fit."""

from __future__ import annotations

import pytest
import torch
from blobs import Blobs
from early_networks import CLASSES

from latency_tables.errors import UserError
from pruning.recovery.batches import Partners, balanced_batch, batches, mixed_seed, require_fit
from pruning.recovery.cs_kd import ClassWise
from pruning.recovery.dlb import LastBatch
from pruning.recovery.objective import CrossEntropy


def test_every_epoch_sees_every_image_once_in_another_order() -> None:
    orders = []
    for epoch in range(2):
        seen = [b.index for b in batches(Blobs(), CrossEntropy(), 16, 0, epoch)]
        assert [len(index) for index in seen] == [16, 16, 16]
        orders.append(torch.cat(seen).tolist())
        assert len(set(orders[-1])) == 48
    assert orders[0] != orders[1]
    assert orders[0] == torch.cat([b.index for b in batches(Blobs(), CrossEntropy(), 16, 0, 0)]).tolist()


def test_second_views() -> None:
    images = Blobs()
    of_class, again = (list(batches(images, made(), 16, 0, 0)) for made in (ClassWise, LastBatch))
    assert len(of_class) == len(again) == len(images) // 16 > 0
    for b in of_class:
        assert b.second is not None
        assert b.labels is not None
        # A blob's mean tells its class.
        assert (b.second.mean((1, 2, 3)) + 1).round().long().tolist() == b.labels.tolist()
        assert not torch.equal(b.second, b.images)
    for b in again:
        assert b.second is not None
        assert float((b.second - b.images).abs().max()) < 1.0  # the same images but for noise
        assert not torch.equal(b.second, b.images)


def test_partners_are_drawn_evenly_within_the_class() -> None:
    labels = torch.tensor([0, 1, 0, 1, 0, 2])
    partners = Partners(labels)
    drawn = torch.stack(
        [partners.draw(torch.arange(6), torch.Generator().manual_seed(seed)) for seed in range(600)]
    )
    assert bool((labels[drawn] == labels).all())
    shares = [float((drawn[:, 0] == k).float().mean()) for k in (0, 2, 4)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.07)
    assert bool((drawn[:, 5] == 5).all())


def test_a_scoring_batch_has_all_classes_alike() -> None:
    labels = torch.tensor([0] * 40 + [1] * 15 + [2] * 5)
    batch = balanced_batch(Blobs(labels=labels), CrossEntropy(), 15, seed=3)
    assert batch.labels is not None
    assert batch.labels.bincount().tolist() == [5, 5, 5]
    other = balanced_batch(Blobs(labels=labels), CrossEntropy(), 15, seed=4)
    assert batch.index.tolist() != other.index.tolist()
    everything = balanced_batch(Blobs(labels=labels), CrossEntropy(), 1000, seed=3)
    assert len(everything.index) == 60


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0] * 30 + [2] * 30, "1 of 3 classes have no training image, the first of them class 1"),
        ([0] * 30 + [1] * 30, "1 of 3 classes have no training image, the first of them class 2"),
        ([0] * 30 + [3] * 30, "classes up to 3, but the network has only 3 outputs"),
    ],
)
def test_images_of_other_classes_than_the_networks_are_refused(labels: list[int], message: str) -> None:
    images = Blobs(labels=torch.tensor(labels))
    with pytest.raises(UserError, match=message):
        require_fit(images, CrossEntropy(), CLASSES)
    require_fit(Blobs(), CrossEntropy(), CLASSES)


def test_seeds_differ_where_any_number_does() -> None:
    seeds = {mixed_seed("order", a, b, c) for a in range(5) for b in range(5) for c in range(5)}
    assert len(seeds) == 125
    # What is missing is no zero, and what is drawn for one purpose has nothing to do with another.
    assert len({mixed_seed("order", 3), mixed_seed("order", 3, 0), mixed_seed("order", 3, 0, 0)}) == 3
    assert mixed_seed("order", 3, 0) != mixed_seed("dropout", 3, 0)
