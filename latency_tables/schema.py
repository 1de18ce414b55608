"""The tables of a store, in the present format."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

# 1: first format; one cell for a part in a setting, samples as float64.
# 2: every measurement is kept; packed samples; the median beside them; an order that survives a wrong clock.
STORE_FORMAT = 2

metadata = MetaData()
about = Table("about", metadata, Column("format", Integer, nullable=False))
settings = Table(
    "settings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String(12), nullable=False, unique=True),
    Column("setting", Text, nullable=False),
)
parts = Table(
    "parts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("grain", Text, nullable=False),
)
measurements = Table(
    "measurements",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("setting_id", ForeignKey("settings.id"), nullable=False),
    Column("part_id", ForeignKey("parts.id"), nullable=False),
    Column(
        "taken_s", Float, nullable=False
    ),  # seconds since 1970, never less than an earlier row's of the part
    Column("created", Text, nullable=False),
    Column("failure", Text),  # the reason, for a part that could not be measured
    Column("latency_s", Float),  # the median
    Column("low_s", Float),
    Column("high_s", Float),
    Column("samples", LargeBinary),  # see latency_tables.samples
    Column("details", Text),  # JSON: everything else
)
Index("measurements_of_a_part", measurements.c.setting_id, measurements.c.part_id, measurements.c.taken_s)
networks = Table(
    "networks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("setting_id", ForeignKey("settings.id"), nullable=False),
    Column("taken_s", Float, nullable=False),  # as above, within the setting
    Column("skeleton", String(16), nullable=False),
    Column("name", Text, nullable=False),
    Column("details", Text, nullable=False),  # JSON: the whole measurement
)
Index("networks_of_a_setting", networks.c.setting_id, networks.c.taken_s)
