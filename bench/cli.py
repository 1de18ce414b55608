"""The command line, thin: it reads words, calls the API and prints."""

from __future__ import annotations

import contextlib
import errno
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from bench.ours import require_own_packages
from bench.plan_cli import plan
from bench.prune_cli import prune, sweep
from bench.table_cli import table_app
from bench.terminal import Terminal
from bench.words import (
    DEFAULT_OUT,
    AsJson,
    Batch,
    DeviceKind,
    Input,
    NetworkName,
    Options,
    Precision,
    RuntimeName,
    TableName,
    Threads,
    Weights,
    Workspace,
    parse_duration,
    parse_options,
    parse_widths,
    refuse_setting_words,
)
from bench.words import print_json as _print_json
from bench.words import stoppable as _stoppable
from latency_tables.errors import LatheError, UserError

app = typer.Typer(
    help="Make a vision network faster on a given machine: measure, prune under a latency budget, heal, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(table_app, name="table")


def main() -> None:
    """Runs the command line; exit status 2 for a mistake in the request, 1 for a failure, 130 for Ctrl-C."""
    with _guarded():
        require_own_packages()
        app()


@contextlib.contextmanager
def _guarded() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        _complain(error)
        sys.exit(2)
    except LatheError as error:
        _complain(error)
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS):
            raise
        _complain(error)
        sys.exit(1)


def _complain(error: Exception) -> None:
    Terminal().console.print(f"lathe: {error}", style="bold red")


@app.command()
def devices(as_json: AsJson = False) -> None:
    """What can be measured here, what not and why; is the host quiet?"""
    from bench import views
    from bench.devices import survey

    found = survey()
    if as_json:
        _print_json(found.to_json())
    else:
        views.show_devices(Terminal(), found)


@app.command()
def profile(
    network: NetworkName,
    weights: Weights = None,
    input_shape: Input = None,
    runtime: RuntimeName = "onnxruntime",
    device: DeviceKind = "cpu",
    threads: Threads = 1,
    batch: Batch = 1,
    precision: Precision = "fp32",
    option: Options = None,
    out: Workspace = DEFAULT_OUT,
    widths: Annotated[
        bool, typer.Option("--widths", help="Also at the widths that channel pruning may ask for.")
    ] = False,
    time_budget: Annotated[
        str | None, typer.Option(help="Stop after so long, as in 5m; the most valuable comes first.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option(help="Try parts again that failed before.")] = False,
    strict: Annotated[bool, typer.Option(help="Refuse to measure on a host that is not quiet.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build or extend the latency table of a setting; goes on where it was stopped."""
    from bench import views
    from bench.host import look
    from bench.lock import locked
    from bench.quiet import remarks
    from bench.session import Session
    from bench.tables import open_store
    from bench.width_profiler import profile_depth, profile_with_widths
    from bench.workbench import NetworkChoice, SettingChoice, Subject

    terminal = Terminal(quiet=as_json)
    setting = SettingChoice(runtime, device, threads, batch, precision, parse_options(option)).make()
    state = look()
    for remark in remarks(state, strict=strict):
        terminal.say(remark)
    deadline_s = time.monotonic() + (math.inf if time_budget is None else parse_duration(time_budget))
    subject = Subject(NetworkChoice.read(network, weights, input_shape), batch)
    outline = subject.wide if widths else subject.outline
    store = open_store(out)
    goes_on = "What was measured is stored; the same command goes on from there."
    lock, bar = locked(out), terminal.progress("profile")
    with _stoppable(goes_on), lock, Session(setting, until_s=deadline_s) as session, bar as progress:
        run = profile_with_widths if widths else profile_depth
        done, over_widths = run(
            outline, session, store, retry_failed=retry_failed, deadline_s=deadline_s, progress=progress
        )
    table = store.table(setting)
    rows = views.closure_rows(subject.outline_for(table, widths=widths).skeleton, table)
    if as_json:
        result = views.profile_json(outline.skeleton, done, over_widths, table)
        _print_json({"setting": setting.to_json(), "host": state.to_json(), **result, "closure": rows})
    else:
        views.show_profile(terminal, outline.skeleton, done, over_widths, table)
        views.show_closure(terminal, rows)
    if done.failed or (over_widths is not None and over_widths.failed):
        raise typer.Exit(1)


@app.command()
def predict(
    context: typer.Context,
    network: NetworkName,
    weights: Weights = None,
    input_shape: Input = None,
    runtime: RuntimeName = "onnxruntime",
    device: DeviceKind = "cpu",
    threads: Threads = 1,
    batch: Batch = 1,
    precision: Precision = "fp32",
    option: Options = None,
    without: Annotated[str, typer.Option(help="Blocks to take out, separated by commas.")] = "",
    widths: Annotated[
        str,
        typer.Option(
            help="Channels that stay: a share of all, as in 0.5 (in multiples of 4), or GROUP=CHANNELS,..."
        ),
    ] = "",
    fill: Annotated[bool, typer.Option("--fill", help="Measure what the table lacks for this.")] = False,
    measure: Annotated[bool, typer.Option("--measure", help="Time it, and show both.")] = False,
    nodes: Annotated[
        bool, typer.Option("--nodes", help="Ask the runtime as well what each of its own nodes takes.")
    ] = False,
    table_name: TableName = None,
    out: Workspace = DEFAULT_OUT,
    as_json: AsJson = False,
) -> None:
    """Latency from the table, by part, with its interval."""
    from bench import views
    from bench.doubt_views import spoiled_beneath
    from bench.lock import locked
    from bench.node_views import nodes_json, show_nodes
    from bench.profiler import time_network
    from bench.session import Session
    from bench.skeletons import skeleton_for, skeleton_of
    from bench.tables import existing_store, named_table, open_store, require_table
    from bench.width_profiler import fill as fill_cut
    from bench.workbench import NetworkChoice, SettingChoice, Subject
    from latency_tables.prediction import predict as predict_latency
    from latency_tables.skeleton import Cut
    from latency_tables.slow_minutes import quick_latency_s

    terminal = Terminal(quiet=as_json)
    choice = NetworkChoice.read(network, weights, input_shape)
    if table_name is not None:
        refuse_setting_words(context)
        if measure or fill or nodes:
            raise UserError(
                "--table predicts from another table; --measure, --nodes and --fill need this machine's own"
            )
        named = named_table(table_name, out)
        known, setting = named.table, named.table.setting
        skeleton = skeleton_for(choice, known, named.networks, out, widths=bool(widths))
    else:
        setting = SettingChoice(runtime, device, threads, batch, precision, parse_options(option)).make()
        store = open_store(out) if fill else existing_store(out)
        known = store.table(setting) if fill else require_table(store, setting)
        skeleton = skeleton_of(choice, known, out, widths=bool(widths))
    removed = skeleton.check(tuple(name.strip() for name in without.split(",") if name.strip()))
    cut = Cut.of(removed, parse_widths(widths, skeleton.groups))
    filled = None
    if fill:
        bar = terminal.progress("fill")
        stop = _stoppable("What was measured is stored.")
        with stop, locked(out), Session(setting) as session, bar as progress:
            filled = fill_cut(skeleton, cut, session, store, progress)
        known = store.table(setting)
        terminal.say(f"{filled.measured} cells measured, {len(filled.failed)} failed")
        for kind, reason in filled.failed:
            terminal.say(f"  failed: {kind}: {reason}")
    prediction = predict_latency(skeleton, known, cut.removed, dict(cut.widths))
    spoiled = spoiled_beneath(skeleton, known, cut)
    measured = own_account = None
    if measure or nodes:
        subject = Subject(choice, batch)
        outline = subject.wide if widths else subject.outline
        with (
            _stoppable("A measurement that was finished is stored."),
            locked(out),
            Session(setting) as session,
        ):
            if measure:
                measured = time_network(outline, session, cut, "fit", quick_latency_s(skeleton, known))
                store.put_network(setting, skeleton.name, measured)
            if nodes:
                own_account = session.node_profile(*outline.without(cut.removed, dict(cut.widths)))
    if as_json:
        result = views.prediction_json(skeleton, setting, prediction, spoiled)
        if filled is not None:
            failures = [{"kind": kind, "reason": reason} for kind, reason in filled.failed]
            result["filled"] = {"measured": filled.measured, "failed": failures}
        if measured is not None:
            result |= views.measured_json(prediction, measured)
        if own_account is not None:
            result["nodes"] = nodes_json(skeleton, cut.removed, own_account)
        _print_json(result)
    else:
        views.show_prediction(terminal, skeleton, setting, prediction, measured, spoiled)
        if own_account is not None:
            show_nodes(terminal, skeleton, cut.removed, own_account)


app.command()(plan)
app.command()(prune)
app.command()(sweep)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders written by prune or sweep.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report; default: `report` in the first run's folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """One HTML page, and every figure as PNG and SVG, from one or several runs."""
    from reports import write_report

    terminal = Terminal()
    with _stoppable(
        "The files are those of the last report or of this one, each whole; the same command draws all."
    ):
        files = write_report(runs, out or runs[0] / "report")
    if as_json:
        damaged = [{"file": str(file.path), "reason": file.reason} for file in files.damaged]
        images = [str(image) for image in files.images]
        _print_json({"html": str(files.html), "images": images, "damaged": damaged})
    else:
        terminal.results.print(str(files.html))
        if files.images:
            pictures = f"{len(files.images)} pictures (PNG and SVG) in {files.images[0].parent}"
            terminal.results.print(pictures)
    for file in files.damaged:
        terminal.console.print(f"not in the report: {file.reason}", style="bold red")
    if files.damaged:
        raise typer.Exit(1)


@app.command()
def demo(out: Workspace = DEFAULT_OUT) -> None:
    """All of it on embedded data, in six to ten minutes on two cores."""
    from bench.demo import run_demo

    with _stoppable("Finished points are stored; the same command goes on from there."):
        run_demo(out, Terminal())
