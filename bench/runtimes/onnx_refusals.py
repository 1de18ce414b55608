"""What a session of ONNX Runtime raises, whoever opened it, in words that say what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bench.runtimes.base import UnsupportedOperatorError
from bench.runtimes.cuda import raise_if_lost
from latency_tables.errors import LatheError


@contextlib.contextmanager
def refusals_told() -> Iterator[None]:
    """Within it what ONNX Runtime has against a network becomes an error of ours; its own are no RuntimeError.

    Raises:
        UnsupportedOperatorError: there is no kernel for an operator.
        LatheError: it refuses the network for another reason.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    try:
        yield
    except states.NotImplemented as error:
        raise UnsupportedOperatorError(_operator_of(str(error)), "ONNX Runtime", str(error)) from error
    except (
        states.EPFail,
        states.Fail,
        states.InvalidArgument,
        states.InvalidGraph,
        states.RuntimeException,
    ) as error:
        raise_if_lost()
        raise LatheError(f"ONNX Runtime refuses the network: {error}") from error


def _operator_of(message: str) -> str:
    """The operator in "Could not find an implementation for Name(17) node ..."."""
    _, _, rest = message.partition("implementation for ")
    return rest.partition("(")[0] or "of the graph"
