"""All that a latency is valid for: device, runtime, precision, batch, threads, layout, options."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from latency_tables.errors import UserError

# 1: first format.
SETTING_FORMAT = 1

# A message names so many fields; a table of another machine differs in many.
_NAMED = 4

# Options that a person chooses there, and that change what a latency is.
_TOLD_ON_GPU = ("cache", "launch", "provider")


@dataclass(frozen=True, slots=True)
class Device:
    """The machine, or the accelerator in it.

    Attributes:
        kind: "cpu" or "cuda".
        name: as the maker calls it, with the model where it tells.
        cores: physical or virtual cores that the process may use, or streaming multiprocessors.
        memory_bytes: main or device memory, rounded to 2^28 bytes, since the rest varies with the boot.
        driver: driver of an accelerator, "" for a CPU.
        features: instruction sets that change which kernels run, sorted.
    """

    kind: str
    name: str
    cores: int
    memory_bytes: int
    driver: str = ""
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """Two latencies may be added, or compared, only when their settings are equal.

    Attributes:
        device: where.
        runtime: name of the runtime, as in "onnxruntime".
        versions: (library, version) pairs that matter to the runtime, sorted.
        precision: as in "fp32".
        batch: images in one forward pass.
        threads: threads inside an operator.
        layout: memory layout of activations, as in "nchw".
        options: (name, value) pairs of everything else that was chosen, sorted.
    """

    device: Device
    runtime: str
    versions: tuple[tuple[str, str], ...]
    precision: str
    batch: int
    threads: int
    layout: str = "nchw"
    options: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that stand for the setting."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """A short line for people; on a GPU with how its work is handed out and what its cache holds."""
        words = [f"{self.runtime} on {self.device.name}", self.precision, f"batch {self.batch}"]
        words.append(f"{self.threads} thread{'s' if self.threads != 1 else ''}")
        if self.layout != "nchw":
            words.append(self.layout)
        if self.device.kind != "cpu":
            words += [f"{name} {value}" for name, value in self.options if name in _TOLD_ON_GPU]
        return ", ".join(words)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists."""
        data = {"format": SETTING_FORMAT, **asdict(self)}
        result: dict[str, Any] = json.loads(json.dumps(data))
        return result

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Setting:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: written in another format.
        """
        if data.get("format") != SETTING_FORMAT:
            raise ValueError(f"setting format {data.get('format')!r} is not {SETTING_FORMAT}")
        device = dict(data["device"])
        device["features"] = tuple(device["features"])
        return cls(
            device=Device(**device),
            runtime=data["runtime"],
            versions=_pairs(data["versions"]),
            precision=data["precision"],
            batch=data["batch"],
            threads=data["threads"],
            layout=data["layout"],
            options=_pairs(data["options"]),
        )

    def require_equal(self, other: Setting, what: str) -> None:
        """Refuses to mix what is not comparable.

        Args:
            other: the setting that is needed.
            what: what carries this setting, for the message, as in "the table in lathe-out".

        Raises:
            UserError: they differ; the message names the fields and both values, the weightiest first.
        """
        found = self.differences(other)
        if found:
            named = ", ".join(
                f"{field} is {mine!r} there and {theirs!r} here" for field, mine, theirs in found[:_NAMED]
            )
            more = f", and {len(found) - _NAMED} more differ" if len(found) > _NAMED else ""
            raise UserError(
                f"{what} was measured in another setting: {named}{more}. Latencies of two settings are never "
                "mixed; run `lathe profile` in this setting, or choose that one."
            )

    def differences(self, other: Setting) -> tuple[tuple[str, object, object], ...]:
        """The fields in which two settings differ, device first, then as the attributes above.

        Args:
            other: any.

        Returns:
            For each field its name (as in "device.cores", "versions.torch"), this one's value and the other's; None
            where one of them does not have the field.
        """
        mine, theirs = _flat(asdict(self)), _flat(asdict(other))
        order = list(asdict(self))
        fields = sorted(mine.keys() | theirs.keys(), key=lambda name: (order.index(name.split(".")[0]), name))
        return tuple(
            (field, mine.get(field), theirs.get(field))
            for field in fields
            if mine.get(field) != theirs.get(field)
        )


def labels(settings: Sequence[Setting]) -> list[str]:
    """The label of each of some settings shown together; where several have the same, with the fields that differ.

    Equal settings keep equal labels.
    """
    return told_apart([setting.label for setting in settings], [asdict(setting) for setting in settings])


def told_apart(names: Sequence[str], records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each name; where several are equal, with the fields in which their records differ.

    Args:
        names: any.
        records: of each, settings as `Setting.to_json` gives them, with more fields or fewer.
    """
    flat = [_flat(record) for record in records]
    told = []
    for name, mine in zip(names, flat, strict=True):
        alike = [other for known, other in zip(names, flat, strict=True) if known == name]
        fields = {
            field
            for other in alike
            for field in mine.keys() | other.keys()
            if mine.get(field) != other.get(field)
        }
        apart = ", ".join(f"{field} {mine.get(field)!r}" for field in sorted(fields))
        told.append(f"{name} ({apart})" if apart else name)
    return told


def _pairs(data: Any) -> tuple[tuple[str, str], ...]:
    return tuple((str(name), str(value)) for name, value in data)


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        elif key in ("versions", "options") and _are_pairs(value):
            flat |= {f"{prefix}{key}.{name}": item for name, item in value}
        else:
            flat[prefix + key] = value
    return flat


def _are_pairs(value: Any) -> bool:
    """Whether it is what `Setting.to_json` writes; a record from a file may hold anything."""
    return isinstance(value, list | tuple) and all(
        isinstance(item, list | tuple) and len(item) == 2 for item in value
    )
