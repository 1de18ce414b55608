"""What a CUDA device is, and the clock that waits for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import torch

from bench.timing import WallClock
from latency_tables.errors import LatheError
from latency_tables.setting import Device

#: What may be asked of eager and compiled PyTorch on a CUDA device, the default first.
CHOICES = {
    "launch": ("queued", "issued", "graph"),
    "cache": ("warm", "cold"),
    "layout": ("nchw", "nhwc"),
}
#: The precisions of PyTorch on a CUDA device, as the type of weights and activations.
DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# The first compute capability with bfloat16 and TensorFloat-32.
_AMPERE = 8
# Seconds that the device is held up at first, and at most, while work is queued behind it.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5e-4, 0.25
# No clock of a streaming multiprocessor is much faster, so that a pause lasts at least as long as asked.
_CYCLES_PER_S = 2.5e9
# Passes by which the cost of launching is judged: at most, at least, and seconds of the device that suffice.
_JUDGED, _LEAST_JUDGED, _JUDGED_S = 15, 3, 0.2
# Passes before a graph is captured, in which libraries choose their kernels and take their memory.
_BEFORE_CAPTURE = 3


class Event(Protocol):
    """A moment in the device's queue; `torch.cuda.Event` is one."""

    def record(self) -> None:
        """Puts it into the queue."""

    def query(self) -> bool:
        """Whether the device has come by."""

    def elapsed_time(self, end: Any) -> float:
        """Milliseconds from this one to a later one."""


class Queue:
    """The device's queue of work, as far as a clock needs it."""

    def event(self) -> Event:
        """One that knows its time."""
        event: Event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        return event

    def synchronize(self) -> None:
        """Waits until nothing is left to do."""
        torch.cuda.synchronize()

    def pause(self, seconds: float) -> None:
        """Queues a pause, in which the device does nothing and what comes behind it waits."""
        torch.cuda._sleep(int(seconds * _CYCLES_PER_S))  # type: ignore[no-untyped-call]


class CudaClock(WallClock):
    """Times with the device's own events, which stand in the same queue as the work.

    A processor that issues small kernels is slower than the device that runs them, which then waits between them.
    Queued behind a pause that lasts until all is issued, the work is timed without these gaps, as nvbench does it;
    a sample in which the device came by before all was issued is not kept but taken again, behind a longer pause or
    in smaller portions. Issued as it comes, the gaps count.

    Args:
        queued: whether the work waits behind a pause.
        flush: empties the L2 cache before each run, outside of the time; None: the cache stays warm.
        queue: of the device.
    """

    def __init__(
        self, *, queued: bool = True, flush: Callable[[], object] | None = None, queue: Queue | None = None
    ) -> None:
        self._queued, self._flush = queued, flush
        self._queue = queue or Queue()
        self._pause_s = _FIRST_PAUSE_S
        self._at_once = 1 << 20

    def elapsed_s(self, run: Callable[[], object], repeats: int) -> float:
        """Seconds of device time that the runs take; waits for their end.

        Raises:
            LatheError: a single run issues more than the device's queue holds.
        """
        left, seconds = repeats, 0.0
        while left:
            count = min(left, self._at_once)
            taken = self._timed(run, count)
            if taken is None:
                self._give_way(count)
                continue
            seconds += taken
            left -= count
        return seconds

    def _timed(self, run: Callable[[], object], count: int) -> float | None:
        """Seconds of so many runs; None where the device did not wait until all were issued."""
        queue = self._queue
        queue.synchronize()
        if self._queued:
            queue.pause(self._pause_s)
        gate = queue.event()
        gate.record()
        spans = []
        for runs in [1] * count if self._flush else [count]:
            if self._flush:
                self._flush()
                if not self._queued:
                    # While the device still empties its cache, launches behind it would cost nothing.
                    queue.synchronize()
            start, end = queue.event(), queue.event()
            start.record()
            for _ in range(runs):
                run()
            end.record()
            spans.append((start, end))
        overtaken = self._queued and gate.query()
        queue.synchronize()
        return None if overtaken else sum(start.elapsed_time(end) for start, end in spans) * 1e-3

    def _give_way(self, count: int) -> None:
        if self._pause_s < _LONGEST_PAUSE_S:
            self._pause_s *= 2
        elif count > 1:
            # A portion that fits needs no such pause, and it would be waited for in each sample to come.
            self._at_once, self._pause_s = count // 2, _FIRST_PAUSE_S
        else:
            raise LatheError(
                "a single run issues more work than the CUDA device's queue holds, so that its launches cannot all "
                "be queued. Choose --option launch=graph, or launch=issued, which counts the gaps between launches."
            )


def cache_flush() -> Callable[[], object]:
    """What empties the L2 cache of the first device: writing over twice its size."""
    size = torch.cuda.get_device_properties(0).L2_cache_size
    # What is made in inference mode must not be written to outside of it, and clocks run outside.
    with torch.inference_mode(False):
        buffer = torch.empty(2 * size, dtype=torch.int8, device="cuda")
    return buffer.zero_


def launch_cost(run: Callable[[], object], queue: Queue | None = None) -> dict[str, float]:
    """What a run costs queued, which is its work, and issued as it comes, which adds the gaps between launches.

    Args:
        run: a forward pass.
        queue: of the device.

    Returns:
        ``queued_s`` and ``issued_s``, medians, seconds.
    """

    def typical_s(queued: bool) -> float:
        clock = CudaClock(queued=queued, queue=queue)
        taken_s: list[float] = []
        while len(taken_s) < _LEAST_JUDGED or (len(taken_s) < _JUDGED and sum(taken_s) < _JUDGED_S):
            taken_s.append(clock.elapsed_s(run, 1))
        return median(taken_s)

    return {"queued_s": typical_s(True), "issued_s": typical_s(False)}


def launch_facts(run: Callable[[], object]) -> dict[str, Any]:
    """What `launch_cost` tells of a whole network, under "launch", as `Loaded.facts` have it.

    What cannot be queued has no such cost to tell, and says why under "launch_unknown"; whether it can be timed as
    asked, its clock will say.

    Args:
        run: a forward pass, in the way in which it will be timed.
    """
    try:
        return {"launch": launch_cost(run)}
    except LatheError as error:
        return {"launch_unknown": str(error)}


def leave_default_stream() -> None:
    """Makes a stream of its own the current one, for the clock's events as for an engine of TensorRT's.

    On the default stream TensorRT waits for the device in each forward pass, and that would be timed.
    """
    torch.cuda.set_stream(torch.cuda.Stream())  # type: ignore[no-untyped-call]


def capture(forward: Callable[[], object]) -> torch.cuda.CUDAGraph:
    """Records the launches of a forward pass, to be sent to the device as one.

    Args:
        forward: issues a forward pass on PyTorch's current stream.

    Raises:
        LatheError: it does what a graph cannot hold.
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_BEFORE_CAPTURE):
            forward()
    torch.cuda.current_stream().wait_stream(stream)
    # What these passes broke comes up here, and is not taken for a refusal below.
    torch.cuda.synchronize()
    captured = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(captured):
            forward()
    except RuntimeError as error:
        raise LatheError(
            f"the network cannot be captured as a CUDA graph: {error}. Choose --option launch=queued."
        ) from error
    return captured


def raise_if_lost() -> None:
    """Before an error is taken for a refusal: where the device is lost PyTorch says so here.

    It does in the words by which the worker knows it. Nothing happens in a process that computes on the CPU.
    """
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()


def came_later(precision: str) -> str:
    """Why the first CUDA device is too old for a precision; "" when it is not.

    Args:
        precision: as in "tf32"; libraries compute in another one without a word where the device has none.
    """
    if precision not in ("bf16", "tf32"):
        return ""
    major = torch.cuda.get_device_properties(0).major
    if major >= _AMPERE:
        return ""
    return f"the device has compute capability {major}.x, and {precision} came with {_AMPERE}.0"


def cuda_device(root: Path = Path("/")) -> Device:
    """The first CUDA device that PyTorch sees.

    Args:
        root: where /proc is.

    Returns:
        The device; its driver is "unknown" where the kernel module does not tell.
    """
    properties = torch.cuda.get_device_properties(0)
    try:
        text = (root / "proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", text)
    return Device(
        kind="cuda",
        name=properties.name,
        cores=properties.multi_processor_count,
        memory_bytes=round(properties.total_memory / 2**28) * 2**28,
        driver=found.group(1) if found else "unknown",
        features=(f"sm_{properties.major}{properties.minor}",),
    )


def cudnn_version() -> str:
    """The version of cuDNN, as it numbers itself; "none" where PyTorch was built without."""
    found = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return "none" if found is None else str(found)


def device_uuid() -> str:
    """The UUID of the first CUDA device that PyTorch sees, whatever number the driver gives it."""
    return str(torch.cuda.get_device_properties(0).uuid)
