"""What a run's folder holds already, where a sweep goes on in it."""

from __future__ import annotations

from pathlib import Path

from bench.identity import require_identity
from bench.points import point_id
from bench.sweep_config import SweepConfig
from bench.workbench import SettingChoice
from latency_tables.errors import UserError
from latency_tables.setting import Setting
from reports.results import Point, Run
from reports.run_folder import read_run


def resumed(
    config: SweepConfig, settings: dict[SettingChoice, Setting], folder: Path
) -> tuple[Run | None, dict[str, Point]]:
    """What is there; refuses a folder that holds something else."""
    require_identity(folder, config)
    if not (folder / "run.json").exists():
        if any((folder / "points").glob("*.json")):
            raise UserError(
                f"{folder} holds points but no run.json, which says what they were measured on. Put the file back, "
                "or name another folder with --name; nothing was changed."
            )
        return None, {}
    run, points = read_run(folder)
    known = {
        digest: Setting.from_json({k: v for k, v in data.items() if k != "label"})
        for digest, data in run.settings.items()
    }
    for choice, setting in settings.items():
        for old in known.values():
            if (old.runtime, old.precision) == (setting.runtime, setting.precision):
                old.require_equal(setting, f"the run in {folder}")
        name = config.name_of(choice)
        for point in points:
            there = known[point.setting].precision
            own_id = point_id(name, point.method, point.budget, point.seed)
            if point.id == own_id and there != setting.precision:
                raise UserError(
                    f"{folder} holds points of {choice.runtime} in {there}, asked for are some in "
                    f"{setting.precision}, and both are called {name}. Give the new ones their precision beside "
                    f'the runtime, as in "{choice.runtime} {setting.precision}", and leave that of the sweep as it '
                    "was; or name another folder with --name."
                )
    return run, {point.id: point for point in points}
