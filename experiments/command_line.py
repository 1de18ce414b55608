"""The command line that the experiments share."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path


def training_parser(description: str | None, scales: Iterable[str]) -> argparse.ArgumentParser:
    """Options of an experiment that trains networks from scratch.

    Args:
        description: the script's docstring.
        scales: how much can be run, ``short`` among them.
    """
    made = _described(description)
    made.add_argument("--train", required=True, help="training images, npz:PATH or cifar10:PATH")
    made.add_argument("--test", required=True, help="test images")
    _add_scale(made, scales)
    return made


def parser(
    description: str | None, *, imagenet: bool = True, scales: Iterable[str] = (), jobs: bool = False
) -> argparse.ArgumentParser:
    """Options of an experiment.

    Args:
        description: the script's docstring.
        imagenet: whether it needs ImageNet's samples besides CIFAR-10.
        scales: how much can be run, ``short`` among them; with any, there is a workspace as well.
        jobs: whether it works in several processes.
    """
    made = _described(description)
    made.add_argument("--weights", type=Path, required=True, help="folder of trained weights")
    made.add_argument("--cifar", required=True, help="test images, npz:PATH or cifar10:PATH")
    if imagenet:
        made.add_argument("--imagenet", required=True, help="sample images, folder:PATH")
    if scales:
        _add_scale(made, scales)
    if jobs:
        made.add_argument("--jobs", type=int, default=2, help="processes of one thread each")
    return made


def _described(description: str | None) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def _add_scale(made: argparse.ArgumentParser, scales: Iterable[str]) -> None:
    made.add_argument("--scale", choices=tuple(scales), default="short")
    made.add_argument("--out", type=Path, default=Path("lathe-out"), help="workspace")
