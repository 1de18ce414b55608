"""Older stores made new, each step in the transaction that also writes the new number.

A step is spelled out and never changed again: it must not follow when `latency_tables.schema` moves on. Packed
samples, intervals and moments alone are asked of the functions in use: how samples were packed is read for good,
and whoever changes what an interval is computes all rows anew in a step of its own. The stored file of each format
tells where that ceases to hold.
"""

from __future__ import annotations

import json

import numpy as np
from sqlalchemy import text
from sqlalchemy.engine import Connection

from latency_tables.measurement import SEQUENTIAL_CONFIDENCE, median_interval
from latency_tables.rows import moment_s
from latency_tables.samples import encode

_MAKE_2 = (
    """CREATE TABLE measurements (
        id INTEGER NOT NULL,
        setting_id INTEGER NOT NULL,
        part_id INTEGER NOT NULL,
        taken_s FLOAT NOT NULL,
        created TEXT NOT NULL,
        failure TEXT,
        latency_s FLOAT,
        low_s FLOAT,
        high_s FLOAT,
        samples BLOB,
        details TEXT,
        PRIMARY KEY (id),
        FOREIGN KEY(setting_id) REFERENCES settings (id),
        FOREIGN KEY(part_id) REFERENCES parts (id)
    )""",
    "CREATE INDEX measurements_of_a_part ON measurements (setting_id, part_id, taken_s)",
    "ALTER TABLE networks RENAME TO old_networks",
    """CREATE TABLE networks (
        id INTEGER NOT NULL,
        setting_id INTEGER NOT NULL,
        taken_s FLOAT NOT NULL,
        skeleton VARCHAR(16) NOT NULL,
        name TEXT NOT NULL,
        details TEXT NOT NULL,
        PRIMARY KEY (id),
        FOREIGN KEY(setting_id) REFERENCES settings (id)
    )""",
    "CREATE INDEX networks_of_a_setting ON networks (setting_id, taken_s)",
)


def from_1_to_2(connection: Connection) -> None:
    """Every measurement its own row, samples packed, whole networks in one piece of JSON.

    Args:
        connection: in a transaction that holds the write lock.

    Raises:
        ValueError, TypeError or KeyError: a row was edited; the caller takes everything back.
    """
    for statement in _MAKE_2:
        connection.execute(text(statement))
    put_cell = text(
        "INSERT INTO measurements VALUES (:id, :setting_id, :part_id, :taken_s, :created, :failure, :latency_s, "
        ":low_s, :high_s, :samples, :details)"
    )
    for row in connection.execute(text("SELECT * FROM cells ORDER BY id")).mappings().all():
        new = {name: row[name] for name in ("id", "setting_id", "part_id", "created", "failure")}
        new |= dict.fromkeys(("latency_s", "low_s", "high_s", "samples", "details"))
        if row["failure"] is None:
            details, samples = json.loads(row["details"]), np.frombuffer(row["samples_s"], dtype="<f8")
            if samples.min() <= 0:
                raise ValueError("a sample is not above 0")
            latency = median_interval(samples, SEQUENTIAL_CONFIDENCE)
            new |= {"latency_s": latency.value, "low_s": latency.low, "high_s": latency.high}
            new["samples"] = encode(samples.tolist(), details["inner"])
            new["details"] = json.dumps(details, sort_keys=True, separators=(",", ":"))
        connection.execute(put_cell, {**new, "taken_s": moment_s(row["created"])})
    put_network = text("INSERT INTO networks VALUES (:id, :setting_id, :taken_s, :skeleton, :name, :details)")
    latest: dict[int, float] = {}
    for row in connection.execute(text("SELECT * FROM old_networks ORDER BY id")).mappings().all():
        whole = {name: row[name] for name in ("skeleton", "role", "created")}
        whole |= {"trace": None, **json.loads(row["details"]), "removed": json.loads(row["removed"])}
        at = latest[row["setting_id"]] = max(moment_s(row["created"]), latest.get(row["setting_id"], 0.0))
        new = {name: row[name] for name in ("id", "setting_id", "skeleton", "name")}
        details_text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
        connection.execute(put_network, {**new, "taken_s": at, "details": details_text})
    connection.execute(text("DROP TABLE cells"))
    connection.execute(text("DROP TABLE old_networks"))


#: What makes a store of one format one of the next.
STEPS = {1: from_1_to_2}
