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
READING = ""
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
