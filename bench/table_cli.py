"""`lathe table`: the tables of a workspace listed, shown, compared, checked, sent and received."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bench.terminal import Terminal
from bench.words import (
    DEFAULT_OUT,
    TABLE_HELP,
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
    parse_options,
    print_json,
    refuse_setting_words,
    stoppable,
    this_command,
)

table_app = typer.Typer(help="Look at, compare, check and exchange latency tables.", no_args_is_help=True)

TableId = Annotated[str, typer.Argument(metavar="ID", help=TABLE_HELP)]


@table_app.command("list")
def table_list(out: Workspace = DEFAULT_OUT, as_json: AsJson = False) -> None:
    """Every setting in which something was measured, here and in the tables that come with lathe."""
    from bench.tables import list_tables

    found = list_tables(out)
    if all(one.shipped for one in found):
        Terminal(quiet=as_json).say(f"{out} holds no latency table yet; `lathe profile` makes one.")
    if as_json:
        print_json([asdict(one) for one in found])
        return
    lines = [[one.name, one.label, str(one.cells), str(one.networks), ", ".join(one.names)] for one in found]
    title = f"Tables in {out}, and shipped ones"
    Terminal().show(title, ["name", "setting", "cells", "whole networks", "of"], lines)


@table_app.command("show")
def table_show(table_id: TableId, out: Workspace = DEFAULT_OUT, as_json: AsJson = False) -> None:
    """Every cell of one table, and how far off its predictions are where networks were held out."""
    from bench import table_views, views
    from bench.tables import named_table

    table, kinds, networks = named_table(table_id, out)
    if not as_json:
        views.show_table(Terminal(), table, kinds)
    found = table_views.closures(table, networks, out)  # takes seconds where many networks were held out
    if as_json:
        print_json(views.table_json(table, kinds) | {"closure": table_views.closures_json(found)})
    else:
        table_views.show_closures(Terminal(), found, table_id)


@table_app.command("diff")
def table_diff(
    before: Annotated[str, typer.Argument(metavar="A", help=TABLE_HELP)],
    after: Annotated[str, typer.Argument(metavar="B", help=TABLE_HELP)],
    out: Workspace = DEFAULT_OUT,
    as_json: AsJson = False,
) -> None:
    """Two tables part by part: is B faster, slower, the same, or can that not be told?"""
    from bench import table_views
    from bench.tables import named_table
    from latency_tables.comparison import compare_tables

    (one, kinds, _), (other, more, _) = named_table(before, out), named_table(after, out)
    difference = compare_tables(one, other)
    if as_json:
        print_json(table_views.difference_json(one, other, difference, kinds | more))
    else:
        table_views.show_difference(Terminal(), one, other, difference, kinds | more)


@table_app.command("export")
def table_export(
    table_id: TableId,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="To write: .parquet or .csv.")],
    out: Workspace = DEFAULT_OUT,
    as_json: AsJson = False,
) -> None:
    """Write one table, with its history and every sample, to a file of its own."""
    from bench.tables import named_archive
    from latency_tables.exchange import write_archive

    archive = named_archive(table_id, out)
    write_archive(file, archive)
    if as_json:
        counts = {"cells": len(archive.cells), "networks": len(archive.networks)}
        print_json({"file": str(file), "setting": archive.setting.digest, **counts})
    else:
        Terminal().results.print(
            f"{file}: {len(archive.cells)} measurements of parts and {len(archive.networks)} of whole networks, "
            f"{archive.setting.label}",
        )


@table_app.command("import")
def table_import(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Written by `lathe table export`.")],
    out: Workspace = DEFAULT_OUT,
    as_json: AsJson = False,
) -> None:
    """Take a table's file into the workspace; what is there already is not taken twice."""
    from bench.tables import open_store
    from latency_tables.exchange import read_archive

    archive = read_archive(file)
    added = open_store(out).add(archive)
    if as_json:
        print_json({"setting": archive.setting.digest, **asdict(added)})
        return
    results = Terminal().results
    results.print(
        f"{archive.setting.digest}: {added.cells} measurements of parts and {added.networks} of whole networks "
        f"were new, {archive.setting.label}",
    )
    if added.replaced:
        results.print(
            f"{added.replaced} parts that had a cell here now have a newer one from the file. Two machines of one "
            "type have equal settings, so where the file is of another machine this table now mixes both; `lathe "
            "table check` tells whether it holds here, and with --out a file gets a workspace of its own."
        )


@table_app.command("report")
def table_report(
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
    table_name: TableName = None,
    part: Annotated[
        str | None,
        typer.Option(help="The layer to show over its widths; default: the most expensive one measured so."),
    ] = None,
    out: Workspace = DEFAULT_OUT,
    as_json: AsJson = False,
) -> None:
    """What a table says of a network, drawn: one HTML page, and every figure as PNG and SVG."""
    from bench.table_report import build_record
    from bench.tables import existing_store, named_table, require_table
    from bench.workbench import NetworkChoice, SettingChoice, Subject
    from reports import write_table_report
    from reports.table_charts import residual_chart

    terminal = Terminal(quiet=as_json)
    if table_name is None:
        choice = SettingChoice(runtime, device, threads, batch, precision, parse_options(option))
        table = require_table(existing_store(out), choice.make())
    else:
        refuse_setting_words(context)
        table = named_table(table_name, out).table
    subject = Subject(NetworkChoice.read(network, weights, input_shape), table.setting.batch)
    record = build_record(subject.outline_for(table).skeleton, table, part=part, command=this_command())
    folder = (
        out / "tables" / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', network).strip('-.')}-{table.setting.digest}"
    )
    with stoppable("The files are those of the last report or of this one, each whole."):
        files = write_table_report(record, folder)
    if as_json:
        images = [str(image) for image in files.images]
        notes = list(record.notes)
        judged = residual_chart(record)
        numbers = {"mean_abs_error": judged.mean_error, "noise_floor": judged.noise_floor}
        named = {"html": str(files.html), "record": str(files.record), "images": images, "notes": notes}
        print_json(named | numbers)
        return
    for note in record.notes:
        terminal.say(note)
    terminal.results.print(str(files.html))
    pictures = f"{len(files.images)} pictures (PNG and SVG) in {files.images[0].parent}"
    terminal.results.print(pictures)


@table_app.command("check")
def table_check(
    network: NetworkName,
    weights: Weights = None,
    input_shape: Input = None,
    runtime: RuntimeName = "onnxruntime",
    device: DeviceKind = "cpu",
    threads: Threads = 1,
    batch: Batch = 1,
    precision: Precision = "fp32",
    option: Options = None,
    cells: Annotated[int, typer.Option(min=1, help="How many parts to time again, drawn at random.")] = 10,
    held_out: Annotated[
        int, typer.Option(min=0, help="Also prune the network at random so many times, and time those.")
    ] = 0,
    widths: Annotated[
        bool,
        typer.Option(
            "--widths", help="Parts and networks at other widths, too; for a table made with --widths."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    out: Workspace = DEFAULT_OUT,
    as_json: AsJson = False,
) -> None:
    """Does a table still hold on this machine today? Exit status 1 when it does not, or that cannot be told."""
    from bench import table_views
    from bench.checking import check_cells, check_networks
    from bench.lock import locked
    from bench.session import Session
    from bench.tables import existing_store, require_table
    from bench.workbench import NetworkChoice, SettingChoice, Subject
    from latency_tables.errors import LatheError

    terminal = Terminal(quiet=as_json)
    setting = SettingChoice(runtime, device, threads, batch, precision, parse_options(option)).make()
    store = existing_store(out)
    table = require_table(store, setting)
    subject = Subject(NetworkChoice.read(network, weights, input_shape), batch)
    skeleton = (subject.wide if widths else subject.outline).skeleton
    closure = None
    unclosed: LatheError | None = None
    lock, bar = locked(out), terminal.progress("check")
    with (
        stoppable("Parts stay as the table had them; whole networks that were timed are stored."),
        lock,
        bar as progress,
    ):
        with Session(setting) as session:
            checked = check_cells(skeleton, table, session, cells, seed, progress)
        if held_out:
            try:
                known = subject.outline_for(table, widths=widths)
                closure = check_networks(
                    known, store, lambda: Session(setting), table, held_out, seed, progress, widths=widths
                )
            except LatheError as error:
                unclosed = error  # what was found out about the parts is told before
    if as_json:
        reason = None if unclosed is None else str(unclosed)
        print_json(table_views.check_json(setting, checked, closure) | {"closure_unknown": reason})
    else:
        table_views.show_check(terminal, setting, checked, closure)
    if unclosed is not None:
        raise LatheError(f"how far off predictions are was not found out: {unclosed}") from unclosed
    if checked.holds is not True:
        raise typer.Exit(1)
