"""A user's own network: a function or class in a file or a package that makes it."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from latency_tables.errors import UserError


@dataclass(frozen=True, slots=True)
class UserFactory:
    """A user's factory, checked each time it is called, with what it says about its network's input.

    Attributes:
        name: as the user wrote it, for messages.
        make: the function or class itself.
        input_shape: the factory's attribute of that name, (channels, height, width); None where it has none.
        input_mean: likewise, one number a channel, in units of pixels / input_scale.
        input_std: likewise, each above 0.
        input_scale: likewise, what pixels 0..255 are divided by first, above 0.
    """

    name: str
    make: Callable[[], object]
    input_shape: tuple[int, int, int] | None = None
    input_mean: tuple[float, ...] | None = None
    input_std: tuple[float, ...] | None = None
    input_scale: float | None = None

    def __call__(self) -> nn.Module:
        """Calls the factory.

        Returns:
            A new network.

        Raises:
            UserError: the factory raises, or returns something else than an ``nn.Module``.
        """
        try:
            model = self.make()
        except Exception as error:
            raise UserError(
                f"calling {self.name} without arguments failed: {type(error).__name__}: {error}. "
                "A factory must work without arguments and return the network."
            ) from error
        if not isinstance(model, nn.Module):
            raise UserError(
                f"what {self.name} returned is {_kind(model)}, expected a torch.nn.Module. "
                "Return the network itself from the factory."
            )
        return model


def load_user_factory(name: str) -> UserFactory:
    """Loads a factory from a file or a package.

    A file is run under a name of its own, without touching ``sys.path``: it can import what is installed, not
    what lies beside it.

    Args:
        name: ``path/to/file.py:factory`` or ``package.module:factory``.

    Returns:
        The factory; not called yet.

    Raises:
        UserError: the file, module or attribute is missing, running the file fails, the attribute is not
            callable, or one of the factory's input attributes has an unusable value.
    """
    place, _, attribute = name.rpartition(":")
    if not place or not attribute.isidentifier():
        raise UserError(
            f"a network of your own is named file.py:factory or package.module:factory; received {name!r}."
        )
    is_file = place.endswith(".py") or "/" in place or "\\" in place
    module = _load_file(Path(place).expanduser()) if is_file else _load_module(place)
    try:
        make = getattr(module, attribute)
    except AttributeError:
        raise UserError(
            f"{place} has no {attribute!r}; it defines "
            f"{', '.join(_public_callables(module)) or 'nothing callable'}. "
            f"Name one of its functions or classes after the colon."
        ) from None
    if isinstance(make, nn.Module) or not callable(make):
        raise UserError(
            f"{name} is {_kind(make)}, expected a function or class that makes the network when called. "
            f"Write: def make_network(): return ..."
        )
    return UserFactory(
        name,
        make,
        input_shape=_input_shape(name, make),
        input_mean=_numbers(name, make, "input_mean", above_zero=False),
        input_std=_numbers(name, make, "input_std", above_zero=True),
        input_scale=_scale(name, make),
    )


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(f"no file at {path}; check the path before the colon.")
    # The hash keeps two files of one name apart; registered, because dataclasses look their module up.
    unique = f"_lathe_user_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(unique, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file; a factory lives in a file that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[unique]
        raise UserError(
            f"running {path} failed: {type(error).__name__}: {error}. It must run alone; if it imports "
            "files that "
            "lie beside it, install them as a package and name package.module:factory."
        ) from error
    return module


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise UserError(
            f"importing {name} failed: {type(error).__name__}: {error}. Install its package into this "
            "environment "
            "(pip install -e .), or name a file: path/to/file.py:factory."
        ) from error


def _public_callables(module: ModuleType) -> list[str]:
    own = (
        name
        for name, value in vars(module).items()
        if callable(value)
        and not name.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
    )
    return sorted(own)[:8]


def _input_shape(name: str, make: object) -> tuple[int, int, int] | None:
    value: Any = getattr(make, "input_shape", None)
    if value is None:
        return None
    if (
        not isinstance(value, tuple | list)
        or len(value) != 3
        or not all(type(side) is int and side > 0 for side in value)
    ):
        raise UserError(
            f"input_shape of {name} must be three whole numbers above 0, (channels, height, width); "
            f"received {value!r}."
        )
    channels, height, width = value
    return channels, height, width


def _numbers(name: str, make: object, attribute: str, *, above_zero: bool) -> tuple[float, ...] | None:
    value: Any = getattr(make, attribute, None)
    if value is None:
        return None
    if (
        not isinstance(value, tuple | list)
        or not value
        or not all(_is_finite(number) and (number > 0 or not above_zero) for number in value)
    ):
        raise UserError(
            f"{attribute} of {name} must be finite numbers{' above 0' if above_zero else ''}, one a channel; "
            f"received {value!r}."
        )
    return tuple(float(number) for number in value)


def _scale(name: str, make: object) -> float | None:
    value: Any = getattr(make, "input_scale", None)
    if value is None:
        return None
    if not _is_finite(value) or value <= 0:
        raise UserError(f"input_scale of {name} must be a finite number above 0; received {value!r}.")
    return float(value)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _kind(value: object) -> str:
    return (
        "None" if value is None else f"of type {type(value).__name__} ({' '.join(repr(value).split())[:40]})"
    )
