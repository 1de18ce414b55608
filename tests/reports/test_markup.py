"""Names, reasons and commands with markup in them are text wherever they are shown."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import made_up_runs as made
import pytest

from latency_tables.estimate import Estimate
from reports import codec, write_report
from reports.page import render_page
from reports.results import Point, Run
from reports.run_folder import Damaged

EVIL = """'"></script><script>window.hacked=1</script><img src=x onerror="alert(1)">{{7*7}}{% raw %}${a}--><!--"""
OURS = {"id", "status", "created", "setting", "format", "unpruned", "digest"}
"""Fields that are no free text."""


def retold(data: Any, tell: Callable[[], str], ours: bool = False) -> Any:
    """The document with every free text in it replaced, names of stages, controls and files included."""
    if isinstance(data, str):
        return data if ours else tell()
    if isinstance(data, list):
        return [retold(item, tell, ours) for item in data]
    if isinstance(data, dict):
        return {key: retold(item, tell, key in OURS) for key, item in data.items()}
    return data


def told(tell: Callable[[], str], run: Run, points: list[Point]) -> tuple[Run, list[Point]]:
    described = codec.decode(Run, retold(codec.encode(run), tell), "run")
    described = replace(described, host={tell(): tell(), "warnings": [tell()]}, versions={tell(): tell()})
    settings = {key: {**value, tell(): tell(), "list": [tell()]} for key, value in described.settings.items()}
    changed = []
    for point in points:
        again = codec.decode(Point, retold(codec.encode(point), tell), "point")
        method = point.method if point.method == "unpruned" else again.method
        names = {"method": method, "stages_s": {tell(): 1.0}, "controls": {tell(): made.estimate(0.8, 0.01)}}
        changed.append(replace(again, **names, artefacts={tell(): tell()}))
    return replace(described, settings=settings), changed


def numbered(text: str) -> Callable[[], str]:
    """The same order whatever the text."""
    counter = itertools.count()
    return lambda: f"{next(counter):05d}{text}"


POINTS = [
    made.unpruned(),
    made.point(disturbance="a backup", remarks=("left to Other: 1 node",), met=False),
    made.point(id="b", method="last", accuracy=made.estimate(0.7, 0.01)),
    made.point(id="c", method="none", accuracy=None, agreement=Estimate(0.5, 0.4, 0.6), setting="s2"),
    made.failed(),
]


class Elements(HTMLParser):
    """Tags with the names of their attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, ...]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, *(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}",))

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment",))


def page(text: str) -> str:
    tell = numbered(text)
    run, points = told(tell, made.run(), POINTS)
    runs = [(run, points), (replace(run, name=tell(), closure=()), points[:2])]
    return render_page(runs, [[Damaged(Path(text), f"{tell()} is not JSON")], []])


def test_markup_adds_no_element_no_attribute_and_no_comment() -> None:
    good, evil = page("harmless"), page(EVIL)
    assert Elements(evil).found == Elements(good).found
    assert evil.count("&lt;script&gt;window.hacked") > 50
    assert "<script>window.hacked" not in evil
    assert "{{7*7}}" in evil, "nor is it a template"
    # In the data as well: a parser of scripts ends one at the first </script, and begins another one at <!--.
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', evil, re.S)
    assert "window.hacked" in data
    assert not set("<>&'") & set(data)


@pytest.mark.parametrize(
    "text",
    ["</script><img src=x>&", r"$\frac{$ $x^2$ \alpha_", "模型 \U0001f600 \u202ertl\u0000\x1b[31m", "a\tb"],
)
def test_figures_show_any_text_as_it_is(tmp_path: Path, text: str) -> None:
    run, points = told(numbered(text), made.run(), POINTS)
    made.write_run(tmp_path / "run", run)
    for point in points:
        made.write_point(tmp_path / "run", point)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = write_report([tmp_path / "run"], tmp_path / "out")
    drawings = [path for path in files.images if path.suffix == ".svg"]
    assert drawings
    for path in drawings:
        drawing = path.read_text()
        assert "<script" not in drawing
        assert "<img" not in drawing
