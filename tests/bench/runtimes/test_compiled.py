"""What is special about torch.compile; that it computes what eager computes is for the conformance tests."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path

import pytest
import torch
from hand_graphs import conv_relu, one_operator

import bench.runtimes.base as base
import bench.runtimes.compiled as adapter
from bench.host import cpu_device
from bench.runtimes import make_setting
from bench.runtimes.base import UnsupportedOperatorError
from bench.runtimes.compiled import Compile, had_all
from bench.runtimes.eager import Eager
from bench.session import MeasurementFailed, Session
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


@needs_compilers
@pytest.mark.parametrize("what", ["of another version", "damaged"])
def test_a_compiler_s_cache_that_does_not_fit_is_compiled_past(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    from torch._inductor import codecache

    # Without weights: those that are frozen into a compiled network, PyTorch does not keep on disk.
    graph = one_operator("aten.gelu.default", ("self", Value(0)))

    def load() -> bool:
        with Compile(HERE).load(graph) as loaded:
            return bool(loaded.facts["cached"])

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    assert [load(), load()] == [False, True]
    if what == "damaged":
        for file in (tmp_path / "fxgraph").rglob("*"):
            if file.is_file():
                file.write_bytes(b"damaged")
    else:
        monkeypatch.setattr(codecache, "torch_key", lambda: b"another version")
    assert [load(), load()] == [False, True], "compiled anew, and kept"


@pytest.mark.parametrize(
    ("counts", "cached"),
    [
        ({}, False),
        ({"fxgraph_cache_hit": 2}, True),
        ({"fxgraph_cache_hit": 1, "fxgraph_cache_miss": 1}, False),
        ({"fxgraph_cache_hit": 1, "fxgraph_cache_bypass": 1}, False),
    ],
)
def test_a_network_was_cached_where_every_piece_of_it_was(counts: dict[str, int], cached: bool) -> None:
    assert had_all(counts) is cached


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


def refused(monkeypatch: pytest.MonkeyPatch, inner: Exception) -> LatheError:
    """What is told of an exception in the compiler."""
    import torch._dynamo
    from torch._inductor.exc import InductorError

    def refuse(*_: object) -> None:
        raise InductorError(inner, None)

    monkeypatch.setattr(torch, "compile", lambda *_, **__: refuse)
    monkeypatch.setattr(Compile, "availability", classmethod(lambda cls, kind: adapter.Availability(True)))
    with pytest.raises(LatheError) as caught:
        Compile(HERE).load(conv_relu())
    return caught.value


def test_what_the_compiler_refuses_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    told = str(refused(monkeypatch, ValueError("no such kernel\nand much more")))
    assert told == "torch.compile refuses the network: ValueError: no such kernel"


def test_an_operator_that_the_compiler_fails_at_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor.exc import LoweringException

    # Not of the graph: the compiler has taken apart what it was given.
    target = torch.ops.aten.convolution.default
    told = refused(monkeypatch, LoweringException(ValueError("no such layout"), target, ["x"], {}))
    assert isinstance(told, UnsupportedOperatorError)
    assert told.operator == "aten.convolution.default"
    assert "ValueError: no such layout. Choose another runtime" in str(told)


GCC = """In file included from /t/ab.main.cpp:2:
/t/ab.main.cpp:3:10: fatal error: omp.h: No such file or directory
    3 | #include <omp.h>
      |          ^~~~~~~
/t/ab.main.cpp:9:1: note: declared here
compilation terminated.
"""


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (GCC, "omp.h: No such file or directory; compilation terminated. Install or repair it, "),
        (
            "/usr/bin/ld: cannot find -lgomp\ncollect2: error: ld returned 1\n",
            ": /usr/bin/ld: cannot find -lgomp; coll",
        ),
        ("  indented\n", ": indented. Install"),
        ("", "it does not say why"),
    ],
)
def test_of_a_compiler_that_fails_the_last_telling_lines_are_told(
    monkeypatch: pytest.MonkeyPatch, output: str, says: str
) -> None:
    from torch._inductor.exc import CppCompileError

    told = str(refused(monkeypatch, CppCompileError(["/opt/g++", "ab.main.cpp"], output)))
    assert says in told
    assert "the compiler /opt/g++ does not compile" in told
    assert "#include" not in told
    assert "environment variable CXX, or choose another runtime" in told


def test_a_compiler_that_does_not_even_tell_its_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor.exc import InvalidCxxCompiler

    monkeypatch.setenv("CXX", "/opt/c++")
    told = str(refused(monkeypatch, InvalidCxxCompiler()))
    assert "/opt/c++ does not answer to --version. Install or repair it" in told


@needs_compilers
def test_an_operator_that_inductor_itself_fails_at_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch._inductor.lowering as lowering

    def fail(*_: object, **__: object) -> None:
        raise ValueError("no such layout")

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # what is known already is not lowered again
    monkeypatch.setitem(lowering.lowerings, torch.ops.aten.sigmoid.default, fail)
    with pytest.raises(UnsupportedOperatorError, match="ValueError: no such layout") as caught:
        Compile(HERE).load(one_operator("aten.sigmoid.default", ("self", Value(0))))
    assert caught.value.operator == "aten.sigmoid.default"


@needs_compilers
def test_a_compiler_that_only_tells_its_version_is_refused_in_its_own_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "c++"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exec echo made up\n'
        'echo "fatal error: cannot execute cc1plus" >&2\necho "compilation terminated." >&2\nexit 1\n'
    )
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    with (
        Session(make_setting("compile"), repeats=0) as session,
        pytest.raises(MeasurementFailed, match=r"cannot execute cc1plus; compilation terminated\.") as caught,
    ):
        session.load(conv_relu())
    assert caught.value.reason == "refused"
    assert str(broken) in str(caught.value)


def test_a_device_that_is_lost_is_no_refusal_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise torch._dynamo.exc.BackendCompilerFailed(print, RuntimeError("CUDA error: unspecified"), None)

    def lost() -> None:
        raise RuntimeError("CUDA error: unspecified launch failure")

    import torch._dynamo

    monkeypatch.setattr(torch, "compile", lambda *_, **__: refuse)
    monkeypatch.setattr(adapter, "raise_if_lost", lost)
    monkeypatch.setattr(Compile, "availability", classmethod(lambda cls, kind: adapter.Availability(True)))
    with pytest.raises(RuntimeError, match="unspecified launch failure"):
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


def test_on_cuda_it_wants_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Eager, "availability", classmethod(lambda cls, kind: adapter.Availability(True)))
    found_spec = adapter.importlib.util.find_spec
    kept = {"triton": None}
    monkeypatch.setattr(
        adapter.importlib.util, "find_spec", lambda name: kept[name] if name in kept else found_spec(name)
    )
    found = Compile.availability("cuda")
    assert (found.usable, found.reason) == (False, "torch.compile needs the package triton on CUDA")
    assert "CUDA build of PyTorch" in found.remedy
    assert Compile.availability("cpu").usable


def test_triton_counts_by_whatever_name_pytorch_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter.importlib.util, "find_spec", lambda name: object())
    installed = {"pytorch-triton": "3.6.0+git"}

    def version(package: str) -> str:
        if package not in installed:
            raise base.PackageNotFoundError(package)
        return installed[package]

    monkeypatch.setattr(base, "version", version)
    assert dict(Compile.versions())["triton"] == "3.6.0+git"
    installed["triton"] = "3.5.1"
    assert dict(Compile.versions())["triton"] == "3.5.1"


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
