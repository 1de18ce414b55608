"""Every runtime that is usable here passes the same tests, in a worker as users run it."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hand_graphs import conv_relu, linear_add, one_operator, pool_and_two_outputs
from other_process import keys_elsewhere

from bench.devices import RuntimeRecord, runtime_records
from bench.runtimes import RUNTIMES, get_runtime, make_setting
from bench.runtimes.base import Array, Availability, random_arrays
from bench.runtimes.onnx_int8 import MIN_CALIBRATION
from bench.runtimes.tensorrt import TensorRt
from bench.runtimes.torch_graph import random_weights
from bench.session import Handle, MeasurementFailed, Session
from bench.timing import Rule
from latency_tables.errors import UserError
from latency_tables.graph import Graph, Operator, TensorType, Value
from latency_tables.measurement import FACTS, REORDERING
from latency_tables.setting import Setting

RECORDS = runtime_records()
USABLE = [record for record in RECORDS if record.usable]
ABLE = [(record, precision) for record in USABLE for precision in record.precisions]


def others(record: RuntimeRecord) -> Iterator[dict[str, str]]:
    """For each value that a runtime lets choose, its own choices aside, an option that asks for it."""
    for name, values in get_runtime(record.runtime).choices(record.device_kind).items():
        for value in values[1:]:
            if value == "TensorrtExecutionProvider" and not TensorRt.availability("cuda").usable:
                continue  # built into every onnxruntime-gpu, and of use only beside TensorRT's libraries
            yield {name: value}


#: What everything is tested in: each precision in the runtime's own choices, and each other choice in fp32. There
#: are choices on a GPU only.
ASKED: list[tuple[RuntimeRecord, str, dict[str, str]]] = [
    (record, precision, option)
    for record in USABLE
    for precision in record.precisions
    for option in ({}, *(others(record) if precision == "fp32" else ()))
]
#: How far from eager in fp32 a result may be, by precision, for numbers of the size of 1.
TOLERANCE = {"fp32": 1e-4, "tf32": 1e-2, "bf16": 3e-2, "fp16": 1e-2, "int8": 5e-2}
RULE = Rule(max_time_s=0.2, warmup_max_time_s=0.1)


def two_convolutions() -> Graph:
    """Large enough that its work outweighs a call."""
    image, kernel = TensorType("float32", (1, 64, 56, 56)), TensorType("float32", (64, 64, 3, 3))

    def convolution(value: int, weight: int) -> Operator:
        arguments = (("input", Value(value)), ("weight", Value(weight)), ("padding", (1, 1)))
        return Operator("aten.conv2d.default", arguments, (image,))

    relu = Operator("aten.relu.default", (("self", Value(3)),), (image,))
    return Graph((image,), (kernel, kernel), (convolution(0, 1), relu, convolution(4, 2)), (5,))


@pytest.fixture(scope="module")
def reference() -> Iterator[Session]:
    with Session(make_setting("eager"), repeats=0) as session:
        yield session


def words_of(asked: tuple[RuntimeRecord, str, dict[str, str]]) -> str:
    """As in "eager (cuda) fp32 launch=graph"."""
    record, precision, option = asked
    return " ".join([record.name, precision, *map("=".join, option.items())])


def setting_of(asked: tuple[RuntimeRecord, str, dict[str, str]]) -> Setting:
    record, precision, option = asked
    return make_setting(record.runtime, device_kind=record.device_kind, precision=precision, asked=option)


@pytest.fixture(scope="module", params=ASKED, ids=words_of)
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    with Session(setting_of(request.param), repeats=0) as opened:
        yield opened


def loaded(session: Session, graph: Graph, weights: list[Array] | None, inputs: list[Array]) -> Handle:
    """Ready to run; in a precision that wants images it is calibrated on these inputs."""
    setting = session.setting
    wants = setting.precision in get_runtime(setting.runtime).calibrated
    images = [np.concatenate([array] * MIN_CALIBRATION) for array in inputs] if wants else None
    return session.load(graph, weights, calibration=images)


@pytest.mark.parametrize("make", [conv_relu, linear_add, pool_and_two_outputs])
def test_computes_what_eager_computes(
    session: Session, reference: Session, make: Callable[[], Graph]
) -> None:
    graph = make()
    inputs = random_arrays(graph.inputs, seed=5)
    weights = random_weights(graph, seed=6)
    expected = reference.infer(reference.load(graph, weights), inputs)
    outputs = session.infer(loaded(session, graph, weights, inputs), inputs)
    assert len(outputs) == len(graph.outputs)
    for output, wanted, value in zip(outputs, expected, graph.outputs, strict=True):
        assert output.shape == graph.type_of(value).shape
        atol = TOLERANCE[session.setting.precision]
        np.testing.assert_allclose(output, wanted, rtol=atol, atol=atol)
        assert np.abs(output).max() > 1e-3


def test_weights_are_honoured(session: Session) -> None:
    weights = [np.full((3, 5), 2.0, np.float32), np.array([1.0, 2.0, 3.0], np.float32)]
    inputs = [np.ones((2, 5), np.float32), np.full((2, 3), 0.5, np.float32)]
    [output] = session.infer(loaded(session, linear_add(), weights, inputs), inputs)
    np.testing.assert_allclose(output, [[11.5, 12.5, 13.5]] * 2, rtol=TOLERANCE[session.setting.precision])


def test_random_weights_are_the_same_every_time(session: Session) -> None:
    graph = conv_relu()
    inputs = random_arrays(graph.inputs)
    [first], [second] = (session.infer(session.load(graph), inputs) for _ in range(2))
    # TensorRT, which three runtimes build engines with on a GPU, may choose other kernels each time.
    atol = TOLERANCE[session.setting.precision] if session.setting.device.kind == "cuda" else 0.0
    np.testing.assert_allclose(first, second, rtol=atol, atol=atol)


def test_measures(session: Session) -> None:
    found = session.measure(conv_relu(16, 16), rule=RULE)
    assert min(found.samples_s) > 0
    assert found.latency_s.value < 0.1


def test_measuring_leaves_later_results_alone(session: Session) -> None:
    graph = one_operator("aten.add.Tensor", ("self", Value(0)), ("other", Value(0)))
    inputs = random_arrays(graph.inputs, seed=2)
    handle = loaded(session, graph, None, inputs)
    session.measure_loaded(handle, RULE)
    rtol = TOLERANCE[session.setting.precision]
    np.testing.assert_allclose(session.infer(handle, inputs)[0], 2 * inputs[0], rtol=rtol, atol=rtol)


def test_an_operator_that_nobody_knows_is_named(session: Session) -> None:
    # It is PyTorch that says so, of which every runtime begins.
    with pytest.raises(MeasurementFailed, match=r"aten\.no_such_thing\.default") as caught:
        session.load(one_operator("aten.no_such_thing.default"))
    assert caught.value.reason == "refused"
    assert session.measure(conv_relu(), rule=RULE).samples_s


def test_an_operator_that_only_pytorch_knows_is_computed_or_named(
    session: Session, reference: Session
) -> None:
    # A Bessel function that PyTorch has in half types too, unlike most of what ONNX lacks.
    graph = one_operator("aten.i0.default", ("self", Value(0)))
    if session.setting.runtime in ("eager", "compile"):
        inputs = random_arrays(graph.inputs, seed=3)
        [output], [wanted] = (each.infer(each.load(graph), inputs) for each in (session, reference))
        atol = TOLERANCE[session.setting.precision]
        np.testing.assert_allclose(output, wanted, rtol=atol, atol=atol)
        return
    with pytest.raises(MeasurementFailed, match=r"cannot run the operator aten\.i0") as caught:
        session.load(graph)
    assert caught.value.reason == "refused"
    assert session.measure(conv_relu(), rule=RULE).samples_s


def test_the_file_that_is_timed_is_the_one_delivered(session: Session, tmp_path: Path) -> None:
    if not get_runtime(session.setting.runtime).loads_file:
        with pytest.raises(MeasurementFailed, match="loads no file"):
            session.load(conv_relu(), artefact=tmp_path / "a.onnx")
        return
    import onnxruntime

    graph = conv_relu()
    path = tmp_path / "folder" / "a.onnx"
    handle = session.load(graph, artefact=path)
    own = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = random_arrays(graph.inputs, seed=8)
    [wanted] = session.infer(handle, inputs)
    # The file reads and writes the precision's own type; ONNX Runtime computes it on the CPU all the same.
    type_ = {"tensor(float)": np.float32, "tensor(float16)": np.float16}[own.get_inputs()[0].type]
    [found] = own.run(None, {"images": inputs[0].astype(type_)})
    atol = TOLERANCE[session.setting.precision]
    np.testing.assert_allclose(found, wanted, rtol=atol, atol=atol)
    assert [entry.name for entry in path.parent.iterdir()] == ["a.onnx"]


def is_first(setting: Setting) -> bool:
    """Whether a session is the first of its runtime: how a process ends is the same in all of them."""
    return setting == make_setting(setting.runtime, device_kind=setting.device.kind)


@pytest.mark.parametrize(
    ("reason", "signal_"), [("timeout", signal.SIGKILL), ("crash", signal.SIGSEGV)], ids=["hang", "crash"]
)
def test_a_run_that_hangs_or_crashes_costs_one_request(
    session: Session, monkeypatch: pytest.MonkeyPatch, reason: str, signal_: signal.Signals
) -> None:
    if not is_first(session.setting):
        return
    handle = session.load(conv_relu())
    ended = session._process
    assert ended is not None
    with monkeypatch.context() as patch:
        if reason == "timeout":
            patch.setattr(session, "_timeout_s", 0.1)
        else:
            threading.Timer(0.1, ended.send_signal, [signal_]).start()
        with pytest.raises(MeasurementFailed) as caught:
            session.measure_loaded(handle, Rule(min_samples=10**7, max_samples=10**7, max_time_s=60.0))
    assert caught.value.reason == reason, str(caught.value)
    assert ended.wait(10.0) == -signal_, "in the midst of a run"
    assert session.measure(conv_relu(), rule=RULE).samples_s


def test_what_no_memory_holds_is_refused_and_costs_nothing_else(session: Session) -> None:
    if not is_first(session.setting):
        return
    # More than a process can address, so that it is refused at once where memory is promised freely.
    large = TensorType("float32", (2**23, 2**23))
    graph = Graph(
        (TensorType("float32", (1, 1)),),
        (),
        (
            Operator("aten.expand.default", (("self", Value(0)), ("size", large.shape)), (large,)),
            Operator("aten.relu.default", (("self", Value(1)),), (large,)),
        ),
        (2,),
    )
    with pytest.raises(MeasurementFailed) as caught:
        session.measure(graph, rule=RULE)
    assert caught.value.reason in ("out of memory", "refused"), str(caught.value)
    assert session.measure(conv_relu(), rule=RULE).samples_s


#: What runtimes tell of a part that they made ready.
TOLD = {
    "compile": {"compile_s", "cached", "graph_breaks"},
    "torch-tensorrt": {"compile_s", "run_by_pytorch"},
}


def test_what_was_seen_when_it_was_made_ready_is_kept_with_the_measurement(session: Session) -> None:
    found = session.measure(conv_relu(16, 16), rule=RULE)
    told = found.host.get(FACTS, {})
    wanted = TOLD.get(session.setting.runtime, set())
    if (session.setting.runtime, session.setting.device.kind, session.setting.precision) == (
        "onnxruntime",
        "cpu",
        "fp32",
    ):
        wanted = {REORDERING}
    assert set(told) == wanted
    assert not told.get("graph_breaks")
    assert not told.get("run_by_pytorch")
    if "compile_s" in told:
        assert max(found.samples_s) < told["compile_s"], "compiling is no part of the latency"


#: Operations a second that nothing reaches in one stream or thread, by kind of device.
BEYOND = {"cpu": 2e13, "cuda": 4e15}


def test_cells_are_in_seconds(session: Session) -> None:
    graph = two_convolutions()
    started = time.monotonic()
    found = session.measure(graph, rule=RULE)
    assert sum(found.samples_s) * found.inner < time.monotonic() - started
    # Two convolutions, three by three, of 64 channels each way.
    operations = 2 * 2 * 64 * 64 * 9 * 56 * 56
    assert found.latency_s.value > operations / BEYOND[session.setting.device.kind]


def keys() -> dict[str, str]:
    """What the tables of everything that is usable here are found by."""
    return {words_of(asked): setting_of(asked).digest for asked in ASKED}


def test_keys_are_the_same_in_another_process() -> None:
    assert keys_elsewhere(__file__) == keys() == keys()
    assert len(set(keys().values())) == len(ASKED), "what is asked for otherwise has a table of its own"


#: Most of a whole run that may be in no node of the runtime's own account, by kind of device: calls, copies and
#: waiting. On a CPU it is 0.01 to 0.17 of this network; half of what its nodes take would be missing at 0.5.
GAP = {"cpu": 0.25, "cuda": 0.6}


def test_the_runtime_s_own_nodes_add_up_to_less_than_the_whole(session: Session) -> None:
    graph = two_convolutions()
    kind = session.setting.device.kind
    if kind not in get_runtime(session.setting.runtime).tells_nodes_on:
        able = ", ".join(name for name in RUNTIMES if kind in get_runtime(name).tells_nodes_on)
        with pytest.raises(UserError, match=f"what its nodes take on {kind}; these do: {able}"):
            session.node_profile(graph)
        return
    for _ in range(10):  # whole and nodes come from passes of their own, and others may be at work during one
        found = session.node_profile(graph)
        if -0.1 < found.gap < GAP[kind]:
            break
    assert -0.1 < found.gap < GAP[kind]
    assert all(node.seconds > 0 for node in found.nodes)
    places = {place for node in found.nodes for place in node.operators}
    assert places & {0, 1}, (
        "the first convolution has a node, by its own name or by that of what is fused with it"
    )
    assert 2 in places, "the second one has a node"
    assert max(found.nodes, key=lambda node: node.seconds).operators


#: How far the sum of a network's parts, each timed alone, may be from the whole, as a share of it.
APART = 0.4


def test_parts_add_up_to_about_the_whole(session: Session) -> None:
    kind = session.setting.device.kind
    if kind == "cuda" and kind in get_runtime(session.setting.runtime).tells_nodes_on:
        return  # asked above, of the runtime's own nodes; what its parts add up to nobody has seen
    if dict(session.setting.options)["cache"] == "cold":
        return  # each part finds the cache empty, and the whole network only once
    graph = two_convolutions()
    parts = [graph.select(operators)[0] for operators in ([0, 1], [2])]
    rule = replace(RULE, min_sample_s=1e-3)  # what a clock's own events take is little beside it
    loaded = [session.load(one, alone=True) for one in (graph, *parts)]
    for _ in range(10):  # in turns, the quickest sample of each, and again: others may be at work
        timed, _comparisons = session.interleave(loaded, rule)
        whole, *alone = (min(one.samples_s) for one in timed)
        apart = 1.0 - sum(alone) / whole
        if abs(apart) < APART:
            break
    for one in loaded:
        session.unload(one)
    assert abs(apart) < APART


def test_each_choice_beside_a_runtime_s_own_is_tested_where_there_is_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def chosen(runtime: str) -> list[dict[str, str]]:
        record = next(one for one in RECORDS if (one.runtime, one.device_kind) == (runtime, "cuda"))
        return list(others(record))

    assert (
        chosen("eager")
        == chosen("compile")
        == [
            {"launch": "issued"},
            {"launch": "graph"},
            {"cache": "cold"},
            {"layout": "nhwc"},
        ]
    )
    provider = {"provider": "TensorrtExecutionProvider"}
    for usable in (False, True):
        answer = Availability(usable)
        monkeypatch.setattr(TensorRt, "availability", lambda kind, answer=answer: answer)
        assert (provider in chosen("onnxruntime")) == usable
    assert not [option for record in RECORDS if record.device_kind == "cpu" for option in others(record)]


def test_what_is_not_usable_says_why_and_what_to_do() -> None:
    assert {record.name for record in RECORDS} >= {"eager (cpu)", "eager (cuda)", "onnxruntime (cpu)"}
    for record in RECORDS:
        assert record.usable == (record.reason == "") == (record.remedy == "")


def test_what_is_installed_is_tested() -> None:
    """A runtime that wrongly called itself unusable would otherwise leave these tests without a word."""
    needs = {"eager (cpu)": "torch", "onnxruntime (cpu)": "onnxruntime", "openvino (cpu)": "openvino"}
    if shutil.which("c++") or shutil.which("g++"):
        needs["compile (cpu)"] = "torch"
    installed = {name for name, package in needs.items() if find_spec(package) is not None}
    tested = {record.name for record, precision in ABLE if precision == "fp32"}
    assert "eager (cpu)" in installed <= tested
    if "onnxruntime (cpu)" in installed:
        assert "int8" in {precision for record, precision in ABLE if record.name == "onnxruntime (cpu)"}
