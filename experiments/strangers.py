"""Can a network that was never timed as a whole be predicted better than by adding up its parts?

    python experiments/strangers.py [--scale short]

Alone, a part pays for laying out its inputs and outputs anew, which inside of a network it never does; where nothing
is fitted on a network this stays in the prediction. Tried against that, on the held-out networks of the shipped table
in ONNX Runtime (one thread, batch 1): to take off each part what the runtime's own profile says of its nodes that only
reorder; and to weigh kinds of layers as the other networks' timings say. Needs the machine that the table is of. Writes
docs/results/strangers.md in about 5 minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

import numpy as np
from cells import RESULTS, origin
from closure_forms import Case, drawn_to_zero, kind_of_layer

from bench.session import Session
from bench.terminal import Terminal
from bench.workbench import SettingChoice
from latency_tables.costs import Costs
from latency_tables.errors import UserError
from latency_tables.exchange import read_table
from latency_tables.files import write_atomically
from latency_tables.part import Part
from latency_tables.setting import Setting
from latency_tables.shipped import shipped_skeleton, shipped_tables
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.table import LatencyTable

NETWORKS = (
    "timm/resnet18",
    "timm/resnet50",
    "timm/mobilenetv2_100",
    "timm/vit_tiny_patch16_224",
    "cifar/resnet56",
)
REORDERS = ("ReorderInput", "ReorderOutput")
"""What ONNX Runtime calls nodes that turn a tensor into the layout of its convolutions, and back."""
WANTED = 0.05
READING = """
Reading. Not run yet.
"""
"""What the run said, in plain words; goes to the top of the page."""


def shipped(setting: Setting) -> LatencyTable:
    """The table that comes with lathe for a setting.

    Raises:
        UserError: there is none.
    """
    tables = {name: read_table(path) for name, path in shipped_tables().items()}
    for table in tables.values():
        if table.setting == setting:
            return table
    raise UserError(
        f"no shipped table is of {setting.label}, so nothing can be held against it; there are {', '.join(tables)}. "
        "Make one with experiments/closure.py and experiments/shipped_tables.py."
    )


def truths(skeleton: Skeleton, table: LatencyTable) -> dict[Cut, float]:
    """Of each held-out network the median of its ratios to the unpruned one."""
    seen: dict[Cut, list[float]] = {}
    for measured in table.measured_networks(skeleton, "closure"):
        seen.setdefault(measured.cut, []).append(measured.ratio.value)
    return {cut: float(np.median(ratios)) for cut, ratios in seen.items()}


def reordering(session: Session, part: Part) -> float:
    """Of a part's time alone the share in nodes that only reorder, 0 to 1, as the runtime's own profile has it."""
    nodes = session.node_profile(part.graph).nodes
    return sum(node.seconds for node in nodes if node.kind in REORDERS) / sum(node.seconds for node in nodes)


def predicted(case: Case, costs_s: np.ndarray) -> np.ndarray:
    """Ratios by a plain sum of layers, each of which costs what is said at full width; shape (plans,)."""
    ratios: np.ndarray = case.kept(case.plans) @ costs_s / costs_s.sum()
    return ratios


def less_reorders(case: Case, shares: Mapping[Part, float], *, blocks: bool) -> np.ndarray:
    """What layers cost without what only reorders, scaled to their blocks where these count; shape (layers,)."""
    skeleton = case.skeleton
    alone = np.array([cost.alone_s for cost in case.costs.layers_at()])
    costs_s = alone * np.array([1.0 - shares[layer.part] for layer in skeleton.layers])
    if blocks:
        for block in skeleton.blocks:
            inside = np.array([layer.block == block.name for layer in skeleton.layers])
            own_s = case.costs.blocks_s[block.name] * (1.0 - shares[block.part])
            costs_s[inside] *= own_s / costs_s[inside].sum()
    return costs_s


def by_kinds_of_others(cases: Mapping[str, tuple[Case, np.ndarray]], stranger: str) -> np.ndarray:
    """What the stranger's layers cost, weighted by kind as the others' timings say; shape (layers,)."""
    known = {name: pair for name, pair in cases.items() if name != stranger}
    kinds = sorted({kind_of_layer(layer) for case, _ in known.values() for layer in case.skeleton.layers})
    rows, rest = [], []
    for case, ratios in known.values():
        shares = np.array(case.costs.layers_s) / case.costs.whole_s
        gone = (1.0 - case.kept(case.plans)) * shares
        members = np.array(
            [[kind_of_layer(layer) == kind for layer in case.skeleton.layers] for kind in kinds], dtype=float
        )
        rows.append(gone @ members.T / ratios[:, None])
        rest.append((1.0 - ratios - gone.sum(axis=1)) / ratios)
    more = dict(zip(kinds, drawn_to_zero(np.vstack(rows), np.concatenate(rest)), strict=True))
    case = cases[stranger][0]
    weights = [1.0 + more.get(kind_of_layer(layer), 0.0) for layer in case.skeleton.layers]
    return np.array(case.costs.layers_s) * np.array(weights)


def row(form: str, errors: Sequence[float]) -> str:
    """Of the page's table."""
    return f"| {form} | " + " | ".join(f"{error:.1%}" for error in errors) + " |"


def main() -> None:
    """Profiles parts, predicts, and writes the page."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--scale", choices=("short",), default="short")
    scale = options.parse_args().scale
    setting = SettingChoice("onnxruntime").make()
    table = shipped(setting)
    cases: dict[str, tuple[Case, np.ndarray]] = {}
    for name in NETWORKS:
        skeleton = shipped_skeleton(name, setting.batch)
        assert skeleton is not None, name  # noqa: S101  the table is of these networks
        held_out = truths(skeleton, table)
        case = Case(skeleton, Costs(skeleton, table), (), np.empty(0), tuple(held_out), None)
        cases[name] = case, np.array(list(held_out.values()))
    parts = list(
        dict.fromkeys(
            part.part for case, _ in cases.values() for part in (*case.skeleton.layers, *case.skeleton.blocks)
        )
    )
    shares: dict[Part, float] = {}
    with Session(setting) as session, Terminal().progress("what parts reorder") as progress:
        for place, part in enumerate(parts):
            progress(place, len(parts), part.kind)
            shares[part] = reordering(session, part)

    def errors(costs_s: Mapping[str, np.ndarray]) -> list[float]:
        return [
            float(np.mean(np.abs(predicted(case, costs_s[name]) / ratios - 1.0)))
            for name, (case, ratios) in cases.items()
        ]

    forms = {
        "layers as they are": {
            name: np.array([cost.alone_s for cost in case.costs.layers_at()])
            for name, (case, _) in cases.items()
        },
        "blocks as they are": {name: np.array(case.costs.layers_s) for name, (case, _) in cases.items()},
        "layers less what only reorders": {
            name: less_reorders(case, shares, blocks=False) for name, (case, _) in cases.items()
        },
        "blocks less what only reorders": {
            name: less_reorders(case, shares, blocks=True) for name, (case, _) in cases.items()
        },
        "blocks, kinds of layers weighted as the others say": {
            name: by_kinds_of_others(cases, name) for name in cases
        },
    }
    counts = ", ".join(f"{name} {len(ratios)}" for name, (_, ratios) in cases.items())
    reordered = [
        sum(
            shares[layer.part] * cost.alone_s
            for layer, cost in zip(case.skeleton.layers, case.costs.layers_at(), strict=True)
        )
        / sum(cost.alone_s for cost in case.costs.layers_at())
        for case, _ in cases.values()
    ]
    lines = [
        "# Networks that were never timed as a whole",
        "",
        origin("strangers", scale),
        "",
        READING.strip(),
        "",
        f"Mean absolute error of predicted ratios to the unpruned network (wanted: {WANTED:.0%}), nothing fitted on the network itself. "
        f"Held-out networks of the shipped table, {table.setting.label}: {counts}.",
        "",
        "| form | " + " | ".join(cases) + " |",
        "| --- |" + " --- |" * len(cases),
        *(row(form, errors(costs_s)) for form, costs_s in forms.items()),
        "",
        "Of the sum of layers alone, what nodes take that only reorder: "
        + ", ".join(f"{name} {share:.1%}" for name, share in zip(cases, reordered, strict=True))
        + f". Profiles of {len(parts)} parts.",
    ]
    write_atomically(RESULTS / "strangers.md", ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))


if __name__ == "__main__":
    main()
