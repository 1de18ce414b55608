"""Records → what the commands print: tables for people, plain values for ``--json``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from statistics import mean
from typing import Any

from bench.anchor import Move
from bench.devices import RuntimeRecord, Survey
from bench.doubt_views import doubts_json, show_doubts
from bench.fact_views import facts_json, show_facts
from bench.profiler import NETWORK_RULE, Profiled
from bench.terminal import Terminal, ratio_text, time_text
from bench.verdict import judge
from bench.width_profiler import WidthsProfiled
from latency_tables.estimate import Estimate, numbers
from latency_tables.measurement import Measurement
from latency_tables.prediction import Prediction
from latency_tables.setting import Setting
from latency_tables.skeleton import Skeleton
from latency_tables.table import Failure, LatencyTable, NetworkMeasurement
from latency_tables.verdict import Verdict

#: Of parts that failed for the same reason, or were spoiled, so many are named.
_NAMED = 5

#: What a verdict says, where its word does not say all.
_MEANING = {
    Verdict.FASTER: "",
    Verdict.SLOWER: "",
    Verdict.SAME: f" (surely within {NETWORK_RULE.same_within:.0%} of it)",
    Verdict.CANNOT_TELL: " whether it is faster or slower",
}


def show_devices(terminal: Terminal, survey: Survey) -> None:
    """The machine, the runtimes, and whether it is quiet enough."""
    device = survey.device
    memory = f"{device.memory_bytes / 2**30:.0f} GiB"
    terminal.results.print(f"{device.name}: {device.cores} cores, {memory}, {' '.join(device.features)}")
    if survey.gpu is not None:
        gpu = survey.gpu.device
        memory = f"{gpu.memory_bytes / 2**30:.0f} GiB"
        terminal.results.print(f"{gpu.name}: {memory}, driver {gpu.driver}, {' '.join(gpu.features)}")
        if survey.gpu.unseen:
            terminal.results.print(
                f"  throttling and others on it go unseen while something is timed: {survey.gpu.unseen}"
            )
    rows = [
        [
            record.name,
            ", ".join(record.precisions) or "no",
            _about(record),
        ]
        for record in survey.runtimes
    ]
    terminal.show("\nRuntimes", ["runtime", "usable in", ""], rows)
    if survey.host.findings:
        rows = [
            [f.severity.value, f.name, str(f.value), str(f.threshold), f.remedy] for f in survey.host.findings
        ]
        columns = ["", "finding", "value", "threshold", "what to do"]
        terminal.show("\nIs it quiet enough to measure?", columns, rows)
    else:
        terminal.results.print("\nThe machine is quiet enough to measure.")


def _about(record: RuntimeRecord) -> str:
    """Why it is not usable and what to do, or its versions; and what to know before trusting it."""
    versions = ", ".join(f"{name} {version}" for name, version in record.versions)
    told = f"{record.reason}. {record.remedy}" if record.reason else versions
    return f"{told} ({record.remark})" if record.remark else told


def profile_json(
    skeleton: Skeleton, profiled: Profiled, over_widths: WidthsProfiled | None, table: LatencyTable
) -> dict[str, Any]:
    """What was measured as plain values."""
    result: dict[str, Any] = {
        "parts": profiled.parts,
        "measured": profiled.measured,
        "networks": profiled.networks,
        "complete": profiled.complete,
        "failed": [{"kind": kind, "reason": reason} for kind, reason in profiled.failed],
        "moves": [move.to_json() for move in profiled.moves],
        **doubts_json(skeleton, table),
        **facts_json(skeleton, table),
    }
    if over_widths is not None:
        result["widths"] = {
            "groups": sum(group.frozen is None for group in skeleton.groups),
            "frozen": {group.name: group.frozen for group in skeleton.groups if group.frozen is not None},
            "families": over_widths.families,
            "measured": over_widths.measured,
            "failed": [{"kind": kind, "reason": reason} for kind, reason in over_widths.failed],
            "complete": over_widths.complete,
            "moves": [move.to_json() for move in over_widths.moves],
        }
    return result


#: Of more moves of the anchor than this not each is told.
_MOVES_TOLD = 5


def _show_moves(terminal: Terminal, moves: Sequence[Move]) -> None:
    """When the machine was seen to change, and what became of the parts that were timed then."""
    told, meanwhile = terminal.results, [move for move in moves if not move.between_profiles]
    for move in moves:
        if move.between_profiles:
            told.print(
                f"  since an earlier profile the anchor moved to {move.ratio.value:.2f} times its latency "
                f"({move.created}), so what was timed then and now does not belong together; `lathe table check` "
                "tells how far the table is off"
            )
        elif len(meanwhile) <= _MOVES_TOLD:
            stayed = "it stayed there" if move.settled else "it is not sure that it stayed"
            told.print(
                f"  the anchor moved to {move.ratio.value:.2f} times its latency ({move.created}); {move.again} "
                f"parts were timed again, and {stayed}"
            )
    if len(meanwhile) > _MOVES_TOLD:
        ratios = [move.ratio.value for move in meanwhile]
        told.print(
            f"  the anchor moved {len(meanwhile)} times, to {min(ratios):.2f} to {max(ratios):.2f} times its "
            f"latency; {sum(move.again for move in meanwhile)} times a part was timed again"
        )
        if unsure := sum(not move.settled for move in meanwhile):
            told.print(
                f"  after {unsure} of these moves it is not sure that the machine stayed as it was: it is restless,"
                " and a quieter hour or machine gives a better table"
            )


def show_profile(
    terminal: Terminal,
    skeleton: Skeleton,
    profiled: Profiled,
    over_widths: WidthsProfiled | None,
    table: LatencyTable,
) -> None:
    """What was measured, and how far the table is from whole networks."""
    terminal.results.print(
        f"{skeleton.name} in {table.setting.label}: {profiled.parts} distinct parts, {profiled.measured} timed "
        f"now; {profiled.networks} whole networks timed now; {len(profiled.failed)} failed."
    )
    if over_widths is not None:
        free = sum(group.frozen is None for group in skeleton.groups)
        counts = ", ".join(f"{count} of the {why}s" for why, count in over_widths.measured.items())
        terminal.results.print(
            f"widths: {free} of {len(skeleton.groups)} channel groups may vary, {over_widths.families} families of "
            f"layers with them; {sum(over_widths.measured.values())} cells timed now"
            f"{f' ({counts})' if counts else ''}, {len(over_widths.failed)} failed"
        )
    unfinished, broken = over_widths is not None and not over_widths.complete, bool(table.failed(skeleton))
    if not profiled.complete or (unfinished and not broken):
        terminal.results.print(
            "time was over before everything was timed; the same command goes on from there"
        )
    if unfinished and broken:
        terminal.results.print(
            "no part was timed at other widths, since parts at full width failed, and nothing is predicted without "
            "these"
        )
    _show_moves(terminal, (*profiled.moves, *(over_widths.moves if over_widths is not None else ())))
    show_facts(terminal, skeleton, table)
    show_doubts(terminal, skeleton, table)
    narrower = over_widths.failed if over_widths is not None else ()
    reasons: dict[str, list[str]] = {}
    for kind, reason in (*profiled.failed, *narrower):
        reasons.setdefault(reason, []).append(kind)
    for reason, kinds in reasons.items():
        named = ", ".join(kinds[:_NAMED]) + (
            f" and {len(kinds) - _NAMED} more" if len(kinds) > _NAMED else ""
        )
        terminal.results.print(f"  failed: {named}: {reason}")
    if broken or narrower:
        terminal.results.print("  the same command with --retry-failed tries failed parts again")


def closure_rows(skeleton: Skeleton, table: LatencyTable) -> list[dict[str, Any]]:
    """Predicted against measured for every sound timing of a whole network, as ratios to the unpruned one."""
    from latency_tables.closure import foreseen

    found = foreseen(skeleton, table)
    return [
        {
            "cut": row.timed.cut.words,
            "removed": list(row.timed.removed),
            "widths": dict(row.timed.widths),
            "fitted": row.fitted,
            "predicted_ratio": row.predicted.value,
            "measured_ratio": row.timed.ratio.value,
            "measured_ratio_interval": row.timed.ratio.to_json()[1:],
            "error": row.predicted.value / row.timed.ratio.value - 1.0,
        }
        for row in (found[1] if found else ())
    ]


def show_closure(terminal: Terminal, rows: Sequence[dict[str, Any]]) -> None:
    """The closure table: how far predictions are from networks that were really timed."""
    if not rows:
        return
    lines = [
        [
            row["cut"],
            "yes" if row["fitted"] else "no",
            f"{row['predicted_ratio']:.3f}",
            f"{row['measured_ratio']:.3f}",
            f"{row['error']:+.1%}",
        ]
        for row in rows
    ]
    columns = ["network", "fitted on", "predicted / unpruned", "measured / unpruned", "error"]
    terminal.show(
        "\nClosure: predicted against measured whole networks, spoiled timings left out", columns, lines
    )
    again: dict[str, list[float]] = {}
    for row in rows:
        again.setdefault(f"{row['removed']} {row['widths']}", []).append(row["measured_ratio"])
    noise = [[abs(b / a - 1.0) for a, b in itertools.pairwise(ratios)] for ratios in again.values()]
    networks = sum(map(bool, noise))
    if networks:
        terminal.results.print(
            f"noise floor: from one timing of a network to the next of the same one the measured ratio differs by "
            f"{mean(itertools.chain.from_iterable(noise)):.1%} in the mean ({networks} "
            f"network{'s' if networks != 1 else ''})"
        )


def prediction_json(
    skeleton: Skeleton, setting: Setting, prediction: Prediction, spoiled: Sequence[str] = ()
) -> dict[str, Any]:
    """A prediction as plain values, with the names of parts whose cells are spoiled."""
    return {
        "network": skeleton.name,
        "setting": setting.digest,
        "predicted_s": prediction.latency_s.value,
        "predicted_s_interval": prediction.latency_s.to_json()[1:],
        "timed_whole": prediction.fit.timed,
        "raw_sum_s": prediction.raw_s,
        "constant_s": prediction.constant_s,
        "spoiled": list(spoiled),
        "layers": [
            {
                "name": share.name,
                "kind": share.kind,
                "block": share.block,
                "alone_s": share.alone_s.value,
                "alone_s_interval": share.alone_s.to_json()[1:],
                "context_s": share.context_s,
                "kept": share.kept,
                "origin": share.origin.value,
            }
            for share in prediction.shares
        ],
    }


def show_prediction(
    terminal: Terminal,
    skeleton: Skeleton,
    setting: Setting,
    prediction: Prediction,
    measured: NetworkMeasurement | None,
    spoiled: Sequence[str] = (),
) -> None:
    """The network by part, then the sum, then what timing it told; of parts whose cells are spoiled the names."""
    rows = [
        [
            share.name,
            share.kind,
            share.block or "",
            time_text(share.alone_s),
            time_text(share.context_s),
            share.origin.value if share.kept else "removed",
        ]
        for share in prediction.shares
    ]
    rows.append(["(constant)", "", "", "", f"{prediction.constant_s * 1e6:+.3g} µs", ""])
    columns = ["layer", "kind", "block", "alone", "in the network", ""]
    terminal.show(f"{skeleton.name} in {setting.label}", columns, rows)
    terminal.results.print(f"predicted {time_text(prediction.latency_s)}")
    if not prediction.fit.timed:
        terminal.results.print(
            "nothing fitted on this network: it was never timed whole in this setting, so its parts are added up "
            "as they are alone, and nobody knows how far off that is; "
            f"`lathe profile {skeleton.name}` there times it"
        )
    terminal.results.print(f"plain sum of the layers timed alone {time_text(prediction.raw_s)}")
    if spoiled:
        more = f" and {len(spoiled) - _NAMED} more" if len(spoiled) > _NAMED else ""
        terminal.results.print(
            f"it rests on {len(spoiled)} layers and blocks that something disturbed when they were timed, or that "
            f"were timed while the cores lay far apart or the anchor moved ({', '.join(spoiled[:_NAMED])}{more}); "
            f"`lathe profile {skeleton.name}` there times them again"
        )
    if measured is not None:
        _show_measured(terminal, prediction, measured)


def measured_json(prediction: Prediction, measured: NetworkMeasurement) -> dict[str, Any]:
    """What timing the network told, as plain values; ratios are to the unpruned network timed beside it."""
    return {
        **numbers("measured_s", measured.latency_s),
        **numbers("predicted_ratio", _foreseen(prediction, measured)),
        **numbers("measured_ratio", measured.ratio),
        "verdict": judge(measured.ratio, NETWORK_RULE).value,
        "timing": {
            "stop": None if measured.stop is None else measured.stop.value,
            "rounds": measured.rounds,
            "disturbance": measured.disturbance,
            "far": measured.far,
            "doubts": list(measured.doubts),
        },
    }


def _foreseen(prediction: Prediction, measured: NetworkMeasurement) -> Estimate:
    return prediction.fit.ratio(measured.removed, dict(measured.widths))


def _show_measured(terminal: Terminal, prediction: Prediction, measured: NetworkMeasurement) -> None:
    error = prediction.latency_s.value / measured.latency_s.value - 1.0
    out = terminal.results
    out.print(f"measured  {time_text(measured.latency_s)}; the prediction is off by {error:+.1%}")
    foreseen, seen = _foreseen(prediction, measured), measured.ratio
    out.print(
        f"of the unpruned network timed beside it: predicted {ratio_text(foreseen)}, measured "
        f"{ratio_text(seen)}; the prediction is off by {foreseen.value / seen.value - 1.0:+.1%}"
    )
    verdict = judge(seen, NETWORK_RULE)
    out.print(f"beside the unpruned network: {verdict.value}{_MEANING[verdict]}")
    if measured.stop is not None:
        out.print(f"  sampling stopped after {measured.rounds} rounds ({measured.stop.value})")
    if measured.disturbance is not None:
        out.print(
            f"  disturbed by {measured.disturbance} in every attempt: time it when the machine is quiet"
        )
    if measured.far:
        out.print("  timed while the cores lay far apart, or moved")
    for doubt in measured.doubts:
        out.print(f"  {doubt} in the ratios to the unpruned network, so their interval claims too much")


def show_table(terminal: Terminal, table: LatencyTable, kinds: dict[str, tuple[str, str]]) -> None:
    """Every cell of a table."""
    rows = []
    for key, cell in sorted(table.cells.items(), key=lambda entry: (kinds[entry[0]][1], kinds[entry[0]][0])):
        kind, grain = kinds[key]
        if isinstance(cell, Failure):
            rows.append([kind, grain, f"failed: {cell.reason}", "", "", "", key])
        else:
            samples, stop = str(len(cell.samples_s)), cell.stop.value
            rows.append([kind, grain, time_text(cell.latency_s), samples, stop, _against(cell), key])
    columns = ["kind", "grain", "latency", "samples", "stopped by", "doubts", "part"]
    terminal.show(table.setting.label, columns, rows, shorten=["part"])


def _against(cell: Measurement) -> str:
    """What speaks against a cell, in few words; "" where nothing does."""
    seen = {"disturbed": cell.disturbance is not None, "far": cell.far, "unsettled": cell.settled is False}
    words = [word for word, is_so in seen.items() if is_so]
    return ", ".join([*words, *(finding.doubt.value for finding in cell.findings)])


def table_json(table: LatencyTable, kinds: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """A table as plain values."""
    cells = []
    for key, cell in table.cells.items():
        kind, grain = kinds[key]
        row: dict[str, Any] = {"key": key, "kind": kind, "grain": grain, "created": cell.created}
        if isinstance(cell, Failure):
            row |= {"latency_s": None, "reason": cell.reason}
        else:
            latency = cell.latency_s
            row |= {
                "latency_s": latency.value,
                "latency_s_interval": latency.to_json()[1:],
                "samples": len(cell.samples_s),
                "dropped": dict(cell.dropped),
                "stop": cell.stop.value,
                "disturbance": cell.disturbance,
                "far": cell.far,
                "settled": cell.settled,
                "doubts": [finding.doubt.value for finding in cell.findings],
            }
        cells.append(row)
    return {"setting": table.setting.to_json(), "cells": cells, "networks": len(table.networks)}
