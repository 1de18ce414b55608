"""The lines that `gpu.py` writes, and the page that is drawn from them, on whatever machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from cells import RESULTS

from latency_tables.files import write_atomically

READING = """
"""
"""What the run said, in plain words; goes to the top of the page."""

Line: TypeAlias = dict[str, Any]
"""Of a job: "job", its name; "what", its kind; "status", done, unfinished or failed; "took_s"; and what was found."""


def read_lines(path: Path) -> list[Line]:
    """The lines written so far; one that was cut off is left out, so that its job is done again."""
    lines: list[Line] = []
    if path.exists():
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                continue
    return lines


def write_lines(path: Path, lines: Sequence[Line]) -> None:
    """All of them anew, in one step."""
    write_atomically(path, "".join(json.dumps(line) + "\n" for line in lines).encode())


def latest(lines: Sequence[Line]) -> list[Line]:
    """The last line of each job, in the order in which jobs first appear; those of machines are no jobs."""
    return list({line["job"]: line for line in lines if line["what"] != "machine"}.values())


def draw(lines: Sequence[Line], scale: str) -> None:
    """Writes docs/results/gpu.md."""
    text = "\n".join(page(lines, scale)).rstrip() + "\n"
    write_atomically(RESULTS / "gpu.md", text.encode())


def page(lines: Sequence[Line], scale: str) -> list[str]:
    """The whole page."""
    found = latest(lines)
    return [
        "# On a GPU",
        "",
        *_machines(lines, scale),
        "",
        READING.strip(),
        "",
        *_tables(found),
        *_others(found),
    ]


def _machines(lines: Sequence[Line], scale: str) -> Iterator[str]:
    yield f"Drawn by `experiments/gpu.py --scale {scale}` from the lines that it wrote where it measured:"
    yield ""
    for line in lines:
        if line["what"] == "machine":
            yield (
                f"- {line['date']}: {line['device']}, driver {line['driver'] or 'none'}, PyTorch {line['torch']}, CUDA "
                f"{line['cuda'] or 'none'}, cuDNN {line['cudnn'] or 'none'}, Python {line['python']}, beside {line['host']}; "
                f"commit {line['commit']}"
            )


def _tables(found: Sequence[Line]) -> Iterator[str]:
    yield (
        "Tables over depth, each held against networks with blocks drawn at random, which the fit has not seen, timed twice in two "
        "processes. Weights are random."
    )
    yield ""
    yield (
        "| runtime | precision | batch | network | unpruned, ms | as issued over work | held out | excess error | within 5 % | "
        "within 10 % | noise |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for line in found:
        if line["what"] == "table" and line["status"] == "done":
            launch = line["launch"]
            ratio = "" if launch is None else f"{launch['issued_s'] / launch['queued_s']:.2f}"
            yield (
                f"| {line['way']} | {line['precision']} | {line['batch']} | {line['network']} | {1e3 * line['unpruned_s'][0]:.3f} | "
                f"{ratio} | {line['held_out']} | {line['excess_error']:.1%} | {line['within_5pct']:.0%} | "
                f"{line['within_10pct']:.0%} | {line['noise_floor']:.1%} |"
            )


def _others(found: Sequence[Line]) -> Iterator[str]:
    for line in found:
        if line["status"] != "done":
            yield from ("", f"{line['job']}: {line['status']}. {line['reason'].strip().rstrip('.')}.")
        elif line["what"] == "staircase":
            pairs = zip(line["channels"], line["seconds"], strict=True)
            steps = ", ".join(f"{channels}: {1e6 * seconds:.1f}" for channels, seconds in pairs)
            yield ""
            yield (
                f"3x3 convolution on 56x56 pixels, 64 channels in, eager, {line['precision']}, batch {line['batch']}, us by "
                f"channels out: {steps}."
            )
        elif line["what"] == "tests":
            yield from (
                "",
                f"The tests that need a CUDA device pass: {''.join(line['told'][-1:])}",
            )
