"""Skeleton + plan + table → seconds with an interval, and where they come from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from latency_tables.context import Coefficients, coefficients
from latency_tables.estimate import Estimate
from latency_tables.skeleton import Skeleton
from latency_tables.table import LatencyTable


@dataclass(frozen=True)
class Share:
    """What one layer of the network costs.

    Attributes:
        name: dotted path of its module.
        kind: what people call it, as in "conv2d+relu".
        block: the block it belongs to, or None.
        alone_s: its latency timed alone, as measured.
        context_s: its share of the network's latency; these and the constant add up to the prediction.
        kept: False when its block is taken out.
    """

    name: str
    kind: str
    block: str | None
    alone_s: Estimate
    context_s: float
    kept: bool


@dataclass(frozen=True)
class Prediction:
    """The latency of a network, foreseen.

    Attributes:
        latency_s: with its 95 % interval.
        shares: one for each layer of the unpruned network, in order.
        constant_s: what belongs to no layer.
        raw_s: the plain sum of the kept layers timed alone, for comparison.
        fit: the coefficients it was made with.
    """

    latency_s: Estimate
    shares: tuple[Share, ...]
    constant_s: float
    raw_s: float
    fit: Coefficients


def predict(skeleton: Skeleton, table: LatencyTable, removed: Collection[str] = ()) -> Prediction:
    """Predicts the latency of a network with some blocks taken out.

    Args:
        skeleton: the unpruned network.
        table: measured in the setting of interest.
        removed: names of blocks that go.

    Returns:
        The prediction, from the very coefficients that the search uses.

    Raises:
        UserError: a block may not go, a part has no cell, or the network was never timed as a whole.
        LatheError: a part was tried and failed.
    """
    gone = skeleton.check(removed)
    fit = coefficients(skeleton, table)
    shares = tuple(
        Share(
            name=layer.name,
            kind=layer.part.kind,
            block=layer.block,
            alone_s=table.latency_s(layer.part),
            context_s=context_s,
            kept=layer.block not in gone,
        )
        for layer, context_s in zip(skeleton.layers, fit.layer_s, strict=True)
    )
    return Prediction(
        latency_s=fit.interval(gone),
        shares=shares,
        constant_s=fit.constant_s,
        raw_s=sum(share.alone_s.value for share in shares if share.kept),
        fit=fit,
    )
