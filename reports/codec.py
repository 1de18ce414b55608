"""Records to JSON and back, strictly: what the types do not promise is refused by name.

The types of the dataclasses are the schema, so that a field is written down once. Understood are str, int,
float, bool, None, Literal, `X | None`, `tuple[X, ...]`, `dict[str, X]`, Any (plain JSON), Estimate and dataclasses.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from typing import Any

from latency_tables.errors import unknown
from latency_tables.estimate import Estimate

_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


class MismatchError(ValueError):
    """The data is not what the type says; the text begins with the place in the document."""


def encode(value: Any) -> Any:
    """Turns a record into what `json.dumps` takes; dataclasses become objects with one key per field."""
    if isinstance(value, Estimate):
        return value.to_json()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    return value


def decode(kind: Any, data: Any, place: str) -> Any:
    """Reads what `encode` wrote.

    Args:
        kind: the type to make, from the list in the module's docstring.
        data: parsed JSON.
        place: where in the document the data stands, for the message, as in "rounds[2]".

    Returns:
        A value of the type.

    Raises:
        MismatchError: a key is unknown or missing, a value has another type, or a record refused its values.
    """
    if kind is Any:
        return data
    if kind is Estimate:
        return _estimate(data, place)
    if dataclasses.is_dataclass(kind):
        return _record(kind, data, place)
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        return _one_of(typing.get_args(kind), data, place)
    if origin in (types.UnionType, typing.Union):
        if data is None:
            return None
        (inner,) = (option for option in typing.get_args(kind) if option is not types.NoneType)
        return decode(inner, data, place)
    if origin is tuple:
        items = _expect(list, data, "a list", place)
        return tuple(decode(typing.get_args(kind)[0], item, f"{place}[{i}]") for i, item in enumerate(items))
    if origin is dict:
        pairs = _expect(dict, data, "an object", place)
        return {key: decode(typing.get_args(kind)[1], item, f"{place}.{key}") for key, item in pairs.items()}
    return _scalar(kind, data, place)


@functools.cache
def _schema(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _record(kind: Any, data: Any, place: str) -> Any:
    pairs = _expect(dict, data, "an object", place)
    schema = _schema(kind)
    for key in pairs:
        if key not in schema:
            raise MismatchError(f"{place}: {unknown('key', key, schema)}")
    missing = [key for key in schema if key not in pairs]
    if missing:
        raise MismatchError(f"{place}: missing {', '.join(missing)}")
    values = {key: decode(hint, pairs[key], f"{place}.{key}") for key, hint in schema.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise MismatchError(f"{place}: {error}") from error


def _estimate(data: Any, place: str) -> Estimate:
    items = _expect(list, data, "[value, low, high]", place)
    if any(item is not None and not _is_number(item) for item in items):
        raise MismatchError(f"{place}: expected [value, low, high] in numbers or null, got {items!r}")
    try:
        return Estimate.from_json(items)
    except ValueError as error:
        raise MismatchError(f"{place}: {error}") from error


def _one_of(options: tuple[Any, ...], data: Any, place: str) -> Any:
    if data not in options:
        raise MismatchError(f"{place}: expected one of {', '.join(map(str, options))}, got {data!r}")
    return data


def _scalar(kind: Any, data: Any, place: str) -> Any:
    if kind is float and _is_number(data):
        return float(data)
    # A bool is an int to Python, but not to a reader of the file.
    if isinstance(data, bool) and kind is not bool:
        raise MismatchError(f"{place}: expected {_NAMES[kind]}, got {data!r}")
    return _expect(kind, data, _NAMES[kind], place)


def _is_number(data: Any) -> bool:
    return isinstance(data, (int, float)) and not isinstance(data, bool) and math.isfinite(data)


def _expect(kind: type, data: Any, name: str, place: str) -> Any:
    if not isinstance(data, kind):
        raise MismatchError(f"{place}: expected {name}, got {_short(data)}")
    return data


def _short(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 60 else text[:57] + "..."
