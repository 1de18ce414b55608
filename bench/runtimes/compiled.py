"""PyTorch's compiler: `torch.compile` with Inductor, on the CPU or on a CUDA device."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from bench.runtimes.base import (
    Availability,
    Order,
    UnsupportedOperatorError,
    installed_version,
    torch_version,
)
from bench.runtimes.cuda import raise_if_lost
from bench.runtimes.eager import Eager, EagerLoaded
from latency_tables.errors import LatheError

_CXX = "g++"
#: How Inductor names the operator that it failed at.
_TARGET = re.compile(r"^ *target: (.+)$", re.MULTILINE)
# Lines of the C++ compiler's that a message holds.
_TOLD = 3


class CompiledLoaded(EagerLoaded):
    """A graph compiled for its shapes; `facts` tell what that took and where the compiler had to give up.

    In them ``compile_s`` are the seconds until the first run was over, ``cached`` is whether the compiler had every
    piece in its own cache on disk, and ``graph_breaks`` counts, by reason, where PyTorch runs on as it is.
    """

    def _made(self, module: torch.nn.Module) -> Callable[..., Any]:
        from torch._dynamo.utils import counters
        from torch._inductor.codecache import PyCodeCache

        counters.clear()
        others = len(PyCodeCache.modules)
        # The module itself would be compiled at a function that all modules share, and the compiler gives up on a
        # function that it had to compile too often.
        forward: Callable[..., Any] = torch.compile(module.forward, dynamic=False)
        started_s = time.perf_counter()
        try:
            forward(*self._inputs)
            if self._device == "cuda":
                torch.cuda.synchronize()
        except torch._dynamo.exc.BackendCompilerFailed as error:
            raise_if_lost()
            raise _failure(error.inner_exception) from error
        except torch._dynamo.exc.Unsupported as error:
            raise self._refusal(str(error), _line(error)) from error
        if not counters["stats"]["unique_graphs"]:
            # It falls back to eager without a word.
            if counters["graph_break"]:
                said = "\n".join(map(str, counters["graph_break"]))
                raise self._refusal(said, f"nothing is left of the network to compile: {_line(said)}")
            raise LatheError(
                "torch.compile compiled nothing of the network, so that eager's time would be kept as its: it is "
                "switched off in this process, or found nothing to compile. Choose --runtime eager."
            )
        self.facts = {
            "compile_s": time.perf_counter() - started_s,
            "cached": had_all(counters["inductor"]),
            "graph_breaks": {_line(reason): count for reason, count in counters["graph_break"].items()},
        }
        self._generated = PyCodeCache.modules[others:]
        return forward

    def _close(self) -> None:
        """Lets go what the compiler keeps of this network: what was captured, and modules that hold its weights."""
        from torch._dynamo.eval_frame import remove_from_cache
        from torch._inductor.codecache import PyCodeCache

        remove_from_cache(self._module.forward)
        for module in self._generated:
            PyCodeCache.modules.remove(module)
            if sys.modules.get(module.__name__) is module:
                del sys.modules[module.__name__]
        del self._generated
        super()._close()

    def _refusal(self, said: str, detail: str) -> UnsupportedOperatorError:
        """Names the operators of which the compiler speaks; all, where it speaks of none."""
        names = sorted({operator.name for operator in self.graph.operators})
        named = ", ".join([name for name in names if name in said] or names)
        return UnsupportedOperatorError(named, "torch.compile", detail)


class Compile(Eager):
    """`torch.compile` in its default mode, weights frozen into the compiled network."""

    name = "compile"

    @classmethod
    def availability(cls, device_kind: str) -> Availability:
        """Usable where PyTorch is, and the compilers that it calls."""
        found = super().availability(device_kind)
        if not found.usable:
            return found
        compiler = os.environ.get("CXX", _CXX)
        if shutil.which(compiler) is None:
            return Availability(
                False,
                f"torch.compile needs a C++ compiler, and there is no {compiler}",
                "Install g++, or name another one in the environment variable CXX.",
            )
        header = Path(sysconfig.get_path("include")) / "Python.h"
        if not header.is_file():
            return Availability(
                False,
                f"torch.compile needs Python's headers, and {header} is missing",
                "Install them; Debian and Ubuntu call the package python3-dev.",
            )
        if device_kind == "cuda" and importlib.util.find_spec("triton") is None:
            return Availability(
                False,
                "torch.compile needs the package triton on CUDA",
                "Install the CUDA build of PyTorch, which brings it.",
            )
        return found

    @classmethod
    def versions(cls) -> tuple[tuple[str, str], ...]:
        """PyTorch's version, and those of the compilers that it calls."""
        found = {"torch": torch_version(), "c++": _compiler_version(os.environ.get("CXX", _CXX))}
        if importlib.util.find_spec("triton") is not None:
            # Builds of PyTorch that are no release bring it under the second name.
            found["triton"] = installed_version("triton", "pytorch-triton")
        return tuple(sorted(found.items()))

    @classmethod
    def options(cls, device_kind: str, threads: int, precision: str) -> dict[str, str]:  # noqa: ARG003 - the same for all
        """What is asked of the compiler."""
        return {"backend": "inductor", "mode": "default", "freezing": "weights"}

    def _prepare(self) -> None:
        super()._prepare()
        import torch._inductor.config as chosen

        # Its own processes, which compile ahead, would run while something is timed.
        chosen.compile_threads = 1
        # Not an option of one compilation: what captures the network looks here whether its weights are constants.
        chosen.freezing = True

    def _made_ready(self, order: Order) -> CompiledLoaded:
        return CompiledLoaded(order, self.setting)


def had_all(counts: Mapping[str, int]) -> bool:
    """Whether the compiler had every piece of a network in its cache, by its own count; a break makes two."""
    new = counts.get("fxgraph_cache_miss", 0) + counts.get("fxgraph_cache_bypass", 0)
    return counts.get("fxgraph_cache_hit", 0) > 0 and not new


@functools.cache
def _compiler_version(compiler: str) -> str:
    """As the compiler tells it; "not installed" where it does not run."""
    # The first is GCC's; what others answer to the second, as Clang, names them as well.
    for word in ("-dumpfullversion", "--version"):
        try:
            told = subprocess.run([compiler, word], capture_output=True, text=True, check=True)
        except subprocess.CalledProcessError:
            continue
        except OSError:
            break
        return _line(told.stdout) or "unknown"
    return "not installed"


def _line(reason: Any) -> str:
    """The first line of what the compiler says."""
    return str(reason).strip().partition("\n")[0]


def _failure(error: Exception) -> LatheError:
    """What went wrong inside: an operator, the C++ compiler, or something else."""
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler, OperatorIssue

    if isinstance(error, OperatorIssue) and (target := _TARGET.search(str(error))):
        return UnsupportedOperatorError(target[1], "torch.compile", _line(error))
    remedy = (
        "Install or repair it, name another one in the environment variable CXX, or choose another runtime."
    )
    if isinstance(error, CppCompileError):
        return LatheError(
            f"torch.compile writes C++, which the compiler {error.cmd[0]} does not compile: "
            f"{_telling(error.output)}. {remedy}"
        )
    if isinstance(error, InvalidCxxCompiler):
        return LatheError(
            f"torch.compile needs a C++ compiler, and {os.environ.get('CXX', _CXX)} does not answer to --version. "
            f"{remedy}"
        )
    return LatheError(f"torch.compile refuses the network: {type(error).__name__}: {_line(error)}")


def _telling(output: str) -> str:
    """The last lines of the C++ compiler's, without notes, warnings and the indented source that it shows."""
    said = [line for line in output.splitlines() if line.strip()]
    faults = [
        line for line in said if not line[0].isspace() and ": note:" not in line and ": warning:" not in line
    ]
    return "; ".join(line.strip().rstrip(".") for line in (faults or said)[-_TOLD:]) or "it does not say why"
