"""The folder that holds a run.

A run is a folder: ``run.json`` (a `Run`) and ``points/<id>.json`` (one `Point` each). Every file carries the
version of its format; the history of the format:

1: the first.
2: a point has a trace of its samples and the disturbance seen meanwhile; read from format 1 both are null.
3: points and rounds have widths; points a sparsity, ratios in other settings and controls that failed. Earlier
   formats have none of these.
4: a run tells what launching costs on a device that is launched to; earlier formats do not know.
5: a run tells where the unpruned network's weights are from; of earlier ones that is unknown.
6: a run tells what runtimes told of the unpruned network; earlier formats do not know.
7: among that, why what launching costs is not known; and the size of an image. Earlier formats do not tell.
8: a point tells what the runtime said of its network alone; earlier formats do not.
9: a run tells how its networks were trained once something was taken out; earlier formats do not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from latency_tables.errors import UserError
from latency_tables.files import write_json
from reports import codec
from reports.documents import read_document
from reports.results import UNKNOWN, Point, Run

FORMAT = 9
_T = TypeVar("_T")

_REMEDIES: dict[type, str] = {
    Run: "Put a copy of it back: without it the points cannot be placed.",
    Point: "Put a copy of it back, or move it away and run the command that wrote it again: the other points stay.",
}


def write_run(folder: Path, run: Run) -> None:
    """Writes the run's own record atomically; the folder is made when missing."""
    write_json(folder / "run.json", {"format": FORMAT, **codec.encode(run)})


def write_point(folder: Path, point: Point) -> None:
    """Writes one point of the run in the folder atomically, replacing a point with the same id."""
    write_json(folder / "points" / f"{point.id}.json", {"format": FORMAT, **codec.encode(point)})


@dataclass(frozen=True, slots=True)
class Damaged:
    """A point of which nothing is known but that its file cannot be used.

    Attributes:
        path: the file.
        reason: what is wrong with it and what to do, in a sentence that names the file.
    """

    path: Path
    reason: str


def read_run(folder: Path) -> tuple[Run, list[Point]]:
    """Reads a run with all its points, failed ones included, or nothing of it.

    For whoever goes on with a run or computes from it: a damaged record must neither be made anew unasked nor be
    missing from a mean.

    Args:
        folder: what `write_run` was given.

    Returns:
        The run, and its points in the order of their files' names; none where the run has just begun.

    Raises:
        UserError: a file is missing, truncated, edited into something else or of a newer format, or a point
            belongs to a setting that the run does not know; the message names the file.
    """
    run = _read(folder / "run.json", Run)
    return run, [_read_point(path, run) for path in _point_files(folder)]


def salvage_run(folder: Path) -> tuple[Run, list[Point], list[Damaged]]:
    """Reads all of a run that can be read.

    For whoever only shows it: one damaged file must not hide the points beside it, and must not be hidden by them,
    so that what it returns last is to be shown as well.

    Args:
        folder: what `write_run` was given.

    Returns:
        The run, its points in the order of their files' names, and the points that cannot be used.

    Raises:
        UserError: the run's own record cannot be read, without which no point can be placed, or the points cannot
            be listed.
    """
    run = _read(folder / "run.json", Run)
    points: list[Point] = []
    damaged: list[Damaged] = []
    for path in _point_files(folder):
        try:
            points.append(_read_point(path, run))
        except UserError as error:
            damaged.append(Damaged(path, codec.showable(str(error))))
    return run, points, damaged


def _point_files(folder: Path) -> list[Path]:
    """What claims to be a point. An id has no leading dot: those are left over from a kill, or the system's."""
    points = folder / "points"
    try:
        return sorted(p for p in points.iterdir() if p.suffix == ".json" and not p.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(
            f"cannot list {points}: {error.strerror or error}; expected a folder with one file for each point"
        ) from error


def _read_point(path: Path, run: Run) -> Point:
    point = _read(path, Point)
    if point.id != path.stem:
        raise UserError(
            f"{path}: holds the point {point.id!r}; expected {path.stem!r}, like the file's name. Give the file "
            "its name back."
        )
    if point.setting not in run.settings:
        raise UserError(
            f"{path}: was measured under setting {point.setting!r}, but {path.parents[1] / 'run.json'} knows only "
            f"{', '.join(run.settings) or 'none'}. Move the point to the run that it belongs to."
        )
    return point


def _read(path: Path, kind: type[_T]) -> _T:
    missing = "expected the folder of a run, which holds run.json"
    if kind is Point:
        missing = "it was moved while the run was read, or it is a link that leads nowhere"
    return read_document(
        path, kind, newest=FORMAT, missing=missing, remedy=_REMEDIES[kind], upgrade=_UPGRADES[kind]
    )


def _upgraded_run(version: int, data: dict[str, Any]) -> dict[str, Any]:
    if version < 4:
        data = {"launch": {}, **data}
    if version < 5:
        data = {"weights": UNKNOWN, **data}
    if version < 6:
        data = {"facts": {}, **data}
    if version < 7:
        data = {"input": UNKNOWN, **data}
    if version < 7 and isinstance(told := data.get("facts"), dict):
        told = {s: {"launch_unknown": None, **f} if isinstance(f, dict) else f for s, f in told.items()}
        data = {**data, "facts": told}
    if version < 9:
        data = {"training": {}, **data}
    return data


def _upgraded_point(version: int, data: dict[str, Any]) -> dict[str, Any]:
    if version == 1:
        data = {"trace": None, "disturbance": None, **data}
    if version < 3:
        rounds = data.get("rounds")
        if isinstance(rounds, list):
            data = {**data, "rounds": [{"widths": {}, **r} if isinstance(r, dict) else r for r in rounds]}
        data = {"widths": {}, "sparsity": None, "elsewhere": {}, "uncontrolled": {}, **data}
    if version < 8:
        data = {"remarks": [], **data}
    return data


_UPGRADES: dict[type, Callable[[int, dict[str, Any]], dict[str, Any]]] = {
    Run: _upgraded_run,
    Point: _upgraded_point,
}
