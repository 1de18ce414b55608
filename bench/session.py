"""The parent's side of measuring: one worker process for one setting, and what to do when it fails."""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from numpy.typing import NDArray

from bench.runtimes import RUNTIMES, get_runtime
from bench.runtimes.base import NodeProfile
from bench.timing import Comparison, Rule
from bench.wire import (
    LESS_MEMORY,
    comparison_from_json,
    measurement_from_json,
    nodes_from_json,
    read_arrays,
    rule_to_json,
    write_arrays,
)
from bench.worker_environment import worker_environment
from latency_tables.errors import LatheError, UserError
from latency_tables.graph import Graph
from latency_tables.measurement import Measurement
from latency_tables.setting import Setting

#: How the worker is started; -P keeps the current folder from standing in for installed packages.
WORKER = (sys.executable, "-P", "-m", "bench.worker")

_GRACE_S = 5.0
# What else makes a request shorter.
_SHORTER = {"load": ", a runtime that neither compiles nor builds, or fewer builds (--option builds=1)"}


class MeasurementFailed(LatheError):  # noqa: N818 - an event that callers plan for, not a mistake
    """Something could not be measured; the session can be used on.

    Attributes:
        reason: "refused" (the runtime cannot do it, with a message of its own), "failed", "out of memory",
            "crash" or "timeout".
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Handle:
    """A graph that lies ready in the worker.

    Attributes:
        number: what the worker calls it.
        worker: which worker, counted from 1; a later one does not know it.
    """

    number: int
    worker: int


class Session:
    """Measures in one setting, in a process of its own; a context manager.

    The process is started at the first request. Where a request kills or hangs it, that request raises
    `MeasurementFailed` and the next one starts a new process; handles of the old one are void.

    Args:
        setting: what to measure in; made on this machine.
        timeout_s: seconds after which a request has failed.
        repeats: how often a measurement is taken again when others used or slowed the cores meanwhile.
        until_s: moment of `time.monotonic` beyond which no measurement waits for cores to come near, nor is taken
            again; all processes of a machine read the same clock.
        command: how the worker is started.
    """

    def __init__(
        self,
        setting: Setting,
        *,
        timeout_s: float = 600.0,
        repeats: int = 2,
        until_s: float = math.inf,
        command: Sequence[str] = WORKER,
    ) -> None:
        self.setting = setting
        self._timeout_s = timeout_s
        self._repeats = repeats
        self._until_s = until_s
        self._command = tuple(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._workers = 0
        self._received = b""
        self._errors: IO[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def load(
        self,
        graph: Graph,
        weights: Sequence[NDArray[Any]] | None = None,
        artefact: Path | None = None,
        calibration: Sequence[NDArray[Any]] | None = None,
        *,
        alone: bool = False,
    ) -> Handle:
        """Makes a graph ready in the worker.

        Args:
            graph: what to compute.
            weights: one array for each weight of the graph; None: random, seeded.
            artefact: where the file that the runtime loads is written, for runtimes that load one.
            calibration: as for `bench.runtimes.base.Runtime.load`.
            alone: as for `bench.runtimes.base.Runtime.load`.

        Returns:
            What to call it in the other requests.

        Raises:
            MeasurementFailed: the runtime refuses it, or the worker broke.
        """
        written = {
            name: self._write(f"{name}.npz", arrays)
            for name, arrays in (("weights", weights), ("calibration", calibration))
        }
        try:
            answer = self._request(
                "load",
                graph=graph.to_json(),
                artefact=None if artefact is None else str(artefact.absolute()),
                alone=alone,
                **{name: None if path is None else str(path) for name, path in written.items()},
            )
        finally:
            for path in written.values():
                if path is not None:
                    path.unlink()
        return Handle(answer["handle"], self._workers)

    def unload(self, handle: Handle) -> None:
        """Frees what a handle stands for; a handle of a worker that is gone is free already."""
        if self._process is not None and handle.worker == self._workers:
            self._request("unload", handle=handle.number)

    def measure(
        self, graph: Graph, weights: Sequence[NDArray[Any]] | None = None, rule: Rule | None = None
    ) -> Measurement:
        """Loads, times and unloads a graph, with nothing else in turns with it.

        Args:
            graph: what to compute.
            weights: one array for each weight; None: random, seeded.
            rule: when to stop; None: `Rule()`.

        Returns:
            The measurement. Its ``host`` tells what others did meanwhile: "foreign_cores" and "steal_cores"
            (null: unknown) over "window_s" seconds; "disturbance", in words, or null; "attempts". With more than
            one thread on a CPU, "cores" tells how the cores lay to each other: "mode" ("near", "far", "moved",
            "unknown"), "before_s" and "after_s" (a round trip's seconds), "reason" (why an end is unknown). With
            one, "core" tells how often it was looked at and slowed ("readings", "slowed"), see `bench.core_watch`.

        Raises:
            MeasurementFailed: the runtime refuses it, or the worker broke.
        """
        handle = self.load(graph, weights, alone=True)
        try:
            return self.measure_loaded(handle, rule)
        finally:
            self.unload(handle)

    def measure_loaded(self, handle: Handle, rule: Rule | None = None) -> Measurement:
        """Times what was loaded; as `measure` otherwise."""
        answer = self._request("measure", handle=self._number(handle), rule=rule_to_json(rule or Rule()))
        return measurement_from_json(answer["measurement"])

    def interleave(
        self, handles: Sequence[Handle], rule: Rule | None = None
    ) -> tuple[tuple[Measurement, ...], tuple[Comparison, ...]]:
        """Times several loaded graphs in turns; the first is the reference.

        Args:
            handles: at least two.
            rule: when to stop; None: `Rule()`.

        Returns:
            A measurement of each, and a comparison of each but the first with the first.

        Raises:
            MeasurementFailed: the worker broke.
        """
        numbers = [self._number(handle) for handle in handles]
        answer = self._request("interleave", handles=numbers, rule=rule_to_json(rule or Rule()))
        return (
            tuple(measurement_from_json(data) for data in answer["measurements"]),
            tuple(comparison_from_json(data) for data in answer["comparisons"]),
        )

    def node_profile(self, graph: Graph, weights: Sequence[NDArray[Any]] | None = None) -> NodeProfile:
        """What each of a network's nodes takes by the runtime's own account.

        Args:
            graph: what to compute.
            weights: one array for each weight; None: random, seeded.

        Raises:
            UserError: the runtime does not tell on this kind of device.
            MeasurementFailed: it refuses the network, or the worker broke.
        """
        kind = self.setting.device.kind
        if kind not in get_runtime(self.setting.runtime).tells_nodes_on:
            able = [name for name in RUNTIMES if kind in get_runtime(name).tells_nodes_on]
            raise UserError(
                f"{self.setting.runtime} does not tell what its nodes take on {kind}; these do: {', '.join(able)}."
            )
        path = self._write("weights.npz", weights)
        try:
            answer = self._request(
                "nodes", graph=graph.to_json(), weights=None if path is None else str(path)
            )
        finally:
            if path is not None:
                path.unlink()
        return nodes_from_json(answer["nodes"])

    def infer(self, handle: Handle, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """One forward pass.

        Args:
            handle: of what was loaded.
            inputs: one array for each input of its graph, of its type and shape.

        Returns:
            One array for each output of its graph.

        Raises:
            MeasurementFailed: the inputs do not fit, or the worker broke.
        """
        given, made = self._file("inputs.npz"), self._file("outputs.npz")
        write_arrays(given, inputs)
        try:
            self._request("infer", handle=self._number(handle), inputs=str(given), outputs=str(made))
            return read_arrays(made)
        finally:
            given.unlink()
            made.unlink(missing_ok=True)

    def close(self) -> None:
        """Ends the worker and removes its files; the session may be used again."""
        self._end()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _number(self, handle: Handle) -> int:
        if handle.worker != self._workers or self._process is None:
            raise LatheError(
                "this graph was loaded into a worker that has ended since; load it again, then measure."
            )
        return handle.number

    def _file(self, name: str) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="lathe-")
        return Path(self._folder.name) / name

    def _write(self, name: str, arrays: Sequence[NDArray[Any]] | None) -> Path | None:
        if arrays is None:
            return None
        path = self._file(name)
        write_arrays(path, arrays)
        return path

    def _request(self, do: str, **arguments: Any) -> dict[str, Any]:
        if self._process is None:
            self._start()
        return self._exchange({"do": do, **arguments})

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=worker_environment(self.setting, os.environ),
            # Ctrl-C is for the parent, which then ends the worker itself.
            process_group=0,
        )
        self._workers += 1
        self._received = b""
        try:
            answer = self._exchange(
                {
                    "setting": self.setting.to_json(),
                    "repeats": self._repeats,
                    "until_s": None if math.isinf(self._until_s) else self._until_s,
                }
            )
        except MeasurementFailed as error:
            self._end()
            # Not the fault of what was to be measured, so it must not be kept as that part's failure.
            raise LatheError(f"the process that measures does not start: {error}") from error
        home = str(Path(__file__).resolve().parent)
        if answer["home"] != home:
            self._end()
            raise LatheError(
                f"the worker took the package bench from {answer['home']}, but this is {home}: two copies of "
                "lathe, or a package of the same name, are installed. Use a fresh virtual environment."
            )

    def _exchange(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Sends a request and waits for its answer; on anything unexpected the worker is ended."""
        try:
            answer = self._speak(json.dumps(request).encode() + b"\n", request.get("do", "start"))
        except BaseException:
            # Also after Ctrl-C: the answer that is still to come would be taken for that of the next request.
            self._end()
            raise
        if "reason" in answer:
            raise MeasurementFailed(answer["reason"], answer["message"])
        return answer

    def _speak(self, line: bytes, what: str) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise RuntimeError("the worker is not running")
        deadline = time.monotonic() + self._timeout_s
        try:
            process.stdin.write(line)
            process.stdin.flush()
        except BrokenPipeError:
            raise self._crashed() from None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._received:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise MeasurementFailed(
                        "timeout",
                        f"no answer from the worker within {self._timeout_s:g} s, the limit for one request (here: "
                        f"{what}), so it was ended. Choose a smaller network or --batch{_SHORTER.get(what, '')}.",
                    )
                chunk = os.read(process.stdout.fileno(), 1 << 16)
                if not chunk:
                    raise self._crashed()
                self._received += chunk
        first, _, self._received = self._received.partition(b"\n")
        answer: dict[str, Any] = json.loads(first)
        return answer

    def _crashed(self) -> MeasurementFailed:
        if self._process is None or self._errors is None:
            raise RuntimeError("the worker is not running")
        status = self._process.wait()
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip()[-1000:]
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        short = f" The system ends a process so when memory is short. {LESS_MEMORY}"
        hint = short if status == -signal.SIGKILL else ""
        said = f" It last said: {last}" if last else ""
        return MeasurementFailed("crash", f"the worker ended with {how}.{hint}{said}")

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        # Not read to their ends: a process that a library started may hold them open for as long as it likes.
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
        if self._errors is not None:
            self._errors.close()
            self._errors = None
