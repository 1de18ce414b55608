"""The command that makes a network smaller for a machine that is not at hand."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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
    plain_name,
    print_json,
    stoppable,
    this_command,
)
from latency_tables.errors import LatheError, UserError


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
    iterations: Annotated[int, typer.Option(min=1, help="Steps of finetuning.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    name: Annotated[str | None, typer.Option(help="Name of the plan's folder.")] = None,
    out: Workspace = DEFAULT_OUT,
    as_json: AsJson = False,
) -> None:
    """Prune by the table of a machine that is not at hand: predicted there, healed and judged here."""
    from bench.budget import parse_budget
    from bench.fact_views import show_facts
    from bench.failure import FAILURES, reason
    from bench.lock import locked
    from bench.plan_views import planned_json, planned_leaflet, show_planned
    from bench.planning import plan_for
    from bench.tables import named_table
    from bench.workbench import Gallery, ImageChoice, NetworkChoice, Subject
    from latency_tables.files import write_atomically

    terminal = Terminal(quiet=as_json)
    allowed = parse_budget(budget)
    with stoppable("What was there before is as it was; the same command begins anew."):
        known = named_table(table, out).table
        subject = Subject(NetworkChoice.read(network, weights, input_shape), known.setting.batch)
        if weights is None and subject.network.draws_weights():
            terminal.say(
                f"{network} has random weights, so accuracies will tell nothing. Give trained ones with --weights."
            )
        gallery = Gallery(ImageChoice(images, shift, calibration), subject.network)
        folder = (
            out / "plans" / (plain_name(name) or _default_name(network, known.setting.digest, context.params))
        )
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is no folder; name another one with --name")
        with locked(folder.parent), _made_in(folder.parent / ".making") as making:
            try:
                planned = plan_for(
                    subject,
                    gallery,
                    known,
                    method,
                    allowed,
                    making,
                    terminal,
                    seed=seed,
                    iterations=iterations,
                )
            except FAILURES as error:
                if isinstance(error, LatheError):
                    raise
                raise LatheError(f"the plan failed: {reason(error)}") from error
            command = this_command()
            write_atomically(making / "README.md", planned_leaflet(planned, command).encode())
            _replace(folder, making)
    if as_json:
        print_json(planned_json(planned) | {"folder": str(folder)})
    else:
        show_planned(terminal, planned)
        show_facts(terminal, subject.outline.skeleton, known)
        terminal.results.print(f"results   {folder}")


@contextmanager
def _made_in(folder: Path) -> Iterator[Path]:
    """An empty folder to make something in, which is gone afterwards, as is what a killed process left in it."""
    _clear(folder)
    try:
        yield folder / "new"
    finally:
        _clear(folder)


def _clear(folder: Path) -> None:
    """Removes it; what had made room for a new folder that never came goes back to its place."""
    for old in folder.glob("old/*"):
        if not (folder.parent / old.name).exists():
            old.rename(folder.parent / old.name)
    shutil.rmtree(folder, ignore_errors=True)


def _replace(folder: Path, new: Path) -> None:
    """Puts a finished folder in the place of an old one, which is not lost wherever this ends."""
    if folder.exists():
        new.with_name("old").mkdir()
        folder.rename(new.with_name("old") / folder.name)
    new.rename(folder)


def _default_name(network: str, table: str, params: dict[str, Any]) -> str:
    """A folder name of network and table, with a digest of everything asked for."""
    decisive = {name: str(value) for name, value in params.items() if name not in ("name", "out", "as_json")}
    digest = hashlib.sha256(repr(sorted(decisive.items())).encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9.]+', '_', network).strip('_.')}-{table}-{digest}"
