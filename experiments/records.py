"""The records behind a page, published beside it, so that a run goes on where another machine stopped.

Only for what a machine does not decide: accuracies, not times.
"""

from __future__ import annotations

import json
from pathlib import Path

from cells import read

from latency_tables.files import write_atomically, write_json

TIMES = ("seconds", "scoring_s")
"""What a machine decides, and is not published."""


def publish(folder: Path, path: Path) -> None:
    """Writes all records of a folder, without their times, into one file of JSON lines, sorted by name."""
    found = [
        {"file": record.name, **{key: value for key, value in read(record).items() if key not in TIMES}}
        for record in sorted(folder.glob("*.json"))
    ]
    write_atomically(path, "".join(json.dumps(record) + "\n" for record in found).encode())


def restore(path: Path, folder: Path) -> None:
    """Writes the published records that the folder lacks; nothing where nothing was published."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        place = folder / Path(record.pop("file")).name
        if not place.exists():
            write_json(place, record)
