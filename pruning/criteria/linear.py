"""Closed-form recoverability: what the best linear map in the place of removed blocks cannot make good.

Our own variables, answers to "how well can what is left take over?" without any training. Neighbours that go are
one run, with one map from the stream before them to the stream behind them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from pruning.criteria.damage import Measure
from pruning.criteria.streams import Run, Streams
from pruning.passes import Outputs, Passes

RIDGE_AT_END = 1e-2
"""Ridge of the map at the end, as a share of the mean variance of the features' channels."""


class RunsCriterion:
    """What is known of each removed run from the streams alone, summed over runs.

    Args:
        name: the word for it in records and messages.
        streams: of the unpruned network.
        measure: a run's number, at least 0; see `unexplained` and `Streams.change`.
    """

    needs_images = True

    def __init__(self, name: str, streams: Streams, measure: Callable[[Streams, Run], float]) -> None:
        self.name = name
        self._streams = streams
        self._measure = measure

    def expect(self, removed: frozenset[str]) -> None:
        """Nothing: all moments are known."""

    def hurt(self, removed: frozenset[str]) -> float:
        """At least 0; not finite where a stream is not."""
        return math.fsum(self._measure(self._streams, run) for run in self._streams.runs(removed))


def unexplained(streams: Streams, run: Run) -> float:
    """Share of a run's output that no 1x1 linear map of its input explains, 0 to 1."""
    return max(streams.best_map(run).unexplained, 0.0)


class MappedCriterion:
    """The damage that remains at the network's end with the best map in the place of each removed run.

    Args:
        name: the word for it in records and messages.
        passes: of the unpruned network over the images to score on.
        streams: of the same network and images.
        measure: the distance at the end.
    """

    needs_images = True

    def __init__(self, name: str, passes: Passes, streams: Streams, measure: Measure) -> None:
        self.name = name
        self._passes = passes
        self._streams = streams
        self._measure = measure

    def expect(self, removed: frozenset[str]) -> None:
        """Nothing: with one more neighbour a run's map is another one, in front of it too."""

    def hurt(self, removed: frozenset[str]) -> float:
        """See `Criterion`."""
        maps = {run.blocks[0]: self._streams.module(run) for run in self._streams.runs(removed)}
        return self._measure(self._passes.outputs(removed, maps), self._passes.unpruned)


def unexplained_features(got: Outputs, wanted: Outputs) -> float:
    """Share of the unpruned features' variance that no linear map of the pruned network's features explains.

    A 1x1 convolution behind the last block, fitted in closed form; on one half of the images and judged on the
    other, both ways, because there may be as many channels as positions to learn from. At least 0; NaN where
    features are not finite, or the unpruned network's do not vary.
    """
    if not got.features.isfinite().all():
        return float("nan")
    halves = [slice(0, None, 2), slice(1, None, 2)]
    left = total = 0.0
    for fit, judge in (halves, halves[::-1]):
        x, y = _positions(got.features[fit]), _positions(wanted.features[fit])
        centre_x, centre_y = x.mean(0), y.mean(0)
        inner = (x - centre_x).T @ (x - centre_x)
        ridge = RIDGE_AT_END * float(inner.trace()) / len(inner) or 1.0  # constant features explain nothing
        across = (x - centre_x).T @ (y - centre_y)
        solved = torch.linalg.solve(inner + ridge * torch.eye(len(inner)).to(inner), across)
        x, y = _positions(got.features[judge]), _positions(wanted.features[judge])
        left += float((y - centre_y - (x - centre_x) @ solved).square().sum())
        total += float((y - centre_y).square().sum())
    return left / total if total > 0 else float("nan")


def _positions(features: torch.Tensor) -> torch.Tensor:
    """Rows of channels; in a map of four dimensions the longer of the second and the last holds the channels."""
    if features.ndim == 4 and features.shape[1] > features.shape[-1]:
        features = features.movedim(1, -1)
    return features.reshape(-1, features.shape[-1]).double()
