"""How much memory does a profile take, in all its processes?

    python experiments/profile_memory.py [--network timm/resnet50] [--batch 8]

Runs `lathe profile` in a new workspace and adds up what its processes hold, twice a second: the proportional set size,
in which a page that two processes share counts half for each. Writes docs/results/profile_memory.md, in as long as the
profile takes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time

import psutil
from cells import RESULTS, origin
from kill_resume import LATHE

from latency_tables.files import write_atomically

EVERY_S = 0.5  # looking costs milliseconds of a core, which the profile would feel
WANTED_BYTES = 3e9


def held_bytes(root: psutil.Process) -> list[int]:
    """Of a process and all that it started, the first one first."""
    found = []
    for process in [root, *root.children(recursive=True)]:
        try:
            found.append(int(process.memory_full_info().pss))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it ended meanwhile
    return found


def main() -> None:
    """Profiles and writes the page."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--network", default="timm/resnet50")
    options.add_argument("--batch", default="8")
    words = options.parse_args()
    peak: list[int] = []
    readings = 0
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as workspace:
        command = ["profile", words.network, "--batch", words.batch]
        process = subprocess.Popen(
            [*LATHE, *command, "--out", workspace, "--json"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None:
            try:
                now = held_bytes(psutil.Process(process.pid))
            except psutil.NoSuchProcess:
                break
            peak = max(peak, now, key=sum)
            readings += 1
            time.sleep(EVERY_S)
    if process.wait():
        sys.exit(f"`lathe {' '.join(command)}` failed with status {process.returncode}")
    minutes = (time.monotonic() - start) / 60
    lines = [
        "# Memory of a profile",
        "",
        origin("profile_memory", "short"),
        "",
        f"`lathe {' '.join(command)}` in ONNX Runtime, {minutes:.1f} minutes, {readings} readings: at most "
        f"**{sum(peak) / 1e9:.2f} GB** in {len(peak)} processes at once ({', '.join(f'{size / 1e9:.2f}' for size in peak)}); wanted: under "
        f"{WANTED_BYTES / 1e9:.0f} GB.",
    ]
    write_atomically(RESULTS / "profile_memory.md", ("\n".join(lines) + "\n").encode())
    print(f"wrote {RESULTS / 'profile_memory.md'}")


if __name__ == "__main__":
    main()
