"""Records to JSON and back, strictly: what the types do not promise is refused by name.

The types of the dataclasses are the schema, so that a field is written down once. Understood are str, int,
float, bool, None, Literal, `X | None`, `tuple[X, ...]`, `dict[str, X]`, Any (plain JSON), Estimate and dataclasses.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

from latency_tables.errors import unknown
from latency_tables.estimate import Estimate

_Reader = Callable[[Any], Any]
_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


class MismatchError(ValueError):
    """The data is not what the type says; the text begins with the place in the document."""

    def __init__(self, wrong: str, place: str = "") -> None:
        super().__init__(f"{place}: {wrong}")
        self.wrong = wrong
        self.place = place

    def inside(self, outer: str) -> MismatchError:
        """The same, seen from outside: the place lies in another one."""
        return MismatchError(self.wrong, outer + self.place)


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
        A value of the type; every text in it is `showable`.

    Raises:
        MismatchError: a key is unknown or missing, a value has another type, or a record refused its values.
    """
    try:
        return _reader(kind)(data)
    except MismatchError as error:
        raise error.inside(place) from None


@functools.cache
def _reader(kind: Any) -> _Reader:
    """What reads values of a type: looked up once, since a run may hold ten thousand points."""
    if kind is Any:
        return _plain
    if kind is Estimate:
        return _estimate
    if dataclasses.is_dataclass(kind):
        return _record_reader(kind)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return functools.partial(_one_of, inner)
    if origin in (types.UnionType, typing.Union):
        (known,) = (option for option in inner if option is not types.NoneType)
        read = _reader(known)
        return lambda data: None if data is None else read(data)
    if origin is tuple:
        return functools.partial(_items, _reader(inner[0]))
    if origin is dict:
        return functools.partial(_pairs, _reader(inner[1]))
    return functools.partial(_scalar, kind)


def _record_reader(kind: Any) -> _Reader:
    hints = typing.get_type_hints(kind)
    readers = {field.name: _reader(hints[field.name]) for field in dataclasses.fields(kind)}

    def read(data: Any) -> Any:
        pairs = _expect(dict, data, "an object")
        if pairs.keys() != readers.keys():
            for key in pairs:
                if key not in readers:
                    raise MismatchError(str(unknown("key", showable(key), readers)))
            raise MismatchError(f"missing {', '.join(key for key in readers if key not in pairs)}")
        values = {}
        for key, reader in readers.items():
            try:
                values[key] = reader(pairs[key])
            except MismatchError as error:
                raise error.inside(f".{key}") from None
        try:
            return kind(**values)
        except ValueError as error:
            raise MismatchError(str(error)) from error

    return read


def _items(read: _Reader, data: Any) -> tuple[Any, ...]:
    found = []
    for i, item in enumerate(_expect(list, data, "a list")):
        try:
            found.append(read(item))
        except MismatchError as error:
            raise error.inside(f"[{i}]") from None
    return tuple(found)


def _pairs(read: _Reader, data: Any) -> dict[str, Any]:
    found = {}
    for key, item in _expect(dict, data, "an object").items():
        try:
            found[showable(key)] = read(item)
        except MismatchError as error:
            raise error.inside(f".{showable(key)}") from None
    return found


def _estimate(data: Any) -> Estimate:
    items = _expect(list, data, "[value, low, high]")
    if any(item is not None and not _is_number(item) for item in items):
        raise MismatchError(f"expected [value, low, high] in numbers or null, got {_short(items)}")
    try:
        return Estimate.from_json(items)
    except ValueError as error:
        raise MismatchError(str(error)) from error


def _one_of(options: tuple[Any, ...], data: Any) -> Any:
    if data not in options:
        raise MismatchError(f"expected one of {', '.join(map(str, options))}, got {_short(data)}")
    return data


def _scalar(kind: Any, data: Any) -> Any:
    if kind is float and _is_number(data):
        return float(data)
    # A bool is an int to Python, but not to a reader of the file; and a number may be infinite.
    if type(data) is not kind or kind is float:
        raise MismatchError(f"expected {_NAMES[kind]}, got {_short(data)}")
    return showable(data) if kind is str else data


def _plain(data: Any) -> Any:
    if isinstance(data, str):
        return showable(data)
    if isinstance(data, dict):
        return {showable(key): _plain(item) for key, item in data.items()}
    if isinstance(data, list):
        return [_plain(item) for item in data]
    if isinstance(data, float) and not math.isfinite(data):
        raise MismatchError(f"expected {_NAMES[float]}, got {data}")
    return data


def showable(data: str) -> str:
    r"""The text with what no encoding knows spelled out as in \udcff: bytes of a file's name that are no text."""
    return data if data.isascii() else data.encode("utf-8", "backslashreplace").decode()


def _is_number(data: Any) -> bool:
    """Whether it is a number that a float can hold."""
    if isinstance(data, int):
        return not isinstance(data, bool) and abs(data) <= sys.float_info.max
    return isinstance(data, float) and math.isfinite(data)


def _expect(kind: type, data: Any, name: str) -> Any:
    if not isinstance(data, kind):
        raise MismatchError(f"expected {name}, got {_short(data)}")
    return data


def _short(data: Any) -> str:
    text = showable(repr(data))
    return text if len(text) <= 60 else text[:57] + "..."
