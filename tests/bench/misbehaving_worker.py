"""A worker with one runtime more, whose graphs can kill, hang or starve the process that runs them."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence

import torch

from bench import worker
from bench.runtimes import RUNTIMES
from bench.runtimes.base import Array, Loaded, Order
from bench.runtimes.eager import Eager


def abort() -> None:
    sys.stderr.write("the last words\n")
    sys.stderr.flush()
    os.abort()


def starve() -> None:
    raise MemoryError("no 8 GiB left")


def starve_natively() -> None:
    raise RuntimeError(
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
    )


def fail() -> None:
    raise ZeroDivisionError("a fault of the runtime")


def lose_the_device() -> None:
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def starve_on_the_device() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def chatter() -> None:
    print("a library greets")  # noqa: T201
    os.write(1, b"and again from C\n")


def leave_a_child() -> None:
    if os.fork() == 0:
        time.sleep(20)
        os._exit(0)


DEEDS = {
    "abort": abort,
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "leave": lambda: os._exit(3),
    "hang": lambda: time.sleep(3600),
    "starve": starve,
    "starve_natively": starve_natively,
    "fail": fail,
    "lose_the_device": lose_the_device,
    "starve_on_the_device": starve_on_the_device,
    "chatter": chatter,
    "leave_a_child": leave_a_child,
}


class Misbehaving(Loaded):
    def run(self) -> None:
        DEEDS[self.graph.operators[0].short_name]()

    def _infer(self, inputs: Sequence[Array]) -> list[Array]:
        self.run()
        return list(inputs)

    def _close(self) -> None:
        pass


class MisbehavingRuntime(Eager):
    name = "misbehaving"

    def _load(self, order: Order) -> Loaded:
        if order.graph.operators[0].name.startswith("deed."):
            return Misbehaving(order.graph)
        return super()._load(order)


RUNTIMES["misbehaving"] = "__main__:MisbehavingRuntime"

if __name__ == "__main__":
    worker.main()
