from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import chain

from latency_tables.graph import Graph, Operator, TensorType, Value
from latency_tables.part import Grain, Part

WIDTHS = st.lists(st.integers(1, 5), min_size=1, max_size=5)


@given(WIDTHS)
def test_json_round_trip_keeps_the_graph_and_its_text(widths: list[int]) -> None:
    graph = chain(widths).graph
    again = Graph.from_json(json.loads(json.dumps(graph.to_json())))
    assert again == graph
    assert again.text == graph.text


@given(WIDTHS)
def test_selecting_everything_changes_nothing(widths: list[int]) -> None:
    graph = chain(widths).graph
    whole, weights = graph.select(range(len(graph.operators)))
    assert whole == graph
    assert weights == tuple(range(len(graph.weights)))


@given(WIDTHS, st.data())
def test_taking_blocks_out_leaves_the_chain_of_the_others(widths: list[int], data: st.DataObject) -> None:
    skeleton = chain(widths)
    removed = data.draw(st.sets(st.sampled_from(skeleton.removable)))
    graph, weights = skeleton.without(removed)
    kept = [width for index, width in enumerate(widths) if f"block{index}" not in removed]
    assert graph == chain(kept).graph
    assert [skeleton.graph.weights[index] for index in weights] == list(graph.weights)


def test_equal_parts_have_equal_keys_wherever_they_stand() -> None:
    skeleton = chain([4, 4, 5])
    parts = [block.part for block in skeleton.blocks]
    assert parts[0] == parts[1] != parts[2]
    # linear 8-4, 4-8, 8-5, 5-8, the sum, the head; blocks of 4 and of 5
    assert len(skeleton.parts) == 8


def test_the_key_reads_like_the_computation() -> None:
    part = Part("linear", Grain.LAYER, chain([4]).layers[0].part.graph)
    assert part.key == ("part/1 (%0: f32[1,8]); %1 = linear(input=%0, weight=w0: f32[4,8]); return %1")


def test_arguments_and_types_tell_graphs_apart() -> None:
    x = TensorType("float32", (1, 8))

    def graph(**arguments: object) -> Graph:
        pairs = (("input", Value(0)), *arguments.items())
        return Graph((x,), (), (Operator("aten.softmax.int", pairs, (x,)),), (1,))  # type: ignore[arg-type]

    texts = {graph(dim=1).text, graph(dim=-1).text, graph(dim=1.0).text, graph(dim="1").text, graph().text}
    assert len(texts) == 5


def test_removing_what_is_still_read_is_refused() -> None:
    graph = chain([4]).graph
    with pytest.raises(ValueError, match="still read"):
        graph.without([0], {})


def test_another_format_is_refused() -> None:
    data = chain([4]).graph.to_json() | {"format": 99}
    with pytest.raises(ValueError, match="format 99"):
        Graph.from_json(data)
