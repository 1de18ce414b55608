"""What a test module's `keys` are in another process, with another seed of hashes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_TELL = """
import importlib, json, sys
sys.path[:0] = sys.argv[2:]
print(json.dumps(importlib.import_module(sys.argv[1]).keys()))
"""


def keys_elsewhere(file: str) -> dict[str, str]:
    """Calls `keys` of the module in that file."""
    path = Path(file)
    folders = [str(path.parent), str(Path(__file__).parent)]
    told = subprocess.run(
        [sys.executable, "-c", _TELL, path.stem, *folders],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(told.stdout.splitlines()[-1])
    return found
