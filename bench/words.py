"""What the commands share: their words, and how they print and stop."""

from __future__ import annotations

import contextlib
import json
import math
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.terminal import Terminal
from latency_tables.errors import UserError
from latency_tables.random_plans import uniform_widths
from latency_tables.widths import ChannelGroup, full_widths

NetworkName = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help="cifar/resnet{20,32,44,56,110}, cifar/resnet8-mlperf, imagenet/mobilenet_v2, timm/<name>, "
        "file.py:factory or package.module:factory.",
    ),
]
Weights = Annotated[Path | None, typer.Option(help="Trained weights: .safetensors, .pt, .pth, .th or .bin.")]
Input = Annotated[str | None, typer.Option("--input", help="Input of one image, as in 3x224x224.")]
RuntimeName = Annotated[str, typer.Option("--runtime", help="See `lathe devices`.")]
DeviceKind = Annotated[str, typer.Option("--device", help="cpu or cuda.")]
Threads = Annotated[int, typer.Option(help="Threads inside an operator.")]
Batch = Annotated[int, typer.Option(help="Images in one forward pass when timed.")]
Precision = Annotated[str, typer.Option(help="Number format, as in fp32.")]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option", metavar="NAME=VALUE", help="Of the runtime, as in launch=graph; may be repeated."
    ),
]
Workspace = Annotated[Path, typer.Option("--out", help="Folder for tables and runs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
TABLE_HELP = "An exported file, or an id or the beginning of a setting's text from `lathe table list`."
TableName = Annotated[
    str | None,
    typer.Option("--table", metavar="ID", help=f"{TABLE_HELP} Stands for the words of a setting."),
]
DEFAULT_OUT = Path("lathe-out")


@contextlib.contextmanager
def stoppable(what: str) -> Iterator[None]:
    """Turns Ctrl-C into a sentence: what was measured is stored, and the same command goes on."""
    try:
        yield
    except KeyboardInterrupt:
        Terminal().console.print(f"\nstopped. {what}")
        raise typer.Exit(130) from None


def this_command() -> str:
    """The command line that runs, to be typed again."""
    return shlex.join(["lathe", *sys.argv[1:]])


def refuse_setting_words(context: typer.Context) -> None:
    """A table has its own setting; words for another one would be passed over in silence.

    Raises:
        UserError: the command line says runtime, device, threads, batch, precision or option beside ``--table``.
    """
    names = ("runtime", "device", "threads", "batch", "precision", "option")
    sources = {name: context.get_parameter_source(name) for name in names}
    said = [f"--{name}" for name, source in sources.items() if source and source.name == "COMMANDLINE"]
    if said:
        raise UserError(f"--table names a setting of its own; leave {', '.join(said)} out")


def plain_name(name: str | None) -> str | None:
    """A name for a folder that lathe writes, or replaces.

    Raises:
        UserError: it leads out of where such folders lie, or is hidden.
    """
    if name is not None and (Path(name).name != name or name.startswith(".")):
        raise UserError(f"--name takes the plain name of a folder, without a dot in front, got {name!r}")
    return name


def parse_options(words: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    """Options of a runtime, sorted, from words as in launch=graph.

    Raises:
        UserError: a word is none, or a name stands there twice.
    """
    options: dict[str, str] = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise UserError(f"--option takes NAME=VALUE, got {word!r}")
        if name in options:
            raise UserError(f"--option says {name} twice: {options[name]} and {value}")
        options[name] = value
    return tuple(sorted(options.items()))


def parse_duration(text: str) -> float:
    """Seconds of a duration as in 90s, 5m or 1h.

    Raises:
        UserError: it is none, or not above 0.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", text.strip())
    if match is None or float(match[1]) <= 0:
        raise UserError(f"a duration as in 90s, 5m or 1h was expected, got {text!r}")
    return float(match[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0}[match[2]]


def parse_widths(text: str, groups: Sequence[ChannelGroup]) -> dict[str, int]:
    """Widths of channel groups from words.

    Args:
        text: a share of all that may vary, as in 0.5, or NAME=CHANNELS separated by commas; "" for none.
        groups: of the network.

    Raises:
        UserError: it is neither, or a width that cannot be.
    """
    text = text.strip()
    if not text:
        return {}
    if "=" not in text:
        try:
            share = float(text)
        except ValueError:
            share = math.nan
        if not 0 < share <= 1:
            raise UserError(f"--widths takes a share above 0 up to 1, or NAME=CHANNELS,..., got {text!r}")
        return uniform_widths(groups, share)
    widths: dict[str, int] = {}
    for word in text.split(","):
        name, _, count = word.strip().partition("=")
        if not count.isdecimal():
            raise UserError(f"--widths takes NAME=CHANNELS separated by commas, got {word.strip()!r}")
        if name in widths:
            raise UserError(f"--widths says {name} twice: {widths[name]} and {count}")
        widths[name] = int(count)
    full_widths(groups, widths)
    return widths


def print_json(value: Any) -> None:
    """One JSON value on standard output; NaN and infinity are refused."""
    print(json.dumps(value, indent=1, allow_nan=False))  # noqa: T201  this is what --json is for
