"""The command that makes a network smaller for a machine that is not at hand."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.prune_cli import Calibration, ImageSource, ShiftName
from bench.terminal import Terminal
from bench.words import (
    DEFAULT_OUT,
    TABLE_HELP,
    AsJson,
    Input,
    NetworkName,
    Weights,
    Workspace,
    print_json,
    stoppable,
)
from latency_tables.errors import UserError


def plan(
    context: typer.Context,
    network: NetworkName,
    images: ImageSource,
    budget: Annotated[str, typer.Option(help="Share of the unpruned latency (0.7x) or a time (8ms).")],
    table: Annotated[str, typer.Option("--table", metavar="ID", help=TABLE_HELP)],
    weights: Weights = None,
    input_shape: Input = None,
    shift: ShiftName = None,
    calibration: Calibration = 500,
    method: Annotated[str, typer.Option(help="One that takes blocks out, see `lathe prune`.")] = "ttmpd",
    iterations: Annotated[int, typer.Option(help="Steps of finetuning.")] = 200,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    name: Annotated[str | None, typer.Option(help="Name of the plan's folder.")] = None,
    out: Workspace = DEFAULT_OUT,
    as_json: AsJson = False,
) -> None:
    """Prune by the table of a machine that is not at hand: predicted there, healed and judged here."""
    from bench.budget import parse_budget
    from bench.lock import locked
    from bench.plan_views import planned_json, planned_leaflet, show_planned
    from bench.planning import plan_for
    from bench.tables import named_table
    from bench.workbench import Gallery, ImageChoice, NetworkChoice, Subject
    from bench.workloads import parse_input_shape
    from latency_tables.files import write_atomically

    terminal = Terminal(quiet=as_json)
    allowed = parse_budget(budget)
    with stoppable("Nothing was written; the same command begins anew."):
        known, _ = named_table(table, out)
        shape = None if input_shape is None else parse_input_shape(input_shape)
        subject = Subject(NetworkChoice(network, weights, shape), known.setting.batch)
        if weights is None and subject.network.draws_weights():
            terminal.say(
                f"{network} has random weights, so accuracies will tell nothing. Give trained ones with --weights."
            )
        gallery = Gallery(ImageChoice(images, shift, calibration), subject.network)
        folder = (
            out / "plans" / (_plain(name) or _default_name(network, known.setting.digest, context.params))
        )
        making = folder.with_name(f".{folder.name}")
        with locked(folder.parent):
            shutil.rmtree(making, ignore_errors=True)  # what a process that was killed left
            planned = plan_for(
                subject, gallery, known, method, allowed, making, terminal, seed=seed, iterations=iterations
            )
            command = shlex.join(["lathe", *sys.argv[1:]])
            write_atomically(making / "README.md", planned_leaflet(planned, command).encode())
            shutil.rmtree(folder, ignore_errors=True)
            making.rename(folder)
    if as_json:
        print_json(planned_json(planned) | {"folder": str(folder)})
    else:
        show_planned(terminal, planned)
        terminal.results.print(f"results   {folder}", markup=False)


def _plain(name: str | None) -> str | None:
    """A name for a folder that will be replaced.

    Raises:
        UserError: it leads out of the folder of plans.
    """
    if name is not None and (Path(name).name != name or name == ".."):
        raise UserError(f"--name takes the plain name of a folder, got {name!r}")
    return name


def _default_name(network: str, table: str, params: dict[str, Any]) -> str:
    """A folder name of network and table, with a digest of everything asked for."""
    decisive = {name: str(value) for name, value in params.items() if name not in ("name", "out", "as_json")}
    digest = hashlib.sha256(repr(sorted(decisive.items())).encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9.]+', '_', network).strip('_.')}-{table}-{digest}"
