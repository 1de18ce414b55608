"""PyTorch as it is, operator by operator, on the CPU or on a CUDA device."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from bench.runtimes.base import Array, Availability, Loaded, Runtime, random_arrays
from bench.runtimes.cuda import CudaClock
from bench.runtimes.torch_graph import build_module
from latency_tables.errors import LatheError
from latency_tables.graph import Graph


class EagerLoaded(Loaded):
    """A graph as a PyTorch module in inference mode."""

    def __init__(self, graph: Graph, weights: Sequence[Array] | None, device: str) -> None:
        super().__init__(graph)
        self._device = device
        with torch.inference_mode():
            self._module = build_module(graph, weights, device)
            self._inputs = self._tensors(random_arrays(graph.inputs))
        if device == "cuda":
            self.clock = CudaClock()

    def run(self) -> None:
        """One forward pass; on a CUDA device it is issued, and `clock` waits for it."""
        with torch.inference_mode():
            self._module(*self._inputs)

    def _infer(self, inputs: Sequence[Array]) -> list[Array]:
        with torch.inference_mode():
            return [output.cpu().numpy() for output in self._module(*self._tensors(inputs))]

    def _tensors(self, arrays: Sequence[Array]) -> list[torch.Tensor]:
        return [torch.tensor(array, device=self._device) for array in arrays]

    def _close(self) -> None:
        del self._module, self._inputs


class Eager(Runtime):
    """PyTorch's eager mode."""

    name = "eager"
    device_kinds = ("cpu", "cuda")

    @classmethod
    def availability(cls, device_kind: str) -> Availability:
        """Usable on the CPU always, on CUDA where PyTorch sees a device."""
        if device_kind == "cpu" or torch.cuda.is_available():
            return Availability(True)
        if torch.version.cuda is None:
            return Availability(
                False,
                f"PyTorch {torch.__version__} was built without CUDA",
                "Install a CUDA build of PyTorch on a machine with an NVIDIA device.",
            )
        return Availability(
            False,
            f"PyTorch was built for CUDA {torch.version.cuda}, but sees no device",
            "Check with nvidia-smi that the driver is loaded and CUDA_VISIBLE_DEVICES does not hide the device.",
        )

    @classmethod
    def versions(cls) -> tuple[tuple[str, str], ...]:
        """PyTorch's version."""
        return (("torch", version("torch")),)

    def _prepare(self) -> None:
        torch.set_num_threads(self.setting.threads)
        # fp32 means fp32: TensorFloat-32 is a precision of its own.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        if torch.get_num_interop_threads() != 1:
            try:
                torch.set_num_interop_threads(1)
            except RuntimeError as error:
                raise LatheError(
                    "PyTorch's thread pools were in use before they could be set; "
                    "measure through bench.session, which starts a fresh process."
                ) from error

    def _load(
        self,
        graph: Graph,
        weights: Sequence[Array] | None,
        artefact: Path | None,
        *,
        alone: bool,  # noqa: ARG002 - it has no such switch
    ) -> Loaded:
        if artefact is not None:
            raise LatheError(f"eager loads no file, so none can be written to {artefact}.")
        return EagerLoaded(graph, weights, self.setting.device.kind)
