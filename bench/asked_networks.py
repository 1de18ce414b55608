"""Which whole networks a profile asks for, to put parts in context and to judge that, and which are lacking."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from latency_tables.interpolation import MULTIPLE
from latency_tables.random_plans import draw_plans, uniform_widths
from latency_tables.skeleton import Cut, Skeleton
from latency_tables.slow_minutes import is_spoiled, quick_latency_s
from latency_tables.table import LatencyTable
from pruning.outline import Outline

#: Whole networks that are only used to judge the fit.
HELD_OUT = 3
#: What whole networks are timed for.
ROLES = ("fit", "closure")
# Shares of the removable blocks that the measured networks lose: fitted ones (beside the unpruned network) at the
# ends and between, held-out ones in the gaps.
_FITTED_SHARES = (0.15, 0.35, 0.6, 0.85)
_HELD_OUT_SHARES = (0.25, 0.5, 0.7)
#: The same where widths vary as well, and the widths of networks that are narrower throughout; the last number is
#: taken off every width, so that one of them stands between the steps of the staircase.
_FITTED_SHARES_WITH_WIDTHS = (0.35, 0.7)
_UNIFORM = ((0.75, 0), (0.75, MULTIPLE), (0.5, 0))

#: How often a network to fit on is timed, loaded anew each time and minutes apart where there is more to do: the
#: median counts. Spoiled timings are made again, up to so many more for each network.
PASSES = 3
RETRIES = 1


def pending_networks(outline: Outline, table: LatencyTable, passes: int = PASSES) -> list[tuple[Cut, str]]:
    """What to take out, and the role, of each whole network that the profile asks for and the table lacks.

    They are drawn with a seed made from the network itself, so that a job that goes on asks for the same. Networks
    to fit on come once for each pass, one pass after the other. A timing that was spoiled, by a slow minute, by
    others or by cores far apart, is asked for again, `RETRIES` times for each network, after what was never timed.
    """
    skeleton = outline.skeleton
    quick_s = quick_latency_s(skeleton, table)
    timed = [n for n in table.networks if n.skeleton == skeleton.digest]
    # Or it is not known, which nothing keeps of networks; `RETRIES` bounds what that costs.
    near = any(not n.far for n in timed)
    sound: Counter[tuple[Cut, str]] = Counter()
    spoiled: Counter[tuple[Cut, str]] = Counter()
    for network in timed:
        (spoiled if is_spoiled(network, quick_s, near=near) else sound)[network.cut, network.role] += 1
    pending: list[tuple[Cut, str]] = []
    again: list[tuple[Cut, str]] = []
    for entry in asked_timings(skeleton, passes):
        if sound[entry] > 0:
            sound[entry] -= 1
        elif spoiled[entry] > RETRIES:
            spoiled[entry] -= 1
        else:
            (again if spoiled[entry] else pending).append(entry)
    return pending + again


def asked_timings(skeleton: Skeleton, passes: int) -> list[tuple[Cut, str]]:
    """Every measurement of a whole network that a profile asks for."""
    every = list(wanted_networks(skeleton).items())
    again = [entry for entry in every if entry[1] == "fit" and entry[0]]
    return every + again * (passes - 1)


def wanted_networks(skeleton: Skeleton) -> dict[Cut, str]:
    """Every whole network that a profile asks for, with its role; the unpruned one first."""
    wanted = {Cut(): "fit"} | dict.fromkeys(_fitted(skeleton), "fit")
    for cut in _held_out(skeleton):
        wanted.setdefault(cut, "closure")
    return wanted


def _fitted(skeleton: Skeleton) -> list[Cut]:
    rng = random.Random(skeleton.digest)  # noqa: S311  which networks to measure is no secret
    if not varies(skeleton):
        return _block_cuts(skeleton, _FITTED_SHARES, rng)
    cuts = _block_cuts(skeleton, _FITTED_SHARES_WITH_WIDTHS, rng)
    narrow = [
        Cut.of((), {name: max(MULTIPLE, width - less) for name, width in widths.items()})
        for share, less in _UNIFORM
        if (widths := uniform_widths(skeleton.groups, share))
    ]
    return [*cuts, *dict.fromkeys(narrow)]


def _held_out(skeleton: Skeleton) -> list[Cut]:
    rng = random.Random(f"{skeleton.digest} held out")  # noqa: S311  which networks to measure is no secret
    if varies(skeleton):
        return draw_plans(skeleton, HELD_OUT, 1)
    return _block_cuts(skeleton, _HELD_OUT_SHARES, rng)


def _block_cuts(skeleton: Skeleton, shares: Sequence[float], rng: random.Random) -> list[Cut]:
    blocks = skeleton.removable
    sizes = [min(len(blocks), max(1, round(share * len(blocks)))) for share in shares if blocks]
    return [Cut.of(rng.sample(blocks, size)) for size in sizes]


def varies(skeleton: Skeleton) -> bool:
    """Whether the skeleton has channel groups whose width may change."""
    return any(group.frozen is None for group in skeleton.groups)
