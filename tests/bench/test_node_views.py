from __future__ import annotations

from dataclasses import replace

import pytest
from hand_graphs import conv_relu

from bench.node_views import node_rows, nodes_json, show_nodes
from bench.runtimes.base import NodeProfile, NodeTime
from bench.runtimes.onnx_export import operators_of
from bench.terminal import Terminal
from latency_tables.graph import Graph
from latency_tables.part import Grain, Part
from latency_tables.skeleton import Block, Layer, Skeleton


@pytest.mark.parametrize(
    ("names", "places"),
    [
        (("/o17/Conv",), (17,)),
        (("/o3/Conv + /o4/Relu", "[ONNX Layer: /o11/Add]"), (3, 4, 11)),
        (("/o18/Relu_output_0_nchwc",), (18,)),
        (("{ForeignNode[/o2/MatMul.../o9/Softmax]}",), (2, 9)),
        (("output_nchwc",), (1,)),
        (("output/WithoutBiases", "/o0/Conv"), (0, 1)),
        (("ReorderOutput_1", "", "/foo3/Conv", "mo7/x", "outputs", "/x_output"), ()),
    ],
)
def test_names_tell_operators(names: tuple[str, ...], places: tuple[int, ...]) -> None:
    assert operators_of(conv_relu(), *names) == places


def skeleton() -> Skeleton:
    """Three layers of two operators each; the middle one is a block that may go."""
    part = Part("conv", Grain.LAYER, conv_relu())
    layers = tuple(
        Layer(name, part, places, block)
        for name, places, block in [("stem", (0, 1), None), ("body", (2, 3), "body"), ("head", (4, 5), None)]
    )
    return Skeleton("net", Graph((), (), (), ()), layers, (Block("body", part, 2, 4, True),))


PROFILE = NodeProfile(
    (
        NodeTime("/o0/Conv", "Conv", 2e-3, (0,)),
        NodeTime("/o1/Relu + /o2/Conv", "Fused", 1e-3, (1, 2)),
        NodeTime("ReorderOutput", "ReorderOutput", 1e-3, ()),
    ),
    5e-3,
)


def test_nodes_are_brought_home_to_layers() -> None:
    assert [row["layers"] for row in node_rows(skeleton(), (), PROFILE)] == [["stem"], ["stem", "body"], []]


def test_blocks_that_were_taken_out_do_not_count() -> None:
    assert [row["layers"] for row in node_rows(skeleton(), ("body",), PROFILE)] == [
        ["stem"],
        ["stem", "head"],
        [],
    ]


def test_what_is_of_no_layer_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    found = nodes_json(skeleton(), (), PROFILE)
    assert found["unmapped_s"] == 1e-3
    assert found["gap"] == pytest.approx(0.2)
    show_nodes(Terminal(), skeleton(), (), PROFILE)
    printed = " ".join(capsys.readouterr().out.split())
    assert "3 nodes take 4 ms, 20.0% less than the 5 ms of the whole while they are timed; 1 ms" in printed
    assert "1 ms of it is of no layer that is known" in printed


def test_where_every_node_is_of_a_layer_nothing_is_of_none(capsys: pytest.CaptureFixture[str]) -> None:
    known = NodeProfile(PROFILE.nodes[:2], 4e-3)
    assert nodes_json(skeleton(), (), known)["unmapped_s"] == 0
    show_nodes(Terminal(), skeleton(), (), known)
    assert "0 µs of it is of no layer that is known" in " ".join(capsys.readouterr().out.split())


def test_nodes_that_run_at_the_same_time_take_more_than_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    show_nodes(Terminal(), skeleton(), (), replace(PROFILE, whole_s=3.2e-3))
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "take 4 ms, 25.0% more than the 3.2 ms of the whole while they are timed, since some run at"
        in printed
    )
