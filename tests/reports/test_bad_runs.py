"""Runs that were cut off, edited or filled with something else: nothing is hidden, and nothing breaks."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_up_runs as made
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latency_tables.errors import UserError
from reports.page import render_page
from reports.results import Point
from reports.run_folder import read_run, salvage_run, write_point, write_run

SMALL: dict[str, Any] = {"parts": made.parts()[:3], "trace": made.trace(5.6e-3, 8.1e-3, 4)}


def small(**changes: object) -> Point:
    return made.point(**{**SMALL, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of three points: "bad", which the tests spoil, and two good ones."""
    return made.write(tmp_path / "run", [small(id="a"), small(id="bad"), made.failed(id="z")])


@pytest.fixture
def bad(folder: Path) -> Path:
    return folder / "points" / "bad.json"


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def assert_spoiled(folder: Path, bad: Path, *words: str) -> None:
    """The strict reader gives nothing, the other one the good points; both name the file and say why."""
    with pytest.raises(UserError) as caught:
        read_run(folder)
    run, points, (damaged,) = salvage_run(folder)
    assert run == made.run()
    assert [point.id for point in points] == ["a", "z"]
    assert damaged.path == bad
    assert damaged.reason == str(caught.value)
    for word in (str(bad), *words):
        assert word in damaged.reason


def test_a_whole_run_has_nothing_damaged(folder: Path) -> None:
    run, points = read_run(folder)
    assert salvage_run(folder) == (run, points, [])


def test_every_truncation_of_a_point_is_seen(folder: Path, bad: Path) -> None:
    write_point(folder, made.point(id="bad", parts=(), rounds=(), trace=None, removed=(), artefacts={}))
    content = bad.read_bytes()
    whole = read_run(folder)[1][1]
    for length in range(len(content) - 1):
        bad.write_bytes(content[:length])
        assert_spoiled(folder, bad, "is not JSON", "cut off or edited", "the other points stay")
    bad.write_bytes(content[:-1])
    assert content.endswith(b"}\n")
    assert salvage_run(folder)[1][1] == whole, "only the line's end is gone"


def test_every_truncation_of_a_run_is_seen(tmp_path: Path) -> None:
    write_run(tmp_path, made.run(host={}, closure=()))
    path = tmp_path / "run.json"
    content = path.read_bytes()
    for length in range(len(content) - 1):
        path.write_bytes(content[:length])
        for reader in (read_run, salvage_run):
            with pytest.raises(
                UserError, match=r"run\.json is not JSON.*cut off or edited\. Put a copy of it back"
            ):
                reader(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(stages_s={"score": -1.0}), ["stages_s.score must be at least 0", "-1"]),
        (lambda d: d.update(budget_s=-1), ["budget_s must be above 0", "-1"]),
        (lambda d: d.update(kl=[-0.1, -0.2, 0]), ["kl must be at least 0", "-0.1"]),
        (lambda d: d.update(predicted_s=[-1, -2, 0]), ["predicted_s must be above 0"]),
        (
            lambda d: d["rounds"][0].update(measured_s=[0, 0, 1]),
            ["point.rounds[0]: measured_s must be above 0"],
        ),
        (lambda d: d["rounds"][1].update(predicted_s=[-1, -1, 1]), ["point.rounds[1]: predicted_s must be"]),
        (
            lambda d: d["trace"]["pruned_s"].append(-1),
            ["point.trace: pruned_s must hold finite times above 0"],
        ),
        (
            lambda d: d["trace"]["pruned_s"].append("x"),
            ["point.trace.pruned_s[4]: expected a number, got 'x'"],
        ),
        (lambda d: d.update(id="worse"), ["holds the point 'worse'; expected 'bad'", "its name back"]),
        (lambda d: d.update(setting="s9"), ["setting 's9'", "knows only s1, s2", "Move the point"]),
        (lambda d: d.update(extra=1), ["point: unknown key 'extra'"]),
        (lambda d: d["parts"][1].update(widht=1), ["point.parts[1]: unknown key 'widht'"]),
        (lambda d: d.pop("trace"), ["point: missing trace"]),
        (lambda d: d.update(format=99), ["format 99 is newer", "Update lathe"]),
        (lambda d: d.update(format="<b>" * 99), ["expected an object with a whole number under 'format'"]),
    ],
)
def test_an_edited_point_does_not_hide_the_others(
    folder: Path, bad: Path, change: Callable[[dict[str, Any]], object], words: list[str]
) -> None:
    edit(bad, change)
    assert_spoiled(folder, bad, *words)


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400, "1" * 5000]
)
@pytest.mark.parametrize("field", ["seed", "budget_s", "kl"])
def test_numbers_that_are_none_are_refused(folder: Path, bad: Path, text: str, field: str) -> None:
    data = json.loads(bad.read_text())
    data[field] = "HERE" if field != "kl" else [1.0, 0.5, "HERE"]
    bad.write_text(json.dumps(data).replace('"HERE"', text))
    if field == "seed" and set(text) == {"0", "1"}:
        assert salvage_run(folder)[1][1].seed == 10**400
    else:
        assert_spoiled(folder, bad)


@pytest.mark.parametrize("text", ["NaN", "1e999"])
def test_free_fields_of_a_run_hold_no_endless_number_either(folder: Path, text: str) -> None:
    path = folder / "run.json"
    path.write_text(path.read_text().replace('"cores": 2', f'"cores": {text}'))
    with pytest.raises(UserError, match=r"run\.json"):
        salvage_run(folder)


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe{", b"\x00" * 4096, b"null", b"3"]
)
def test_rubbish_in_a_points_file(folder: Path, bad: Path, content: bytes) -> None:
    bad.write_bytes(content)
    assert_spoiled(folder, bad)


def test_a_deeply_nested_host_is_refused(folder: Path) -> None:
    nest: dict[str, Any] = {}
    # Compilers that ran before in this process may have raised the limit.
    for _ in range(sys.getrecursionlimit() - 100):
        nest = {"a": nest}
    path = folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "host": nest}))
    with pytest.raises(UserError, match=r"run\.json"):
        salvage_run(folder)


def test_a_folder_a_pipe_or_a_dangling_link_in_place_of_a_point(folder: Path, bad: Path) -> None:
    bad.unlink()
    bad.mkdir()
    assert_spoiled(folder, bad, "a folder or a device; expected a file")
    bad.rmdir()
    os.mkfifo(bad)
    assert_spoiled(folder, bad, "a folder or a device; expected a file")
    bad.unlink()
    bad.symlink_to(folder / "nowhere")
    assert_spoiled(folder, bad, "a link that leads nowhere")


def test_a_folder_in_place_of_the_run(folder: Path) -> None:
    (folder / "run.json").unlink()
    (folder / "run.json").mkdir()
    with pytest.raises(UserError, match=r"run\.json is a folder"):
        salvage_run(folder)


def test_what_may_not_be_read_is_named(folder: Path, bad: Path) -> None:
    bad.chmod(0)
    if os.access(bad, os.R_OK):
        pytest.skip("whoever runs this, root perhaps, may read everything")
    assert_spoiled(folder, bad, "cannot read", "Permission denied")
    for path, words in ((bad.parent, "cannot list"), (folder / "run.json", "cannot read")):
        path.chmod(0)
        with pytest.raises(UserError, match=f"{words}.*{path.name}.*Permission denied"):
            salvage_run(folder)
        path.chmod(0o755)


def test_points_that_cannot_be_listed_are_not_taken_for_none(folder: Path) -> None:
    shutil.rmtree(folder / "points")
    (folder / "points").write_text("")
    for reader in (read_run, salvage_run):
        with pytest.raises(UserError, match=r"cannot list .*points: Not a directory"):
            reader(folder)


def test_what_others_left_beside_the_points_is_left_alone(folder: Path) -> None:
    points = folder / "points"
    before = read_run(folder)
    for name in (
        "notes.txt",
        "a.json~",
        "a.json.bak",
        ".a.json.1f2e3d4c",
        ".swp.json",
        "._a.json",
        "Thumbs.db",
    ):
        (points / name).write_text("not for lathe")
    (points / "old").mkdir()
    shutil.copy(points / "a.json", points / "old" / "a.json")
    assert read_run(folder) == before
    assert salvage_run(folder) == (*before, [])
    (points / "notes.json").write_text("what claims to be a point is not passed over")
    assert [damaged.path.name for damaged in salvage_run(folder)[2]] == ["notes.json"]


@pytest.mark.parametrize("text", ["naïve – 模型 \u202ertl", "\U0001f600", "\x00\x1b[31m", "\u2028", "'\"\\"])
def test_any_text_comes_back_as_it_was(tmp_path: Path, text: str) -> None:
    point = small(method=text, removed=(text,), stages_s={text: 1.0}, artefacts={text: text}, command=text)
    folder = made.write(tmp_path / "run", [point], name=text, host={text: text})
    assert read_run(folder) == (made.run(name=text, host={text: text}), [point])


def test_bytes_that_are_no_text_are_spelled_out(tmp_path: Path) -> None:
    """A file's name may hold some; what comes from reading can be written and shown."""
    odd = os.fsdecode(b"caf\xe9.npz")
    point = small(command=odd, stages_s={odd: 1.0})
    folder = made.write(
        tmp_path / "run", [point], images=odd, host={"files": [odd, {odd: odd}]}, versions={odd: odd}
    )
    run, (found,) = read_run(folder)
    shown = "caf\\udce9.npz"
    assert (found.command, found.stages_s) == (shown, {shown: 1.0})
    assert (run.images, run.versions) == (shown, {shown: shown})
    assert run.host == {"files": [shown, {shown: shown}]}
    write_run(folder, run)
    assert read_run(folder)[0] == run
    assert shown in render_page([(run, [found])]).encode().decode()


def test_a_file_saved_with_a_byte_order_mark_is_read(folder: Path, bad: Path) -> None:
    whole = read_run(folder)
    bad.write_bytes(b"\xef\xbb\xbf" + bad.read_bytes())
    assert read_run(folder) == whole


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["", "unpruned", "done", "failed", "s1", "s2", "0.7x", "nan", 0, 1, -1, 1e-300, 1e300]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(data: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all values of a document."""
    steps = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [above, *(place for key, item in steps for place in places(item, (*above, key)))]


def replaced(data: Any, place: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(data)
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return changed


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draws=st.data())
def test_whatever_is_edited_in_is_refused_or_drawn(tmp_path: Path, draws: st.DataObject) -> None:
    """The page can draw all that the reader lets through."""
    folder = made.write(
        tmp_path / "run", [small(id="a"), small(id="bad"), made.unpruned(), made.failed(id="z")]
    )
    path = folder / draws.draw(st.sampled_from(["run.json", "points/bad.json", "points/z.json"]))
    data = json.loads(path.read_text())
    for _ in range(draws.draw(st.integers(1, 2))):
        place = draws.draw(st.sampled_from(places(data)[1:]))
        data = replaced(data, place, draws.draw(json_values))
    path.write_text(json.dumps(data))
    try:
        run, points, damaged = salvage_run(folder)
    except UserError as error:
        assert str(path) in str(error)
    else:
        assert len(points) + len(damaged) == 4
        assert "</html>" in render_page([(run, points)], [damaged])


def test_a_point_that_was_read_is_written_back_the_same(folder: Path) -> None:
    for point in read_run(folder)[1]:
        write_point(folder, dataclasses.replace(point))
    assert salvage_run(folder)[2] == []
