"""What was chosen for one setting, timed in the others: does the order of the networks stay?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from bench.profiler import time_network
from bench.session import MeasurementFailed, Session
from latency_tables.closure import sound_timings
from latency_tables.estimate import Estimate
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.slow_minutes import quick_latency_s
from latency_tables.store import Store
from latency_tables.table import LatencyTable
from pruning.outline import Outline
from pruning.search import Progress
from reports.results import Point


def lacking(points: Sequence[Point], setting: str) -> list[Point]:
    """Finished points of other settings whose network was not timed in this one yet."""
    return [
        point
        for point in points
        if point.status == "done"
        and point.setting != setting
        and setting not in point.elsewhere
        and (point.removed or point.widths)
    ]


def time_elsewhere(
    points: Sequence[Point],
    outline: Outline,
    session: Session,
    store: Store,
    progress: Progress,
    say: Callable[[str], None],
) -> Iterator[Point]:
    """Times the networks of points in a setting that they were not chosen for.

    What is timed has the shape of the point's network; its weights do not change what it costs. A network that the
    table knows already is not timed again.

    Args:
        points: as `lacking` gives them.
        outline: of the unpruned network, with channel groups where points have widths.
        session: in the other setting.
        store: where measurements go.
        progress: told before each.
        say: told which network cannot be timed, or only badly; the others are.

    Yields:
        Each point with what was found.
    """
    skeleton, setting = outline.skeleton, session.setting
    where = f"{setting.runtime} {setting.precision}"
    known = _sound(skeleton, store.table(setting))
    for number, point in enumerate(points):
        progress(number, len(points), f"timing {point.id} in {where}")
        cut = Cut.of(point.removed, point.widths)
        if cut not in known:
            quick_s = quick_latency_s(skeleton, store.table(setting))
            try:
                seen = time_network(outline, session, cut, "fit", quick_s)
            except MeasurementFailed as error:
                say(f"{point.id} cannot be timed in {where}: {error}")
                continue
            store.put_network(setting, skeleton.name, seen)
            known = _sound(skeleton, store.table(setting))
        if cut not in known:
            why = seen.disturbance or "the machine was slower than in other timings, or its cores apart"
            say(
                f"{point.id} was not timed well enough in {where} to be told: {why}. The same command tries again."
            )
            continue
        yield with_ratio(point, setting.digest, known[cut])


def _sound(skeleton: Skeleton, table: LatencyTable) -> dict[Cut, Estimate]:
    """The latest ratio of each network of which a timing was not spoiled."""
    return {n.cut: n.ratio for n in sound_timings(skeleton.digest, table) if n.role == "fit"}


def with_ratio(point: Point, setting: str, ratio: Estimate) -> Point:
    """The point with its latency over the unpruned network's in another setting."""
    return replace(point, elsewhere={**point.elsewhere, setting: ratio})
