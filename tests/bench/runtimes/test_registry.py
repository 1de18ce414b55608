from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hand_graphs import conv_relu

import bench.runtimes.onnxruntime as adapter
from bench.devices import runtime_records
from bench.host import cpu_device
from bench.runtimes import get_runtime, make_setting
from bench.runtimes.base import Availability, UnsupportedOperatorError, random_arrays
from bench.runtimes.eager import Eager
from bench.runtimes.onnxruntime import OnnxRuntime
from latency_tables.errors import LatheError, UserError
from latency_tables.graph import Graph, Operator, TensorType, Value
from latency_tables.setting import Device, Setting


def test_a_setting_tells_all_that_was_chosen() -> None:
    setting = make_setting("onnxruntime", batch=4)
    assert setting.device == cpu_device()
    assert (setting.runtime, setting.precision, setting.batch, setting.threads) == (
        "onnxruntime",
        "fp32",
        4,
        1,
    )
    assert dict(setting.versions) == {
        "onnxruntime": pytest.importorskip("onnxruntime").__version__,
        "torch": torch.__version__,
    }
    assert dict(setting.options) == {
        "batch_norm": "folded",
        "cache": "warm",
        "env.MALLOC_MMAP_THRESHOLD_": "1073741824",
        "env.MALLOC_TRIM_THRESHOLD_": "4294967296",
        "provider": "CPUExecutionProvider",
        "spinning": "stopped between runs",
    }
    assert Setting.from_json(setting.to_json()) == setting


def test_pytorch_s_version_says_for_which_cuda_it_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its package's metadata may leave that out, and two builds have other kernels."""
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.11.0")
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.11.0+cu130"))
    for record in runtime_records():
        assert ("torch", "2.11.0+cu130") in record.versions


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"runtime": "onxruntime"}, "unknown runtime 'onxruntime'. Did you mean 'onnxruntime'"),
        ({"runtime": "eager", "device_kind": "tpu"}, "unknown kind of device for eager 'tpu'.*cpu, cuda"),
        (
            {"runtime": "eager", "precision": "fp4"},
            r"unknown precision for eager \(cpu\) 'fp4'\. .*Known: fp32\.",
        ),
        ({"runtime": "eager", "threads": 0}, "threads must be from 1 to"),
        ({"runtime": "eager", "threads": 100_000}, "threads must be from 1 to"),
        ({"runtime": "eager", "batch": 0}, "batch must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make_setting(**arguments)


def test_a_runtime_that_is_not_usable_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Eager, "availability", classmethod(lambda cls, kind: Availability(False, "no luck", "Hope."))
    )
    with pytest.raises(UserError, match=r"eager \(cuda\) is not usable: no luck\. Hope\."):
        make_setting("eager", device_kind="cuda")
    with pytest.raises(UserError, match="no luck"):
        Eager(Setting(cpu_device(), "eager", (), "fp32", 1, 1))


def test_eager_on_cuda_tells_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "without CUDA" in Eager.availability("cuda").reason
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert "sees no device" in Eager.availability("cuda").reason
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Eager.availability("cuda") == Availability(True)


def test_a_missing_package_tells_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter.importlib.util, "find_spec", lambda name: None)
    found = OnnxRuntime.availability("cpu")
    assert not found.usable
    assert "pip install lathe[cpu]" in found.remedy


class TestProviders:
    @pytest.fixture(autouse=True)
    def _onnxruntime(self) -> None:
        self.onnxruntime = pytest.importorskip("onnxruntime")

    def test_a_provider_that_this_build_lacks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(self.onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
        assert "has no CUDAExecutionProvider" in OnnxRuntime.availability("cuda").reason

    def test_a_silent_fall_back_to_the_cpu_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class FallenBack:
            def __init__(self, model: object, options: object, providers: list[object]) -> None:
                assert providers == [("CUDAExecutionProvider", {"use_tf32": "0"})]

            def get_providers(self) -> list[str]:
                return ["CPUExecutionProvider"]

        monkeypatch.setattr(self.onnxruntime, "InferenceSession", FallenBack)
        options = (("provider", "CUDAExecutionProvider"),)
        with pytest.raises(LatheError, match="asked for CUDAExecutionProvider but took CPUExecutionProvider"):
            OnnxRuntime(Setting(cpu_device(), "onnxruntime", (), "fp32", 1, 1, options=options))

    def test_an_unknown_provider_is_refused(self) -> None:
        options = (("provider", "NoSuchExecutionProvider"),)
        with (
            pytest.warns(UserWarning),
            pytest.raises(LatheError, match="for NoSuchExecutionProvider but took CPU"),
        ):
            OnnxRuntime(Setting(cpu_device(), "onnxruntime", (), "fp32", 1, 1, options=options))

    def test_an_operator_without_implementation_is_named(self) -> None:
        doubles = TensorType("float64", (2, 4))
        graph = Graph(
            (doubles,), (), (Operator("aten.elu.default", (("self", Value(0)),), (doubles,)),), (1,)
        )
        runtime = OnnxRuntime(Setting(cpu_device(), "onnxruntime", (), "fp32", 1, 1))
        with pytest.raises(UnsupportedOperatorError) as caught:
            runtime.load(graph)
        assert caught.value.operator == "Elu"

    def test_a_pass_that_its_provider_fails_at_is_not_run_by_another(self) -> None:
        from onnxruntime.capi.onnxruntime_pybind11_state import EPFail

        class Fails:
            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

            def run(self, *_: object) -> None:
                raise EPFail("no such luck")

        graph = conv_relu()
        with OnnxRuntime(Setting(cpu_device(), "onnxruntime", (), "fp32", 1, 1)).load(graph) as loaded:
            session = loaded._session  # type: ignore[attr-defined]
            real, session._sess = session._sess, Fails()
            with pytest.raises(EPFail, match="no such luck"):
                loaded.infer(random_arrays(graph.inputs))

    def test_an_invalid_graph_is_refused(self) -> None:
        integers = TensorType("int32", (2, 4))
        graph = Graph(
            (integers,), (), (Operator("aten.atan.default", (("self", Value(0)),), (integers,)),), (1,)
        )
        runtime = OnnxRuntime(Setting(cpu_device(), "onnxruntime", (), "fp32", 1, 1))
        with pytest.raises(LatheError, match="refuses the network"):
            runtime.load(graph)

    def test_session_options(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[Any] = []
        real = self.onnxruntime.InferenceSession

        def spy(model: object, options: Any, providers: list[str]) -> Any:
            seen.append(options)
            return real(model, options, providers=providers)

        monkeypatch.setattr(self.onnxruntime, "InferenceSession", spy)
        for alone in (False, True):
            OnnxRuntime(Setting(cpu_device(), "onnxruntime", (), "fp32", 1, 2)).load(
                conv_relu(), alone=alone
            ).close()
        for options in seen:
            assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
            assert options.execution_mode == self.onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        assert [o.get_session_config_entry("session.force_spinning_stop") for o in seen] == ["1", "0"]

    def test_several_threads_on_the_cpu_stay_awake_for_a_part_alone(self) -> None:
        spinning = [OnnxRuntime.options("cpu", threads, "fp32")["spinning"] for threads in (1, 2)]
        assert spinning == ["stopped between runs", "between runs of a part alone"]


def test_classes_are_found_by_name() -> None:
    assert get_runtime("eager") is Eager
    assert get_runtime("onnxruntime") is OnnxRuntime
    assert {get_runtime(name).name for name in ("eager", "onnxruntime")} == {"eager", "onnxruntime"}


def test_layouts_other_than_nchw_are_refused() -> None:
    with pytest.raises(UserError, match="layout"):
        OnnxRuntime(Setting(cpu_device(), "onnxruntime", (), "fp32", 1, 1, layout="nhwc"))


def test_options_are_the_runtime_s_own_unless_others_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import bench.runtimes.cuda as cuda

    gpu = Device("cuda", "NVIDIA H100", 132, 2**36, "580.65", ("sm_90",))
    monkeypatch.setattr(cuda, "cuda_device", lambda root: gpu)
    monkeypatch.setattr(Eager, "availability", classmethod(lambda cls, kind: Availability(True)))
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.11.0+cu130"))
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    plain = make_setting("eager", device_kind="cuda")
    assert (plain.layout, dict(plain.options)["launch"], dict(plain.options)["cache"]) == (
        "nchw",
        "queued",
        "warm",
    )
    asked = {"launch": "graph", "cache": "cold", "layout": "nhwc"}
    chosen = make_setting("eager", device_kind="cuda", asked=asked)
    assert (chosen.layout, dict(chosen.options)["launch"], dict(chosen.options)["cache"]) == (
        "nhwc",
        "graph",
        "cold",
    )
    assert "layout" not in dict(chosen.options)
    assert dict(chosen.versions) == {"cudnn": "91002", "torch": "2.11.0+cu130"}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"launch": "graph"}, r"unknown option of eager \(cpu\) 'launch'\. There is none to choose here\."),
        ({"provider": "x"}, r"unknown option of eager \(cpu\) 'provider'"),
    ],
)
def test_an_option_that_the_runtime_does_not_have_is_refused(asked: dict[str, str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make_setting("eager", asked=asked)


def test_a_value_that_an_option_does_not_take_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Eager, "choices", classmethod(lambda cls, kind: {"launch": ("queued", "graph")}))
    with pytest.raises(UserError, match=r"option launch 'grph'\. Did you mean 'graph'"):
        make_setting("eager", asked={"launch": "grph"})


@pytest.mark.parametrize(
    ("runtime", "precision", "says"),
    [
        ("eager", "bf16", r"timed in fp32 on the CPU.*\. Choose --precision fp32\.$"),
        ("onnxruntime", "fp16", r"no kernels in fp16\. Choose --precision fp32 or int8\.$"),
        ("onnxruntime", "tf32", "no kernels in tf32"),
    ],
)
def test_a_precision_that_the_runtime_has_elsewhere_only_is_refused(
    runtime: str, precision: str, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        make_setting(runtime, precision=precision)
    with pytest.raises(UserError, match=says):
        get_runtime(runtime)(Setting(cpu_device(), runtime, (), precision, 1, 1))


@pytest.mark.parametrize("runtime", ["eager", "compile", "torch-tensorrt", "onnxruntime", "tensorrt"])
@pytest.mark.parametrize(("major", "refused"), [(7, True), (8, False)])
def test_a_precision_that_is_younger_than_the_device_is_refused(
    monkeypatch: pytest.MonkeyPatch, runtime: str, major: int, refused: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(major=major))
    found = get_runtime(runtime)
    for precision in {"tf32", "bf16"} & set(found.precisions):
        lack = found.lacks(precision, "cuda")
        says = f"the device has compute capability 7.x, and {precision} came with 8.0"
        assert lack == (says if refused else "")
    assert found.lacks("fp32", "cuda") == found.lacks("fp16", "cuda") == ""
