"""What a point says of where the time goes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import made_up
import pytest

from bench.points import _parts
from bench.shop import Shop
from latency_tables.context import coefficients
from latency_tables.skeleton import Cut
from latency_tables.table import LatencyTable

SKELETON = made_up.chain([4] * 6)


def shop(table: LatencyTable) -> Shop:
    known: Any = SimpleNamespace(
        store=SimpleNamespace(table=lambda _: table),
        session=SimpleNamespace(setting=table.setting),
        subject=SimpleNamespace(outline_for=lambda _, widths: SimpleNamespace(skeleton=SKELETON)),
    )
    return cast(Shop, known)


@pytest.mark.parametrize("share", [0.9, 0.8, 0.95])
def test_the_parts_that_stay_take_what_is_predicted(share: float) -> None:
    """Three of seven parts gone save less, or more, than they take alone."""
    gone = [f"block{place}" for place in range(3)]
    saved = 3 / 7 * share / 0.85
    networks = [made_up.network(SKELETON, [], 1.0, 1.0)]
    networks += [made_up.network(SKELETON, gone[:n], 1.0 - n / 3 * saved, 1.0) for n in (1, 2, 3)]
    table = made_up.table(SKELETON, dict.fromkeys((p.key for p in SKELETON.parts), 1e-3), networks)
    fit = coefficients(SKELETON, table)
    assert fit.constant_s != 0
    parts = _parts(shop(table), Cut.of(gone, {}), 2.0)
    assert sum(part.latency_s for part in parts) == pytest.approx(2.0)
    assert sum(part.latency_s for part in parts if part.kept) == pytest.approx(2.0 * fit.ratio(gone).value)
    floor = sum(part.latency_s for part in parts if part.block is None)
    assert floor == pytest.approx(2.0 * fit.ratio(SKELETON.removable).value)
