"""OpenVINO on the CPU."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from bench.runtimes.base import (
    NODE_RUNS,
    SEED,
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
    torch_version,
)
from bench.runtimes.onnx_export import export_graph, operators_of
from bench.runtimes.pinning import is_pinned
from latency_tables.errors import LatheError
from latency_tables.graph import Graph

#: Precision → what OpenVINO calls it; it would otherwise choose bfloat16 by itself where the CPU has it.
_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}
_UNKNOWN_OPERATOR = re.compile(r"No conversion rule found for operations: ([^\s,]+)")


def _import_openvino() -> Any:
    """The package without its telemetry.

    Imported as it is, it starts a process that tells its vendor so over the network, which nobody asked for, and
    which would run, and outlive us, while something is timed. It does without where that package is missing.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: cannot be imported
    import openvino

    return openvino


class OpenVinoLoaded(Loaded):
    """An inference request whose inputs lie where they are read, so that no run copies them."""

    def __init__(self, graph: Graph, compiled: Any) -> None:
        super().__init__(graph)
        openvino = _import_openvino()
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        # The request does not own this memory.
        self._inputs = random_arrays(graph.inputs, SEED)
        for index, array in enumerate(self._inputs):
            self._request.set_input_tensor(index, openvino.Tensor(array, shared_memory=True))

    def run(self) -> None:
        """One forward pass; OpenVINO returns when it is done."""
        self._request.infer()

    def node_totals_s(self, runs: int) -> dict[tuple[str, str], float]:
        """Name and kind of each node → what it took in all runs so far; only where it was compiled for that.

        OpenVINO keeps one mean over all runs since it was compiled, in whole microseconds, cut off.
        """
        return {
            (told.node_name, told.node_type): runs * told.real_time.total_seconds()
            for told in self._request.profiling_info
        }

    def _infer(self, inputs: Sequence[Array]) -> list[Array]:
        request = self._compiled.create_infer_request()
        found = request.infer(dict(enumerate(inputs)), share_inputs=False, share_outputs=False)
        return [found[output] for output in self._compiled.outputs]

    def _close(self) -> None:
        del self._request, self._compiled, self._inputs


class OpenVino(Runtime):
    """OpenVINO's CPU device, one stream, tuned for latency."""

    name = "openvino"
    loads_file = True
    device_kinds = ("cpu",)
    precisions = tuple(_PRECISIONS)
    tells_nodes_on = ("cpu",)

    @classmethod
    def availability(cls, device_kind: str) -> Availability:  # noqa: ARG003 - there is only the CPU
        """Usable where the package is installed."""
        if importlib.util.find_spec("openvino") is None:
            return Availability(
                False,
                "the package openvino is not installed",
                "Install it with `pip install lathe[openvino]`.",
            )
        try:
            found = _import_openvino().Core().available_devices
        except Exception as error:  # noqa: BLE001 - broken native libraries raise whatever they like
            return Availability(
                False,
                f"openvino cannot be imported: {error}",
                "Reinstall it, or repair the library it names.",
            )
        if "CPU" not in found:
            return Availability(
                False, "openvino finds no CPU it knows", "Reinstall openvino for this machine."
            )
        return Availability(True)

    @classmethod
    def lacks(cls, precision: str, device_kind: str) -> str:
        """bfloat16 is only asked for where the CPU has it: elsewhere OpenVINO computes in fp32."""
        able = _import_openvino().Core().get_property(device_kind.upper(), "OPTIMIZATION_CAPABILITIES")
        if precision.upper() in able:
            return ""
        return f"this CPU has no {precision}, and openvino would compute in another one without a word"

    @classmethod
    def versions(cls) -> tuple[tuple[str, str], ...]:
        """OpenVINO's version, and PyTorch's, whose exporter makes the file."""
        return (("openvino", installed_version("openvino")), ("torch", torch_version()))

    @classmethod
    def options(cls, device_kind: str, threads: int, precision: str) -> dict[str, str]:  # noqa: ARG003 - the same for all
        """What is asked of it."""
        return {"hint": "latency", "streams": "1"}

    def _prepare(self) -> None:
        self._core = _import_openvino().Core()

    def _load(self, order: Order) -> Loaded:
        content = export_graph(order.graph, order.weights, order.artefact)
        return OpenVinoLoaded(order.graph, self._compiled(content))

    def _node_profile(self, graph: Graph, weights: Sequence[Array] | None) -> NodeProfile:
        """Means, since OpenVINO tells no more; each node's is right to two microseconds."""
        compiled = self._compiled(export_graph(graph, weights), {"PERF_COUNT": True})
        made = {
            node.get_friendly_name(): str(node.get_rt_info()["originalLayersNames"].astype(str))
            for node in compiled.get_runtime_model().get_ordered_ops()
        }
        settling = NODE_RUNS // 3
        counted = NODE_RUNS - settling
        with OpenVinoLoaded(graph, compiled) as loaded:
            loaded.clock.elapsed_s(loaded.run, settling)
            before_s = loaded.node_totals_s(settling)
            whole_s = loaded.clock.elapsed_s(loaded.run, counted) / counted
            after_s = loaded.node_totals_s(NODE_RUNS)
        nodes = [
            NodeTime(name, kind, seconds, operators_of(graph, name, *made.get(name, "").split(",")))
            for (name, kind), total_s in after_s.items()
            # None at all: it did not run, or for less than can be told.
            if (seconds := (total_s - before_s[name, kind]) / counted) > 0
        ]
        return NodeProfile(tuple(nodes), whole_s)

    def _compiled(self, content: bytes, more: Mapping[str, object] | None = None) -> Any:
        asked = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.setting.threads,
            "ENABLE_CPU_PINNING": is_pinned(self.setting),
            "INFERENCE_PRECISION_HINT": _PRECISIONS[self.setting.precision],
            **(more or {}),
        }
        try:
            model = self._core.read_model(content, b"")
            compiled = self._core.compile_model(model, "CPU", asked)
        except RuntimeError as error:
            unknown = _UNKNOWN_OPERATOR.search(str(error))
            if unknown:
                detail = "its reader of ONNX files has no rule for it"
                raise UnsupportedOperatorError(unknown[1], "OpenVINO", detail) from error
            raise LatheError(f"OpenVINO refuses the network: {error}") from error
        threads = compiled.get_property("INFERENCE_NUM_THREADS")
        if threads != self.setting.threads:
            raise LatheError(f"OpenVINO was asked for {self.setting.threads} threads but took {threads}.")
        return compiled
