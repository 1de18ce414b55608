"""Skeleton + plan + table → seconds with an interval, and where they come from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from latency_tables.context import Coefficients, as_alone, coefficients
from latency_tables.costs import LayerCost, Origin
from latency_tables.estimate import Estimate
from latency_tables.measurement import Measurement
from latency_tables.skeleton import Skeleton
from latency_tables.table import LatencyTable


@dataclass(frozen=True)
class Share:
    """What one layer of the network costs.

    Attributes:
        name: dotted path of its module.
        kind: what people call it, as in "conv2d+relu".
        block: the block it belongs to, or None.
        alone_s: its latency timed alone, as measured; interpolated, with the interval of the interpolation, where
            ``origin`` says so.
        context_s: its share of the network's latency; these and the constant add up to the prediction.
        kept: False when its block is taken out.
        origin: whether its cell was measured or interpolated.
    """

    name: str
    kind: str
    block: str | None
    alone_s: Estimate
    context_s: float
    kept: bool
    origin: Origin = Origin.MEASURED


@dataclass(frozen=True)
class Prediction:
    """The latency of a network, foreseen.

    Attributes:
        latency_s: with its 95 % interval.
        shares: one for each layer of the unpruned network, in order.
        constant_s: what belongs to no layer.
        raw_s: the plain sum of the kept layers timed alone, for comparison.
        fit: the coefficients it was made with; `Coefficients.timed` tells whether the network was timed at all.
    """

    latency_s: Estimate
    shares: tuple[Share, ...]
    constant_s: float
    raw_s: float
    fit: Coefficients


def predict(
    skeleton: Skeleton,
    table: LatencyTable,
    removed: Collection[str] = (),
    widths: Mapping[str, int] | None = None,
) -> Prediction:
    """Predicts the latency of a network with some blocks and channels taken out.

    Where the network was never timed as a whole, its parts as they are alone are added up, and the interval is
    unbounded.

    Args:
        skeleton: the unpruned network; with channel groups where widths are given.
        table: measured in the setting of interest.
        removed: names of blocks that go.
        widths: for some channel groups, by name, how many channels stay.

    Returns:
        The prediction, from the very coefficients that the search uses, where there are such.

    Raises:
        UserError: a block or a channel may not go, a part has no cell, or a width lies outside of what was
            measured.
        LatheError: a part was tried and failed.
    """
    gone = skeleton.check(removed)
    timed = bool(table.measured_networks(skeleton, "fit"))
    fit = coefficients(skeleton, table) if timed else as_alone(skeleton, table)
    latency_s = fit.interval(gone, widths)
    narrowed = skeleton.narrowed(widths or {})
    shares = []
    full_s, narrowed_s = fit.layers_s(), fit.layers_s(widths)
    for place, cost in enumerate(fit.costs.layers_at(widths)):
        kept = skeleton.layers[place].block not in gone
        # A layer that goes is shown at its full width; at the plan's it may never have been measured.
        layer = (narrowed if kept else skeleton).layers[place]
        # What could not be timed at this width is interpolated, as for the search.
        known = isinstance(table.cells.get(layer.part.key), Measurement)
        alone_s = table.latency_s(layer.part) if known else _alone(cost)
        context_s = narrowed_s[place] if kept else full_s[place]
        origin = cost.origin if kept else Origin.MEASURED
        shares.append(Share(layer.name, layer.part.kind, layer.block, alone_s, context_s, kept, origin))
    return Prediction(
        latency_s=latency_s,
        shares=tuple(shares),
        constant_s=fit.constant_s,
        raw_s=sum(share.alone_s.value for share in shares if share.kept),
        fit=fit,
    )


def _alone(cost: LayerCost) -> Estimate:
    reach = 1.96 * cost.error * cost.alone_s
    return Estimate(cost.alone_s, cost.alone_s - reach, cost.alone_s + reach)
