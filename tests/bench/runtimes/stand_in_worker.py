"""A worker on a machine with a GPU that is not there: ``python stand_in_worker.py``."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Helpers of the tests lie beside this file and one folder above.
    sys.path[1:1] = map(str, Path(__file__).parents[:2])
    from stand_in_gpu import stood_in

    from bench import worker

    with stood_in():
        worker.main()
