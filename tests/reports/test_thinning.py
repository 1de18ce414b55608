from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reports.thinning import thin

RANKED = st.lists(st.integers(0, 2), max_size=60)


@given(RANKED, st.integers(1, 70))
def test_what_matters_most_stays_in_its_order(ranks: list[int], most: int) -> None:
    items = list(enumerate(ranks))
    kept = thin(items, most, lambda item: item[1])
    assert len(kept) == min(most, len(items))
    assert list(kept) == sorted(kept)
    assert len(set(kept)) == len(kept)
    left = set(items) - set(kept)
    assert not left or max(rank for _, rank in kept) <= min(rank for _, rank in left)


def test_of_equals_evenly_spaced_ones_stay() -> None:
    assert thin(range(10), 5, lambda _: 0) == (0, 2, 4, 6, 8)
    assert thin(range(3), 3, lambda _: 0) == (0, 1, 2)
