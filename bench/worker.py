"""The process that measures: ``python -P -m bench.worker``, started and spoken to by `bench.session`.

It imports torch, numpy, onnx, the standard library and the runtime measured, and nothing else, so that it starts
fast and nothing in it disturbs the clock. Requests come as JSON lines on standard input; answers go to a private
copy of standard output, which itself is turned into standard error, since libraries print what they like.
"""

from __future__ import annotations

import json
import math
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from bench.attempt import Conditions, undisturbed
from bench.core_distance import CoreDistance, core_distance, usable_cpus
from bench.core_watch import CoreWatch, matrix_products
from bench.foreign_load import ForeignLoad
from bench.gpu_watch import Watch, watch_gpu
from bench.near_cores import Patience
from bench.runtimes import get_runtime
from bench.runtimes.base import Loaded, Runtime
from bench.runtimes.pinning import thread_cpus
from bench.timing import interleave, measure
from bench.wire import (
    LESS_MEMORY,
    comparison_to_json,
    measurement_to_json,
    nodes_to_json,
    read_arrays,
    rule_from_json,
    write_arrays,
)
from latency_tables.errors import LatheError
from latency_tables.graph import Graph
from latency_tables.measurement import FACTS, Measurement
from latency_tables.setting import Setting

# How runtimes say that memory is short when they do not raise MemoryError; the last two are TensorRT's and that of
# cuBLAS and cuDNN.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "bad_alloc",
    "Failed to allocate memory",
    "out of memory",
    "OutOfMemory",
    "ALLOC_FAILED",
)

# How PyTorch and ONNX Runtime say that CUDA failed.
_DEVICE_LOST = ("CUDA error", "CUDA failure")


class Worker:
    """Serves requests, one at a time.

    Args:
        setting: what the runtime obeys.
        repeats: how often a disturbed measurement is taken again.
        watch: sees what others do meanwhile.
        sense: tells how the cores lie to each other; asked where more than one of them is used.
        gpu: looks at the device where it is a GPU.
        core: looks at the core that runs what is timed, where that is one only.
        now_s: a monotonic clock.
        sleep: waits.
        until_s: beyond this moment of ``now_s`` nobody waits for cores to come near, and nothing is taken again.
    """

    def __init__(
        self,
        setting: Setting,
        repeats: int,
        watch: ForeignLoad,
        sense: Callable[[], CoreDistance],
        gpu: Watch | None = None,
        core: CoreWatch | None = None,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        until_s: float = math.inf,
    ) -> None:
        # With one thread nothing goes from core to core, and on another device the cores only hand out work: for
        # that one is enough, so others spoil it only by what would be too much on all of them.
        on_cpu = setting.device.kind == "cpu"
        together = setting.threads > 1 and on_cpu
        self._conditions = Conditions(
            setting.threads if on_cpu else max(setting.threads, len(usable_cpus() or ())),
            repeats,
            watch,
            sense if together else None,
            now_s,
            sleep,
            Patience(now_s, sleep, until_s),
            gpu,
            core,
            until_s,
        )
        self._runtime: Runtime = get_runtime(setting.runtime)(setting)
        self._loaded: dict[int, Loaded] = {}
        self._count = 0

    def serve(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Does what a request asks.

        Args:
            request: "do" names one of load, unload, measure, interleave, infer and nodes; the rest are its
                arguments.

        Returns:
            The answer's fields.
        """
        arguments = dict(request)
        known: dict[str, Callable[..., dict[str, Any]]] = {
            "load": self._load,
            "unload": self._unload,
            "measure": self._measure,
            "interleave": self._interleave,
            "infer": self._infer,
            "nodes": self._nodes,
        }
        return known[arguments.pop("do")](**arguments)

    def _load(
        self,
        graph: dict[str, Any],
        weights: str | None,
        artefact: str | None,
        calibration: str | None,
        *,
        alone: bool,
    ) -> dict[str, Any]:
        loaded = self._runtime.load(
            Graph.from_json(graph),
            None if weights is None else read_arrays(Path(weights)),
            None if artefact is None else Path(artefact),
            None if calibration is None else read_arrays(Path(calibration)),
            alone=alone,
        )
        self._count += 1
        self._loaded[self._count] = loaded
        return {"handle": self._count}

    def _unload(self, handle: int) -> dict[str, Any]:
        self._loaded.pop(handle).close()
        return {}

    def _measure(self, handle: int, rule: dict[str, Any]) -> dict[str, Any]:
        loaded, obeyed = self._loaded[handle], rule_from_json(rule)
        [measurement], _ = undisturbed(
            lambda: ((measure(loaded.run, loaded.clock, obeyed, self._conditions.spoiled),), ()),
            self._conditions,
        )
        return {"measurement": measurement_to_json(_with_facts(measurement, loaded))}

    def _interleave(self, handles: list[int], rule: dict[str, Any]) -> dict[str, Any]:
        loaded, obeyed = [self._loaded[handle] for handle in handles], rule_from_json(rule)
        measurements, comparisons = undisturbed(
            lambda: interleave(
                [each.run for each in loaded], loaded[0].clock, obeyed, self._conditions.spoiled
            ),
            self._conditions,
        )
        return {
            "measurements": [
                measurement_to_json(_with_facts(measurement, each))
                for measurement, each in zip(measurements, loaded, strict=True)
            ],
            "comparisons": [comparison_to_json(comparison) for comparison in comparisons],
        }

    def _infer(self, handle: int, inputs: str, outputs: str) -> dict[str, Any]:
        write_arrays(Path(outputs), self._loaded[handle].infer(read_arrays(Path(inputs))))
        return {}

    def _nodes(self, graph: dict[str, Any], weights: str | None) -> dict[str, Any]:
        given = None if weights is None else read_arrays(Path(weights))
        return {"nodes": nodes_to_json(self._runtime.node_profile(Graph.from_json(graph), given))}


def _gpu_watch(setting: Setting) -> Watch | None:
    if setting.device.kind != "cuda":
        return None
    from bench.runtimes.cuda import device_uuid

    return watch_gpu(device_uuid())


def _core_watch(setting: Setting) -> CoreWatch | None:
    """With one thread what is timed runs on the thread that asks; with more nobody looks at the others' cores."""
    alone = setting.device.kind == "cpu" and setting.threads == 1
    return CoreWatch(matrix_products()) if alone else None


def _with_facts(measurement: Measurement, loaded: Loaded) -> Measurement:
    """With what was seen when it was made ready, beside what was seen of the host."""
    if not loaded.facts:
        return measurement
    return replace(measurement, host={**measurement.host, FACTS: dict(loaded.facts)})


def describe_failure(error: Exception) -> dict[str, str]:
    """The reason in one or two words, and the message.

    Args:
        error: what was raised.

    Returns:
        "reason" and "message".
    """
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or any(sign in text for sign in _OUT_OF_MEMORY):
        return {"reason": "out of memory", "message": f"{text.rstrip(' .')}. {LESS_MEMORY}"}
    if isinstance(error, LatheError):
        return {"reason": "refused", "message": str(error)}
    return {"reason": "failed", "message": text}


def is_device_lost(failure: Mapping[str, str]) -> bool:
    """Whether nothing more can be done on the CUDA device in this process.

    After an illegal access, say, every later call fails with the same error, and innocent parts would be kept as
    failures. Where memory is short it is not so, nor where a runtime refuses what it understood.

    Args:
        failure: as `describe_failure` tells it.
    """
    return failure["reason"] == "failed" and any(sign in failure["message"] for sign in _DEVICE_LOST)


def main() -> None:
    """Serves until standard input ends; the first line holds the setting."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, requests), daemon=True).start()

    def answer(fields: Mapping[str, Any]) -> None:
        answers.write(json.dumps(fields).encode() + b"\n")

    try:
        first = json.loads(requests.get())
        watch = ForeignLoad([os.getpid(), os.getppid()], time.monotonic)
        setting = Setting.from_json(first["setting"])
        # Asked for now: the runtime may later narrow this thread's cores to one.
        sense = partial(core_distance, frozenset(thread_cpus(setting)) or usable_cpus())
        until_s = math.inf if first["until_s"] is None else float(first["until_s"])
        worker = Worker(
            setting,
            first["repeats"],
            watch,
            sense,
            _gpu_watch(setting),
            _core_watch(setting),
            until_s=until_s,
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
        answer(describe_failure(error))
        return
    answer({"home": str(Path(__file__).resolve().parent)})
    while True:
        request = json.loads(requests.get())
        try:
            fields = worker.serve(request)
        except Exception as error:  # noqa: BLE001 - one failed request must not end the worker
            fields = describe_failure(error)
            if is_device_lost(fields):
                # Without an answer this request alone fails, and the next one finds a fresh process.
                sys.stderr.write(fields["message"] + "\n")
                sys.stderr.flush()
                os._exit(1)
        answer(fields)


def _read(source: BinaryIO, requests: queue.SimpleQueue[bytes]) -> None:
    """Hands lines on; when they end, the parent is gone, and so is the reason to live, in the midst of a run."""
    for line in source:
        requests.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
