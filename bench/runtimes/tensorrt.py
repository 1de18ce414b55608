"""TensorRT: an ONNX file, read into a strongly typed network and built into an engine.

Written against the Python bindings of TensorRT 10.15 and 11.0, whose names and signatures a contract test checks
(``pytest -m tensorrt_contract``). It has not yet run on hardware.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import time
from collections.abc import Mapping, Sequence
from statistics import median
from types import ModuleType
from typing import Any, ClassVar

import torch

from bench.runtimes.base import (
    NODE_RUNS,
    Array,
    Availability,
    Loaded,
    NodeProfile,
    NodeTime,
    Order,
    Runtime,
    UnsupportedOperatorError,
    installed_version,
    random_arrays,
    settled_median,
    torch_version,
)
from bench.runtimes.cuda import (
    CHOICES,
    CudaClock,
    cache_flush,
    came_later,
    capture,
    launch_facts,
    leave_default_stream,
)
from bench.runtimes.engine_cache import EngineCache, cache_folder
from bench.runtimes.onnx_export import export_graph, input_names, operators_of, output_names
from bench.runtimes.onnx_int8 import calibration_feeds, quantise
from latency_tables.errors import LatheError, StorageError
from latency_tables.graph import Graph

#: Numbers of the exported file, by precision; int8 stands in its Q/DQ pairs, and the rest is fp32.
_DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "int8": torch.float32}
#: Where inputs and outputs lie.
DEVICE = "cuda"
_WORKSPACE_BYTES = 4 << 30
_BUILDS = ("1", "3", "5")
# Runs by which builds are compared.
_JUDGED = 30


def stream() -> int:
    """PyTorch's current stream, on which its events and captures wait."""
    return int(torch.cuda.current_stream().cuda_stream)


class Built:
    """An engine with its inputs and outputs on the device.

    Args:
        trt: the package.
        plan: what the builder made.
        graph: what it computes.
        log: the logger, see `_logger`.
    """

    def __init__(self, trt: ModuleType, plan: bytes, graph: Graph, log: Any) -> None:
        self._trt, self._log = trt, log
        engine = trt.Runtime(log).deserialize_cuda_engine(plan)
        if engine is None:
            raise LatheError(f"TensorRT cannot load the engine that it built: {log.text()}")
        self._engine = engine
        self._context = engine.create_execution_context()
        if self._context is None:
            raise LatheError(f"TensorRT cannot run the engine that it built: {log.text()}")
        dtypes = {
            trt.DataType.FLOAT: torch.float32,
            trt.DataType.HALF: torch.float16,
            trt.DataType.INT32: torch.int32,
            trt.DataType.INT64: torch.int64,
            trt.DataType.BOOL: torch.bool,
        }
        self._places: dict[str, torch.Tensor] = {}
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            shape = tuple(engine.get_tensor_shape(name))
            place = torch.zeros(shape, dtype=dtypes[engine.get_tensor_dtype(name)], device=DEVICE)
            self._context.set_tensor_address(name, place.data_ptr())
            self._places[name] = place
        self._inputs = input_names(len(graph.inputs))
        self._outputs = output_names(len(graph.outputs))
        self.fill(random_arrays(graph.inputs))

    def fill(self, arrays: Sequence[Array]) -> None:
        """Puts inputs where the engine reads them, in its own types."""
        for name, array in zip(self._inputs, arrays, strict=True):
            self._places[name].copy_(torch.from_numpy(array))

    def outputs(self) -> list[torch.Tensor]:
        """Where the engine leaves its outputs."""
        return [self._places[name] for name in self._outputs]

    def run(self) -> None:
        """Issues one forward pass on PyTorch's stream."""
        if not self._context.execute_async_v3(stream()):
            # Where the device is lost PyTorch says so here, in the words by which the worker knows it.
            torch.cuda.synchronize()
            raise LatheError(f"TensorRT could not issue a forward pass: {self._log.text()}")

    def layer_times(self, runs: int) -> tuple[dict[str, list[float]], list[float]]:
        """Seconds of each layer, in the order of execution, and of each whole run, by TensorRT's own account."""
        profiler = _profiler(self._trt)
        self._context.profiler = profiler
        # Otherwise a pass ends when all of its layers are reported, and that would be timed.
        self._context.enqueue_emits_profile = False
        clock = CudaClock(queued=False)
        whole = []
        for _ in range(runs):
            whole.append(clock.elapsed_s(self.run, 1))
            if not self._context.report_to_profiler():
                raise LatheError(f"TensorRT does not tell what its layers took: {self._log.text()}")
        return profiler.seconds, whole

    def origins(self) -> dict[str, str]:
        """For each layer what the engine tells of the ONNX nodes in it."""
        inspector = self._engine.create_engine_inspector()
        told = json.loads(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))
        layers = [layer for layer in told.get("Layers", ()) if isinstance(layer, dict)]
        return {layer["Name"]: str(layer.get("Metadata", "")) for layer in layers if "Name" in layer}


class TensorRtLoaded(Loaded):
    """An engine ready to run; of a whole network `facts` tell of its builds and of what launching it costs.

    Args:
        graph: what it computes.
        built: the engine that is timed.
        options: of the setting.
    """

    def __init__(self, graph: Graph, built: Built, options: Mapping[str, str]) -> None:
        super().__init__(graph)
        self._built = built
        self._captured = capture(built.run) if options["launch"] == "graph" else None
        flush = cache_flush() if options["cache"] == "cold" else None
        self.clock = CudaClock(queued=options["launch"] != "issued", flush=flush)

    def run(self) -> None:
        """One forward pass is issued; `clock` waits for it."""
        if self._captured is not None:
            self._captured.replay()
        else:
            self._built.run()

    def _infer(self, inputs: Sequence[Array]) -> list[Array]:
        self._built.fill(inputs)
        self.run()
        torch.cuda.synchronize()
        wanted = [self.graph.type_of(value).dtype for value in self.graph.outputs]
        return [
            output.to(getattr(torch, dtype)).cpu().numpy()
            for output, dtype in zip(self._built.outputs(), wanted, strict=True)
        ]

    def _close(self) -> None:
        del self._built, self._captured


class TensorRt(Runtime):
    """TensorRT with strongly typed networks: every layer computes in the types of the ONNX file."""

    name = "tensorrt"
    loads_file = True
    device_kinds = ("cuda",)
    precisions = tuple(_DTYPES)
    calibrated = ("int8",)
    tells_nodes_on = ("cuda",)
    remarks: ClassVar[Mapping[str, str]] = {
        "cuda": "written against the real bindings of 10.15 and 11.0, not yet run on hardware"
    }

    @classmethod
    def availability(cls, device_kind: str) -> Availability:  # noqa: ARG003 - there is only CUDA
        """Usable where the bindings find their libraries, and PyTorch a device."""
        if importlib.util.find_spec("tensorrt") is None:
            return Availability(
                False,
                "the package tensorrt is not installed",
                "Install it with `pip install lathe[tensorrt]`.",
            )
        try:
            importlib.import_module("tensorrt")
        except Exception as error:  # noqa: BLE001 - broken native libraries raise whatever they like
            return Availability(
                False,
                f"tensorrt cannot be imported: {error}",
                "Its native libraries come from the vendor; see that libnvinfer is where the loader looks.",
            )
        if not torch.cuda.is_available():
            return Availability(
                False,
                f"PyTorch {torch.__version__} sees no CUDA device, and lathe's engines read and write its tensors",
                "Install a CUDA build of PyTorch on a machine with an NVIDIA device.",
            )
        return Availability(True)

    @classmethod
    def lacks(cls, precision: str, device_kind: str) -> str:  # noqa: ARG003 - there is only CUDA
        """Its file in int8 is made by ONNX Runtime's quantiser; not every device has TensorFloat-32."""
        if precision == "int8" and importlib.util.find_spec("onnxruntime") is None:
            return "the file in int8 is made by onnxruntime, which is not installed"
        return came_later(precision)

    @classmethod
    def versions(cls) -> tuple[tuple[str, str], ...]:
        """TensorRT's version, and PyTorch's, whose exporter makes the file."""
        return (
            ("tensorrt", installed_version("tensorrt", "tensorrt-cu13", "tensorrt-cu12")),
            ("torch", torch_version()),
        )

    @classmethod
    def choices(cls, device_kind: str) -> Mapping[str, tuple[str, ...]]:  # noqa: ARG003 - there is only CUDA
        """How launches are timed, whether the cache is warm, and how often a whole network is built."""
        return {"launch": CHOICES["launch"], "cache": CHOICES["cache"], "builds": _BUILDS}

    def _prepare(self) -> None:
        leave_default_stream()
        self._trt = importlib.import_module("tensorrt")
        self._log = _logger(self._trt)
        device = self.setting.device
        valid_for = {
            "device": device.name,
            "compute": ",".join(device.features),
            "driver": device.driver,
            "tensorrt": str(self._trt.__version__),
        }
        self._cache = EngineCache(cache_folder(), valid_for)
        self._unkept: dict[str, str] = {}

    def _load(self, order: Order) -> Loaded:
        content = self._content(order)
        if order.alone:
            loaded = self._ready(self._kept(content), order.graph)
            loaded.facts = dict(self._unkept)
            return loaded
        loaded, builds = self._middle_build(content, order.graph)
        # Of what is timed, so with its launches captured where they are.
        loaded.facts = {**builds, **launch_facts(loaded.run), **self._unkept}
        return loaded

    def _ready(self, plan: bytes, graph: Graph) -> TensorRtLoaded:
        """An engine, to be run and timed as the setting asks."""
        return TensorRtLoaded(graph, Built(self._trt, plan, graph, self._log), dict(self.setting.options))

    def _content(self, order: Order) -> bytes:
        """The ONNX file in the setting's types, written where it is asked for."""
        if self.setting.precision != "int8":
            return export_graph(
                order.graph, order.weights, order.artefact, dtype=_DTYPES[self.setting.precision]
            )
        return quantise(
            export_graph(order.graph, order.weights),
            calibration_feeds(order.graph, order.calibration),
            symmetric=True,
            path=order.artefact,
        )

    def _kept(self, content: bytes) -> bytes:
        """The engine of a file, from the cache if it was built before."""
        key = f"{self.setting.precision} {hashlib.sha256(content).hexdigest()}"
        plan = self._cache.read("engine", key)
        if plan is None:
            plan = self._build(content, timed_before=True)
            self._keep("engine", plan, key)
        return plan

    def _keep(self, kind: str, content: bytes, key: str = "") -> None:
        """Writes into the cache; where that cannot be, it costs time and no part, and `Loaded.facts` say why."""
        try:
            self._cache.write(kind, content, key)
        except StorageError as refused:
            # Its cause alone: what it advises is for the folder of a run.
            self._unkept = {"unkept": str(refused.__cause__ or refused)}

    def _middle_build(self, content: bytes, graph: Graph) -> tuple[TensorRtLoaded, dict[str, Any]]:
        """Builds a network anew as often as asked; the middle one, and facts that tell how far builds are apart.

        Timings of earlier builds would make the builder choose the same kernels again, so they are not used. Builds
        are judged in the way in which the middle one will be timed, by another the middle may be another.
        """
        plans: list[bytes] = []
        build_s, builds_s = [], []
        for _ in range(int(dict(self.setting.options)["builds"])):
            started_s = time.perf_counter()
            plans.append(self._build(content, timed_before=False))
            build_s.append(time.perf_counter() - started_s)
            # One engine at a time lies on the device.
            with self._ready(plans[-1], graph) as loaded:
                builds_s.append(median(loaded.clock.elapsed_s(loaded.run, 1) for _ in range(_JUDGED)))
        # Their number is odd, so the median is one of them.
        middle = plans[builds_s.index(median(builds_s))]
        return self._ready(middle, graph), {"compile_s": median(build_s), "builds_s": builds_s}

    def _build(self, content: bytes, *, timed_before: bool) -> bytes:
        trt, log = self._trt, self._log
        log.clear()
        builder = trt.Builder(log)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, log)
        if not parser.parse(content):
            raise _refusal([parser.get_error(index) for index in range(parser.num_errors)])
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _WORKSPACE_BYTES)
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if self.setting.precision != "tf32":
            # It is on by default, and fp32 means fp32.
            config.clear_flag(trt.BuilderFlag.TF32)
        if timed_before:
            self._use_timings(config)
        else:
            config.set_flag(trt.BuilderFlag.DISABLE_TIMING_CACHE)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise LatheError(f"TensorRT cannot build the network: {log.text()}")
        if timed_before:
            self._keep("timings", bytes(config.get_timing_cache().serialize()))
        return bytes(plan)

    def _use_timings(self, config: Any) -> None:
        """Lets the builder use the timings of earlier builds, or begins them afresh where it cannot."""
        try:
            kept = self._cache.read("timings") or b""
        except LatheError:
            # A damaged file costs its timings, which are taken again, and no part.
            kept = b""
        for content in (kept, b""):
            timings = config.create_timing_cache(content)
            if timings is not None and config.set_timing_cache(timings, ignore_mismatch=False):
                return
        raise LatheError(f"TensorRT takes not even an empty cache of timings: {self._log.text()}")

    def _node_profile(self, graph: Graph, weights: Sequence[Array] | None) -> NodeProfile:
        content = self._content(Order(graph, weights, None, None, alone=True))
        built = Built(self._trt, self._kept(content), graph, self._log)
        seconds, whole = built.layer_times(NODE_RUNS)
        origins = built.origins()
        nodes = [
            NodeTime(name, "layer", settled_median(times), operators_of(graph, name, origins.get(name, "")))
            for name, times in seconds.items()
        ]
        return NodeProfile(tuple(nodes), settled_median(whole))


def _refusal(errors: Sequence[Any]) -> LatheError:
    """What the parser has against a file; the operator by name where that is it."""
    for error in errors:
        if "UNSUPPORTED_NODE" in str(error.code()):
            return UnsupportedOperatorError(error.node_operator(), "TensorRT", error.desc())
    told = "; ".join(error.desc() for error in errors) or "it does not say why"
    return LatheError(f"TensorRT cannot read the network: {told}")


def _logger(trt: ModuleType) -> Any:
    """Keeps what TensorRT complains of."""

    class Log(trt.ILogger):  # type: ignore[misc, name-defined] # the package has no types
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._said: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self._said.append(msg)

        def text(self) -> str:
            return "; ".join(self._said[-3:]) or "it does not say why"

        def clear(self) -> None:
            self._said.clear()

    return Log()


def _profiler(trt: ModuleType) -> Any:
    """Collects what TensorRT reports of each layer."""

    class Profiler(trt.IProfiler):  # type: ignore[misc, name-defined] # the package has no types
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.seconds: dict[str, list[float]] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.seconds.setdefault(layer_name, []).append(ms * 1e-3)

    return Profiler()
