from __future__ import annotations

import pytest

from bench.words import parse_duration, parse_options, parse_widths
from latency_tables.errors import UserError
from latency_tables.widths import ChannelGroup

GROUPS = (
    ChannelGroup("stem", 16),
    ChannelGroup("layer.0.conv", 30),
    ChannelGroup("head", 10, frozen="no reader"),
)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("5m", 300), ("1.5h", 5400), (" 2m ", 120)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "0s", "-3m", "5 minutes", "m", "1d"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UserError, match="90s, 5m or 1h"):
        parse_duration(text)


def test_widths_by_share_and_by_name() -> None:
    assert parse_widths("", GROUPS) == {}
    assert parse_widths("1.0", GROUPS) == {}
    assert parse_widths("0.5", GROUPS) == {"stem": 8, "layer.0.conv": 16}
    assert parse_widths("0.3", GROUPS) == {"stem": 8, "layer.0.conv": 12}
    assert parse_widths("stem=4, layer.0.conv=29", GROUPS) == {"stem": 4, "layer.0.conv": 29}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0", "a share above 0"),
        ("1.5", "a share above 0"),
        ("half", "a share above 0"),
        ("stem=", "GROUP=CHANNELS|NAME=CHANNELS"),
        ("stem=-1", "NAME=CHANNELS"),
        ("stem=17", "16 channels"),
        ("stem=4,stem=8", "says stem twice: 4 and 8"),
        ("stem=²", "NAME=CHANNELS"),
        ("head=5", "no reader"),
        ("nowhere=5", "channel group"),
    ],
)
def test_what_is_no_width(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_widths(text, GROUPS)


def test_options_of_a_runtime_are_read_and_sorted() -> None:
    assert parse_options(None) == ()
    assert parse_options(["launch=graph", "cache=cold"]) == (("cache", "cold"), ("launch", "graph"))
    assert parse_options(["provider=A=B"]) == (("provider", "A=B"),)


@pytest.mark.parametrize("words", [["launch"], ["=graph"], ["launch="], ["launch=a", "launch=b"]])
def test_a_wrong_option_is_refused(words: list[str]) -> None:
    with pytest.raises(UserError, match=r"--option (takes NAME=VALUE, got|says launch twice: a and b)"):
        parse_options(words)
