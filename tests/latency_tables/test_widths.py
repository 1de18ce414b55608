from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import chain

from latency_tables.errors import LatheError, UserError
from latency_tables.family import families
from latency_tables.graph import Graph, Operator, TensorType, Value
from latency_tables.widths import (
    ChannelGroup,
    Size,
    full_widths,
    integers,
    resized,
    shape_slots,
    with_integers,
)

GRAPH = Graph(
    inputs=(TensorType("float32", (2, 3)),),
    weights=(TensorType("float32", (5, 3)),),
    operators=(
        Operator(
            "aten.linear.default",
            (("input", Value(0)), ("weight", Value(1))),
            (TensorType("float32", (2, 5)),),
        ),
        Operator(
            "aten.view.default",
            (("self", Value(2)), ("size", (10, -1)), ("flag", True), ("scale", 0.5), ("none", None)),
            (TensorType("float32", (10, 1)),),
        ),
    ),
    outputs=(3,),
)


def test_sizes_and_arguments_are_integers_and_nothing_else_is() -> None:
    assert integers(GRAPH) == (2, 3, 5, 3, 2, 5, 10, -1, 10, 1)


@given(st.lists(st.integers(1, 1000), min_size=10, max_size=10))
def test_integers_written_are_integers_read(values: list[int]) -> None:
    graph = with_integers(GRAPH, values)
    assert list(integers(graph)) == values
    assert [operator.name for operator in graph.operators] == [o.name for o in GRAPH.operators]
    assert with_integers(graph, integers(GRAPH)) == GRAPH


def test_as_many_integers_as_there_are() -> None:
    for wrong in (9, 11):
        with pytest.raises(ValueError, match="10 integers"):
            with_integers(GRAPH, [1] * wrong)


def test_slots_of_shapes() -> None:
    slots = shape_slots(GRAPH)
    whole = integers(GRAPH)
    assert {value: tuple(whole[slot] for slot in places) for value, places in slots.items()} == {
        0: (2, 3),
        1: (5, 3),
        2: (2, 5),
        3: (10, 1),
    }


def test_a_graph_at_other_widths() -> None:
    sizes = (
        Size(2, 0, (("g", 1),)),
        Size(5, 0, (("g", 1),)),
        Size(6, 0, (("g", 2),)),
        Size(8, 0, (("g", 2),)),
    )
    narrow = resized(GRAPH, sizes, {"g": 4})
    assert integers(narrow) == (2, 3, 4, 3, 2, 4, 8, -1, 8, 1)
    assert resized(GRAPH, sizes, {"g": 5}) == GRAPH
    assert [Size.from_json(size.to_json()) for size in sizes] == list(sizes)


def test_widths_that_cannot_be_are_refused() -> None:
    groups = (ChannelGroup("a", 8), ChannelGroup("b", 6, frozen="a norm mixes them"))
    assert full_widths(groups, {"a": 3}) == {"a": 3, "b": 6}
    assert full_widths(groups, {"b": 6}) == {"a": 8, "b": 6}
    for widths, said in (
        ({"a": 0}, "cannot keep 0"),
        ({"a": 9}, "8 channels"),
        ({"b": 5}, "a norm mixes them"),
        ({"c": 1}, "channel group"),
    ):
        with pytest.raises(UserError, match=said):
            full_widths(groups, widths)


def test_a_skeleton_at_full_width_is_itself() -> None:
    skeleton = chain([4, 6])
    assert skeleton.narrowed({}) is skeleton
    with pytest.raises(UserError, match="channel group"):
        skeleton.narrowed({"block0": 2})


def test_a_size_that_is_no_sum_of_what_goes_in_names_its_layer_and_what_to_do() -> None:
    skeleton = chain([4, 5], grouped=True)
    result = shape_slots(skeleton.graph)[skeleton.graph.first_result][1]
    both = (("block0", 1), ("block1", 1))
    sizes = tuple(replace(size, terms=both) if size.slot == result else size for size in skeleton.sizes)
    told = r"size of layer block0\.a \(linear\) follows the widths of block0, block1, .* without --widths"
    with pytest.raises(LatheError, match=told):
        families(replace(skeleton, sizes=sizes))
