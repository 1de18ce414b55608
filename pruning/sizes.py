"""How the integers of a network's graph follow the widths of its channel groups, found by narrowing it.

The network is captured at a few random sets of widths. An integer that changes with them is matched with the one
group that explains all captures at once; integers of concatenations, which follow several groups, with the sums
of those found.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from torch import Tensor, nn

from latency_tables.errors import LatheError
from latency_tables.graph import Graph
from latency_tables.widths import ChannelGroup, Size, integers, shape_slots
from pruning.capture import Capture, capture
from pruning.channels import narrow

PROBES = 3
"""Captures at random widths."""


@dataclass(frozen=True)
class _Linear:
    constant: int
    terms: tuple[tuple[str, int], ...]

    def plus(self, other: _Linear) -> _Linear:
        terms = dict(self.terms)
        for name, coefficient in other.terms:
            terms[name] = terms.get(name, 0) + coefficient
        return _Linear(self.constant + other.constant, tuple(terms.items()))


def find_sizes(
    model: nn.Module, example: Tensor, batch: Tensor, graph: Graph, groups: Sequence[ChannelGroup]
) -> tuple[Size, ...]:
    """Which integers of a graph follow which widths.

    Args:
        model: in evaluation mode; left as it is.
        example: what dependencies are traced on, shape (n, channels, height, width).
        batch: what the graph was captured with, shape (batch, channels, height, width).
        graph: the network's, at full width.
        groups: its channel groups.

    Raises:
        LatheError: the narrower network cannot be captured, its graph has other operators, or an integer follows no
            sum of widths; the message says why these widths cannot vary.
    """
    free = [group for group in groups if group.frozen is None]
    if not free:
        return ()
    widths = _draw(free)
    seen = [integers(graph)]
    for chosen in widths[1:]:
        narrower = narrow(model, example, {name: range(width) for name, width in chosen.items()})
        probe = capture(narrower, batch)
        seen.append(integers(probe.graph))
        same = [operator.name for operator in probe.graph.operators] == [o.name for o in graph.operators]
        if not same or len(seen[-1]) != len(seen[0]):
            raise LatheError("the network computes other operators when it is narrower")
    columns = list(zip(*seen, strict=True))
    solver = _Solver(widths)
    found = {column: solver.single(column) for column in dict.fromkeys(columns) if len(set(column)) > 1}
    _solve_sums(graph, columns, found)
    for slot, column in enumerate(columns):
        if found.get(column, _FIXED) is None:
            raise LatheError(
                f"{_place(probe, slot)} has a size that follows no sum of widths ({column[0]} in the whole "
                f"network, {', '.join(map(str, column[1:]))} in narrower ones)"
            )
    sizes = []
    for slot, column in enumerate(columns):
        linear = found.get(column)
        if linear is not None:
            sizes.append(Size(slot, linear.constant, linear.terms))
    return tuple(sizes)


def _place(captured: Capture, slot: int) -> str:
    """Operator and module in which one of a graph's integers stands; a weight's stand where it is read first."""
    graph = captured.graph
    sizes_of = shape_slots(graph)
    weight = next((value for value in range(graph.first_result) if slot in sizes_of[value]), None)
    end = len(integers(replace(graph, operators=(), outputs=())))
    for operator, modules in zip(graph.operators, captured.modules, strict=True):
        end += len(integers(Graph((), (), (operator,), ())))
        if slot < end and weight in (None, *operator.values()):
            return f"{operator.short_name} in {modules[-1]}" if modules else operator.short_name
    raise ValueError(f"the graph has no integer {slot} that an operator has or reads")


def _draw(free: Sequence[ChannelGroup]) -> list[dict[str, int]]:
    """Full widths, then random ones, such that no two groups change in proportion; more where three do not do."""
    draw = random.Random(len(free))  # noqa: S311  no secret
    full = {group.name: group.channels for group in free}
    attempt = 0
    while True:
        widths = [
            full,
            *(
                {name: draw.randint(max(1, count // 4), count) for name, count in full.items()}
                for _ in range(PROBES + attempt // 50)
            ),
        ]
        directions = {_direction([chosen[name] for chosen in widths]) for name in full}
        if len(directions) == len(full) and all(any(direction) for direction in directions):
            return widths
        attempt += 1


class _Solver:
    def __init__(self, widths: Sequence[Mapping[str, int]]) -> None:
        self._columns = {name: tuple(chosen[name] for chosen in widths) for name in widths[0]}
        self._by_rise = {_direction(column): name for name, column in self._columns.items()}

    def single(self, column: tuple[int, ...]) -> _Linear | None:
        """One group times a coefficient, plus a constant."""
        name = self._by_rise.get(_direction(column))
        if name is None:
            return None
        return _multiple(column, self._columns[name], _Linear(0, ((name, 1),)))


def _direction(column: Sequence[int]) -> tuple[Fraction, ...]:
    """The changes from the first entry, scaled so that the first change is 1; equal for proportional changes."""
    changes = [value - column[0] for value in column]
    first = next((change for change in changes if change), 1)
    return tuple(Fraction(change, first) for change in changes)


def _solve_sums(
    graph: Graph, columns: Sequence[tuple[int, ...]], found: dict[tuple[int, ...], _Linear | None]
) -> None:
    """Concatenated sizes are the sum of the operands'; then whatever is a multiple of a known size."""
    slots = shape_slots(graph)
    for position, operator in enumerate(graph.operators):
        made = slots.get(graph.first_result + position, ())
        unknown = [dim for dim, slot in enumerate(made) if found.get(columns[made[dim]], _FIXED) is None]
        if operator.short_name != "cat":
            continue
        for dim in unknown:
            total = _Linear(0, ())
            for value in operator.values():
                column = columns[slots[value][dim]]
                part = found.get(column, _Linear(column[0], ()))
                if part is None:
                    break
                total = total.plus(part)
            else:
                found[columns[made[dim]]] = total
    solved = {_direction(column): (column, linear) for column, linear in found.items() if linear is not None}
    for column, linear in found.items():
        like = solved.get(_direction(column))
        if linear is None and like is not None:
            found[column] = _multiple(column, *like)


_FIXED = _Linear(0, ())


def _multiple(column: tuple[int, ...], of: tuple[int, ...], linear: _Linear) -> _Linear | None:
    """The form of a column that changes in proportion to a known one; None where the factor is no whole number."""
    place = next(i for i, value in enumerate(of) if value != of[0])
    factor = Fraction(column[place] - column[0], of[place] - of[0])
    if factor.denominator != 1:
        return None
    whole = int(factor)
    constant = column[0] - whole * (of[0] - linear.constant)
    return _Linear(constant, tuple((name, whole * coefficient) for name, coefficient in linear.terms))
