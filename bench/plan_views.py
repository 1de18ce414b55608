"""A plan for a machine that is not at hand → what the command prints and what lies beside its files."""

from __future__ import annotations

from typing import Any

from bench.planning import Planned
from bench.terminal import Terminal, percent_text, time_text
from latency_tables.estimate import Estimate, numbers


def planned_json(planned: Planned) -> dict[str, Any]:
    """What ``lathe plan --json`` prints: one number and its interval for each quantity."""
    result: dict[str, Any] = {
        "removed": list(planned.plan.removed),
        "hurt": planned.plan.hurt,
        "budget_s": planned.budget_s,
        "setting": planned.setting.to_json(),
        "judged_in": "fp32",
        "files": {what: path.name for what, path in planned.files.items()},
    }
    quantities: dict[str, Estimate | None] = {
        "unpruned_s": planned.unpruned_s,
        "predicted_s": planned.plan.predicted_s,
        "ratio": planned.ratio,
        "accuracy_before": planned.accuracy_before,
        "accuracy_after": planned.accuracy,
        "agreement": planned.agreement,
    }
    for name, estimate in quantities.items():
        result |= numbers(name, estimate)
    return result


def show_planned(terminal: Terminal, planned: Planned) -> None:
    """The plan in a few lines."""
    for line in _lines(planned):
        terminal.results.print(line)


def planned_leaflet(planned: Planned, command: str) -> str:
    """The text of the README beside a plan's files, Markdown."""
    return "\n".join(
        [
            f"# {planned.plan.network}, smaller",
            "",
            f"Made by `{command}`.",
            "The latency is predicted from a table and was timed nowhere; on the machine itself `lathe prune`",
            "times and corrects it.",
            "",
            *(f"- {' '.join(line.split())}" for line in _lines(planned)),
            "",
            "`weights.safetensors` and `plan.json` go together: `pruning.load(factory, plan, weights)` builds the",
            "network from a factory of the unpruned one. `network.onnx` is the same for other runtimes.",
            "",
        ]
    )


def _lines(planned: Planned) -> list[str]:
    removed, ratio = planned.plan.removed, planned.ratio
    predicted = planned.plan.predicted_s
    assert predicted is not None  # noqa: S101  every plan of this kind was predicted
    whole, budget = time_text(planned.unpruned_s), time_text(planned.budget_s)
    lines = [
        f"removed {len(removed)} blocks: {', '.join(removed) or 'none'}",
        f"predicted {time_text(predicted)} in {planned.setting.label}",
        f"          {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f}) of the unpruned network's {whole}; "
        f"the budget is {budget}",
        f"accuracy  {percent_text(planned.accuracy_before)} before, {percent_text(planned.accuracy)} after",
        f"agreement {percent_text(planned.agreement)} with the unpruned network",
    ]
    if planned.setting.precision != "fp32":
        lines.append(
            f"          both in fp32, as is network.onnx; what {planned.setting.precision} costs is not known here"
        )
    return lines
