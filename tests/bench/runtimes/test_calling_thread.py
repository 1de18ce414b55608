"""With one thread what is timed runs on the thread that asks, whose core is looked at between samples."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hand_graphs import conv_relu

from bench.devices import runtime_records
from bench.runtimes import make_setting
from bench.worker_environment import worker_environment

USABLE = [record.runtime for record in runtime_records() if record.usable and record.device_kind == "cpu"]

_SHARE = """
import json, sys, time
from bench.runtimes import get_runtime
from latency_tables.graph import Graph
from latency_tables.setting import Setting
setting, graph = json.loads(sys.stdin.read())
runtime = get_runtime(sys.argv[1])(Setting.from_json(setting))
with runtime.load(Graph.from_json(graph)) as loaded:
    for _ in range(20):
        loaded.run()
    everyone_s, caller_s = time.process_time(), time.thread_time()
    while time.process_time() - everyone_s < 0.5:
        loaded.run()
    print((time.thread_time() - caller_s) / (time.process_time() - everyone_s))
"""


@pytest.mark.parametrize("runtime", USABLE)
def test_one_thread_is_the_caller_s(runtime: str) -> None:
    setting = make_setting(runtime)
    assert setting.threads == 1
    done = subprocess.run(
        [sys.executable, "-c", _SHARE, runtime],
        input=json.dumps([setting.to_json(), conv_relu().to_json()]),
        env=worker_environment(setting, os.environ),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert float(done.stdout) > 0.95
