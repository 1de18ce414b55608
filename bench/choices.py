"""Channels that a point and its controls were given, kept beside their trainings for as long as these."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from latency_tables.errors import UserError
from latency_tables.files import write_json
from pruning.width_search import WidthSelection

_POINT = "the point"


class Choices:
    """What was chosen before a training that may be stopped.

    Each timing of a network moves the fit that channels are chosen by, so a restart that chose anew would train
    another network, and what it had trained would be lost.

    Args:
        file: where they are kept.
        digest: of the skeleton that the channels belong to; what was chosen for another one does not count.

    Raises:
        UserError: the file is damaged.
    """

    def __init__(self, file: Path, digest: str) -> None:
        self._file, self._digest = file, digest
        self._chosen = self._read()

    @property
    def point(self) -> WidthSelection | None:
        """What the point was given; None where its training has not begun."""
        return self._chosen.get(_POINT)

    def keep_point(self, selection: WidthSelection) -> None:
        """To be called before the point is trained; other channels than before make the controls choose anew."""
        if self.point is None or self.point.channels != selection.channels:
            self._chosen = {_POINT: selection}
            self._write()

    def control(self, name: str, choose: Callable[[], WidthSelection]) -> WidthSelection:
        """What a control was given.

        Args:
            name: of the control.
            choose: gives it its channels, where it has none yet.
        """
        if name not in self._chosen:
            self._chosen[name] = choose()
            self._write()
        return self._chosen[name]

    def _read(self) -> dict[str, WidthSelection]:
        if not self._file.exists():
            return {}
        try:
            data = json.loads(self._file.read_text(encoding="utf-8"))
            if data["skeleton"] != self._digest:
                return {}
            return {name: _selection(chosen) for name, chosen in data["chosen"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"the channels chosen earlier cannot be read from {self._file} ({error!r}). Remove the file to "
                "choose anew; what was trained with them is then trained again."
            ) from error

    def _write(self) -> None:
        chosen = {
            name: {
                "channels": {group: list(stays) for group, stays in selection.channels.items()},
                "predicted_s": selection.predicted_s,
                "hurt": selection.hurt,
            }
            for name, selection in self._chosen.items()
        }
        write_json(self._file, {"skeleton": self._digest, "chosen": chosen})


def _selection(data: dict[str, Any]) -> WidthSelection:
    return WidthSelection(
        {group: tuple(map(int, stays)) for group, stays in data["channels"].items()},
        float(data["predicted_s"]),
        float(data["hurt"]),
    )
