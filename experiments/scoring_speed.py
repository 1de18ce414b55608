"""What does it save to begin scoring passes behind the last unchanged block?

    python experiments/scoring_speed.py --weights DIR --cifar npz:PATH --imagenet folder:PATH

For ResNet-20, ResNet-56 and MobileNetV2: processor seconds of scoring every removable block, once with nothing removed
and once with three blocks gone (as in a greedy search's first and fourth round), with kept activations and with full
passes, in turns. Also checks that both give the same outputs. Writes docs/results/scoring_speed.md in about 5 minutes.
"""

from __future__ import annotations

import statistics

import torch
from cells import RESULTS, Cell, open_cell, origin, processor_time, sources
from command_line import parser

from latency_tables.files import write_atomically
from pruning.passes import Passes

REPEATS = 3
SHIFTS = {"resnet20": "gaussian_noise:3", "resnet56": "gaussian_noise:3", "mobilenet_v2": "contrast:2"}


def round_s(passes: Passes, gone: tuple[str, ...], candidates: tuple[str, ...]) -> float:
    """Processor seconds of one round of greedy scoring."""
    with processor_time() as spent:
        passes.keep(gone)
        for block in candidates:
            if block not in gone:
                passes.outputs({*gone, block})
    return spent()


def main() -> None:
    """Measures and writes the page."""
    words = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    lines = [
        "# Scoring passes that begin behind the last unchanged block",
        "",
        origin("scoring_speed", "short"),
        "",
        f"Processor seconds of one thread, 200 images; medians of {REPEATS} pairs taken in turns, ratios with their range. "
        "The outputs of both ways were equal.",
        "",
        "| network | blocks gone | candidates | full passes, s | kept activations, s | share (range) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, source in sources(words.weights, words.cifar, words.imagenet).items():
        ground = open_cell(Cell(source, SHIFTS[name], 0))
        piece = ground.piece
        full = Passes(piece.teacher, piece.scored, piece.candidates, memory_bytes=0)
        kept = Passes(piece.teacher, piece.scored, piece.candidates)
        for gone in ((), piece.candidates[1::3][:3]):
            kept.keep(gone)
            for block in piece.candidates:
                one, other = (passes.outputs({*gone, block}).logits for passes in (full, kept))
                assert torch.equal(one, other), block  # noqa: S101  what the page says
            pairs = []
            for _ in range(REPEATS):
                kept.keep(piece.candidates[-1:])  # so that what is kept is made anew, and paid for
                pairs.append((round_s(full, gone, piece.candidates), round_s(kept, gone, piece.candidates)))
            shares = [quick / slow for slow, quick in pairs]
            slow_s, quick_s = (statistics.median(times) for times in zip(*pairs, strict=True))
            lines.append(
                f"| {source.network} | {len(gone)} | {len(piece.candidates) - len(gone)} | {slow_s:.2f} | {quick_s:.2f} | "
                f"{statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f}) |"
            )
            print(lines[-1], flush=True)
    write_atomically(RESULTS / "scoring_speed.md", ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
