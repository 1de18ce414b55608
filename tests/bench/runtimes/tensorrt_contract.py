"""Compares what the TensorRT adapter uses with TensorRT's real Python bindings; run by test_tensorrt_contract.py.

What it uses is read from its source: everything behind ``trt.``, and every method, attribute and call of the
objects that it holds in variables of known names. A call must fit a signature in the bindings' documentation.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
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
#: What the adapter knows by name only, in words that a method returns.
NAMED = ("ErrorCode.UNSUPPORTED_NODE",)
#: What the adapter's own classes override, for TensorRT to call by position.
OVERRIDDEN = ("ILogger.log", "IProfiler.report_layer_time")


@dataclass(frozen=True)
class Call:
    """What is handed over in a call: so many arguments by position, the object itself aside, and others by name."""

    positional: int
    named: frozenset[str]


@dataclass(frozen=True)
class Signature:
    """Arguments in their order, the object itself aside, and which of them may be left out."""

    names: tuple[str, ...]
    optional: frozenset[str]

    def takes(self, call: Call) -> bool:
        """Whether a call fits."""
        rest = self.names[call.positional :]
        needed = set(rest) - self.optional
        return call.positional <= len(self.names) and needed <= call.named <= set(rest)


def signatures(documentation: str, name: str) -> list[Signature]:
    """Those of a function, overloaded ones too, by the first lines that pybind11 writes into its documentation."""
    found = []
    for match in re.finditer(rf"(?:^|\d\. ){re.escape(name)}\(", documentation, re.MULTILINE):
        words = _split(documentation[match.end() :])
        if words[:1] == ["*args"]:
            continue  # the head of an overloaded function, whose signatures follow
        pairs = [(word.partition(":")[0].partition("=")[0].strip(), "=" in word) for word in words]
        pairs = [(word, left_out) for word, left_out in pairs if word not in ("self", "*", "/")]
        found.append(
            Signature(
                tuple(word for word, _ in pairs), frozenset(word for word, left_out in pairs if left_out)
            )
        )
    return found


def _split(text: str) -> list[str]:
    """The arguments at the beginning of a text, up to the bracket that closes them."""
    words, depth = [""], 0
    for sign in text:
        if depth == 0 and sign == ")":
            break
        if depth == 0 and sign == ",":
            words.append("")
            continue
        depth += (sign in "([{<") - (sign in ")]}>")
        words[-1] += sign
    return [word for word in words if word.strip()]


def methods(tree: ast.AST) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Of classes derived from the bindings' each method, by its path there, and its arguments, the object aside."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        bases = [
            base.removeprefix("trt.") for base in map(ast.unparse, node.bases) if base.startswith("trt.")
        ]
        for method in node.body:
            if isinstance(method, ast.FunctionDef):
                names = tuple(argument.arg for argument in method.args.args[1:])
                yield from ((f"{base}.{method.name}", names) for base in bases)


def main(source: Path) -> dict[str, Any]:
    import tensorrt_bindings as trt

    tree = ast.parse(source.read_text(encoding="utf-8"))
    missing: list[str] = []
    checked: set[str] = set()
    calls: list[str] = []

    def look(path: str, call: Call | None) -> Any:
        found: Any = trt
        for name in path.split("."):
            found = getattr(found, name, None)
            if found is None:
                missing.append(path)
                return None
        checked.add(path)
        if call is None:
            return found
        name = path.rpartition(".")[2]
        if isinstance(found, type):
            found, name = found.__init__, "__init__"  # type: ignore[misc]
        known = signatures(found.__doc__ or "", name)
        calls.append(path)
        if not any(signature.takes(call) for signature in known):
            missing.append(f"{path}: {call} fits none of {known}")
        return found

    for node in ast.walk(tree):
        call = _call(node) if isinstance(node, ast.Call) else None
        target = node.func if isinstance(node, ast.Call) else node
        if not isinstance(target, ast.Attribute):
            continue
        path = ast.unparse(target)
        owner, _, name = path.rpartition(".")
        if path.startswith(("trt.", "self._trt.")) and "(" not in path:
            look(path.removeprefix("self.").removeprefix("_trt.").removeprefix("trt."), call)
        elif owner in CLASSES:
            look(f"{CLASSES[owner]}.{name}", call)
        elif isinstance(target.value, ast.Call) and ast.unparse(target.value.func) in CALLED:
            look(f"{CALLED[ast.unparse(target.value.func)]}.{name}", call)
    for path in NAMED:
        look(path, None)
    own = dict(methods(tree))
    for path in OVERRIDDEN:
        class_, _, name = path.partition(".")
        known = [signature.names for signature in signatures(look(path, None).__doc__ or "", name)]
        if own.get(path) not in known:
            missing.append(f"{path}: the adapter's arguments {own.get(path)} are none of {known}")
        type("Own", (getattr(trt, class_),), {})  # fails where nothing can be derived

    return {
        "version": trt.__version__,
        "missing": sorted(set(missing)),
        "checked": sorted(checked),
        "calls": sorted(set(calls)),
    }


def _call(node: ast.Call) -> Call:
    positional = len(node.args)
    if isinstance(node.func, ast.Attribute) and node.func.attr == "__init__":
        positional -= 1  # of a base class, with the object itself
    return Call(positional, frozenset(word.arg for word in node.keywords if word.arg))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))))
