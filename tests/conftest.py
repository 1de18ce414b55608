"""What holds for all tests."""

from __future__ import annotations

import os

# Set before anything loads them: numpy and torch on one thread. Tests run side by side, one process to a core, and
# their networks are tiny; with threads of their own the processes wait for each other. What measures has the
# threads of its setting, in a process and an environment of its own.
os.environ["OMP_NUM_THREADS"] = "1"
