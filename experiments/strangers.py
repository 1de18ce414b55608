"""Does it help predictions to leave out what parts only do when they are alone?

    python experiments/strangers.py [--scale short]

Alone, a part lays out its inputs and outputs anew, which inside of a network it hardly ever does. In ONNX Runtime each
cell tells for what share of its time; the shipped table is older than that. Here its parts are asked
for that share again, and its held-out networks (one thread, batch 1) are predicted with and without it: by parts as
they are, as for a network that was never timed as a whole (a stranger), and by the fit. Beside it a remedy that needs
no question: kinds of layers weighted as the other networks' timings say. Needs the machine that the table is of. Writes
docs/results/strangers.md in a minute.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from cells import RESULTS, origin
from closure import NETWORKS
from closure_forms import Case, drawn_to_zero, kind_of_layer

from bench.session import Session
from bench.terminal import Terminal
from bench.timing import Rule
from bench.workbench import SettingChoice
from latency_tables.context import Coefficients, as_alone, coefficients
from latency_tables.costs import Costs
from latency_tables.errors import UserError
from latency_tables.exchange import read_archive
from latency_tables.files import write_atomically
from latency_tables.measurement import FACTS, REORDERING, Measurement
from latency_tables.setting import Setting
from latency_tables.shipped import shipped_skeleton, shipped_tables
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.table import LatencyTable

BRIEF = Rule(target=1.0, max_time_s=0.02, warmup_max_time_s=0.02)
"""What a part takes is known; it is only asked what it reorders."""
WANTED = 0.05
READING = """
Reading. Alone, parts of convolutional networks spend 4 to 27 % of their time laying out what they read and write; a vision transformer's spend nothing. Without that share MobileNetV2, nothing fitted on it, is predicted
2.5 % off in the mean in place of 8.1 (wanted: 5), so that each of the five lies within what is wanted; ResNet-18 and ResNet-50 lose 0.8 and 0.3 points by it, ResNet-56 gains 0.2. Where whole networks are fitted it changes
little, since slopes had made up for it: the slope of MobileNetV2's blocks falls from 1.22 to 1.04, its networks within 5 % go from 96 to 98 % of 83, the others change by 1 point. Kinds of layers weighted as the other
networks' timings say help nobody. So the share is left out of predictions where every part of a network tells it. That it helps was seen on these networks, most of which `closure.md` was made from too; the next closure will tell on new ones.
"""
"""What the run said, in plain words; goes to the top of the page."""


@dataclass(frozen=True)
class Stranger:
    """A network with what is known of it.

    Attributes:
        skeleton: the unpruned network.
        cuts: its held-out networks.
        ratios: the median of what was timed of each, of the unpruned latency.
        plain: the table as it is shipped.
        told: the same, with what parts reorder.
    """

    skeleton: Skeleton
    cuts: tuple[Cut, ...]
    ratios: np.ndarray
    plain: LatencyTable
    told: LatencyTable

    def errors(self, fit: Coefficients) -> np.ndarray:
        """Relative errors of predicted ratios, shape (cuts,)."""
        found = [fit.ratio(cut.removed, dict(cut.widths)).value for cut in self.cuts]
        return np.array(found) / self.ratios - 1.0

    @property
    def reordered(self) -> float:
        """Of the sum of layers alone the share in which tensors are only laid out anew."""
        alone = np.array([cost.alone_s for cost in Costs(self.skeleton, self.plain).layers_at()])
        shares = np.array([self.told.reordering(layer.part.key) for layer in self.skeleton.layers])
        return float(alone @ shares / alone.sum())


def shipped(setting: Setting) -> LatencyTable:
    """The table that comes with lathe for a setting.

    Raises:
        UserError: there is none.
    """
    tables = {name: read_archive(path).table() for name, path in shipped_tables().items()}
    for table in tables.values():
        if table.setting == setting:
            return table
    raise UserError(
        f"no shipped table is of {setting.label}, so nothing can be held against it; there are {', '.join(tables)}. "
        "Make one with experiments/closure.py and experiments/shipped_tables.py."
    )


def with_reordering(table: LatencyTable, skeletons: Sequence[Skeleton], setting: Setting) -> LatencyTable:
    """The same table; each part of these networks is asked what it reorders."""
    parts = list(dict.fromkeys(part for skeleton in skeletons for part in skeleton.parts))
    cells = dict(table.cells)
    with Session(setting) as session, Terminal().progress("what parts reorder") as progress:
        for place, part in enumerate(parts):
            progress(place, len(parts), part.kind)
            cell, told = cells[part.key], session.measure(part.graph, rule=BRIEF).host[FACTS]
            assert isinstance(cell, Measurement), part.kind  # noqa: S101  shipped tables hold no failures of these
            cells[part.key] = replace(cell, host={**cell.host, FACTS: {REORDERING: told[REORDERING]}})
    return replace(table, cells=cells)


def stranger(skeleton: Skeleton, plain: LatencyTable, told: LatencyTable) -> Stranger:
    """With all held-out networks that the table has of it."""
    seen: dict[Cut, list[float]] = {}
    for measured in plain.measured_networks(skeleton, "closure"):
        seen.setdefault(measured.cut, []).append(measured.ratio.value)
    ratios = np.array([np.median(several) for several in seen.values()])
    return Stranger(skeleton, tuple(seen), ratios, plain, told)


def by_kinds_of_others(every: Mapping[str, Stranger], name: str) -> np.ndarray:
    """Relative errors of one where its layers are weighted by kind as the others' timings say; shape (cuts,)."""
    cases = {
        other: Case(one.skeleton, Costs(one.skeleton, one.plain), (), np.empty(0), one.cuts, None)
        for other, one in every.items()
    }
    known = [other for other in every if other != name]
    kinds = sorted({kind_of_layer(layer) for other in known for layer in every[other].skeleton.layers})
    rows, rest = [], []
    for other in known:
        case, ratios = cases[other], every[other].ratios
        gone = (1.0 - case.kept(case.plans)) * np.array(case.costs.layers_s) / case.costs.whole_s
        members = [[kind_of_layer(layer) == kind for kind in kinds] for layer in case.skeleton.layers]
        rows.append(gone @ np.array(members, dtype=float) / ratios[:, None])
        rest.append((1.0 - ratios - gone.sum(axis=1)) / ratios)
    more = dict(zip(kinds, drawn_to_zero(np.vstack(rows), np.concatenate(rest)), strict=True))
    case = cases[name]
    weights = [1.0 + more.get(kind_of_layer(layer), 0.0) for layer in case.skeleton.layers]
    costs_s = np.array(case.costs.layers_s) * np.array(weights)
    errors: np.ndarray = case.kept(case.plans) @ costs_s / costs_s.sum() / every[name].ratios - 1.0
    return errors


def mean_error(errors: np.ndarray) -> str:
    """The mean absolute one."""
    return f"{np.mean(np.abs(errors)):.1%}"


def row(words: str, cells: Sequence[str]) -> str:
    """Of a table."""
    return f"| {words} | " + " | ".join(cells) + " |"


def main() -> None:
    """Asks, predicts, and writes the page."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--scale", choices=("short",), default="short")
    scale = options.parse_args().scale
    setting = SettingChoice("onnxruntime").make()
    plain = shipped(setting)
    skeletons = {name: shipped_skeleton(name, setting.batch) for name in NETWORKS}
    known = {name: skeleton for name, skeleton in skeletons.items() if skeleton is not None}
    told = with_reordering(plain, list(known.values()), setting)
    every = {name: stranger(skeleton, plain, told) for name, skeleton in known.items()}

    alone = [as_alone(one.skeleton, one.plain) for one in every.values()]
    alone_told = [as_alone(one.skeleton, one.told) for one in every.values()]
    fits = [coefficients(one.skeleton, one.plain) for one in every.values()]
    fits_told = [coefficients(one.skeleton, one.told) for one in every.values()]
    head = ["| form | " + " | ".join(every) + " |", "| --- |" + " --- |" * len(every)]

    def errors(found: Sequence[Coefficients]) -> list[str]:
        return [mean_error(one.errors(fit)) for one, fit in zip(every.values(), found, strict=True)]

    def fitted(found: Sequence[Coefficients]) -> list[str]:
        cells = []
        for one, fit in zip(every.values(), found, strict=True):
            missed = one.errors(fit)
            within = np.mean(np.abs(missed) <= WANTED)
            cells.append(f"{mean_error(missed)}, {within:.0%}; {fit.slope:.2f}")
        return cells

    lines = [
        "# What parts do only when they are alone",
        "",
        origin("strangers", scale),
        "",
        READING.strip(),
        "",
        f"Held-out networks of the shipped table, {plain.setting.label}: "
        + ", ".join(f"{name} {len(one.cuts)}" for name, one in every.items())
        + ". Of the sum of layers alone tensors are only laid out anew in: "
        + ", ".join(f"{name} {one.reordered:.1%}" for name, one in every.items())
        + ".",
        "",
        f"Mean absolute error of predicted ratios to the unpruned network, nothing fitted on the network itself (wanted: {WANTED:.0%}):",
        "",
        *head,
        row("parts as they are", errors(alone)),
        row("less what they only reorder", errors(alone_told)),
        row(
            "kinds of layers weighted as the others say",
            [mean_error(by_kinds_of_others(every, name)) for name in every],
        ),
        "",
        f"The same of the fit in use, the share of networks within {WANTED:.0%}, and the fitted slope of blocks:",
        "",
        *head,
        row("parts as they are", fitted(fits)),
        row("less what they only reorder", fitted(fits_told)),
    ]
    write_atomically(RESULTS / "strangers.md", ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))


if __name__ == "__main__":
    main()
