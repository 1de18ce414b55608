"""Makes torchvision importable beside a torch that it was not built for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

# A torch.library.Library withdraws its operators when it is collected.
_declarations: torch.library.Library | None = None


def declare_operators() -> None:
    """Declares the two operators that ``import torchvision`` insists on, where its binary cannot bring them.

    torchvision's Python side registers shape functions for nms and qnms while it is imported. A torchvision built
    for CUDA beside a torch built for the CPU cannot load its binary, the operators then do not exist, and the
    import ends in "operator torchvision::nms does not exist", although no classification network uses them.
    A declaration without an implementation satisfies the import; calling the operator still fails.
    """
    global _declarations
    spec = importlib.util.find_spec("torchvision")
    if spec is None or _declarations is not None or hasattr(torch.ops.torchvision, "nms"):
        return
    # Declaring first and loading the binary afterwards would be a double registration, so try the binary first.
    # A second load by torchvision itself is harmless.
    for binary in (
        found for place in spec.submodule_search_locations or () for found in Path(place).glob("_C*")
    ):
        try:
            torch.ops.load_library(binary)  # type: ignore[no-untyped-call]
        except (ImportError, OSError):
            continue
    if hasattr(torch.ops.torchvision, "nms"):
        return
    _declarations = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        schema = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        _declarations.define(schema)  # type: ignore[no-untyped-call]
