"""The quantities that the page's Pareto figure can show, each with its intervals rightly transformed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from latency_tables.estimate import Estimate
from reports.results import UNPRUNED, Point
from reports.scenes import Placed, Scene
from reports.units import latency, number, percent, scale


@dataclass(frozen=True, slots=True)
class Axis:
    """One quantity of the scene's points.

    Attributes:
        name: short, for the address of the page.
        label: on the switch.
        title: on the axis, with the unit.
        factor: what the values are multiplied with to be in that unit.
        more_is_better: the direction.
        values: by the point's key; points of which it is not known are missing.
        text: a value in words.
    """

    name: str
    label: str
    title: str
    factor: float
    more_is_better: bool
    values: Mapping[int, Estimate]
    text: Callable[[Estimate], str]


def quality_axes(scene: Scene) -> list[Axis]:
    """Accuracy, agreement and divergence, those that any done point has; first what the scene is judged by."""
    known = [
        Axis(
            "accuracy", "accuracy", "accuracy (%)", 100, True, _of(scene, lambda p: p.point.accuracy), percent
        ),
        Axis(
            "agreement",
            "agreement",
            "agreement with the unpruned network (%)",
            100,
            True,
            _of(scene, lambda p: p.point.agreement),
            percent,
        ),
        Axis(
            "kl",
            "KL",
            "divergence from the unpruned network (nats)",
            1,
            False,
            _of(scene, lambda p: p.point.kl),
            lambda e: f"{number(e)} nats",
        ),
    ]
    return [axis for axis in known if axis.values]


def cost_axes(scene: Scene) -> list[Axis]:
    """Latency, speed-up over the unpruned network and images per second, those that any done point has."""
    seconds = _of(scene, scene.latency_of)
    factor, unit = scale(max((e.value for e in seconds.values()), default=1.0))
    batch = scene.description.get("batch")
    known = [
        Axis("latency", unit, f"measured latency ({unit})", factor, False, seconds, latency),
        Axis(
            "speedup",
            "speed-up",
            "speed-up over the unpruned network (×)",
            1,
            True,
            _of(scene, lambda p: speed_up(p.point)),
            lambda e: f"{number(e)} × as fast",
        ),
    ]
    if isinstance(batch, int) and batch > 0:
        rates = {key: inverse(e).scaled(batch) for key, e in seconds.items()}
        known.append(
            Axis("rate", "images/s", "images per second", 1, True, rates, lambda e: f"{number(e)} images/s")
        )
    return [axis for axis in known if axis.values]


def inverse(estimate: Estimate) -> Estimate:
    """One over a value above 0; where the lower end is not above 0 the inverse has no upper bound."""
    return Estimate(
        1 / estimate.value,
        0.0 if estimate.high == math.inf else 1 / estimate.high,
        1 / estimate.low if estimate.low > 0 else math.inf,
    )


def speed_up(point: Point) -> Estimate | None:
    """Unpruned over measured latency, from the paired ratio; unknown without one, not guessed from two latencies.

    The unpruned network is as fast as itself where its ratio was not measured.
    """
    if point.ratio is None:
        return Estimate(1.0, 1.0, 1.0) if point.method == UNPRUNED else None
    return inverse(point.ratio)


def _of(scene: Scene, read: Callable[[Placed], Estimate | None]) -> dict[int, Estimate]:
    return {placed.key: e for placed in scene.done if (e := read(placed)) is not None}
