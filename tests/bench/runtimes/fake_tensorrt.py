"""As much of TensorRT as the adapter uses, with ONNX Runtime doing the work on the CPU."""

from __future__ import annotations

import ctypes
import enum
import json
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime


class Severity(enum.Enum):
    INTERNAL_ERROR, ERROR, WARNING = range(3)


class ILogger:
    Severity = Severity


class IProfiler: ...


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(enum.Enum):
    TF32, DISABLE_TIMING_CACHE = range(2)


class DataType(enum.Enum):
    FLOAT, HALF, INT32, INT64, BOOL = "float32", "float16", "int32", "int64", "bool"


class Config:
    def __init__(self, trt: FakeTensorRt) -> None:
        self.trt = trt
        self.flags = {BuilderFlag.TF32}
        self.profiling_verbosity = "names"
        self.timings: bytes | None = None

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        assert size > 0

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.discard(flag)

    def create_timing_cache(self, content: bytes) -> bytes | None:
        return None if content.startswith(b"unreadable") else content

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        if cache.startswith(b"of another device") and not ignore_mismatch:
            return False
        self.timings = cache
        return True

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: (self.timings or b"") + b"t")


def layer_name(number: int) -> str:
    """What a layer is called; it tells nothing of the nodes in it."""
    return f"__myl_{number}"


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.addresses: dict[str, int] = {}
        self.profiler: Any = None
        self.enqueue_emits_profile = True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream != 0, "on the default stream TensorRT waits for the device in each pass"
        session = self.engine.session
        feed = {put.name: self._array(put) for put in session.get_inputs()}
        for put, array in zip(session.get_outputs(), session.run(None, feed), strict=True):
            self._array(put)[...] = array
        if self.profiler is not None and self.enqueue_emits_profile:
            self.report_to_profiler()
        return True

    def report_to_profiler(self) -> bool:
        for number in range(len(self.engine.nodes)):
            self.profiler.report_layer_time(layer_name(number), self.layer_ms(number))
        self.profiler.report_layer_time("Reformatting CopyNode for Input Tensor 0", self.layer_ms(0) / 2)
        return True

    def layer_ms(self, number: int) -> float:
        """What a layer is said to have taken in the last pass."""
        return 1.0 + number

    def _array(self, put: Any) -> np.ndarray:
        dtype = np.dtype(self.engine.dtype(put.name))
        size = int(np.prod(put.shape)) * dtype.itemsize
        memory = (ctypes.c_byte * size).from_address(self.addresses[put.name])
        return np.frombuffer(memory, dtype).reshape(put.shape)


class Engine:
    def __init__(self, plan: bytes) -> None:
        number, verbosity, content = plan.removeprefix(b"plan of ").split(b"|", 2)
        self.build, self.detailed = int(number), verbosity == b"detailed"
        self.session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        self.nodes = [node for node in onnx.load_from_string(content).graph.node if "/o" in node.name]
        self.puts = [*self.session.get_inputs(), *self.session.get_outputs()]
        self.num_io_tensors = len(self.puts)

    def get_tensor_name(self, index: int) -> str:
        return str(self.puts[index].name)

    def get_tensor_shape(self, name: str) -> list[int]:
        return next(put.shape for put in self.puts if put.name == name)

    def dtype(self, name: str) -> str:
        (told,) = [put.type for put in self.puts if put.name == name]
        return {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64"}[told]

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType(self.dtype(name))

    def create_execution_context(self) -> Context:
        return Context(self)

    def create_engine_inspector(self) -> Any:
        names = [layer_name(number) for number in range(len(self.nodes))]
        detailed = [
            {"Name": name, "Metadata": f"[ONNX Layer: {node.name}]"}
            for name, node in zip(names, self.nodes, strict=True)
        ]
        layers = [*detailed, "bare name"] if self.detailed else names
        return SimpleNamespace(get_engine_information=lambda form: json.dumps({"Layers": layers}))


class FakeTensorRt(ModuleType):
    """The package; `configs` are those that something was built with."""

    __version__ = "11.0.0"
    ILogger, IProfiler = ILogger, IProfiler
    NetworkDefinitionCreationFlag, BuilderFlag, DataType = (
        NetworkDefinitionCreationFlag,
        BuilderFlag,
        DataType,
    )
    MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")
    LayerInformationFormat = SimpleNamespace(JSON="json")

    def __init__(self) -> None:
        super().__init__("tensorrt")
        self.configs: list[Config] = []
        self.fails_to_build = ""
        trt = self

        class Builder:
            def __init__(self, log: Any) -> None:
                self.log = log

            def create_network(self, flags: int) -> dict[str, bytes]:
                assert flags == 1 << 1, "strongly typed"
                return {}

            def create_builder_config(self) -> Config:
                return Config(trt)

            def build_serialized_network(self, network: dict[str, bytes], config: Config) -> bytes | None:
                if trt.fails_to_build:
                    self.log.log(Severity.ERROR, trt.fails_to_build)
                    self.log.log(Severity.WARNING, "not this")
                    return None
                trt.configs.append(config)
                head = f"plan of {len(trt.configs)}|{config.profiling_verbosity}|"
                return head.encode() + network["content"]

        class OnnxParser:
            def __init__(self, network: dict[str, bytes], log: Any) -> None:
                self.network = network
                self.errors: list[Any] = []
                self.num_errors = 0

            def parse(self, content: bytes) -> bool:
                self.network["content"] = content
                kinds = [node.op_type for node in onnx.load_from_string(content).graph.node]
                if "Erf" in kinds:
                    self.errors.append(
                        SimpleNamespace(
                            code=lambda: "ErrorCode.UNSUPPORTED_NODE",
                            node_operator=lambda: "Erf",
                            desc=lambda: "no importer",
                        )
                    )
                self.num_errors = len(self.errors)
                return not self.errors

            def get_error(self, index: int) -> Any:
                return self.errors[index]

        class Runtime:
            def __init__(self, log: Any) -> None: ...

            def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
                return Engine(plan) if plan.startswith(b"plan of ") else None

        self.Builder, self.OnnxParser, self.Runtime = Builder, OnnxParser, Runtime
