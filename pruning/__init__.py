"""What may go, what its loss hurts, what to take, and how to heal.

The first floor of the house: it knows latency tables, and asks for a measurement through a callable that it is
handed, never by importing the bench.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pruning.methods import METHODS, get_method
    from pruning.outline import Outline
    from pruning.rebuild import load
    from pruning.surgery import remove_blocks

__all__ = ["METHODS", "Outline", "get_method", "load", "remove_blocks"]

_HOME = {
    "METHODS": "methods",
    "Outline": "outline",
    "get_method": "methods",
    "load": "rebuild",
    "remove_blocks": "surgery",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
