"""What every runtime offers, and the checks that all of them share.

To add a runtime: derive `Runtime` and `Loaded`, fill in the hooks whose names begin with an underscore, and add
a line to `bench.runtimes.RUNTIMES`. The conformance tests then run on it as on all others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bench.timing import Clock, WallClock
from latency_tables.errors import LatheError, UserError, unknown
from latency_tables.graph import Graph, TensorType
from latency_tables.setting import Setting

Array: TypeAlias = NDArray[Any]

#: The seed of the inputs on which everything is timed, and of random weights.
SEED = 0
#: Runs from which a runtime's own times of its nodes are taken.
NODE_RUNS = 30
#: The version of a package that is not there.
NOT_INSTALLED = "not installed"


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a runtime can measure here.

    Attributes:
        usable: it can.
        reason: why not; "" when usable.
        remedy: what to do about it; "" when usable.
    """

    usable: bool
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """What `Runtime.load` was asked for; its arguments are these attributes."""

    graph: Graph
    weights: Sequence[Array] | None
    artefact: Path | None
    calibration: Sequence[Array] | None
    alone: bool


@dataclass(frozen=True, slots=True)
class NodeTime:
    """What a runtime says that one of its nodes takes.

    Attributes:
        name: as the runtime calls it.
        kind: of node, as the runtime calls it.
        seconds: median over the runs, or mean where the runtime keeps nothing else.
        operators: places in the graph of the operators that it is known to compute, ascending; empty: none is.
    """

    name: str
    kind: str
    seconds: float
    operators: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NodeProfile:
    """A network's nodes as its runtime made them.

    Attributes:
        nodes: in the order of execution.
        whole_s: a whole run while the nodes were timed, which slows it; median or mean as for these, seconds.
    """

    nodes: tuple[NodeTime, ...]
    whole_s: float

    @property
    def gap(self) -> float:
        """The share of the whole run that is in no node; negative where nodes run at the same time."""
        return 1.0 - sum(node.seconds for node in self.nodes) / self.whole_s


class UnsupportedOperatorError(LatheError):
    """The runtime cannot run an operator of the graph.

    Attributes:
        operator: its name.
    """

    def __init__(self, operator: str, runtime: str, detail: str) -> None:
        super().__init__(
            f"{runtime} cannot run the operator {operator}: {detail}. Choose another runtime, or replace the "
            "operator in the network."
        )
        self.operator = operator


class Loaded(ABC):
    """A graph made ready to run; a context manager that frees what it holds.

    Args:
        graph: what it computes.
    """

    #: What its runs are timed with; a device that runs on its own needs a clock that waits for it.
    clock: Clock
    #: What was seen when it was made ready, as plain JSON values; kept with every measurement of it.
    facts: Mapping[str, Any]

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.clock = WallClock()
        self.facts = {}

    @abstractmethod
    def run(self) -> None:
        """One forward pass on fixed, seeded inputs that already lie where the runtime wants them.

        It is over when it returns; on a device that runs on its own, when `clock` says so.
        """

    def infer(self, inputs: Sequence[Array]) -> list[Array]:
        """One forward pass on the given inputs.

        Args:
            inputs: one array for each input of the graph, of its type and shape.

        Returns:
            One array for each output of the graph.

        Raises:
            LatheError: the number, types or shapes of the inputs are not the graph's.
        """
        require_types("input", inputs, self.graph.inputs)
        return self._infer(inputs)

    def close(self) -> None:
        """Frees what is held; nothing else may be called afterwards."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _infer(self, inputs: Sequence[Array]) -> list[Array]:
        """`infer`, types and shapes checked."""

    @abstractmethod
    def _close(self) -> None:
        """`close`."""


class Runtime(ABC):
    """Something that runs graphs, in one setting, in this process.

    The class methods are asked before anything is measured, by a process that need not measure itself;
    instances live in the worker that measures.

    Args:
        setting: threads, device and options to obey.

    Raises:
        UserError: it cannot run in that setting.
    """

    name: ClassVar[str]
    device_kinds: ClassVar[tuple[str, ...]]
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    #: Of `precisions` those whose numbers depend on the images that the network was calibrated on.
    calibrated: ClassVar[tuple[str, ...]] = ()
    #: Whether it loads a file, which `load` then leaves where ``artefact`` says.
    loads_file: ClassVar[bool] = False
    #: Kinds of devices on which it tells what its nodes take: `node_profile`.
    tells_nodes_on: ClassVar[tuple[str, ...]] = ()
    #: Whether its threads are OpenMP's, which the environment binds to cores.
    openmp: ClassVar[bool] = False
    #: What a user should know before trusting it, by kind of device, where there is something.
    remarks: ClassVar[Mapping[str, str]] = {}

    def __init__(self, setting: Setting) -> None:
        if setting.device.kind not in self.device_kinds:
            raise unknown(f"kind of device for {self.name}", setting.device.kind, self.device_kinds)
        if setting.precision not in self.precisions:
            raise unknown(f"precision for {self.name}", setting.precision, self.precisions)
        layouts = self.choices(setting.device.kind).get("layout", ("nchw",))
        if setting.layout not in layouts:
            raise unknown(f"layout for {self.name}", setting.layout, layouts)
        availability = self.availability(setting.device.kind)
        if not availability.usable:
            raise UserError(f"{self.name} is not usable here: {availability.reason}. {availability.remedy}")
        self.require_precision(setting.precision, setting.device.kind)
        self.setting = setting
        self._prepare()

    @classmethod
    @abstractmethod
    def availability(cls, device_kind: str) -> Availability:
        """Whether it can measure on that kind of device here; never raises."""

    @classmethod
    def lacks(cls, precision: str, device_kind: str) -> str:  # noqa: ARG003 - for those who override it
        """Why this device cannot compute in one of `precisions` though the runtime can; "" when it can.

        Asked only where the runtime is usable.
        """
        return ""

    @classmethod
    def able(cls, device_kind: str) -> tuple[str, ...]:
        """Those of `precisions` in which it can compute on that device; asked only where the runtime is usable."""
        return tuple(precision for precision in cls.precisions if not cls.lacks(precision, device_kind))

    @classmethod
    def require_precision(cls, precision: str, device_kind: str) -> None:
        """Refuses one of `precisions` that this device lacks.

        Raises:
            UserError: it does; the message says why, and which may be chosen.
        """
        if lack := cls.lacks(precision, device_kind):
            raise UserError(
                f"{precision} in {cls.name} ({device_kind}) is not possible: {lack}. Choose --precision "
                f"{' or '.join(cls.able(device_kind))}."
            )

    @classmethod
    @abstractmethod
    def versions(cls) -> tuple[tuple[str, str], ...]:
        """(library, version) pairs that change what it measures, sorted."""

    @classmethod
    def versions_with(cls, chosen: Mapping[str, str]) -> tuple[tuple[str, str], ...]:  # noqa: ARG003 - as `lacks`
        """Further pairs that only count with what was chosen of `choices`."""
        return ()

    @classmethod
    def choices(cls, device_kind: str) -> Mapping[str, tuple[str, ...]]:  # noqa: ARG003 - as `lacks`
        """What may be chosen, by name, what it chooses by itself first; "layout" becomes `Setting.layout`."""
        return {}

    @classmethod
    def options(cls, device_kind: str, threads: int, precision: str) -> dict[str, str]:  # noqa: ARG003 - as `lacks`
        """What it chooses that changes what it measures, for `Setting.options`."""
        return {}

    def load(
        self,
        graph: Graph,
        weights: Sequence[Array] | None = None,
        artefact: Path | None = None,
        calibration: Sequence[Array] | None = None,
        *,
        alone: bool = False,
    ) -> Loaded:
        """Makes a graph ready to run.

        Args:
            graph: what to compute.
            weights: one array for each weight of the graph; None: random, seeded.
            artefact: where the file that the runtime loads is written, for runtimes that load one.
            calibration: for each input of the graph an array of images, for the precisions in `calibrated`; None:
                one random batch, which will do for timing.
            alone: nothing is timed in turns with it, so threads of a pool may stay awake from run to run, as they
                do from part to part inside of a network.

        Returns:
            The graph, ready.

        Raises:
            UnsupportedOperatorError: there is an operator that it cannot run.
            LatheError: the weights do not fit, or the runtime refuses the graph.
        """
        if weights is not None:
            require_types("weight", weights, graph.weights)
        return self._load(Order(graph, weights, artefact, calibration, alone))

    def node_profile(self, graph: Graph, weights: Sequence[Array] | None = None) -> NodeProfile:
        """What each node takes that the runtime made of a graph, by the runtime's own account.

        Args:
            graph: what to compute.
            weights: as for `load`.

        Raises:
            LatheError: it does not tell on this device; or as for `load`.
        """
        if (kind := self.setting.device.kind) not in self.tells_nodes_on:
            raise LatheError(f"{self.name} does not tell what its nodes take on {kind}.")
        if weights is not None:
            require_types("weight", weights, graph.weights)
        return self._node_profile(graph, weights)

    def _node_profile(self, graph: Graph, weights: Sequence[Array] | None) -> NodeProfile:
        """`node_profile`, weights checked; asked on the devices in `tells_nodes_on`."""
        # Users are refused before, in `node_profile`; this is for whoever adds a runtime and forgets the answer.
        said = f"{self.name} names devices in tells_nodes_on, and has no answer for them"
        raise NotImplementedError(said)  # a mistake in a runtime's code, which no user can make

    def _prepare(self) -> None:  # noqa: B027 - most have nothing to prepare
        """Sets what is global in the process: threads, pools."""

    @abstractmethod
    def _load(self, order: Order) -> Loaded:
        """`load`, weights checked."""


def settled_median(durations: Sequence[float]) -> float:
    """The median of all but the first third, in which caches and clocks settle."""
    return median(durations[len(durations) // 3 :])


def installed_version(*packages: str) -> str:
    """The version of the first of these packages that is installed; `NOT_INSTALLED`: none is."""
    for package in packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return NOT_INSTALLED


def torch_version() -> str:
    """PyTorch's version with its build, as in "2.11.0+cu130"; the package's own may be without."""
    import torch

    return str(torch.__version__)


def require_types(what: str, arrays: Sequence[Array], types: Sequence[TensorType]) -> None:
    """Refuses arrays that are not what a graph declares.

    Args:
        what: "input" or "weight", for the message.
        arrays: what is handed over.
        types: what the graph wants.

    Raises:
        LatheError: another number of arrays, or one of another type or shape.
    """
    if len(arrays) != len(types):
        raise LatheError(f"the graph has {len(types)} {what}s, but {len(arrays)} arrays were given for them.")
    for index, (array, wanted) in enumerate(zip(arrays, types, strict=True)):
        received = TensorType(str(array.dtype), tuple(array.shape))
        if received != wanted:
            raise LatheError(f"{what} {index} of the graph is {wanted}, but {received} was given for it.")


def random_arrays(types: Sequence[TensorType], seed: int = SEED) -> list[Array]:
    """Seeded arrays to time something on.

    Args:
        types: types and shapes wanted.
        seed: of the random numbers.

    Returns:
        Standard normal numbers; zeros where integers are wanted, since these are valid indices; True where
        truth values are wanted.
    """
    generator = np.random.default_rng(seed)
    return [_random_array(type_, generator) for type_ in types]


def _random_array(type_: TensorType, generator: np.random.Generator) -> Array:
    dtype = np.dtype(type_.dtype)
    if dtype.kind == "f":
        return generator.standard_normal(type_.shape, dtype=np.float32).astype(dtype, copy=False)
    return np.ones(type_.shape, dtype) if dtype.kind == "b" else np.zeros(type_.shape, dtype)
