"""One part that is timed again and again while others are, so that a machine that changes meanwhile is noticed.

A machine may be slower for minutes, by a clock, by a neighbour or by where its cores were put, and everything timed
then looks consistent in itself. Where the anchor has surely moved, the parts timed since it was last seen where it
should be are timed again, and the anchor once more: only parts between two readings that agree are left alone.
A profile that extends a table goes on with a part of it as its anchor, so that all cells of a network tell where
the machine was by one measure.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

from latency_tables.estimate import Estimate
from latency_tables.measurement import Measurement
from latency_tables.part import Part
from latency_tables.table import Failure, LatencyTable
from latency_tables.verdict import Verdict
from latency_tables.verdict import ratio as ratio_of

#: Seconds from one reading of the anchor to the next.
EVERY_S = 30.0

#: The anchor has moved when its ratio to what it was surely differs from 1 by more than this. Passes of one process
#: were seen to differ by 1 to 5 % within minutes on a machine to which nothing happens.
MOVED_BY = 0.05

#: How often the same parts are timed again before the machine is said not to settle.
MOST_ROUNDS = 2

#: Where the anchor moves all the time, timing again tells no more than the first time did. So parts are timed again
#: at most half as often as they are timed at all, and in any case so often.
AGAIN_SHARE, AGAIN_IN_ANY_CASE = 0.5, 100

#: Samples of parts that were timed again because the anchor had moved.
ANCHOR_MOVED = "taken while the anchor moved"

_MOVED = (Verdict.FASTER, Verdict.SLOWER)
_UNKNOWN = Estimate(1.0, -math.inf, math.inf)

Cell: TypeAlias = Measurement | Failure


@dataclass(frozen=True, slots=True)
class Move:
    """A change of the machine that the anchor showed.

    Attributes:
        created: when it was noticed, ISO 8601 with zone.
        ratio: the anchor's latency over what it was before.
        again: parts that were timed again because of it; 0 where it moved between two profiles, where time was over
            and where the machine was restless, see `AGAIN_SHARE`.
        settled: whether the anchor surely stayed where it was while these were timed.
    """

    created: str
    ratio: Estimate
    again: int
    settled: bool

    @property
    def between_profiles(self) -> bool:
        """Whether it moved since an earlier profile, of which nothing is timed again."""
        return self.settled and not self.again

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "ratio": self.ratio.to_json()}


@dataclass(slots=True)
class _Fixed:
    """The part that is timed again and again, its first latency, and the reading to hold later ones against."""

    part: Part
    first_s: float
    reference: Measurement


class Anchor:
    """Times parts, stores them and watches one of them; the first that nobody disturbs becomes the anchor.

    Args:
        measure: times a part.
        put: stores its cell, in place of an earlier one.
        now_s: a monotonic clock.
        every_s: seconds from one reading to the next.
        earlier: the part and the cell by which to go on from an earlier profile, see `earlier_reading`.
        deadline_s: after this moment of the clock nothing is read or timed again; what should be stays unsettled.
    """

    def __init__(
        self,
        measure: Callable[[Part], Cell],
        put: Callable[[Part, Cell], None],
        now_s: Callable[[], float] = time.monotonic,
        every_s: float = EVERY_S,
        earlier: tuple[Part, Measurement] | None = None,
        deadline_s: float = math.inf,
    ) -> None:
        self._measure = measure
        self._put = put
        self._now_s = now_s
        self._every_s = every_s
        self._earlier = earlier
        self._deadline_s = deadline_s
        self._fixed: _Fixed | None = None
        self._read_s = 0.0
        self._span: list[tuple[Part, Measurement]] = []
        self._latest: dict[Part, Measurement] = {}
        self._moves: list[Move] = []
        self._taken = self._again = 0

    @property
    def moves(self) -> tuple[Move, ...]:
        """What the anchor showed so far."""
        return tuple(self._moves)

    @property
    def _over(self) -> bool:
        return self._now_s() >= self._deadline_s

    @property
    def _restless(self) -> bool:
        return self._again >= max(AGAIN_IN_ANY_CASE, AGAIN_SHARE * self._taken)

    def take(self, part: Part) -> Cell:
        """Times a part, stores its cell at once, and looks at the anchor when it is time.

        Returns:
            The cell as it was stored first; it may have been timed again since.
        """
        if self._earlier is not None:
            self._go_on(*self._earlier)
            self._earlier = None
        cell = self._measure(part)
        self._taken += 1
        if isinstance(cell, Failure):
            self._put(part, cell)
        else:
            if self._fixed is None and math.isfinite(cell.latency_s.high) and cell.disturbance is None:
                self._fixed = _Fixed(part, cell.latency_s.value, cell)
                self._read_s = self._now_s()
            if self._fixed is None:
                self._put(part, cell)  # there is no anchor yet, and this is none that one could rely on
            else:
                self._keep(self._fixed, part, cell)
        self.look()
        return cell

    def look(self, *, at_once: bool = False) -> None:
        """Reads the anchor, if anything was timed since it was last read, and acts on what it shows.

        Args:
            at_once: also where that was not a while ago.
        """
        fixed = self._fixed
        early = self._now_s() - self._read_s < self._every_s and not at_once
        if fixed is None or early or not any(part != fixed.part for part, _ in self._span):
            return
        verdict, ratio = self._read_twice(fixed)
        rounds = 0
        while verdict in _MOVED and rounds < MOST_ROUNDS:
            noticed, why, again = fixed.reference.created, ratio, 0
            for part, cell in self._unsettled_span():
                if self._over or self._restless:
                    break
                self._take_again(fixed, part, cell)
                again += 1
            rounds += 1
            verdict, ratio = self._read(fixed) if again else (Verdict.CANNOT_TELL, _UNKNOWN)
            self._moves.append(Move(noticed, why, again, settled=verdict is Verdict.SAME))
        # Where nothing can be told, the next reading may tell, and what was timed waits for it.
        if verdict in _MOVED:
            self._unsettled_span()
        elif verdict is Verdict.SAME:
            self._span = []

    def settle(self) -> int:
        """Ends the last span with a reading, and times again what was timed while the machine was slow.

        A machine that became quicker for good has its slower cells from before, which do not belong together with
        the others. Where it is slow now there is nothing to be won.

        Returns:
            How many parts were timed again because they were slow.
        """
        fixed = self._fixed
        if fixed is None or not self._latest:
            return 0
        self.look(at_once=True)
        levels = {part: cell.host["anchor"]["level"] for part, cell in self._latest.items()}
        limit = min(*levels.values(), _level(fixed)) * (1 + MOVED_BY)
        slow = [part for part, level in levels.items() if level > limit]
        if _level(fixed) > limit:
            return 0
        again = 0
        for part in slow:
            if self._over or self._restless:
                break
            self._take_again(fixed, part, self._latest[part])
            self.look()
            again += 1
        if again:
            self.look(at_once=True)
        return again

    def _go_on(self, part: Part, before: Measurement) -> None:
        """Holds the machine against what it was in an earlier profile; nothing of that one is timed again."""
        fixed = _Fixed(part, before.latency_s.value / before.host["anchor"]["level"], before)
        verdict, ratio = self._read_twice(fixed)
        if math.isinf(ratio.high):
            return  # it can no longer be timed, or too few times to tell: another part becomes the anchor
        self._fixed = fixed
        if verdict in _MOVED:
            self._moves.append(Move(fixed.reference.created, ratio, 0, settled=True))

    def _read_twice(self, fixed: _Fixed) -> tuple[Verdict, Estimate]:
        """As `_read`, and once more where that cannot tell and there is time."""
        told = self._read(fixed)
        return self._read(fixed) if told[0] is Verdict.CANNOT_TELL and not self._over else told

    def _read(self, fixed: _Fixed) -> tuple[Verdict, Estimate]:
        """Times the anchor; how it compares with the reference, which it becomes itself if it has moved.

        It cannot tell without time, nor where others disturbed the reading or the cores lie far apart by now: held
        against such a reading the anchor would seem to move once more when that is over.
        """
        if self._over:
            return Verdict.CANNOT_TELL, _UNKNOWN
        reading = self._measure(fixed.part)
        self._read_s = self._now_s()
        if isinstance(reading, Failure):
            return Verdict.CANNOT_TELL, _UNKNOWN
        ratio = ratio_of(fixed.reference.latency_s, reading.latency_s)
        if reading.disturbance is not None or (reading.far and not fixed.reference.far):
            return Verdict.CANNOT_TELL, ratio
        verdict = moved(ratio)
        if verdict in _MOVED:
            fixed.reference = reading
        return verdict, ratio

    def _unsettled_span(self) -> list[tuple[Part, Measurement]]:
        """Ends the span; its cells are stored as unsettled, which they are until somebody times them again."""
        span, self._span = self._span, []
        for part, cell in span:
            self._put(part, _marked(cell, cell.host["anchor"]["level"], settled=False))
        return span

    def _take_again(self, fixed: _Fixed, part: Part, old: Measurement) -> None:
        cell = self._measure(part)
        self._again += 1
        if isinstance(cell, Failure):
            # What could be timed once is not lost; it stays as it is stored, with the level that it was timed at.
            self._span.append((part, old))
            return
        lost = len(old.samples_s) + sum(old.dropped.values())
        self._keep(fixed, part, replace(cell, dropped={**cell.dropped, ANCHOR_MOVED: lost}))

    def _keep(self, fixed: _Fixed, part: Part, cell: Measurement) -> None:
        """Stores a cell together with where the anchor was when it was timed."""
        marked = _marked(cell, _level(fixed), settled=True)
        self._latest[part] = marked
        self._put(part, marked)
        self._span.append((part, marked))


def earlier_reading(parts: Iterable[Part], table: LatencyTable) -> tuple[Part, Measurement] | None:
    """The first part whose cell tells where the anchor was, and that it may have stayed there, with the cell."""
    for part in parts:
        cell = table.cells.get(part.key)
        if not isinstance(cell, Measurement) or cell.findings or math.isinf(cell.latency_s.high):
            continue
        if cell.host.get("anchor", {}).get("settled"):
            return part, cell
    return None


def _level(fixed: _Fixed) -> float:
    """Where the anchor is, over where it was first."""
    return fixed.reference.latency_s.value / fixed.first_s


def _marked(cell: Measurement, level: float, *, settled: bool) -> Measurement:
    """A cell whose ``host`` tells the anchor's latency over its first one, and whether it may have stayed there.

    False where a reading afterwards told otherwise; the last cells of a profile that was killed had no reading
    afterwards.
    """
    return replace(cell, host={**cell.host, "anchor": {"level": level, "settled": settled}})


def moved(ratio: Estimate) -> Verdict:
    """Whether a ratio to what was is surely beyond `MOVED_BY`, surely within, or neither."""
    if ratio.high < 1 - MOVED_BY:
        return Verdict.FASTER
    if ratio.low > 1 + MOVED_BY:
        return Verdict.SLOWER
    within = ratio.low >= 1 - MOVED_BY and ratio.high <= 1 + MOVED_BY
    return Verdict.SAME if within else Verdict.CANNOT_TELL
