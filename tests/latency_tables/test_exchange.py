"""Tables as files: nothing lost, nothing half taken, and a reason for each file that is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latency_tables.archive import Archive, ArchivedCell, ArchivedNetwork
from latency_tables.errors import LatheError, UserError
from latency_tables.estimate import Estimate
from latency_tables.exchange import read_archive, read_table, write_archive
from latency_tables.frames import cells_frame, networks_frame
from latency_tables.measurement import Measurement, Stop
from latency_tables.setting import Device, Setting
from latency_tables.store import Added, Store
from latency_tables.table import Failure, LatencyTable, NetworkMeasurement
from latency_tables.trace import Trace

SUFFIXES = (".parquet", ".csv")
SKELETON = made_up.chain([4, 5])

TEXT = st.text(max_size=12)
SECONDS = st.floats(min_value=1e-9, max_value=1e3) | st.integers(1, 10**9).map(lambda ticks: ticks * 1e-9)
DATES = st.sampled_from(["", "2026-01-01T00:00:00+00:00", "2026-03-01T00:00:00+01:00", "2026-03-01"])
JSON = st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | TEXT, st.lists, max_leaves=4)
ESTIMATES = st.builds(
    lambda value, below, above: Estimate(value, value - below, value + above),
    SECONDS,
    SECONDS | st.just(math.inf),
    SECONDS | st.just(math.inf),
)
MEASUREMENTS = st.builds(
    Measurement,
    st.lists(SECONDS, min_size=1, max_size=12).map(tuple),
    st.integers(0, 100),
    st.sampled_from(Stop),
    DATES,
    st.dictionaries(TEXT, st.integers(0, 9), max_size=2),
    st.integers(1, 100),
    st.dictionaries(TEXT, JSON, max_size=2),
)
PARTS = [
    (key, f"kind of {key}", grain) for key, grain in (("a", "layer"), ("b,\"'", "block"), ("c\n", "layer"))
]
CELLS = st.builds(
    lambda part, cell: ArchivedCell(*part, cell),
    st.sampled_from(PARTS),
    MEASUREMENTS | st.builds(Failure, TEXT, DATES),
)
TRACES = st.builds(Trace.of, *[st.lists(SECONDS, min_size=1, max_size=5)] * 2)
NETWORKS = st.builds(
    ArchivedNetwork,
    TEXT,
    st.builds(
        NetworkMeasurement,
        st.sampled_from(["0123456789abcdef", "fedcba9876543210"]),
        st.lists(TEXT, max_size=2).map(lambda names: tuple(sorted(names))),
        ESTIMATES,
        ESTIMATES,
        ESTIMATES,
        st.sampled_from(["fit", "closure"]),
        DATES,
        st.none() | TEXT,
        st.none() | TRACES,
        doubts=st.lists(TEXT, max_size=2).map(tuple),
        dropped=st.dictionaries(TEXT, st.integers(0, 100), max_size=2),
        unpruned_dropped=st.dictionaries(TEXT, st.integers(0, 100), max_size=2),
        far=st.booleans(),
        stop=st.none() | st.sampled_from(Stop),
        rounds=st.none() | st.integers(1, 1000),
        widths=st.dictionaries(TEXT, st.integers(1, 4096), max_size=2).map(
            lambda widths: tuple(sorted(widths.items()))
        ),
        facts=st.dictionaries(TEXT, JSON, max_size=2),
    ),
)
SETTINGS = st.builds(
    Setting,
    st.builds(Device, TEXT, TEXT, st.integers(1, 64), st.integers(1, 2**40), TEXT, st.lists(TEXT).map(tuple)),
    TEXT,
    st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple),
    TEXT,
    st.integers(1, 64),
    st.integers(1, 64),
    TEXT,
    st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple),
)
ARCHIVES = st.builds(
    Archive, SETTINGS, st.lists(CELLS, max_size=8).map(tuple), st.lists(NETWORKS, max_size=3).map(tuple)
)
QUICK = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


def small() -> Archive:
    cells = [
        ArchivedCell(part.key, part.kind, part.grain.value, made_up.cell(1e-3)) for part in SKELETON.parts
    ]
    failure = Failure("hung, for\n60 s", "2026-01-02")
    again = ArchivedCell(cells[0].key, cells[0].kind, cells[0].grain, failure)
    network = made_up.network(SKELETON, ["block1"], 1e-3, 2e-3)
    return Archive(made_up.setting(), (cells[0], again, *cells[1:]), (ArchivedNetwork("chain", network),))


@pytest.mark.parametrize("suffix", SUFFIXES)
@QUICK
@given(archive=ARCHIVES)
def test_a_file_gives_back_what_was_written(tmp_path: Path, suffix: str, archive: Archive) -> None:
    path = tmp_path / f"table{suffix}"
    write_archive(path, archive)
    assert read_archive(path) == archive
    assert read_table(path) == archive.table()


@QUICK
@given(archive=ARCHIVES)
def test_export_and_import_make_an_equal_table_and_nothing_twice(
    tmp_path_factory: pytest.TempPathFactory, archive: Archive
) -> None:
    folder = tmp_path_factory.mktemp("stores")
    first, second = Store(folder / "first.db"), Store(folder / "second.db")
    assert first.add(archive) == Added(len(archive.cells), len(archive.networks), 0)
    kept = first.archive(archive.setting)
    assert len(kept.cells) == len(archive.cells)
    assert all(kept.cells.count(cell) == archive.cells.count(cell) for cell in archive.cells)
    write_archive(folder / "table.parquet", kept)
    for expected in (Added(len(archive.cells), len(archive.networks), 0), Added(0, 0, 0)):
        assert second.add(read_archive(folder / "table.parquet")) == expected
        assert second.archive(archive.setting) == kept
        assert second.table(archive.setting) == first.table(archive.setting) == kept.table()
        assert second.kinds(archive.setting) == kept.kinds()
    first.close()
    second.close()


def test_an_import_of_old_measurements_does_not_hide_newer_ones(tmp_path: Path) -> None:
    store, part = Store(tmp_path / "lathe.db"), SKELETON.parts[1]
    newer = Measurement((5e-3,) * 10, 3, Stop.PRECISION, "2026-02-01T00:00:00+00:00")
    store.put(made_up.setting(), part, newer)
    store.add(small())
    assert store.cell(made_up.setting(), part) == newer
    assert store.history(made_up.setting(), part) == (made_up.cell(1e-3), newer)


def test_an_import_counts_the_parts_whose_cell_is_now_the_file_s(tmp_path: Path) -> None:
    store, setting = Store(tmp_path / "lathe.db"), made_up.setting()
    failed, older, newer, same, *_ = SKELETON.parts
    for part, created in ((failed, "2025-12-01"), (older, "2025-12-01"), (newer, "2026-02-01")):
        store.put(setting, part, replace(made_up.cell(2e-3), created=created))
    store.put(setting, same, made_up.cell(1e-3))
    store.put(made_up.setting(threads=2), SKELETON.parts[-1], replace(made_up.cell(2e-3), created="2025"))
    archive = small()
    assert store.add(archive) == Added(len(archive.cells) - 1, 1, 2)
    assert store.cell(setting, older) == made_up.cell(1e-3) != store.cell(setting, newer)
    assert store.add(archive) == Added(0, 0, 0)


def test_an_import_that_fails_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from latency_tables import store as module

    store = Store(tmp_path / "lathe.db")

    def breaks(*_: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(module, "_new_networks", breaks)
    with pytest.raises(LatheError, match="broken"):
        store.add(small())
    assert store.settings() == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_cut_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"
    write_archive(path, small())
    content = path.read_bytes()
    for length in range(0, len(content) - 2, 7):  # without the last line's end nothing is lost
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match=r"table\..* is .*get another copy"):
            read_archive(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@QUICK
@given(share=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_changed_byte_is_refused_or_changes_nothing(
    tmp_path: Path, suffix: str, share: float, flip: int
) -> None:
    path = tmp_path / f"table{suffix}"
    write_archive(path, small())
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= flip
    path.write_bytes(content)
    try:
        found = read_archive(path)
    except UserError as error:
        assert str(path) in str(error)
    else:
        assert (found.cells, found.networks) == (small().cells, small().networks)
        assert found.setting == small().setting


def other_parquet(path: Path) -> None:
    pq.write_table(pa.table({"latency_s": [1.0]}), path)


def other_csv(path: Path) -> None:
    path.write_text("latency_s\n1.0\n")


def text(path: Path) -> None:
    path.write_text("not a table at all")


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("a.parquet", other_parquet, "no table of lathe: its metadata has no key"),
        ("a.csv", other_csv, "no table of lathe: its first line"),
        ("a.parquet", text, "is no Parquet file"),
        ("a.csv", text, "no table of lathe"),
        ("a.xlsx", text, r"ends in .parquet or .csv, but 'a.xlsx'"),
        ("a.csv", folder, "cannot read"),
    ],
)
def test_foreign_files_are_refused(
    tmp_path: Path, name: str, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(UserError, match=message):
        read_archive(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"cannot read .*No such file.*`lathe table export` wrote; check the path"
    ):
        read_archive(tmp_path / "a.csv")


def edit_header(path: Path, **changes: object) -> None:
    """A CSV whose header says something else."""
    first, _, rest = path.read_bytes().decode().partition("\r\n")
    header = json.loads(first.removeprefix("# lathe table ")) | changes
    path.write_bytes(f"# lathe table {json.dumps(header)}\r\n{rest}".encode())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format 2, this version of lathe reads format 1"),
        ({"rows": 3}, "rows of 3"),
        ({"sha256": "0"}, "checksum"),
        ({"setting": {**made_up.setting().to_json(), "format": 9}}, "setting format 9"),
        ({"setting": {}}, "damaged or edited"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = tmp_path / "table.csv"
    write_archive(path, small())
    edit_header(path, **changes)
    with pytest.raises(UserError, match=message):
        read_archive(path)


def test_others_can_read_the_files_and_find_the_setting(tmp_path: Path) -> None:
    write_archive(tmp_path / "table.csv", small())
    write_archive(tmp_path / "table.parquet", small())
    by_hand = pd.read_csv(tmp_path / "table.csv", skiprows=1)
    assert list(by_hand.grain).count("network") == 1
    metadata = pq.read_schema(tmp_path / "table.parquet").metadata
    assert Setting.from_json(json.loads(metadata[b"lathe"])["setting"]) == made_up.setting()
    assert pd.read_parquet(tmp_path / "table.parquet").latency_s.notna().sum() == len(by_hand) - 1


def test_frames_show_cells_and_networks() -> None:
    archive = small()
    cells = cells_frame(archive.table(), archive.kinds()).set_index("key")
    first, second = SKELETON.parts[:2]
    assert math.isnan(cells.latency_s[first.key])
    assert cells.failure[first.key] == "hung, for\n60 s"
    assert (cells.latency_s[second.key], cells.samples[second.key]) == (1e-3, 10)
    assert cells.kind[second.key] == "linear"
    [network] = archive.table().networks
    narrower = replace(archive.table(), networks=(replace(network, widths=(("block0", 2),)),))
    networks = networks_frame(narrower, archive.network_names())
    wanted = ["name", "removed", "widths", "ratio"]
    assert networks[wanted].values.tolist() == [["chain", ("block1",), (("block0", 2),), 0.5]]
    empty = Archive(made_up.setting(), (), ()).table()
    assert list(cells_frame(empty).columns) == ["key", *cells.columns]
    assert list(networks_frame(empty).columns) == list(networks.columns)


def test_frames_tell_what_speaks_against_cells_and_networks() -> None:
    first, second, third, fourth, *_ = SKELETON.parts
    rising = tuple(1e-3 * (1 + 0.01 * i) for i in range(30))
    hosts: dict[str, dict[str, Any]] = {
        second.key: {"cores": {"mode": "far"}},
        third.key: {"disturbance": "foreign load", "anchor": {"level": 1.2, "settled": False}},
        fourth.key: {"anchor": {"level": 1.0, "settled": True}},
    }
    found = {first.key: replace(made_up.cell(1e-3), samples_s=rising)}
    found |= {
        key: replace(made_up.cell(1e-3), host=host, dropped={"steal": 3}) for key, host in hosts.items()
    }
    network = replace(made_up.network(SKELETON, ["block1"], 1e-3, 2e-3), far=True, doubts=("drift",))
    network = replace(network, stop=Stop.STALLED, rounds=40)
    table = LatencyTable(made_up.setting(), found, (replace(network, dropped={"steal": 2, "moved": 4}),))
    cells = cells_frame(table)
    assert cells.doubts.tolist() == [("drift", "dependence"), (), (), ()]
    assert cells.far.tolist() == [False, True, False, False]
    assert cells.settled.tolist() == [None, None, False, True]
    assert cells.disturbance.fillna("").tolist() == ["", "", "foreign load", ""]
    assert cells.dropped.tolist() == [0, 3, 3, 3]
    wanted = ["far", "doubts", "disturbance", "dropped", "stop", "rounds"]
    told = [[True, ("drift",), None, 6, "stalled", 40]]
    assert networks_frame(table)[wanted].values.tolist() == told
