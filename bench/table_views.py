"""What `lathe table` prints of differences, checks and closure: tables for people, plain values for ``--json``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.checking import Checked
from bench.skeletons import skeleton_at_hand
from bench.terminal import Terminal, time_text
from latency_tables.closure import Closure, closure_of, held_out_twice
from latency_tables.comparison import PartDifference, TableDifference
from latency_tables.errors import LatheError
from latency_tables.estimate import numbers
from latency_tables.setting import Setting, labels
from latency_tables.table import LatencyTable
from latency_tables.verdict import BETWEEN_PROCESSES

_UNKNOWN = ("?", "?")
_NUMBERS = (
    "mean_abs_error",
    "within_5pct",
    "within_10pct",
    "interval_coverage",
    "noise_floor",
    "excess_error",
)
_APART = (
    "Each table was measured in processes of its own, between which a part may differ by a few percent: "
    f"faster and slower are said of more than {BETWEEN_PROCESSES:.0%}, same of less."
)


def show_difference(
    terminal: Terminal,
    before: LatencyTable,
    after: LatencyTable,
    difference: TableDifference,
    kinds: dict[str, tuple[str, str]],
) -> None:
    """Where the settings differ, every part, and the verdicts counted."""
    out = terminal.results
    for name, label in zip("AB", labels((before.setting, after.setting)), strict=True):
        out.print(f"{name}: {label}")
    for field, one, other in difference.fields:
        out.print(f"   {field}: {one!r} in A, {other!r} in B")
    if not difference.fields:
        out.print("   the settings are equal")
    rows = [_difference_line(part, *kinds.get(part.key, _UNKNOWN)) for part in difference.parts]
    columns = ["kind", "grain", "A", "B", "B / A", "B is", "part"]
    terminal.show("", columns, rows, shorten=["part"])
    counts = ", ".join(f"{count} {name}" for name, count in difference.counts().items() if count)
    typical = difference.typical_ratio()
    mean = (
        ""
        if typical is None
        else f"; B / A {typical:.3f} (geometric mean over parts that nothing speaks against)"
    )
    out.print(f"{len(difference.parts)} parts: {counts or 'none'}{mean}")
    out.print(_APART)


def _difference_line(part: PartDifference, kind: str, grain: str) -> list[str]:
    times = ["" if one is None else time_text(one) for one in (part.before_s, part.after_s)]
    verdict = "not compared" if part.verdict is None else part.verdict.value
    verdict += f" ({part.reason})" if part.reason else ""
    return [kind, grain, *times, "" if part.ratio is None else f"{part.ratio.value:.3f}", verdict, part.key]


def difference_json(
    before: LatencyTable,
    after: LatencyTable,
    difference: TableDifference,
    kinds: dict[str, tuple[str, str]],
) -> dict[str, Any]:
    """The same as plain values."""
    return {
        "before": before.setting.to_json(),
        "after": after.setting.to_json(),
        "fields": [
            {"field": field, "before": one, "after": other} for field, one, other in difference.fields
        ],
        "counts": difference.counts(),
        "typical_ratio": difference.typical_ratio(),
        "beyond": BETWEEN_PROCESSES,
        "parts": [
            {
                "key": part.key,
                "kind": kinds.get(part.key, _UNKNOWN)[0],
                "grain": kinds.get(part.key, _UNKNOWN)[1],
                **numbers("before_s", part.before_s),
                **numbers("after_s", part.after_s),
                **numbers("ratio", part.ratio),
                "verdict": None if part.verdict is None else part.verdict.value,
                "reason": part.reason,
            }
            for part in difference.parts
        ],
    }


def show_check(terminal: Terminal, setting: Setting, checked: Checked, closure: Closure | None) -> None:
    """Each part timed again, whether the table holds, and the closure."""
    rows = [
        [
            cell.part.kind,
            cell.part.grain.value,
            time_text(cell.stored_s),
            "failed" if cell.now_s is None else time_text(cell.now_s),
            "" if cell.ratio is None else f"{cell.ratio.value:.3f}",
            cell.verdict.value + (f" ({cell.remark})" if cell.remark else ""),
        ]
        for cell in checked.cells
    ]
    columns = ["kind", "grain", "in the table", "today", "today / table", "today it is"]
    terminal.show(setting.label, columns, rows)
    terminal.results.print(sentence(checked))
    if closure is None:
        return
    rows = [
        [
            network.cut.words,
            f"{network.predicted.value:.3f}",
            f"{network.measured.value:.3f}",
            f"{network.again.value:.3f}",
            f"{network.error:+.1%}",
            f"{network.noise:+.1%}",
        ]
        for network in closure.networks
    ]
    columns = ["network", "predicted / unpruned", "measured", "measured again", "error", "noise"]
    terminal.show("\nClosure: networks that no prediction has seen", columns, rows)
    terminal.results.print(_closure_words(closure))


def _closure_words(closure: Closure) -> str:
    coverage = closure.interval_coverage
    inside = "unknown" if coverage is None else f"{coverage:.0%}"
    left_out = (
        f"; {closure.left_out} more left out, of whose timings fewer than two were sound"
        if closure.left_out
        else ""
    )
    return (
        f"{len(closure.networks)} networks: mean absolute error {closure.mean_abs_error:.1%}, noise floor "
        f"{closure.noise_floor:.1%}, within 5 %: {closure.within(0.05):.0%}, within 10 %: "
        f"{closure.within(0.1):.0%}, in the predicted interval: {inside}{left_out}"
    )


def closures(
    table: LatencyTable, names: Mapping[str, str], workspace: Path
) -> list[tuple[str, Closure | str | None]]:
    """How far off a table's predictions are, for each network of which smaller forms were held out and timed twice.

    Args:
        table: any.
        names: of networks, by the digest of their skeleton.
        workspace: where skeletons are kept.

    Returns:
        With the network's name; None for one that would have to be built to be predicted, and for one that the
        table does not predict the reason.
    """
    found: list[tuple[str, Closure | str | None]] = []
    for digest, name in names.items():
        if not held_out_twice(digest, table):
            continue
        skeleton = skeleton_at_hand(name, digest, table, workspace)
        try:
            found.append((name, None if skeleton is None else closure_of(skeleton, table)))
        except LatheError as error:
            found.append((name, str(error)))
    return found


def show_closures(
    terminal: Terminal, found: Sequence[tuple[str, Closure | str | None]], table_id: str
) -> None:
    """One line for each network."""
    if found:
        terminal.results.print("\nClosure: networks that no prediction has seen")
    for name, closure in found:
        if closure is None:
            report = shlex.join(["lathe", "table", "report", name, "--table", table_id])
            closure = f"`{report}` tells, which builds the network"
        told = closure if isinstance(closure, str) else _closure_words(closure)
        terminal.results.print(f"{name}: {told}")


def closures_json(found: Sequence[tuple[str, Closure | str | None]]) -> list[dict[str, Any]]:
    """The same as plain values; null where `lathe table report` has to tell, or for the reason that is given."""
    return [
        {
            "network": name,
            "networks": len(closure.networks) if isinstance(closure, Closure) else None,
            "left_out": closure.left_out if isinstance(closure, Closure) else None,
            "reason": closure if isinstance(closure, str) else None,
            **_closure_numbers(closure if isinstance(closure, Closure) else None),
        }
        for name, closure in found
    ]


def _closure_numbers(closure: Closure | None) -> dict[str, float | None]:
    """As fractions; null where nothing was held out."""
    if closure is None:
        return dict.fromkeys(_NUMBERS)
    return {
        "mean_abs_error": closure.mean_abs_error,
        "within_5pct": closure.within(0.05),
        "within_10pct": closure.within(0.1),
        "interval_coverage": closure.interval_coverage,
        "noise_floor": closure.noise_floor,
        "excess_error": closure.excess_error,
    }


def sentence(checked: Checked) -> str:
    """What a check says, in one sentence."""
    verdicts = [cell.verdict.value for cell in checked.cells]
    counts = ", ".join(f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts))
    if checked.anchor_ratio is None:
        return (
            "Whether the table holds cannot be told: something spoiled every reading of the anchor "
            f"({checked.anchor.kind}), or the cores lay otherwise than in the table. Try again on a quieter "
            "machine."
        )
    anchor = f"the anchor ({checked.anchor.kind}) takes {checked.anchor_ratio:.3f} of what the table says"
    if checked.moved:
        return (
            f"Whether the table holds cannot be told: the machine changed while it was measured; {anchor}. Try "
            "again on a quieter machine."
        )
    if checked.holds:
        return f"The table holds today: of {len(verdicts)} parts {counts}; {anchor}."
    if checked.holds is None:
        return (
            f"Whether the table holds cannot be told: of {len(verdicts)} parts {counts}; {anchor}. Try again on a "
            "quieter machine, or with more --cells."
        )
    kept = (
        "; with that taken into account the parts still stand in proportion, so ratios hold and seconds do not"
        if checked.proportions_hold
        else ""
    )
    return f"The table does not hold today: of {len(verdicts)} parts {counts}; {anchor}{kept}."


def check_json(setting: Setting, checked: Checked, closure: Closure | None) -> dict[str, Any]:
    """A check as plain values; the closure's numbers are fractions, null where nothing was held out."""
    result: dict[str, Any] = {
        "setting": setting.to_json(),
        "holds": checked.holds,
        "proportions_hold": checked.proportions_hold,
        "moved": checked.moved,
        "anchor_ratio": checked.anchor_ratio,
        "sentence": sentence(checked),
        "cells": [
            {
                "key": cell.part.key,
                "kind": cell.part.kind,
                "grain": cell.part.grain.value,
                **numbers("stored_s", cell.stored_s),
                **numbers("now_s", cell.now_s),
                **numbers("ratio", cell.ratio),
                "verdict": cell.verdict.value,
                "verdict_to_anchor": cell.to_anchor.value,
                "remark": cell.remark,
            }
            for cell in checked.cells
        ],
        "networks": [],
        "left_out": None if closure is None else closure.left_out,
        **_closure_numbers(closure),
    }
    if closure is None:
        return result
    networks = [
        {
            "removed": list(network.cut.removed),
            "widths": dict(network.cut.widths),
            **numbers("predicted_ratio", network.predicted),
            **numbers("measured_ratio", network.measured),
            **numbers("measured_again_ratio", network.again),
            "error": network.error,
        }
        for network in closure.networks
    ]
    return result | {"networks": networks}
