from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import interrupts
import numpy as np
import pytest
from hand_graphs import conv_relu, linear_add, one_operator

from bench.runtimes import make_setting
from bench.session import MeasurementFailed, Session
from bench.timing import Rule, Verdict
from bench.worker_environment import worker_environment
from latency_tables.errors import LatheError
from latency_tables.setting import Setting

HERE = Path(__file__).parent
MISBEHAVING = (sys.executable, "-P", str(HERE / "misbehaving_worker.py"))
RULE = Rule(max_time_s=0.2, warmup_max_time_s=0.1)


@pytest.fixture(scope="module")
def setting() -> Setting:
    return replace(make_setting("eager"), runtime="misbehaving")


@pytest.fixture(scope="module")
def shared(setting: Setting) -> Iterator[Session]:
    with Session(setting, repeats=0, command=MISBEHAVING) as session:
        yield session


def deed(name: str) -> object:
    return one_operator(f"deed.{name}.default")


def process_of(session: Session) -> subprocess.Popen[bytes]:
    assert session._process is not None
    return session._process


def gone(pid: int, within_s: float = 20.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_measures(shared: Session) -> None:
    found = shared.measure(conv_relu(), rule=RULE)
    assert min(found.samples_s) > 0
    assert found.warmup >= 1
    assert found.host["attempts"] == 1
    assert {"foreign_cores", "steal_cores", "window_s", "disturbance"} < set(found.host)


@pytest.mark.parametrize(("until_s", "sent"), [(math.inf, None), (12.5, 12.5)])
def test_the_worker_hears_how_long_it_may_wait(setting: Setting, until_s: float, sent: float | None) -> None:
    class Recorded(Session):
        def _exchange(self, request: Mapping[str, Any]) -> dict[str, Any]:
            requests.append(request)
            return super()._exchange(request)

    requests: list[Mapping[str, Any]] = []
    with Recorded(setting, repeats=0, until_s=until_s, command=MISBEHAVING) as session:
        session.load(conv_relu())
    assert requests[0]["until_s"] == sent


def test_loaded_graphs_are_measured_in_turns(shared: Session) -> None:
    small, large = shared.load(conv_relu(8, 8)), shared.load(conv_relu(64, 32))
    (one, other), (comparison,) = shared.interleave([small, large], RULE)
    assert one.latency_s.value < other.latency_s.value
    assert comparison.verdict is Verdict.SLOWER
    shared.unload(small)
    shared.unload(large)


def test_infers_with_the_given_weights(shared: Session) -> None:
    weights = [np.full((3, 5), 2.0, np.float32), np.array([1.0, 2.0, 3.0], np.float32)]
    handle = shared.load(linear_add(), weights)
    [output] = shared.infer(handle, [np.ones((2, 5), np.float32), np.full((2, 3), 0.5, np.float32)])
    np.testing.assert_allclose(output, [[11.5, 12.5, 13.5]] * 2)


def test_what_libraries_print_disturbs_nothing(shared: Session) -> None:
    handle = shared.load(deed("chatter"))
    assert shared.infer(handle, [np.ones((2, 4), np.float32)])[0].shape == (2, 4)


@pytest.mark.parametrize(
    ("name", "reason", "says"),
    [
        ("starve", "out of memory", r"8 GiB.*smaller --batch"),
        ("starve_natively", "out of memory", r"allocate.*smaller --batch"),
        ("starve_on_the_device", "out of memory", r"CUDA out of memory.*[^.]\. Choose a smaller --batch"),
        ("fail", "failed", "ZeroDivisionError: a fault of the runtime"),
    ],
)
def test_a_failure_leaves_the_worker_alive(shared: Session, name: str, reason: str, says: str) -> None:
    handle = shared.load(conv_relu())
    pid = process_of(shared).pid
    with pytest.raises(MeasurementFailed, match=says) as caught:
        shared.measure(deed(name), rule=RULE)
    assert caught.value.reason == reason
    assert process_of(shared).pid == pid
    assert shared.measure_loaded(handle, RULE).samples_s


def test_what_does_not_fit_is_refused_with_a_reason(shared: Session) -> None:
    with pytest.raises(MeasurementFailed, match=r"2 weights, but 1 arrays") as caught:
        shared.load(linear_add(), [np.zeros((3, 5), np.float32)])
    assert caught.value.reason == "refused"
    handle = shared.load(linear_add())
    with pytest.raises(MeasurementFailed, match=r"input 1 .* is f32\[2,3\], but f64\[2,3\] was given"):
        shared.infer(handle, [np.zeros((2, 5), np.float32), np.zeros((2, 3))])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("abort", "signal SIGABRT.*last said:.*the last words"),
        ("killed", "SIGKILL.*memory is short.*smaller --batch"),
        ("leave", "exit status 3"),
        ("lose_the_device", "exit status 1.*last said: .*CUDA error: an illegal memory access"),
    ],
)
def test_a_crash_is_survived(setting: Setting, name: str, says: str) -> None:
    with Session(setting, repeats=0, command=MISBEHAVING) as session:
        before = session.load(conv_relu())
        with pytest.raises(MeasurementFailed, match=f"(?s){says}") as caught:
            session.measure(deed(name), rule=RULE)
        assert caught.value.reason == "crash"
        assert session.measure(conv_relu(), rule=RULE).samples_s
        with pytest.raises(LatheError, match="load it again"):
            session.measure_loaded(before, RULE)
        session.unload(before)


def test_a_hang_is_ended_at_the_timeout(setting: Setting) -> None:
    with Session(setting, repeats=0, timeout_s=30.0, command=MISBEHAVING) as session:
        handle = session.load(deed("hang"))
        pid = process_of(session).pid
        session._timeout_s = 0.3
        with pytest.raises(
            MeasurementFailed, match=r"within 0\.3 s, the limit for one request \(here: measure\)"
        ) as caught:
            session.measure_loaded(handle, RULE)
        assert caught.value.reason == "timeout"
        assert str(caught.value).endswith("Choose a smaller network or --batch."), "no command sets the limit"
        assert gone(pid)
        session._timeout_s = 30.0
        assert session.measure(conv_relu(), rule=RULE).samples_s


def test_closing_ends_the_worker_and_removes_its_files(setting: Setting) -> None:
    session = Session(setting, repeats=0, command=MISBEHAVING)
    session.load(linear_add(), [np.zeros((3, 5), np.float32), np.zeros(3, np.float32)])
    pid, folder = process_of(session).pid, session._file("x").parent
    assert list(folder.iterdir()) == []
    session.close()
    assert gone(pid)
    assert not folder.exists()
    session.close()


def test_closing_does_not_wait_for_a_process_that_a_library_started(setting: Setting) -> None:
    session = Session(setting, command=MISBEHAVING)
    handle = session.load(one_operator("deed.leave_a_child.default"))
    session.infer(handle, [np.ones((2, 4), np.float32)])
    started = time.monotonic()
    session.close()
    assert time.monotonic() - started < 4


def test_a_runtime_that_is_not_there_is_a_failure_with_its_reason() -> None:
    with Session(replace(make_setting("eager"), runtime="eagr")) as session:
        for _ in range(2):
            # Not a failure of what was to be measured, which a table would keep as a cell.
            with pytest.raises(LatheError, match=r"does not start: unknown runtime 'eagr'\.") as caught:
                session.load(conv_relu())
            assert not isinstance(caught.value, MeasurementFailed)


def test_a_foreign_bench_is_refused(setting: Setting) -> None:
    impostor = 'import sys; sys.stdin.readline(); print(\'{"home": "/elsewhere/bench"}\', flush=True)'
    command = (sys.executable, "-c", impostor)
    with Session(setting, command=command) as session, pytest.raises(LatheError, match="/elsewhere/bench"):
        session.load(conv_relu())


PARENT = """
import sys
sys.path.insert(0, {here!r})
from dataclasses import replace
from hand_graphs import one_operator
from bench.runtimes import make_setting
from bench.session import Session
setting = replace(make_setting("eager"), runtime="misbehaving")
with Session(setting, command=({python!r}, "-P", {worker!r})) as session:
    handle = session.load(one_operator("deed.hang.default"))
    print(session._process.pid, flush=True)
    session.measure_loaded(handle)
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_no_orphan_is_left_in_the_midst_of_a_run(sent: signal.Signals) -> None:
    code = PARENT.format(here=str(HERE), python=sys.executable, worker=MISBEHAVING[-1])
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
        preexec_fn=interrupts.heard,
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    assert os.getpgid(worker) != os.getpgid(parent.pid)
    # As the terminal does on Ctrl-C: to the whole foreground group, of which the worker is no part.
    os.killpg(parent.pid, sent)
    _, errors = parent.communicate(timeout=30)
    assert gone(worker)
    assert (b"KeyboardInterrupt" in errors) == (sent is signal.SIGINT)


def test_only_the_setting_decides_what_the_worker_inherits(setting: Setting) -> None:
    inherited = {
        "OMP_WAIT_POLICY": "PASSIVE",
        "MALLOC_ARENA_MAX": "1",
        "MKL_NUM_THREADS": "7",
        "NVIDIA_TF32_OVERRIDE": "0",
        "CUDA_LAUNCH_BLOCKING": "1",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1",
        "PYTORCH_NO_CUDA_MEMORY_CACHING": "1",
        "PYTORCH_CUDA_ALLOC_CONF": "backend:cudaMallocAsync",
        "PYTORCH_ALLOC_CONF": "expandable_segments:True",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "CUBLASLT_WORKSPACE_SIZE": "0",
        "CUDA_DEVICE_MAX_CONNECTIONS": "1",
        "CUDNN_LOGLEVEL_DBG": "3",
        "TORCH_CUDNN_V8_API_DISABLED": "1",
        "TORCH_BLAS_PREFER_CUBLASLT": "1",
        "TORCHINDUCTOR_MAX_AUTOTUNE": "1",
        "TORCHDYNAMO_DISABLE": "1",
        "TORCHDYNAMO_SUPPRESS_ERRORS": "1",
        "TORCH_COMPILE_DISABLE": "1",
        "TRITON_INTERPRET": "1",
        "TRITON_CACHE_DIR": "/triton",
        "TORCHINDUCTOR_CACHE_DIR": "/cache",
        "CUDA_VISIBLE_DEVICES": "1",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        "PATH": "/bin",
    }
    two = replace(setting, threads=2, options=(("cache", "warm"), ("env.MALLOC_TRIM_THRESHOLD_", "5")))
    assert worker_environment(two, inherited) == {
        "PATH": "/bin",
        "CUDA_VISIBLE_DEVICES": "1",
        "TORCHINDUCTOR_CACHE_DIR": "/cache",
        "TRITON_CACHE_DIR": "/triton",
        "OMP_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "2",
        "MALLOC_TRIM_THRESHOLD_": "5",
    }
