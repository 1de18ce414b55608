"""What is the latency table worth in the choice of blocks?

    python experiments/latency_term.py --weights DIR --cifar npz:PATH --imagenet folder:PATH [--scale short]

TT-MPD as it is (hurt over seconds saved, by the measured table) against the same without the term (least hurt until
the budget is met) and with FLOPs in the place of seconds, at equal measured latency, in two runtimes. Writes
docs/results/latency_term.md. Scale short: at most 90 minutes on 2 cores; full: five seeds, about 20 hours.
"""

from __future__ import annotations

from cells import sources
from command_line import parser
from comparison import Comparison, Study

from pruning.recovery.finetune import Schedule

SEEDS = {"short": (0, 1), "full": (0, 1, 2, 3, 4)}
READING = """
Reading. Dividing the hurt by the seconds saved is worth little here, and FLOPs in the place of seconds are as good; what the table is needed for is to meet the
budget.

- ResNet-56: its removable blocks cost nearly the same (a block of 64 channels as much as one of 16), so there is nothing to weigh. All three rules stay within
  1.7 points of each other in both runtimes, every interval holds 0; they often choose the same blocks.
- MobileNetV2's blocks differ several times over. In ONNX Runtime at 0.9x the term is worth 6.3 points (2.5 to 10.1); in eager it costs 2.4 (0.3 to 4.5), but there the plan
  without it measures 0.903, over the budget, against 0.879. At 0.8x nothing can be told apart (-1.4 and -0.9, both intervals hold 0).
- FLOPs choose the very same blocks as seconds in three of MobileNetV2's four comparisons. Inside one network, blocks that cost more seconds cost more FLOPs; it is between
  runtimes, widths and kinds of layers that FLOPs mislead, and between such things this comparison does not choose.
- Whatever ranks the blocks, the number of blocks to take for 0.9x comes from the table: every plan here was cut off by its predicted latency, and lies within 0.03 below
  the budget, a random one 0.05 (one lies 0.003 above, and would be chosen again by `lathe prune`, which measures).
- Over all of it together: -0.1 points without the term (-1.6 to +1.5), +0.2 with FLOPs (-1.3 to +1.8).
- Random blocks end 5 to 24 points lower (two drawn orders per network, reused for every shift, budget and runtime; the intervals do not
  cover the draw of blocks).
"""
"""What the run said, in plain words; goes to the top of the page."""


def main() -> None:
    """Finds what is not known yet and writes the page."""
    words = parser(__doc__, scales=SEEDS, jobs=True).parse_args()
    known = sources(words.weights, words.cifar, words.imagenet)
    seeds = SEEDS[words.scale]
    runtimes = ("onnxruntime", "eager")
    studies = [
        Study(
            "ResNet-56",
            known["resnet56"],
            ("gaussian_noise:3", "contrast:4"),
            seeds,
            (0.7, 0.5),
            runtimes,
            Schedule(iterations=50, learning_rate=0.02),
        ),
        Study(
            "MobileNetV2, 128 x 128",
            known["mobilenet_v2"],
            ("contrast:2", "jpeg_compression:3"),
            seeds,
            (0.9, 0.8),
            runtimes,
            Schedule(iterations=30, learning_rate=0.001),
        ),
    ]
    choosers = ("ttmpd", "ttmpd-no-latency", "ttmpd-flops", "random")
    heading = "The latency term in the choice of blocks"
    Comparison("latency_term", heading, READING, choosers, studies, words.scale, words.out, words.jobs).run()


if __name__ == "__main__":
    main()
