"""Latency of a part between the widths at which it was measured.

Latency over channels is a staircase: runtimes compute channels in groups, so that all widths of one step cost the
same. Steps differ among themselves (ONNX Runtime works on four blocks of 16 output channels at once, so a fourth
one is cheap), but a convolution's two widths hardly care for each other: its latency is near to the product of what
each costs. So a width is first rounded up to its step; then the latencies along both axes, each measured densely
with the other one at full width, are multiplied, and corrected by what a coarse grid over both says of the product.
The first step is not flat (8 input channels take a convolution half of what 16 do in both CPU runtimes), so widths
below it stay as they are. Outside of what was measured nothing is said, nor of widths that a runtime has no fast
kernel for: ONNX Runtime's blocked convolution wants input channels in multiples of four, so 26 channels do not cost
what their step does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

STEPS = (64, 32, 16, 8, 4)
"""Steps that are looked for, the widest first."""

FLAT = 0.25
"""On a staircase latencies of one step differ by less than this share of the rise to the next step; on a straight
line by half of it or more."""

LEAST_RISE = 0.02
"""Steps that rise by less, relative, cannot be told from noise."""


MULTIPLE = 4
"""Widths that are multiples of this are taken to run the runtime's best kernel, as in ONNX Runtime, which has no
blocked convolution for other input channels; plans are drawn and searched among them."""

JAGGED = 0.05
"""Other widths run another kernel where they are further from their step than this, relative."""


@dataclass(frozen=True, slots=True)
class Stairs:
    """How latency goes along one axis.

    Attributes:
        step: widths above it cost what the next multiple of it costs; 1 where latency has no steps.
        multiple: only multiples of this follow the steps, or the line; others run another kernel.
    """

    step: int = 1
    multiple: int = 1

    @property
    def grain(self) -> int:
        """What widths worth measuring are multiples of: both are powers of two."""
        return max(self.step, self.multiple)


def find_stairs(latencies: Mapping[int, float]) -> Stairs:
    """Step and multiple of a staircase.

    Args:
        latencies: seconds by width, measured along one axis, everything else equal; best at small widths, where
            a step rises most, and with some widths that are no multiples of four.

    Returns:
        The step is the widest of `STEPS` such that latencies on one step differ far less than those of neighbouring
        steps; 1 where there is no such step, or too few widths to tell: three steps with two widths or more are
        needed. The multiple is 1, 2 or 4: the least whose multiples are near to what multiples of four say. One
        width alone shows no other kernel.
    """
    regular = {width: latency_s for width, latency_s in latencies.items() if width % MULTIPLE == 0}
    for step in STEPS:
        if _is_step(step, latencies if step <= MULTIPLE else regular):
            break
    else:
        step = 1
    return Stairs(step, _find_multiple(latencies, regular, step))


def _is_step(step: int, latencies: Mapping[int, float]) -> bool:
    treads: dict[int, list[float]] = {}
    for width in sorted(latencies):
        treads.setdefault(math.ceil(width / step), []).append(latencies[width])
    spreads = [max(tread) / min(tread) - 1.0 for tread in treads.values() if len(tread) > 1]
    if len(spreads) < 3:
        return False
    heights = [float(np.median(treads[number])) for number in sorted(treads)]
    rises = [abs(after / before - 1.0) for before, after in itertools.pairwise(heights)]
    rise = float(np.median(rises))
    return rise >= LEAST_RISE and float(np.median(spreads)) <= FLAT * rise


def _find_multiple(latencies: Mapping[int, float], regular: Mapping[int, float], step: int) -> int:
    if not regular:
        return 1
    widths = np.array(sorted(regular), dtype=np.float64)
    heights = np.array([regular[width] for width in sorted(regular)])
    off: dict[int, list[float]] = {1: [], 2: []}
    for width, latency_s in latencies.items():
        place = math.ceil(width / step) * step
        if width % MULTIPLE and widths[0] <= place <= widths[-1]:
            expected = float(np.interp(place, widths, heights))
            off[2 if width % 2 == 0 else 1].append(abs(latency_s / expected - 1.0))
    jagged = {class_: len(errors) > 1 and float(np.median(errors)) > JAGGED for class_, errors in off.items()}
    return MULTIPLE if jagged[2] else 2 if jagged[1] else 1


Box: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]


class Surface:
    """Latency of a family of parts over its axes.

    With one axis it is interpolated between what was measured. With two, at (x, y), it is

        line0(x) * line1(y) / corner * c(x, y)

    where the lines run through all that was measured with the other axis at the grid's far end, corner is where
    they meet, and c, which is 1 along both, is interpolated between the nodes of the largest complete grid. With
    three axes or more (concatenations) all are added up to one, since such parts move data and do no more; what was
    measured at the same sum alone counts as interpolated.

    Args:
        points: seconds by the values of the axes, at least one point; all of the same number of axes.
        stairs: of each axis.
        box: lowest and highest values of the axes between which to interpolate; points outside, other networks'
            with a grid of their own, answer for themselves alone. None: no bounds.

    Attributes:
        anchors: for each axis, the widths of the grid, rounded up to steps, ascending.
        multiple: only multiples of this follow the stairs, whichever the axis.
        checks: interpolated over measured latency, less 1, at the points that interpolation does not rest on; where
            it rests on every point, at those of each inner line of the grid as if the line were not there.
        treads: where several points were measured on one step, each one's latency over their median, less 1; with
            three axes or more these are among the checks.
    """

    def __init__(
        self, points: Mapping[tuple[int, ...], float], stairs: Sequence[Stairs], box: Box | None = None
    ) -> None:
        self._summed = len(stairs) > 2
        self._stairs = (Stairs(),) if self._summed else tuple(stairs)
        self.multiple = max(one.multiple for one in self._stairs)
        places = self.places(np.array(list(points), dtype=np.int64))
        gathered: dict[tuple[int, ...], list[float]] = {}
        for place, latency_s in zip(map(tuple, places.tolist()), points.values(), strict=True):
            gathered.setdefault(place, []).append(latency_s)
        known = {place: float(np.median(latencies)) for place, latencies in sorted(gathered.items())}
        self.treads = tuple(
            one / known[place] - 1.0
            for place, latencies in gathered.items()
            if len(latencies) > 1
            for one in latencies
        )
        self._exact = frozenset(points)
        self._places = np.array(list(known), dtype=np.int64)
        self._latencies = np.array(list(known.values()))
        self._codes = self._code(self._places)
        low, high = (self._places.min(axis=0), self._places.max(axis=0))
        if box is not None:
            low, high = self.places(np.array(box, dtype=np.int64))
        within = ((low <= self._places) & (self._places <= high)).all(axis=1)
        regular = self._places[within & self._regular(self._places)]
        self.anchors = _grid(regular) if len(regular) else tuple((0,) for _ in self._stairs)
        self._lines = self._through_corner(known)
        nodes = np.array(_product(self.anchors), dtype=np.int64)
        latencies = np.array([known.get(place, np.nan) for place in map(tuple, nodes.tolist())])
        shape = tuple(len(line) for line in self.anchors)
        self._grid = (latencies / self._along_lines(nodes)).reshape(shape)
        others = regular[~self.rests_on(regular)]
        between = self._interpolate(others)
        errors = between / np.array([known[place] for place in map(tuple, others.tolist())]) - 1.0
        self.checks = tuple(errors[np.isfinite(errors)].tolist()) or self._left_out()
        if self._summed:  # on one sum there are other compositions, which nobody takes for steps
            self.checks += tuple(1.0 / (1.0 + tread) - 1.0 for tread in self.treads)
            self.treads = ()

    def at(self, values: NDArray[np.int64]) -> NDArray[np.float64]:
        """Latencies, seconds.

        Args:
            values: of the axes, shape (n, axes).

        Returns:
            Shape (n,); as measured where these widths, or ones on the same steps, were; NaN outside of all anchors,
            and at widths that do not follow the stairs.
        """
        places = self.places(values)
        found = np.where(self._regular(places), self._interpolate(places), np.nan)
        rank, measured = self._rank(places)
        return np.where(measured, self._latencies[rank], found)

    def measured(self, values: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some widths, shape (n, axes), were measured, or lie on the step of ones that were."""
        return self.exact(values) if self._summed else self._rank(self.places(values))[1]

    def exact(self, values: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some widths, shape (n, axes), were measured themselves."""
        return np.array([tuple(value) in self._exact for value in values.tolist()], dtype=np.bool_)

    def off_steps(self, values: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some widths, shape (n, axes), are above the first step on some axis and not at a step's end."""
        if self._summed:
            return np.zeros(len(values), dtype=np.bool_)
        steps = np.array([stairs.step for stairs in self._stairs], dtype=np.int64)
        off: NDArray[np.bool_] = ((values > steps) & (values % steps != 0)).any(axis=1)
        return off

    def rests_on(self, values: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some measured widths, shape (n, axes), interpolation rests on: the grid and the lines."""
        places = self.places(values)
        on_grid = np.ones(len(places), dtype=np.bool_)
        for axis, line in enumerate(self.anchors):
            on_grid &= np.isin(places[:, axis], line)
        if len(self.anchors) == 1:
            return on_grid
        far = np.array([line[-1] for line in self.anchors])
        on_line: NDArray[np.bool_] = (places == far).any(axis=1)
        return on_grid | on_line

    def _left_out(self) -> tuple[float, ...]:
        """Errors on the inner lines of the grid, each interpolated from its neighbours."""
        if len(self.anchors) == 1:
            ((widths, known),) = self._lines
            return _between(widths, known)
        # At the far end of the other axis a line measured there is known, whatever lines the grid has.
        grids = (self._grid[:, :-1], self._grid[:-1, :].T)
        errors = [
            _between(np.array(anchors, dtype=np.float64), column)
            for anchors, grid in zip(self.anchors, grids, strict=True)
            for column in grid.T
        ]
        return tuple(error for column in errors for error in column if math.isfinite(error))

    def _through_corner(
        self, known: Mapping[tuple[int, ...], float]
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """For each axis, widths and latencies along it with all other axes at the grid's far end."""
        far = [line[-1] for line in self.anchors]
        lines = []
        for axis, anchors in enumerate(self.anchors):
            along = {
                place[axis]: latency_s
                for place, latency_s in known.items()
                if all(value == far[i] for i, value in enumerate(place) if i != axis)
                and anchors[0] <= place[axis] <= anchors[-1]
                and place[axis] % self._stairs[axis].multiple == 0
            } or {0: np.nan}
            lines.append((np.array(list(along), dtype=np.float64), np.array(list(along.values()))))
        return lines

    def _along_lines(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """The product of the lines at some places, shape (n,)."""
        found = np.ones(len(places))
        for axis, (widths, latencies) in enumerate(self._lines):
            found *= np.interp(places[:, axis], widths, latencies)
        corner = self._lines[0][1][-1]
        product: NDArray[np.float64] = found / corner ** (len(self._lines) - 1)
        return product

    def places(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where widths, shape (n, axes), lie: at the upper end of their steps; with three axes or more, the sum."""
        if self._summed:
            total: NDArray[np.int64] = values.sum(axis=1, keepdims=True)
            return total
        steps = np.array([stairs.step for stairs in self._stairs], dtype=np.int64)
        # What does not follow the stairs stays where it is: on no step, since every step is a multiple.
        multiples = np.array([stairs.multiple for stairs in self._stairs], dtype=np.int64)
        on_stairs = (values % multiples == 0) & (values > steps)
        return np.where(on_stairs, -(-values // steps) * steps, values)

    def _regular(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some places follow the stairs on every axis."""
        multiples = np.array([stairs.multiple for stairs in self._stairs], dtype=np.int64)
        follows: NDArray[np.bool_] = (places % multiples == 0).all(axis=1)
        return follows

    def _code(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """One number for each place, in the order of the places."""
        code = places[:, 0].copy()
        for axis in range(1, places.shape[1]):
            code = code * _MOST + places[:, axis]
        return code

    def _rank(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Where each place stands, or would, among the measured ones, and whether it is one of them."""
        codes = self._code(places)
        rank = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        return rank, self._codes[rank] == codes

    def _interpolate(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        found = np.zeros(len(places))
        inside = np.ones(len(places), dtype=np.bool_)
        rights, shares = [], []
        for axis, anchors in enumerate(self.anchors):
            line, value = np.array(anchors), places[:, axis]
            inside &= (line[0] <= value) & (value <= line[-1])
            right = np.clip(np.searchsorted(line, value), 1 if len(line) > 1 else 0, len(line) - 1)
            left = np.maximum(right - 1, 0)
            gap = np.maximum(line[right] - line[left], 1)
            rights.append((left, right))
            shares.append((value - line[left]) / gap if len(line) > 1 else np.ones(len(value)))
        for corner in itertools.product((0, 1), repeat=len(self.anchors)):
            weight = np.ones(len(places))
            for side, share in zip(corner, shares, strict=True):
                weight = weight * (share if side else 1.0 - share)
            found += weight * self._grid[tuple(pair[side] for side, pair in zip(corner, rights, strict=True))]
        return np.where(inside, found * self._along_lines(places), np.nan)


_MOST = 1 << 24  # no network is that wide


def _between(widths: NDArray[np.float64], known: NDArray[np.float64]) -> tuple[float, ...]:
    """Relative errors at the inner widths of a line, each interpolated from its neighbours."""
    share = (widths[1:-1] - widths[:-2]) / (widths[2:] - widths[:-2])
    between = (1.0 - share) * known[:-2] + share * known[2:]
    return tuple((between / known[1:-1] - 1.0).tolist())


def _grid(places: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    """The lines of a complete grid among some points.

    Of the lines with gaps the one with the fewest points is left out until none has any; of two alike an end goes
    last, since without it widths fall outside of what was measured.

    Args:
        places: shape (n, axes), with one axis or two.
    """
    if places.shape[1] == 1:
        return (tuple(np.unique(places).tolist()),)
    lines = [np.unique(places[:, 0]), np.unique(places[:, 1])]
    present = np.zeros((len(lines[0]), len(lines[1])), dtype=np.bool_)
    present[np.searchsorted(lines[0], places[:, 0]), np.searchsorted(lines[1], places[:, 1])] = True
    while not present.all():
        fewest: list[tuple[int, bool, int, int]] = []
        for axis in range(2):
            counts = present.sum(axis=1 - axis)
            gaps = np.flatnonzero(counts < present.shape[1 - axis])
            ends = (0, len(counts) - 1)
            fewest += [(int(counts[line]), int(line) in ends, axis, int(line)) for line in gaps]
        _, _, axis, line = min(fewest)
        present = np.delete(present, line, axis=axis)
        lines[axis] = np.delete(lines[axis], line)
    return tuple(lines[0].tolist()), tuple(lines[1].tolist())


def _product(lines: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    places: list[tuple[int, ...]] = [()]
    for line in lines:
        places = [(*place, value) for place in places for value in line]
    return places
