from __future__ import annotations

import pytest

from reports.style import looks


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    bright, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_a_method_looks_the_same_in_every_report() -> None:
    alone = looks(["ttmpd"])["ttmpd"]
    assert looks(["zeta", "unpruned", "ttmpd", "practise", "alpha"])["ttmpd"] == alone
    assert looks(iter(["alpha", "zeta"])) == looks(["zeta", "alpha", "zeta"])


def test_no_two_methods_share_a_look() -> None:
    names = ["unpruned", "ttmpd", "practise", *(f"method{i}" for i in range(50))]
    table = looks(iter(names))
    assert set(table) == set(names)
    assert len(set(table.values())) == len(names)


def test_the_first_methods_differ_without_colour() -> None:
    known = looks(
        [
            "ttmpd",
            "practise",
            "random",
            "epsd-structured",
            "epsd",
            "last",
            "ttmpd-no-latency",
            "kd",
            "unpruned",
        ]
    )
    assert len({look.marker for look in known.values()}) == 9
    assert len({look.symbol for look in known.values()}) == 9


@pytest.mark.parametrize("ground", ["#ffffff", "#15181c"])
def test_colours_can_be_seen_on_light_and_dark(ground: str) -> None:
    for look in looks(["unpruned", *(f"method{i}" for i in range(20))]).values():
        assert contrast(look.colour, ground) >= 3
