"""One-shot, greedy with rescoring, or exact with additive hurt? And with which score?

    python experiments/selection_rules.py --weights DIR --cifar npz:PATH --imagenet folder:PATH [--scale short]

The default criterion under three rules of selection, at equal measured latency: greedy, scoring what remains anew
after each removal (`ttmpd`); single scores ranked once over latency; the least sum of single scores that meets the
budget (an integer program). Beside them greedy selection by the joint score that came next to the default in
`ttmpd_signal`. Writes docs/results/selection_rules.md. Scale short: at most 90 minutes on 2 cores; full: five seeds,
about 10 hours.
"""

from __future__ import annotations

from cells import sources
from command_line import parser
from comparison import Comparison, Study

from pruning.recovery.finetune import Schedule

SEEDS = {"short": (0, 1), "full": (0, 1, 2, 3, 4)}
NEXT = "calibrated-kl*unexplained"
"""The joint score next to the default."""
READING = ""
"""What the run said, in plain words; goes to the top of the page."""


def main() -> None:
    """Finds what is not known yet and writes the page."""
    words = parser(__doc__, scales=SEEDS, jobs=True).parse_args()
    known = sources(words.weights, words.cifar, words.imagenet)
    seeds = SEEDS[words.scale]
    studies = [
        Study(
            title,
            known[name],
            ("gaussian_noise:3", "contrast:4"),
            seeds,
            (0.8, 0.65, 0.5),
            ("onnxruntime",),
            Schedule(iterations=50, learning_rate=0.02),
        )
        for title, name in (("ResNet-20", "resnet20"), ("ResNet-56", "resnet56"))
    ]
    studies.append(
        Study(
            "MobileNetV2, 128 x 128",
            known["mobilenet_v2"],
            ("contrast:2", "jpeg_compression:3"),
            seeds,
            (0.9, 0.8),
            ("onnxruntime",),
            Schedule(iterations=30, learning_rate=0.001),
        )
    )
    heading = "Rules of selection"
    Comparison(
        "selection_rules",
        heading,
        READING,
        ("ttmpd", "one-shot", "exact", NEXT, "random"),
        studies,
        words.scale,
        words.out,
        words.jobs,
    ).run()


if __name__ == "__main__":
    main()
