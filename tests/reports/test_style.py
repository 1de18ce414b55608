from __future__ import annotations

import itertools

import numpy as np
import pytest

from reports.style import STAGES, looks, stage_looks

# Linear RGB as people see it who lack one kind of cones (Machado, Oliveira and Fernandes 2009, severity 1).
SIGHTS = {
    "full": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "deuteranopia": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "tritanopia": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}


def linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def cielab(colour: str, sight: str) -> np.ndarray:
    seen = np.clip(np.array(SIGHTS[sight]) @ linear(colour), 0, 1)
    to_xyz = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])
    x, y, z = np.cbrt(to_xyz @ seen / to_xyz.sum(axis=1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    return float(np.array([0.2126, 0.7152, 0.0722]) @ linear(colour))


def contrast(a: str, b: str) -> float:
    bright, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_a_method_looks_the_same_in_every_report() -> None:
    alone = looks(["ttmpd"])["ttmpd"]
    assert looks(["zeta", "unpruned", "ttmpd", "practise", "alpha"])["ttmpd"] == alone
    assert looks(iter(["alpha", "zeta"])) == looks(["zeta", "alpha", "zeta"])
    assert looks(["beta", "our own"])["our own"] == looks(["our own", "ttmpd", "zeta"])["our own"]


def test_no_two_methods_share_a_look() -> None:
    names = ["unpruned", "ttmpd", "practise", *(f"method{i}" for i in range(36))]
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


def test_lines_differ_as_well() -> None:
    known = looks(["ttmpd", "practise", "random", "epsd-structured", "epsd", "last"])
    assert len({look.dashes for look in known.values()}) == 6
    assert len({look.dash for look in known.values()}) == 6


@pytest.mark.parametrize("ground", ["#ffffff", "#15181c"])
def test_colours_can_be_seen_on_light_and_dark(ground: str) -> None:
    table = looks(["unpruned", "ttmpd", "practise", "random", *(f"method{i}" for i in range(20))])
    for look in (*table.values(), *STAGES):
        assert contrast(look.colour, ground) >= 3


@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_differ_for_the_colour_blind(sight: str) -> None:
    methods = ["ttmpd", "practise", "random", "epsd-structured", "epsd", "last", "ttmpd-no-latency", "kd"]
    colours = {look.colour for look in looks([*methods, "unpruned"]).values()}
    assert len(colours) == 9
    for one, other in itertools.combinations(colours, 2):
        assert np.linalg.norm(cielab(one, sight) - cielab(other, sight)) > 15


def test_a_stage_looks_the_same_in_every_chart() -> None:
    alone = stage_looks(["finetune"])["finetune"]
    table = stage_looks(["profile", "strange", "finetune", "stranger"])
    assert table["finetune"] == alone
    assert len(set(table.values())) == 4
    assert len(set(stage_looks([str(i) for i in range(20)]).values())) == 8
