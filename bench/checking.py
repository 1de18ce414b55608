"""Does a table still hold on this machine today? Parts and whole networks timed again, and what that says."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from bench.near_cores import is_far
from bench.profiler import measure_part, time_network
from bench.session import MeasurementFailed, Session
from latency_tables.closure import Closure, HeldOut, sound_timings
from latency_tables.comparison import objection
from latency_tables.context import coefficients
from latency_tables.errors import LatheError, UserError
from latency_tables.estimate import Estimate
from latency_tables.measurement import Measurement
from latency_tables.part import Part
from latency_tables.random_plans import WHAT, draw_plans
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.slow_minutes import quick_latency_s
from latency_tables.store import Store
from latency_tables.surfaces import timed_parts
from latency_tables.table import Failure, LatencyTable, NetworkMeasurement
from latency_tables.verdict import Verdict, judge, ratio
from pruning.outline import Outline
from pruning.search import Progress

#: A table holds with at most this share of its parts surely changed.
MOST_CHANGED = 0.1
#: And with at least this share surely unchanged; what is between cannot be told.
LEAST_SAME = 0.5
#: The anchor is timed again after so many parts.
ANCHOR_EVERY = 5


@dataclass(frozen=True, slots=True)
class CheckedCell:
    """A part timed again.

    Attributes:
        part: which.
        stored_s: what the table says.
        now_s: today's; None where it failed today.
        ratio: now over stored; None as above.
        verdict: of today against the table.
        to_anchor: the same verdict when the table's latency is scaled by what the anchor takes today.
        remark: why it failed, or what speaks against one of the two; "" for neither.
    """

    part: Part
    stored_s: Estimate
    now_s: Estimate | None
    ratio: Estimate | None
    verdict: Verdict
    to_anchor: Verdict
    remark: str

    @property
    def failed(self) -> bool:
        """Whether it could not be timed today."""
        return self.now_s is None


@dataclass(frozen=True, slots=True)
class Checked:
    """A sample of a table's parts timed again.

    Attributes:
        cells: one for each part drawn.
        anchor: the part that was timed before, between and after the others.
        anchor_ratio: what it takes today over what the table says; None where no reading counts.
        moved: whether the anchor's own latency changed while the parts were timed.
    """

    cells: tuple[CheckedCell, ...]
    anchor: Part
    anchor_ratio: float | None
    moved: bool

    @property
    def holds(self) -> bool | None:
        """Whether the table's seconds still hold; None where that cannot be told."""
        return self._judge([cell.verdict for cell in self.cells])

    @property
    def proportions_hold(self) -> bool | None:
        """Whether its parts still take the same shares, whatever the machine's speed today; None as above."""
        return self._judge([cell.to_anchor for cell in self.cells])

    def _judge(self, verdicts: Sequence[Verdict]) -> bool | None:
        if self.moved or self.anchor_ratio is None:
            return None
        failed = [cell.failed for cell in self.cells]
        changed = sum(
            broke or verdict in (Verdict.FASTER, Verdict.SLOWER)
            for broke, verdict in zip(failed, verdicts, strict=True)
        )
        if changed > MOST_CHANGED * len(verdicts):
            return False
        return True if verdicts.count(Verdict.SAME) >= LEAST_SAME * len(verdicts) else None


def check_cells(
    skeleton: Skeleton,
    table: LatencyTable,
    session: Session,
    count: int,
    seed: int,
    progress: Progress | None = None,
) -> Checked:
    """Times a random sample of a network's parts again, with an anchor between them.

    The anchor is the network's most expensive part that nothing speaks against. It tells a machine that is slower
    as a whole today from a table whose parts no longer stand in proportion, and whether the machine changed while
    it was looked at; readings of it that something speaks against do not count. The table is not changed.

    Args:
        skeleton: the network; with channel groups, parts at other widths are drawn as well.
        table: of the session's setting.
        session: where to measure.
        count: parts to draw, at least 1; all where there are no more.
        seed: of the draw.
        progress: told after each measurement.

    Raises:
        UserError: the table is of another setting, or holds none of the network's parts.
        MeasurementFailed: the anchor cannot be timed.
    """
    table.setting.require_equal(session.setting, "the table")
    stored = {
        part: table.latency_s(part)
        for part in timed_parts(skeleton, table)
        if not isinstance(table.cells[part.key], Failure)
    }
    if not stored:
        raise UserError(
            f"the table for {table.setting.label} holds no part of {skeleton.name}; run `lathe profile` for it "
            "first"
        )
    costly = sorted(stored, key=lambda part: stored[part].value, reverse=True)
    anchor = next((part for part in costly if not objection(table.cells[part.key])), costly[0])
    others = [part for part in stored if part != anchor] or [anchor]
    rng = random.Random(f"{skeleton.digest} {seed}")  # noqa: S311  which parts to measure is no secret
    drawn = rng.sample(others, min(count, len(others)))
    readings: list[Measurement] = []
    seen: list[tuple[Part, Measurement | str]] = []
    for place, part in enumerate(drawn):
        if place % ANCHOR_EVERY == 0:
            readings.append(measure_part(session, anchor))
        if progress is not None:
            progress(place, len(drawn), f"timing {part.grain.value} {part.kind} again")
        try:
            seen.append((part, measure_part(session, part)))
        except MeasurementFailed as error:
            seen.append((part, str(error)))
    readings.append(measure_part(session, anchor))
    far = is_far(table.cells[anchor.key])
    sound = [one.latency_s for one in readings if not objection(one) and is_far(one) == far]
    factor = median(one.value for one in sound) / stored[anchor].value if sound else None
    changes = {judge(sound[0], one) for one in sound[1:]}
    return Checked(
        tuple(_checked(part, table, found, factor) for part, found in seen),
        anchor,
        factor,
        bool(changes & {Verdict.FASTER, Verdict.SLOWER}),
    )


def _checked(part: Part, table: LatencyTable, found: Measurement | str, factor: float | None) -> CheckedCell:
    stored, kept = table.latency_s(part), table.cells[part.key]
    if isinstance(found, str):
        return CheckedCell(part, stored, None, None, Verdict.CANNOT_TELL, Verdict.CANNOT_TELL, found)
    now = found.latency_s
    remark = objection(found)
    if not remark and (why := objection(kept)):
        remark = f"in the table: {why}"
    if not remark and is_far(kept) != is_far(found):
        remark = (
            f"the cores lie {'near each other' if is_far(kept) else 'far apart'} today, unlike in the table"
        )
    verdict = to_anchor = Verdict.CANNOT_TELL
    if not remark:
        verdict = judge(stored, now)
        if factor is not None:
            to_anchor = judge(stored.scaled(factor), now)
    return CheckedCell(part, stored, now, ratio(stored, now), verdict, to_anchor, remark)


def check_networks(
    outline: Outline,
    store: Store,
    open_session: Callable[[], Session],
    table: LatencyTable,
    count: int,
    seed: int,
    progress: Progress | None = None,
    *,
    widths: bool = False,
) -> Closure:
    """Prunes a network at random, predicts each pruned one, then times all of them in two processes.

    Predictions are made before anything is timed, and blind to older measurements of the same pruned network. What
    is timed goes to the store, as networks that judge the fit. One with a timing that something spoiled judges
    nothing here, and is counted.

    Args:
        outline: the unpruned network, as `bench.workbench.Subject.outline_for` has it for the table.
        store: where measurements go.
        open_session: makes a session in the table's setting, with a worker of its own.
        table: what to predict from.
        count: how many, at least 1; fewer where the network has no more.
        seed: of the draw.
        progress: told after each measurement.
        widths: whether channels go as well; blocks go in any case.

    Raises:
        UserError: nothing can be removed, a part has no cell at a width that was drawn, or the unpruned network was
            never timed.
        LatheError: a part failed before, a network cannot be timed, or a timing of each was spoiled.
    """
    skeleton = outline.skeleton
    plans = draw_plans(skeleton, count, seed, WHAT if widths else ("blocks",))
    if not plans and not widths:
        raise UserError(
            f"{skeleton.name} has no block that can be taken out. Add --widths to take out channels, where the "
            "table was made with `lathe profile --widths`; or check it without --held-out."
        )
    if not plans:
        raise UserError(
            f"{skeleton.name} has no block and no channel that can be taken out; check it without --held-out"
        )
    predicted = [_predicted(skeleton, table, plan) for plan in plans]
    quick_s = quick_latency_s(skeleton, table)
    passes: list[list[NetworkMeasurement]] = []
    for turn in range(2):
        timed = []
        with open_session() as session:
            table.setting.require_equal(session.setting, "the table")
            for place, plan in enumerate(plans):
                if progress is not None:
                    done = turn * len(plans) + place
                    progress(done, 2 * len(plans), f"timing the network {plan.words}")
                measured = time_network(outline, session, plan, "closure", quick_s)
                store.put_network(table.setting, skeleton.name, measured)
                timed.append(measured)
        passes.append(timed)
    known = replace(table, networks=(*table.networks, *passes[0], *passes[1]))
    sound = sound_timings(skeleton.digest, known)
    networks = tuple(
        HeldOut(plan, foreseen, one.ratio, again.ratio)
        for plan, foreseen, one, again in zip(plans, predicted, *passes, strict=True)
        if one in sound and again in sound
    )
    if not networks:
        raise LatheError(
            f"of {len(plans)} pruned networks, each timed twice, none has two sound timings: they fell into a slow "
            "minute of the machine, others used the cores meanwhile, or these lay far apart. All are stored. Try "
            "again on a quieter machine (`lathe devices` tells), or with a larger --held-out."
        )
    return Closure(networks, len(plans) - len(networks))


def _predicted(skeleton: Skeleton, table: LatencyTable, plan: Cut) -> Estimate:
    """The ratio to the unpruned network, from everything but measurements of this very network."""
    return coefficients(skeleton, table, blind_to=plan).ratio(plan.removed, dict(plan.widths))
