"""The TensorRT adapter names nothing that TensorRT's real bindings do not have.

Not part of an ordinary run, since it downloads the bindings: ``pytest -m tensorrt_contract``. They import once the
native libraries are there; these are stood in for by empty functions, so nothing is run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import bench.runtimes

pytestmark = [pytest.mark.tensorrt_contract, pytest.mark.timeout(600)]

ENTRY_POINTS = (
    "createInferBuilder_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "getBuilderPluginRegistry",
    "initLibNvInferPlugins",
)
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")


@pytest.fixture(params=["10.15", "11.0"])
def bindings(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, Path]:
    """A version, the folder of its bindings, and that of the libraries that stand in."""
    version: str = request.param
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make the stand-ins with")
    get = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(tmp_path)]
    subprocess.run([*get, f"tensorrt-cu13-bindings=={version}.*"], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "bindings")
    source = tmp_path / "stand_in.c"
    source.write_text("".join(f"void {name}(void) {{}}\n" for name in ENTRY_POINTS))
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    for name in LIBRARIES:
        made = libraries / f"lib{name}.so.{version.partition('.')[0]}"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", str(made), str(source)], check=True)
    return version, tmp_path / "bindings", libraries


def test_all_that_the_adapter_uses_is_there(bindings: tuple[str, Path, Path]) -> None:
    version, folder, libraries = bindings
    adapter = Path(bench.runtimes.__file__).parent / "tensorrt.py"
    script = Path(__file__).parent / "tensorrt_contract.py"
    environment = {**os.environ, "PYTHONPATH": str(folder), "LD_LIBRARY_PATH": str(libraries)}
    told = subprocess.run(
        [sys.executable, str(script), str(adapter)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(told.stdout)
    assert found["version"].startswith(version)
    assert found["missing"] == []
    # What the adapter cannot do without; were the script to look at nothing, nothing would be missing.
    assert {
        "Builder.build_serialized_network",
        "BuilderFlag.TF32",
        "ErrorCode.UNSUPPORTED_NODE",
        "IBuilderConfig.set_timing_cache",
        "IExecutionContext.execute_async_v3",
        "ILogger.log",
        "IProfiler.report_layer_time",
        "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
        "OnnxParser.parse",
        "ParserError.node_operator",
        "Runtime.deserialize_cuda_engine",
    } <= set(found["checked"])
    assert len(found["checked"]) > 40
    assert {"IBuilderConfig.set_timing_cache", "IExecutionContext.set_tensor_address", "Runtime"} <= set(
        found["calls"]
    )
    assert len(found["calls"]) > 20
