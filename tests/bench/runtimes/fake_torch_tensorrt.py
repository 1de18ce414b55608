"""As much of Torch-TensorRT as its adapter uses, with PyTorch doing the work."""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import torch


class Engine(torch.nn.Module):
    """Stands for a compiled part."""


class Compiled(torch.nn.Module):
    """What the compiler returns: parts with names of its own, around the network."""

    def __init__(self, network: torch.nn.Module, parts: dict[str, torch.nn.Module]) -> None:
        super().__init__()
        self.network = [network]
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.network[0](*inputs)


def in_one_engine(exported: Any, inputs: Any, **options: Any) -> torch.nn.Module:
    """Compiles all of a network, or nothing where it has an operator without a converter."""
    module = exported.module()
    left = any(node.target is torch.ops.aten.i0.default for node in exported.graph.nodes)
    return Compiled(module, {"_run_on_gpu_0": module} if left else {"_run_on_acc_0": Engine()})


class FakeTorchTensorRt(ModuleType):
    """The package.

    Args:
        compile_: what it does with an exported program.
    """

    def __init__(self, compile_: Callable[..., torch.nn.Module] = in_one_engine) -> None:
        super().__init__("torch_tensorrt")
        self.__spec__ = ModuleSpec("torch_tensorrt", None)
        self.dynamo = SimpleNamespace(compile=compile_)
