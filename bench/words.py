"""What the commands share: their words, and how they print and stop."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.terminal import Terminal

NetworkName = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help="cifar/resnet{20,32,44,56,110}, cifar/resnet8-mlperf, imagenet/mobilenet_v2, timm/<name>, "
        "file.py:factory or package.module:factory.",
    ),
]
Weights = Annotated[Path | None, typer.Option(help="Trained weights: .safetensors, .pt or .pth.")]
Input = Annotated[str | None, typer.Option("--input", help="Input of one image, as in 3x224x224.")]
RuntimeName = Annotated[str, typer.Option("--runtime", help="See `lathe devices`.")]
DeviceKind = Annotated[str, typer.Option("--device", help="cpu or cuda.")]
Threads = Annotated[int, typer.Option(help="Threads inside an operator.")]
Batch = Annotated[int, typer.Option(help="Images in one forward pass when timed.")]
Precision = Annotated[str, typer.Option(help="Number format, as in fp32.")]
Workspace = Annotated[Path, typer.Option("--out", help="Folder for tables and runs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
DEFAULT_OUT = Path("lathe-out")


@contextlib.contextmanager
def stoppable(what: str) -> Iterator[None]:
    """Turns Ctrl-C into a sentence: what was measured is stored, and the same command goes on."""
    try:
        yield
    except KeyboardInterrupt:
        Terminal().console.print(f"\nstopped. {what}")
        raise typer.Exit(130) from None


def print_json(value: Any) -> None:
    """One JSON value on standard output; NaN and infinity are refused."""
    print(json.dumps(value, indent=1, allow_nan=False))  # noqa: T201  this is what --json is for
