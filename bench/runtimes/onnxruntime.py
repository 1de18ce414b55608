"""ONNX Runtime, through any of its execution providers."""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from bench.runtimes import ENVIRONMENT_PREFIX
from bench.runtimes.base import (
    NODE_RUNS,
    NOT_INSTALLED,
    SEED,
    Array,
    Availability,
    Loaded,
    NodeProfile,
    NodeTime,
    Order,
    Runtime,
    installed_version,
    random_arrays,
    settled_median,
    torch_version,
)
from bench.runtimes.cuda import came_later
from bench.runtimes.onnx_export import export_graph, operators_of
from bench.runtimes.onnx_int8 import calibration_feeds, overflows, quantise
from bench.runtimes.onnx_placement import (
    CPU_PROVIDER,
    TIMED,
    node_events,
    ran_elsewhere,
    ran_in_floats,
    reordering,
)
from bench.runtimes.onnx_refusals import refusals_told
from bench.runtimes.pinning import bind_caller
from latency_tables.errors import LatheError
from latency_tables.graph import Graph, Operator, TensorType, Value
from latency_tables.measurement import REORDERING

#: ONNX Runtime's profile counts in microseconds.
_MICROSECOND_S = 1e-6
_PROVIDERS = {"cpu": CPU_PROVIDER, "cuda": "CUDAExecutionProvider"}
_TENSORRT = "TensorrtExecutionProvider"
#: ONNX Runtime's names of types, where a file's inputs and outputs may differ from the graph's.
_TYPES = {"tensor(float16)": "float16"}
# How often a part alone is run to see what it reorders, and for how many seconds at most (twice in any case).
_LOOKS, _LOOK_S = 12, 0.05
#: What a provider is tried with.
_TINY = Graph(
    (TensorType("float32", (1, 4)),),
    (),
    (Operator("aten.relu.default", (("self", Value(0)),), (TensorType("float32", (1, 4)),)),),
    (1,),
)


_LAUNCHES_WITHIN = (
    "ONNX Runtime's runs are timed from the outside, launching and work in one. `lathe profile --runtime eager` "
    "tells the two apart for the same network on this device"
)


class OnnxRuntimeLoaded(Loaded):
    """A session with its inputs and outputs bound, so that no run copies or allocates them.

    Off the CPU `facts` tell, under "ran_elsewhere", which nodes another provider ran than the one that is timed,
    and, of a whole network, under "launch_unknown" why nobody knows what launching costs it; in
    int8, under "ran_in_floats", how many nodes of which operator multiplied floats nevertheless; of a part alone in
    fp32 on the CPU, under `REORDERING`, the share of its time in which tensors are only laid out anew.
    """

    def __init__(self, graph: Graph, session: Any, device_kind: str) -> None:
        super().__init__(graph)
        import onnxruntime

        self._session = session
        self._binding = session.io_binding()
        for name, array in self._feed(random_arrays(graph.inputs, SEED)).items():
            self._binding.bind_ortvalue_input(
                name, onnxruntime.OrtValue.ortvalue_from_numpy(array, device_kind, 0)
            )
        for output, value in zip(session.get_outputs(), graph.outputs, strict=True):
            type_ = graph.type_of(value)
            dtype = np.dtype(_TYPES.get(output.type, type_.dtype)).type
            place = onnxruntime.OrtValue.ortvalue_from_shape_and_type(type_.shape, dtype, device_kind, 0)
            self._binding.bind_ortvalue_output(output.name, place)

    def run(self) -> None:
        """One forward pass; ONNX Runtime returns when its device is done."""
        self._session.run_with_iobinding(self._binding)

    def _infer(self, inputs: Sequence[Array]) -> list[Array]:
        outputs: list[Array] = self._session.run(None, self._feed(inputs))
        wanted = [np.dtype(self.graph.type_of(value).dtype) for value in self.graph.outputs]
        return [output.astype(dtype, copy=False) for output, dtype in zip(outputs, wanted, strict=True)]

    def _feed(self, arrays: Sequence[Array]) -> dict[str, Array]:
        return {
            put.name: array.astype(_TYPES.get(put.type, array.dtype), copy=False)
            for put, array in zip(self._session.get_inputs(), arrays, strict=True)
        }

    def _close(self) -> None:
        del self._binding, self._session


class OnnxRuntime(Runtime):
    """ONNX Runtime; the setting's option ``provider`` says which execution provider."""

    name = "onnxruntime"
    loads_file = True
    device_kinds = ("cpu", "cuda")
    precisions = ("fp32", "int8", "tf32", "fp16")
    calibrated = ("int8",)
    # On a CUDA device its profile has what the processor took to launch a node's kernels, not what they took.
    tells_nodes_on = ("cpu",)
    remarks: ClassVar[Mapping[str, str]] = {"cuda": "not yet run on hardware"}

    @classmethod
    def availability(cls, device_kind: str) -> Availability:
        """Usable where the package is installed and was built with the provider.

        Whether a provider's own libraries and device work shows only when a session is made, as the process that
        measures does before anything else.
        """
        if importlib.util.find_spec("onnxruntime") is None:
            extra = "cpu" if device_kind == "cpu" else "gpu"
            return Availability(
                False,
                "the package onnxruntime is not installed",
                f"Install it with `pip install lathe[{extra}]`.",
            )
        try:
            import onnxruntime

            providers = onnxruntime.get_available_providers()
        except Exception as error:  # noqa: BLE001 - broken native libraries raise whatever they like
            return Availability(
                False,
                f"onnxruntime cannot be imported: {error}",
                "Reinstall it, or repair the library it names.",
            )
        wanted = _PROVIDERS[device_kind]
        if wanted not in providers:
            return Availability(
                False,
                f"this build of onnxruntime has no {wanted}, only {', '.join(providers)}",
                "Replace it by onnxruntime-gpu: `pip uninstall onnxruntime`, then `pip install lathe[gpu]`.",
            )
        if device_kind == "cuda" and not torch.cuda.is_available():
            return Availability(
                False,
                f"PyTorch {torch.__version__} sees no CUDA device, and lathe asks it which device is there",
                "Install a CUDA build of PyTorch; check with nvidia-smi that the driver is loaded and that a "
                "container was given the device.",
            )
        return Availability(True)

    @classmethod
    def versions(cls) -> tuple[tuple[str, str], ...]:
        """ONNX Runtime's version, and PyTorch's, whose exporter makes the file."""
        return (
            ("onnxruntime", installed_version("onnxruntime", "onnxruntime-gpu")),
            ("torch", torch_version()),
        )

    @classmethod
    def versions_with(cls, chosen: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """TensorRT's version under its provider, where a package tells it; a system's own libraries do not."""
        if chosen.get("provider") != _TENSORRT:
            return ()
        found = installed_version("tensorrt", "tensorrt-cu13", "tensorrt-cu12")
        return () if found == NOT_INSTALLED else (("tensorrt", found),)

    @classmethod
    def lacks(cls, precision: str, device_kind: str) -> str:
        """Integers are for the CPU, short floats for CUDA; elsewhere most would be turned there and back.

        Not every CUDA device has TensorFloat-32.
        """
        if device_kind == "cpu" and precision in ("tf32", "fp16"):
            return f"ONNX Runtime's CPU provider has no kernels in {precision}"
        if device_kind == "cuda" and precision == "int8":
            return "ONNX Runtime computes with eight-bit integers on the CPU; on CUDA tensorrt does"
        return came_later(precision) if device_kind == "cuda" else ""

    @classmethod
    def choices(cls, device_kind: str) -> Mapping[str, tuple[str, ...]]:
        """On a CUDA device which provider."""
        return {"provider": (_PROVIDERS["cuda"], _TENSORRT)} if device_kind == "cuda" else {}

    @classmethod
    def options(cls, device_kind: str, threads: int, precision: str) -> dict[str, str]:
        """The provider, how its threads wait between two runs, how numbers became integers, and no TF32."""
        together = threads > 1 and device_kind == "cpu"
        spinning = "between runs of a part alone" if together else "stopped between runs"
        chosen = {"provider": _PROVIDERS[device_kind], "spinning": spinning}
        if precision == "int8":
            chosen["quantisation"] = (
                "static, QDQ, uint8 activations, int8 weights by channel, min-max, no shared constants"
            )
        if device_kind == "cuda" and precision != "tf32":
            # TensorRT computes fp32 in TensorFloat-32 unless NVIDIA's own switch for the process forbids it.
            chosen[ENVIRONMENT_PREFIX + "NVIDIA_TF32_OVERRIDE"] = "0"
        return chosen

    def _prepare(self) -> None:
        self._cpus = bind_caller(self.setting)
        if self._provider() != CPU_PROVIDER:
            # Where its libraries do not work no part can be measured, and none is to be kept as a failure for that.
            self._session(export_graph(_TINY, None), alone=True)

    def _load(self, order: Order) -> Loaded:
        content = self._content(order)
        model = content if order.artefact is None else str(order.artefact)
        kind = self.setting.device.kind
        in_integers = self.setting.precision == "int8"
        plain = self._provider() == CPU_PROVIDER and not in_integers
        if plain and not order.alone:
            return OnnxRuntimeLoaded(order.graph, self._session(model, alone=False), kind)
        with tempfile.TemporaryDirectory() as folder:
            session = self._session(model, alone=order.alone, profile=Path(folder) / "placement")
            loaded = OnnxRuntimeLoaded(order.graph, session, kind)
            loaded.run()
            started_s = time.perf_counter()
            for done in range(1, _LOOKS if plain else 1):
                loaded.run()
                if done > 1 and time.perf_counter() - started_s > _LOOK_S:
                    break
            # From here on nothing is profiled any more, so the same session is timed.
            events = node_events(Path(session.end_profiling()).read_bytes())
        if plain:
            loaded.facts = {REORDERING: reordering(events)}
            return loaded
        told: dict[str, Any] = {"ran_elsewhere": ran_elsewhere(events, self._provider())}
        if in_integers:
            told["ran_in_floats"] = ran_in_floats(events)
        if self._provider() != CPU_PROVIDER and not order.alone:
            told["launch_unknown"] = _LAUNCHES_WITHIN
        loaded.facts = {name: found for name, found in told.items() if found}
        return loaded

    def _provider(self) -> str:
        """The one that is timed."""
        return dict(self.setting.options).get("provider", _PROVIDERS[self.setting.device.kind])

    def _content(self, order: Order) -> bytes:
        """The file, written where it is asked for."""
        if self.setting.precision != "int8":
            dtype = torch.float16 if self.setting.precision == "fp16" else None
            return export_graph(order.graph, order.weights, order.artefact, dtype)
        return quantise(
            export_graph(order.graph, order.weights),
            calibration_feeds(order.graph, order.calibration),
            reduce_range=overflows(self.setting.device.features),
            path=order.artefact,
        )

    def _node_profile(self, graph: Graph, weights: Sequence[Array] | None) -> NodeProfile:
        with tempfile.TemporaryDirectory() as folder:
            content = self._content(Order(graph, weights, None, None, alone=True))
            session = self._session(content, alone=True, profile=Path(folder) / "nodes")
            loaded = OnnxRuntimeLoaded(graph, session, self.setting.device.kind)
            for _ in range(NODE_RUNS):
                loaded.run()
            profile = Path(session.end_profiling()).read_bytes()
        runs = [event["dur"] for event in json.loads(profile) if event.get("name") == "model_run"]
        seen: dict[tuple[str, str], list[int]] = {}
        for event in node_events(profile):
            key = event["name"].removesuffix(TIMED), event["args"]["op_name"]
            seen.setdefault(key, []).append(event["dur"])
        nodes = [
            NodeTime(name, kind, settled_median(durations) * _MICROSECOND_S, operators_of(graph, name))
            for (name, kind), durations in seen.items()
        ]
        return NodeProfile(tuple(nodes), settled_median(runs) * _MICROSECOND_S)

    def _asked(self, provider: str) -> list[Any]:
        """The provider, with what is asked of it, and behind TensorRT's the one that takes what it leaves."""
        # fp32 means fp32: TensorFloat-32 is a precision of its own. TensorRT's provider has no option for it; see
        # `options`.
        cuda = (_PROVIDERS["cuda"], {"use_tf32": str(int(self.setting.precision == "tf32"))})
        if provider == _PROVIDERS["cuda"]:
            return [cuda]
        if provider == _TENSORRT:
            # Without it kernels in fp16 are not even tried, though the file is in fp16.
            return [(provider, {"trt_fp16_enable": str(int(self.setting.precision == "fp16"))}), cuda]
        return [provider]

    def _session(self, model: str | bytes, *, alone: bool, profile: Path | None = None) -> Any:
        import onnxruntime

        provider = self._provider()
        chosen = onnxruntime.SessionOptions()
        chosen.intra_op_num_threads = self.setting.threads
        chosen.inter_op_num_threads = 1
        chosen.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        chosen.log_severity_level = 3
        # Threads that go on spinning after a run take the cores from whatever is timed next, in turns with it.
        # Where nothing is, they must: to wake them takes 5 to 10 us, once in a network but in each run of a part.
        chosen.add_session_config_entry("session.force_spinning_stop", "0" if alone else "1")
        if self._cpus:
            # Those of its own threads, counted from 1; the calling one is the first.
            others = ";".join(str(cpu + 1) for cpu in self._cpus[1:])
            chosen.add_session_config_entry("session.intra_op_thread_affinities", others)
        if profile is not None:
            chosen.enable_profiling = True
            chosen.profile_file_prefix = str(profile)
        with refusals_told():
            session = onnxruntime.InferenceSession(model, chosen, providers=self._asked(provider))
        used = session.get_providers()
        # It falls back to the CPU without a word when the provider's libraries or device do not work.
        if not used or used[0] != provider:
            raise LatheError(
                f"ONNX Runtime was asked for {provider} but took {', '.join(used)}: the provider's libraries or "
                f"its device do not work here. {_needs(provider)}"
            )
        # Otherwise a pass that fails is run again by another provider, with no more than a printed line.
        session.disable_fallback()
        return session


def _needs(provider: str) -> str:
    """What a provider asks for, in words."""
    import onnxruntime

    # Of a build without CUDA it is empty.
    built = getattr(onnxruntime, "cuda_version", "")
    cuda = f"CUDA {built}" if built else "the CUDA that it was built for"
    more = " and TensorRT's libnvinfer" if provider == _TENSORRT else ""
    return (
        f"onnxruntime-gpu {onnxruntime.__version__} needs the libraries of {cuda}, cuDNN 9{more} where the loader "
        f"looks, and PyTorch here brings those of CUDA {torch.version.cuda or '(none)'}: install both for one "
        "major version of CUDA, or `pip install onnxruntime-gpu[cuda,cudnn]`."
    )
