"""ONNX Runtime, through any of its execution providers."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.runtimes.base import (
    SEED,
    Array,
    Availability,
    Loaded,
    Runtime,
    UnsupportedOperatorError,
    installed_version,
    random_arrays,
)
from bench.runtimes.onnx_export import export_onnx
from bench.runtimes.torch_graph import build_module
from latency_tables.errors import LatheError
from latency_tables.graph import Graph

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRuntimeLoaded(Loaded):
    """A session with its inputs and outputs bound, so that no run copies or allocates them."""

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
            self._binding.bind_ortvalue_output(
                output.name,
                onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                    type_.shape, np.dtype(type_.dtype).type, device_kind, 0
                ),
            )

    def run(self) -> None:
        """One forward pass; ONNX Runtime returns when its device is done."""
        self._session.run_with_iobinding(self._binding)

    def _infer(self, inputs: Sequence[Array]) -> list[Array]:
        outputs: list[Array] = self._session.run(None, self._feed(inputs))
        return outputs

    def _feed(self, arrays: Sequence[Array]) -> dict[str, Array]:
        wanted = [found.name for found in self._session.get_inputs()]
        return dict(zip(wanted, arrays, strict=True))

    def _close(self) -> None:
        del self._binding, self._session


class OnnxRuntime(Runtime):
    """ONNX Runtime; the setting's option ``provider`` says which execution provider."""

    name = "onnxruntime"
    loads_file = True
    device_kinds = ("cpu", "cuda")

    @classmethod
    def availability(cls, device_kind: str) -> Availability:
        """Usable where the package is installed and was built with the provider.

        Whether a provider's own libraries and device work shows only when a session is made.
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
        if device_kind == "cuda" and not Path("/dev/nvidia0").exists():
            return Availability(
                False,
                "no NVIDIA device is present",
                "Check with nvidia-smi that the driver is loaded and the container was given the device.",
            )
        if device_kind == "cuda" and not torch.cuda.is_available():
            return Availability(
                False,
                f"PyTorch {torch.__version__} sees no CUDA device, and lathe asks it which device is there",
                "Install a CUDA build of PyTorch.",
            )
        return Availability(True)

    @classmethod
    def versions(cls) -> tuple[tuple[str, str], ...]:
        """ONNX Runtime's version, and PyTorch's, whose exporter makes the file."""
        return (
            ("onnxruntime", installed_version("onnxruntime", "onnxruntime-gpu")),
            ("torch", version("torch")),
        )

    @classmethod
    def options(cls, device_kind: str, threads: int) -> dict[str, str]:
        """The provider, and how its threads wait between two runs."""
        together = threads > 1 and device_kind == "cpu"
        spinning = "between runs of a part alone" if together else "stopped between runs"
        return {"provider": _PROVIDERS[device_kind], "spinning": spinning}

    def _load(
        self, graph: Graph, weights: Sequence[Array] | None, artefact: Path | None, *, alone: bool
    ) -> Loaded:
        inputs = tuple(torch.from_numpy(array) for array in random_arrays(graph.inputs))
        content = export_onnx(build_module(graph, weights), inputs, outputs=len(graph.outputs), path=artefact)
        session = self._session(str(artefact) if artefact is not None else content, alone=alone)
        return OnnxRuntimeLoaded(graph, session, self.setting.device.kind)

    def _session(self, model: str | bytes, *, alone: bool) -> Any:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as states

        provider = dict(self.setting.options).get("provider", _PROVIDERS[self.setting.device.kind])
        chosen = onnxruntime.SessionOptions()
        chosen.intra_op_num_threads = self.setting.threads
        chosen.inter_op_num_threads = 1
        chosen.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        chosen.log_severity_level = 3
        # Threads that go on spinning after a run take the cores from whatever is timed next, in turns with it.
        # Where nothing is, they must: to wake them takes 5 to 10 us, once in a network but in each run of a part.
        chosen.add_session_config_entry("session.force_spinning_stop", "0" if alone else "1")
        try:
            # fp32 means fp32: TensorFloat-32 is a precision of its own.
            asked = (provider, {"use_tf32": "0"}) if provider == _PROVIDERS["cuda"] else provider
            session = onnxruntime.InferenceSession(model, chosen, providers=[asked])
        except states.NotImplemented as error:
            raise UnsupportedOperatorError(_operator_of(str(error)), "ONNX Runtime", str(error)) from error
        except (states.Fail, states.InvalidGraph, states.InvalidArgument, states.RuntimeException) as error:
            raise LatheError(f"ONNX Runtime refuses the network: {error}") from error
        used = session.get_providers()
        # It falls back to the CPU without a word when the provider's libraries or device do not work.
        if not used or used[0] != provider:
            raise LatheError(
                f"ONNX Runtime was asked for {provider} but took {', '.join(used)}: the provider's libraries or "
                "its device do not work here. Run `lathe devices`, or choose another device."
            )
        return session


def _operator_of(message: str) -> str:
    """The operator in "Could not find an implementation for Name(17) node ..."."""
    _, _, rest = message.partition("implementation for ")
    return rest.partition("(")[0] or "of the graph"
