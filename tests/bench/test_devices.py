from __future__ import annotations

import json

import pytest

import bench.devices
from bench.devices import runtime_records, survey
from bench.runtimes import RUNTIMES


def test_the_survey_is_plain_data() -> None:
    data = json.loads(json.dumps(survey(window_s=0.0).to_json(), allow_nan=False))
    assert set(data) == {"device", "host", "runtimes"}
    assert data["device"]["kind"] == "cpu"
    assert isinstance(data["host"]["findings"], list)
    usable = {record["name"]: record["usable"] for record in data["runtimes"]}
    assert usable["eager (cpu)"] is True
    assert {"eager (cuda)", "onnxruntime (cpu)", "onnxruntime (cuda)"} < set(usable)
    for record in data["runtimes"]:
        assert {"name", "usable", "reason", "remedy", "versions"} <= set(record)


def test_every_registered_runtime_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "another", RUNTIMES["eager"])
    names = [record.name for record in runtime_records()]
    assert [name for name in names if name.startswith("another")] == ["another (cpu)", "another (cuda)"]
    assert bench.devices.RUNTIMES is RUNTIMES
