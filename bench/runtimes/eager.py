"""PyTorch as it is, operator by operator, on the CPU or on a CUDA device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch

from bench.runtimes.base import Array, Availability, Loaded, Order, Runtime, random_arrays, torch_version
from bench.runtimes.cuda import CHOICES, DTYPES, CudaClock, cache_flush, came_later, capture, launch_facts
from bench.runtimes.torch_graph import build_module
from latency_tables.errors import LatheError
from latency_tables.setting import Setting

_LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}


class EagerLoaded(Loaded):
    """A graph as a PyTorch module in inference mode.

    On a CUDA device `facts` tell of a whole network what it costs queued and issued, or why that is not known; see
    `bench.runtimes.cuda.launch_facts`.

    Args:
        order: what to make ready.
        setting: device, precision, layout and options.
    """

    def __init__(self, order: Order, setting: Setting) -> None:
        super().__init__(order.graph)
        self._device, self._dtype = setting.device.kind, DTYPES[setting.precision]
        self._layout = _LAYOUTS[setting.layout]
        with torch.inference_mode():
            module = build_module(order.graph, order.weights, self._device, dtype=self._dtype)
            self._module = module.to(memory_format=self._layout)  # type: ignore[call-overload] # not in the stubs
            self._inputs = self._tensors(random_arrays(order.graph.inputs))
            self._forward = self._made(self._module)
            self._outputs: tuple[torch.Tensor, ...] = ()
            self._captured: torch.cuda.CUDAGraph | None = None
            if self._device == "cuda":
                self._on_cuda(dict(setting.options), alone=order.alone)

    def run(self) -> None:
        """One forward pass; on a CUDA device it is issued, and `clock` waits for it."""
        if self._captured is not None:
            self._captured.replay()
            return
        with torch.inference_mode():
            self._forward(*self._inputs)

    def _made(self, module: torch.nn.Module) -> Callable[..., Any]:
        """What a forward pass calls."""
        return module

    def _on_cuda(self, options: Mapping[str, str], *, alone: bool) -> None:
        if options["launch"] == "graph":
            self._captured = capture(self._forward_kept)
        if not alone:
            # After capturing, so that it is the cost of what is timed.
            self.facts = {**self.facts, **launch_facts(self.run)}
        flush = cache_flush() if options["cache"] == "cold" else None
        self.clock = CudaClock(queued=options["launch"] != "issued", flush=flush)

    def _forward_kept(self) -> None:
        """A forward pass whose outputs stay, where a captured graph will leave those of its replays."""
        self._outputs = self._forward(*self._inputs)

    def _infer(self, inputs: Sequence[Array]) -> list[Array]:
        with torch.inference_mode():
            if self._captured is None:
                outputs = self._forward(*self._tensors(inputs))
            else:
                for place, tensor in zip(self._inputs, self._tensors(inputs), strict=True):
                    place.copy_(tensor)
                self._captured.replay()
                outputs = self._outputs
            wanted = [self.graph.type_of(value).dtype for value in self.graph.outputs]
            return [
                output.to(getattr(torch, dtype)).cpu().numpy()
                for output, dtype in zip(outputs, wanted, strict=True)
            ]

    def _tensors(self, arrays: Sequence[Array]) -> list[torch.Tensor]:
        return [self._placed(torch.tensor(array, device=self._device)) for array in arrays]

    def _placed(self, tensor: torch.Tensor) -> torch.Tensor:
        """In the precision and, where it is an image, the layout that are timed."""
        if tensor.dtype == torch.float32:
            tensor = tensor.to(self._dtype)
        return tensor.contiguous(memory_format=self._layout) if tensor.ndim == 4 else tensor

    def _close(self) -> None:
        del self._module, self._inputs, self._forward, self._outputs, self._captured


class Eager(Runtime):
    """PyTorch's eager mode."""

    name = "eager"
    device_kinds: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    precisions = tuple(DTYPES)
    openmp = True
    remarks: ClassVar[Mapping[str, str]] = {"cuda": "not yet run on hardware"}

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
    def lacks(cls, precision: str, device_kind: str) -> str:
        """On the CPU PyTorch is timed in fp32 only; not every CUDA device has bfloat16 and TensorFloat-32."""
        if precision == "fp32":
            return ""
        if device_kind == "cpu":
            return f"{cls.name} is timed in fp32 on the CPU; openvino and onnxruntime have other precisions there"
        return came_later(precision)

    @classmethod
    def versions(cls) -> tuple[tuple[str, str], ...]:
        """PyTorch's version."""
        return (("torch", torch_version()),)

    @classmethod
    def choices(cls, device_kind: str) -> Mapping[str, tuple[str, ...]]:
        """On a CUDA device how launches are timed, whether its cache is warm, and the layout."""
        return CHOICES if device_kind == "cuda" else {}

    def _prepare(self) -> None:
        torch.set_num_threads(self.setting.threads)
        # fp32 means fp32: TensorFloat-32 is a precision of its own.
        torch.backends.cuda.matmul.allow_tf32 = self.setting.precision == "tf32"
        torch.backends.cudnn.allow_tf32 = self.setting.precision == "tf32"
        if torch.get_num_interop_threads() != 1:
            try:
                torch.set_num_interop_threads(1)
            except RuntimeError as error:
                raise LatheError(
                    "PyTorch's thread pools were in use before they could be set; "
                    "measure through bench.session, which starts a fresh process."
                ) from error

    def _load(self, order: Order) -> Loaded:
        if order.artefact is not None:
            raise LatheError(f"{self.name} loads no file, so none can be written to {order.artefact}.")
        return self._made_ready(order)

    def _made_ready(self, order: Order) -> Loaded:
        return EagerLoaded(order, self.setting)
