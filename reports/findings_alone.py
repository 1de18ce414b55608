"""Findings about results that stand beside no control, so that nothing says what explains them."""

from __future__ import annotations

from collections.abc import Iterator

from reports.finding import Finding, Kind, Level, counted, listed
from reports.rivals import RANDOM
from reports.scenes import Placed, Scene


def alone(scene: Scene) -> Iterator[Finding]:
    """Methods under budgets none of whose points has a control, one finding for each set of missing ones."""
    groups: dict[tuple[str, str], list[Placed]] = {}
    for placed in scene.done:
        point = placed.point
        # Blocks drawn at random are a control themselves.
        if (point.removed or point.widths or point.sparsity is not None) and point.method != RANDOM:
            groups.setdefault((placed.series, point.budget), []).append(placed)
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for (series, budget), points in groups.items():
        if not any(placed.point.controls for placed in points):
            reasons = {name: why for placed in points for name, why in placed.point.uncontrolled.items()}
            found.setdefault(tuple(reasons.items()), []).append(f"{series} at {budget}")
    for missing, where in found.items():
        yield _alone(where, dict(missing))


def _alone(where: list[str], missing: dict[str, str]) -> Finding:
    stand = "stands" if len(where) == 1 else "stand"
    if missing:
        reasons = list(dict.fromkeys(missing.values()))
        hazard = f"{counted(len(missing), 'control')} could not be made"
        hazard += f", since {reasons[0]}" if len(reasons) == 1 else ""
        names = listed([f"“{name}”" for name in missing])
        meaning = f"Nothing is known of {names}, so nothing says what explains "
        remedy = "The point says why each is missing; mend that, and make the point again by its command."
    else:
        hazard = "none was made"
        meaning = "Nothing says what explains "
        remedy = (
            "Make them again with controls: without --no-controls, and with labels of the images that judge."
        )
    return Finding(
        Kind.CONTROL,
        Level.HAZARD,
        f"{listed(where)} {stand} beside no control: {hazard}.",
        f"{meaning}{'the result' if len(where) == 1 else 'the results'}; chance may do as well.",
        remedy,
        "points",
        84,
    )
