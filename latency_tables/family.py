"""Parts that differ in widths only: what a table can interpolate between.

A layer of a network with channel groups is one part at each set of widths. What varies in it are a few *axes*: the
channels that enter a convolution and those that leave it, for most. All its cells, of this network and of others,
are found by its pattern: the part's key with the varying sizes left open.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from latency_tables.errors import LatheError
from latency_tables.part import Part
from latency_tables.skeleton import Layer, Skeleton
from latency_tables.widths import Size, integers, with_integers


@dataclass(frozen=True, slots=True)
class Axis:
    """A size that varies, as a sum over channel groups.

    Attributes:
        constant: what does not vary.
        terms: (group, coefficient) pairs; the greatest common divisor of the coefficients is 1.
    """

    constant: int
    terms: tuple[tuple[str, int], ...]

    def at(self, widths: Mapping[str, int]) -> int:
        """Its value; ``widths`` must name every group in its terms."""
        return self.constant + sum(coefficient * widths[group] for group, coefficient in self.terms)


@dataclass(frozen=True, slots=True)
class Slot:
    """An integer of a part's graph that follows its axes: offset + sum of factor times axis.

    Attributes:
        place: which integer, in the order of `latency_tables.widths.integers`.
        terms: (axis, factor) pairs.
        offset: what is added.
    """

    place: int
    terms: tuple[tuple[int, int], ...]
    offset: int


@dataclass(frozen=True)
class Family:
    """A part at every width.

    Attributes:
        part: at full width.
        axes: what varies, in the order of first appearance; none for a part of fixed sizes.
        full: the value of each axis at full width.
        slots: which integers of the part's graph follow the axes, and how.
    """

    part: Part
    axes: tuple[Axis, ...]
    full: tuple[int, ...]
    slots: tuple[Slot, ...]

    def at(self, values: Sequence[int]) -> Part:
        """The part with these values of its axes."""
        if tuple(values) == self.full:
            return self.part
        sizes = list(integers(self.part.graph))
        for slot in self.slots:
            sizes[slot.place] = slot.offset + sum(factor * values[axis] for axis, factor in slot.terms)
        return replace(self.part, graph=with_integers(self.part.graph, sizes))

    def values(self, widths: Mapping[str, int]) -> tuple[int, ...]:
        """Where a set of widths lies on the axes."""
        return tuple(axis.at(widths) for axis in self.axes)

    def weight_counts(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many numbers its weights hold.

        Args:
            values: of the axes, shape (points, axes).

        Returns:
            Shape (points,).
        """
        total = np.zeros(len(values), dtype=np.int64)
        for fixed, open_slots in self._weights:
            count = np.full(len(values), fixed, dtype=np.int64)
            for slot in open_slots:
                count *= slot.offset + sum(factor * values[:, axis] for axis, factor in slot.terms)
            total += count
        return total

    @cached_property
    def pattern(self) -> str:
        """The key with open sizes: equal for families that share their cells."""
        sizes = list(integers(self.part.graph))
        for number, slot in enumerate(self.slots):
            sizes[slot.place] = _MARK + number
        text = replace(self.part, graph=with_integers(self.part.graph, sizes)).key
        for number, slot in enumerate(self.slots):
            if len(slot.terms) == 1:  # what follows several axes is not shown
                ((axis, factor),) = slot.terms
                text = text.replace(str(_MARK + number), f"<{factor}*{axis}{slot.offset:+d}>")
        return text

    def points(self, keys: Iterable[str]) -> dict[tuple[int, ...], str]:
        """Which of some keys are cells of this family, by the values of its axes.

        Args:
            keys: all of the family's form (see `form`), or of any.
        """
        found: dict[tuple[int, ...], str] = {}
        for key in keys:
            if (match := self._expression.fullmatch(key)) is None:
                continue
            values: dict[int, int] = {}
            for group, (factor, axis, offset) in zip(match.groups(), self._shown, strict=True):
                value, rest = divmod(int(group) - offset, factor)
                if rest or values.setdefault(axis, value) != value:
                    break
            else:
                found[tuple(values[axis] for axis in range(len(self.axes)))] = key
        return found

    @cached_property
    def _shown(self) -> list[tuple[int, int, int]]:
        """Factor, axis and offset of each varying size in the order in which the key shows them."""
        return [
            (int(factor), int(axis), int(offset))
            for factor, axis, offset in _OPEN_PARTS.findall(self.pattern)
        ]

    @cached_property
    def _weights(self) -> tuple[tuple[int, tuple[Slot, ...]], ...]:
        """Of each weight the product of the sizes that stay, and those that follow the axes."""
        slots = {slot.place: slot for slot in self.slots}
        place = sum(len(type_.shape) for type_ in self.part.graph.inputs)
        found = []
        for type_ in self.part.graph.weights:
            sizes = list(enumerate(type_.shape, place))
            fixed = math.prod(size for where, size in sizes if where not in slots)
            found.append((fixed, tuple(slots[where] for where, _ in sizes if where in slots)))
            place += len(sizes)
        return tuple(found)

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return re.compile(r"(\d+)".join(map(re.escape, _OPEN.split(self.pattern))))


_Terms: TypeAlias = tuple[tuple[str, int], ...]
_MARK = 7_000_000_000_000  # no tensor is that long
_OPEN = re.compile(r"<\d+\*\d+[+-]\d+>")
_OPEN_PARTS = re.compile(r"<(\d+)\*(\d+)([+-]\d+)>")

_DIGITS = re.compile(r"\d+")


def form(key: str) -> str:
    """A part's key without its numbers: equal for all parts of a family, and of some others."""
    return _DIGITS.sub("#", key)


def families(skeleton: Skeleton) -> tuple[Family, ...]:
    """The family of each layer, in order."""
    by_slot = {size.slot: size for size in skeleton.sizes}
    marked = with_integers(skeleton.graph, [_MARK + slot for slot in range(len(integers(skeleton.graph)))])
    return tuple(
        _family(layer, integers(marked.select(layer.operators)[0]), by_slot) for layer in skeleton.layers
    )


def _family(layer: Layer, marks: Sequence[int], by_slot: Mapping[int, Size]) -> Family:
    """The family of a layer, whose graph's integers stand at these (marked) slots of the network's graph."""
    following = {place: by_slot[mark - _MARK] for place, mark in enumerate(marks) if mark - _MARK in by_slot}
    # What the key shows comes first: a size that it does not show (of a result) must follow from these.
    shown = _shown_slots(layer.part)
    places: dict[_Terms, int] = {}
    axes: list[Axis] = []
    slots: list[Slot] = []
    for place in sorted(following, key=lambda place: (place not in shown, place)):
        size = following[place]
        factor = math.gcd(*(coefficient for _, coefficient in size.terms))
        terms = tuple(sorted((group, coefficient // factor) for group, coefficient in size.terms))
        if terms in places:
            axis = places[terms]
            slots.append(Slot(place, ((axis, factor),), size.constant - factor * axes[axis].constant))
        elif place in shown:
            places[terms] = len(axes)
            axes.append(Axis(size.constant // factor, terms))
            slots.append(Slot(place, ((len(axes) - 1, factor),), size.constant % factor))
        else:
            slots.append(_as_sum(layer, place, size, axes))
    values = integers(layer.part.graph)
    full: dict[int, int] = {}
    for slot in slots:
        if len(slot.terms) == 1:
            ((axis, factor),) = slot.terms
            full[axis] = (values[slot.place] - slot.offset) // factor
    return Family(layer.part, tuple(axes), tuple(full[axis] for axis in range(len(axes))), tuple(slots))


def _as_sum(layer: Layer, place: int, size: Size, axes: Sequence[Axis]) -> Slot:
    """A size as the sum of axes, each taken at most once: what a concatenation makes of its inputs."""
    rest, offset, terms = dict(size.terms), size.constant, []
    for number, axis in enumerate(axes):
        if all(rest.get(group, 0) >= coefficient for group, coefficient in axis.terms):
            for group, coefficient in axis.terms:
                rest[group] -= coefficient
            offset -= axis.constant
            terms.append((number, 1))
    if any(rest.values()):
        raise LatheError(
            f"a size of layer {layer.name} ({layer.part.kind}) follows the widths of "
            f"{', '.join(group for group, _ in size.terms)}, but is no sum of the sizes that its inputs and "
            "weights have, so nothing is known of it at other widths. Profile the network without --widths, and "
            "take out blocks or single weights."
        )
    return Slot(place, tuple(terms), offset)


def _shown_slots(part: Part) -> frozenset[int]:
    """Integers of a part's graph that stand in its key."""
    values = [_MARK + slot for slot in range(len(integers(part.graph)))]
    text = replace(part, graph=with_integers(part.graph, values)).key
    return frozenset(int(number) - _MARK for number in _DIGITS.findall(text) if int(number) >= _MARK)
