"""What a part of a network costs on a device: settings, parts, measurements, tables and predictions.

The ground floor of the house: it imports no other package of lathe and needs no deep-learning framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latency_tables.errors import LatheError, UserError
    from latency_tables.estimate import Estimate
    from latency_tables.frames import cells_frame, networks_frame
    from latency_tables.measurement import Measurement
    from latency_tables.part import Part
    from latency_tables.prediction import Prediction, predict
    from latency_tables.setting import Device, Setting
    from latency_tables.skeleton import Plan, Skeleton
    from latency_tables.store import Store
    from latency_tables.table import LatencyTable

__all__ = [
    "Device",
    "Estimate",
    "LatencyTable",
    "LatheError",
    "Measurement",
    "Part",
    "Plan",
    "Prediction",
    "Setting",
    "Skeleton",
    "Store",
    "UserError",
    "cells_frame",
    "networks_frame",
    "predict",
]

# Imported on first use: the worker that measures takes the records without the database behind the store.
_HOME = {
    "Device": "setting",
    "Estimate": "estimate",
    "LatencyTable": "table",
    "LatheError": "errors",
    "Measurement": "measurement",
    "Part": "part",
    "Plan": "skeleton",
    "Prediction": "prediction",
    "Setting": "setting",
    "Skeleton": "skeleton",
    "Store": "store",
    "UserError": "errors",
    "cells_frame": "frames",
    "networks_frame": "frames",
    "predict": "prediction",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
