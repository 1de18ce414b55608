"""Published records come back as they were, and none is written over."""

from __future__ import annotations

from pathlib import Path

from cells import read
from records import publish, restore

from latency_tables.files import write_json


def test_published_records_come_back(tmp_path: Path) -> None:
    first, second, page = tmp_path / "first", tmp_path / "second", tmp_path / "all.jsonl"
    write_json(first / "b.json", {"accuracy": 0.5, "arm": "x, y", "seconds": 3.0, "scoring_s": 1.0})
    write_json(first / "a.json", {"failed": "it's gone"})
    publish(first, page)
    write_json(second / "a.json", {"accuracy": 0.7})
    restore(page, second)
    assert read(second / "b.json") == {"accuracy": 0.5, "arm": "x, y"}, "without what the machine decided"
    assert read(second / "a.json") == {"accuracy": 0.7}
    assert len(list(second.iterdir())) == 2


def test_nothing_published_is_nothing_to_restore(tmp_path: Path) -> None:
    restore(tmp_path / "none.jsonl", tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_a_name_leads_nowhere_else(tmp_path: Path) -> None:
    page = tmp_path / "all.jsonl"
    page.write_text('{"file": "../outside.json", "accuracy": 1}\n')
    restore(page, tmp_path / "folder")
    assert not (tmp_path / "outside.json").exists()
