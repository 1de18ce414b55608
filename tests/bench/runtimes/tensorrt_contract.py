"""Compares what the TensorRT adapter uses with TensorRT's real Python bindings; run by test_tensorrt_contract.py.

What it uses is read from its source: everything behind ``trt.``, and every method, attribute and keyword of the
objects that it holds in variables of known names.
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

#: The class of the object in each of the adapter's variables.
CLASSES = {
    "builder": "Builder",
    "config": "IBuilderConfig",
    "engine": "ICudaEngine",
    "self._engine": "ICudaEngine",
    "self._context": "IExecutionContext",
    "inspector": "EngineInspector",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "error": "ParserError",
}
#: Classes in whose constructors and methods a call's result is used at once, as in ``a().b()``.
CALLED = {"trt.Runtime": "Runtime", "config.get_timing_cache": "ITimingCache"}


def main(source: Path) -> dict[str, Any]:
    import tensorrt_bindings as trt

    tree = ast.parse(source.read_text(encoding="utf-8"))
    missing: list[str] = []
    checked: set[str] = set()

    def look(path: str, keywords: list[str]) -> None:
        found: Any = trt
        for name in path.split("."):
            found = getattr(found, name, None)
            if found is None:
                missing.append(path)
                return
        checked.add(path)
        signature = found.__doc__ or ""
        missing.extend(f"{path}({word}=)" for word in keywords if f"{word}:" not in signature)

    for node in ast.walk(tree):
        keywords = [word.arg for word in node.keywords if word.arg] if isinstance(node, ast.Call) else []
        target = node.func if isinstance(node, ast.Call) else node
        if not isinstance(target, ast.Attribute):
            continue
        path = ast.unparse(target)
        owner, _, name = path.rpartition(".")
        if path.startswith(("trt.", "self._trt.")) and "(" not in path:
            look(path.removeprefix("self.").removeprefix("_trt.").removeprefix("trt."), keywords)
        elif owner in CLASSES:
            look(f"{CLASSES[owner]}.{name}", keywords)
        elif isinstance(target.value, ast.Call) and ast.unparse(target.value.func) in CALLED:
            look(f"{CALLED[ast.unparse(target.value.func)]}.{name}", keywords)

    class Profiler(trt.IProfiler):
        def report_layer_time(self, layer_name: str, ms: float) -> None: ...

    class Log(trt.ILogger):
        def log(self, severity: Any, msg: str) -> None: ...

    return {"version": trt.__version__, "missing": sorted(set(missing)), "checked": sorted(checked)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))))
