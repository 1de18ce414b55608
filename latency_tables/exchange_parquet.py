"""A table as Parquet: one row for each measurement, the header in the metadata; see `latency_tables.exchange`."""

from __future__ import annotations

import io
import json
from dataclasses import fields
from typing import Any

from latency_tables.sheet import Row, Sheet, Unreadable

_KEY = b"lathe"
_TEXTS = ("key", "kind", "grain", "created", "failure", "details")
_NUMBERS = ("latency_s", "low_s", "high_s")
_SAMPLES = "samples_s"


def pack(sheet: Sheet) -> bytes:
    """The file's content; samples as lists of float64."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {field.name: [getattr(row, field.name) for row in sheet.rows] for field in fields(Row)}
    types = {name: pa.string() for name in _TEXTS} | {name: pa.float64() for name in _NUMBERS}
    types[_SAMPLES] = pa.list_(pa.float64())
    schema = pa.schema(
        [(name, types[name]) for name in columns], metadata={_KEY: json.dumps(sheet.header).encode()}
    )
    file = io.BytesIO()
    pq.write_table(
        pa.table(columns, schema=schema),
        file,
        compression="zstd",
        compression_level=9,
        # Samples of one cell differ in their low bytes only: planes of bytes compress, whole numbers do not.
        use_dictionary=["kind", "grain", "created", "failure"],
        column_encoding={f"{_SAMPLES}.list.element": "BYTE_STREAM_SPLIT"},
        write_page_checksum=True,
    )
    return file.getvalue()


def unpack(content: bytes) -> Sheet:
    """Reads what `pack` made.

    Raises:
        Unreadable: it is something else.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not content.startswith(b"PAR1"):
        raise Unreadable("is no Parquet file")
    try:
        file = pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True)
        header = (file.schema_arrow.metadata or {}).get(_KEY)
        if header is None:
            raise Unreadable("is a Parquet file, but no table of lathe: its metadata has no key 'lathe'")
        table = file.read()
        columns: dict[str, list[Any]] = {field.name: table[field.name].to_pylist() for field in fields(Row)}
        columns[_SAMPLES] = [None if samples is None else tuple(samples) for samples in columns[_SAMPLES]]
        return Sheet(
            dict(json.loads(header)), tuple(Row(*values) for values in zip(*columns.values(), strict=True))
        )
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, MemoryError) as error:
        raise Unreadable(f"is damaged or cut off: {error}") from error
