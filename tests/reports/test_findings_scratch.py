"""What a report says of methods that prune before training."""

from __future__ import annotations

import made_up_runs as made
import pytest

from reports.finding import Finding, Kind, Level
from reports.findings import of_scene
from reports.results import Point
from reports.scenes import scenes

SHUFFLED = "same mask shuffled within each layer, trained the same way"
ANEW = "same mask, first weights drawn anew, trained the same way"
UNTAUGHT = "same widths, trained without a teacher"


def early(
    lead: float, *names: str, seed: int = 0, sparsity: float | None = 0.9, failed: tuple[str, ...] = ()
) -> Point:
    """A point of early pruning so far above its controls; without a sparsity whole channels went."""
    return made.point(
        id=f"epsd-{seed}",
        method="epsd",
        budget="90%" if sparsity else "0.7x",
        seed=seed,
        accuracy=made.estimate(0.8 + lead, 0.005),
        removed=(),
        widths={} if sparsity else {"stem": 8},
        sparsity=sparsity,
        met=None if sparsity else True,
        budget_s=None if sparsity else 5.67e-3,
        controls={name: made.estimate(0.8, 0.005) for name in names},
        uncontrolled=dict.fromkeys(failed, "out of memory"),
    )


def told(*points: Point) -> Finding:
    (scene,) = scenes([(made.run(), points)])
    (finding,) = [one for one in of_scene(scene) if one.kind is Kind.CONTROL]
    return finding


def seeds(lead: float, *names: str, **changes: object) -> list[Point]:
    noise = (0.001, -0.001, 0.0005)
    return [early(lead + d, *names, seed=k, **changes) for k, d in enumerate(noise)]  # type: ignore[arg-type]


@pytest.mark.parametrize("sparsity", [0.9, None])
@pytest.mark.parametrize(
    ("lead", "words", "level"),
    [
        (0.05, "is above all its 2 controls beyond the interval (3 seeds)", Level.RESULT),
        (0.0, "is not surely above 2 of its 2 controls (3 seeds)", Level.HAZARD),
        (-0.05, "is below 2 of its 2 controls beyond the interval (3 seeds)", Level.HAZARD),
    ],
)
def test_early_pruning_is_held_against_its_controls_in_words(
    sparsity: float | None, lead: float, words: str, level: Level
) -> None:
    finding = told(*seeds(lead, SHUFFLED, ANEW, sparsity=sparsity))
    assert words in finding.hazard
    assert SHUFFLED in finding.hazard
    assert finding.level is level


def test_only_controls_that_are_there_are_spoken_of() -> None:
    taught = told(*seeds(0.05, UNTAUGHT, sparsity=None))
    assert "is above its control beyond the interval" in taught.hazard
    assert taught.meaning == "The result is not explained by the widths without a teacher."
    level = told(*seeds(0.0, UNTAUGHT, sparsity=None))
    assert "is not surely above its control" in level.hazard
    assert level.meaning == "What may explain the result as well: the widths without a teacher."
    masked = told(*seeds(0.05, SHUFFLED, ANEW))
    assert "how many weights each layer keeps nor by what was chosen" in masked.meaning
    assert "cross entropy" not in masked.meaning
    assert "chance" not in masked.meaning


def test_a_control_that_nobody_knows_stands_there_by_its_name() -> None:
    assert told(*seeds(0.05, "by the moon")).meaning == "The result is not explained by “by the moon”."


def test_controls_that_failed_are_named() -> None:
    finding = told(*seeds(0.05, SHUFFLED, failed=(ANEW,)))
    assert "is above its control that could be made beyond the interval" in finding.hazard
    assert f"Nothing is known of “{ANEW}”" in finding.meaning
    assert "why a control is missing" in finding.remedy


def test_controls_of_other_widths_are_as_quick_as_predicted() -> None:
    by_table = "channels at random, no slower as predicted, trained the same way"
    finding = told(*seeds(0.05, UNTAUGHT, by_table, sparsity=None))
    assert f"“{by_table}” is no slower than the point as the table predicts, and not timed" in finding.meaning
    assert "not timed" not in told(*seeds(0.05, UNTAUGHT, sparsity=None)).meaning


def test_one_seed_has_no_interval_to_be_beyond() -> None:
    assert told(early(0.05, SHUFFLED)).hazard.startswith(
        "epsd at 90% is above its control as far as the images tell (one seed, so no interval): 5.0 points above it"
    )
    below = told(early(-0.05, SHUFFLED, ANEW))
    assert "is below 2 of its 2 controls as far as the images tell" in below.hazard


def test_channels_are_not_held_against_blocks_at_random() -> None:
    drawn = made.point(id="random-0", method="random", accuracy=made.estimate(0.9, 0.005), controls={})
    (scene,) = scenes([(made.run(), [early(0.0, SHUFFLED, sparsity=None), drawn])])
    assert [one for one in of_scene(scene) if one.kind is Kind.RANDOM] == []
