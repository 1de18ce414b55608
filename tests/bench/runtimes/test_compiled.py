"""What is special about torch.compile; that it computes what eager computes is for the conformance tests."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path

import pytest
import torch
from hand_graphs import conv_relu

import bench.runtimes.compiled as adapter
from bench.host import cpu_device
from bench.runtimes.base import UnsupportedOperatorError
from bench.runtimes.compiled import Compile
from latency_tables.errors import LatheError, UserError
from latency_tables.graph import Graph, Operator, TensorType, Value
from latency_tables.setting import Setting

HERE = Setting(cpu_device(), "compile", (), "fp32", 1, 1)
needs_compilers = pytest.mark.skipif(
    not Compile.availability("cpu").usable, reason=Compile.availability("cpu").reason
)


@needs_compilers
def test_a_graph_break_is_kept_with_its_reason() -> None:
    # How many there are depends on the data, so nothing after them can be compiled for a shape.
    vector, places = TensorType("float32", (8,)), TensorType("int64", (8, 1))
    graph = Graph(
        (vector,),
        (),
        (
            Operator("aten.relu.default", (("self", Value(0)),), (vector,)),
            Operator("aten.nonzero.default", (("self", Value(1)),), (places,)),
        ),
        (2,),
    )
    with Compile(HERE).load(graph) as loaded:
        breaks = loaded.facts["graph_breaks"]
        assert sum(breaks.values()) >= 1
        assert all(reason and "\n" not in reason for reason in breaks)
        (found,) = loaded.infer([torch.tensor([0.0, 2.0, -1.0, 0, 0, 0, 0, 3.0]).numpy()])
        assert found.ravel().tolist() == [1, 7]


@needs_compilers
def test_where_nothing_is_compiled_eager_s_time_is_not_taken_for_its(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    with pytest.raises(LatheError, match=r"compiled nothing of the network.*--runtime eager"):
        Compile(HERE).load(conv_relu())


@needs_compilers
def test_where_nothing_is_left_to_compile_the_operator_is_named() -> None:
    vector, places = TensorType("float32", (8,)), TensorType("int64", (8, 1))
    nonzero = Operator("aten.nonzero.default", (("self", Value(0)),), (places,))
    with pytest.raises(
        UnsupportedOperatorError, match=r"nothing is left of the network to compile"
    ) as caught:
        Compile(HERE).load(Graph((vector,), (), (nonzero,), (1,)))
    assert caught.value.operator == "aten.nonzero.default"


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("Operator `aten.relu.default` has no meta kernel", "aten.relu.default"),
        ("something else", "aten.conv2d.default, aten.relu.default"),
    ],
)
def test_an_operator_that_the_compiler_cannot_follow_is_named(
    monkeypatch: pytest.MonkeyPatch, said: str, named: str
) -> None:
    import torch._dynamo

    def refuse(*_: object) -> None:
        raise torch._dynamo.exc.Unsupported(f"a kind of break\n  Explanation: {said}")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: refuse)
    monkeypatch.setattr(Compile, "availability", classmethod(lambda cls, kind: adapter.Availability(True)))
    with pytest.raises(UnsupportedOperatorError, match="a kind of break") as caught:
        Compile(HERE).load(conv_relu())
    assert caught.value.operator == named


@needs_compilers
def test_weights_are_constants_of_what_is_compiled_and_go_with_it() -> None:
    import torch._inductor.codecache as written

    kept = list(written.PyCodeCache.modules)
    loaded = Compile(HERE).load(conv_relu())
    new = [module for module in written.PyCodeCache.modules if module not in kept]
    names = [module.__name__ for module in new]
    constants = [
        value for module in new for value in vars(module).values() if isinstance(value, torch.Tensor)
    ]
    assert constants, "weights are arguments, and nothing is laid out for them ahead"
    held = [weakref.ref(constant) for constant in constants]
    del constants, new
    loaded.close()
    gc.collect()
    assert written.PyCodeCache.modules == kept
    assert not sys.modules.keys() & set(names)
    assert [ref() for ref in held] == [None] * len(held)


@needs_compilers
def test_its_own_processes_do_not_compile_ahead() -> None:
    import torch._inductor.config as chosen

    chosen.compile_threads = 4
    Compile(HERE)
    assert chosen.compile_threads == 1


def test_what_the_compiler_refuses_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise torch._dynamo.exc.BackendCompilerFailed(
            print, ValueError("no such kernel\nand much more"), None
        )

    import torch._dynamo

    monkeypatch.setattr(torch, "compile", lambda *_, **__: refuse)
    monkeypatch.setattr(Compile, "availability", classmethod(lambda cls, kind: adapter.Availability(True)))
    with pytest.raises(LatheError, match=r"torch\.compile refuses the network: ValueError: no such kernel$"):
        Compile(HERE).load(conv_relu())


@pytest.mark.parametrize("missing", ["compiler", "headers"])
def test_what_is_missing_is_named_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str
) -> None:
    if missing == "compiler":
        monkeypatch.setenv("CXX", "no-such-compiler")
    else:
        monkeypatch.setattr(adapter.shutil, "which", lambda name: name)
        monkeypatch.setattr(adapter.sysconfig, "get_path", lambda name: str(tmp_path))
    found = Compile.availability("cpu")
    assert not found.usable
    assert {"compiler": "no-such-compiler", "headers": "Python.h"}[missing] in found.reason
    assert found.remedy
    with pytest.raises(UserError, match="compile is not usable here"):
        Compile(HERE)


def test_on_the_cpu_it_is_timed_in_fp32() -> None:
    assert Compile.lacks("fp32", "cpu") == ""
    assert "openvino and onnxruntime" in Compile.lacks("bf16", "cpu")


def test_the_compiler_s_version_is_part_of_the_setting() -> None:
    found = dict(Compile.versions())
    assert found["c++"] not in ("", "unknown")
    assert adapter._compiler_version("no-such-compiler") == "not installed"


def test_a_compiler_that_is_not_gcc_tells_its_version_in_its_own_way(tmp_path: Path) -> None:
    clang = tmp_path / "clang++"
    clang.write_text('#!/bin/sh\n[ "$1" = --version ] || exit 1\necho "clang version 18.1.3"\necho more\n')
    clang.chmod(0o755)
    assert adapter._compiler_version(str(clang)) == "clang version 18.1.3"
