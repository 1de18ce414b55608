"""Measures the tables that come with lathe on the machine at hand.

    python experiments/shipped_tables.py [--threads 1 2] [--batch 1 8] [--minutes M]

Eager and ONNX Runtime, 1 and 2 threads, batch 1 and 8; ResNet-18, ResNet-50, MobileNetV2 and ViT-Tiny at 224 pixels and
the residual networks for CIFAR but ResNet-44 and ResNet-110, over depth and width, each with its closure record. Goes
on in the workspace of `closure.py`, so what was measured there is not measured again, and writes
`latency_tables/devices/`. About 20 minutes a setting on 2 cores, on which nothing else may run; resumes.
"""

from __future__ import annotations

import argparse
import itertools
import math
import re
import time
from dataclasses import replace
from pathlib import Path

from closure import NETWORKS

from bench.session import Session
from bench.tables import open_store
from bench.terminal import Terminal
from bench.width_profiler import profile_with_widths
from bench.workbench import NetworkChoice, SettingChoice, Subject
from latency_tables.archive import Archive
from latency_tables.exchange import write_archive
from latency_tables.setting import Setting
from latency_tables.shipped import FOLDER, skeleton_path
from latency_tables.skeleton_file import write_skeleton

CIFAR = ("cifar/resnet8-mlperf", "cifar/resnet20", "cifar/resnet32")
MOST_BYTES = 2_000_000


def table_name(setting: Setting) -> str:
    """A file's name that says what it is for, as in amd-epyc-9b45-onnxruntime-fp32-b1-t2."""
    device = re.sub(r"[^a-z0-9]+", "-", setting.device.name.lower()).strip("-")
    launch = dict(setting.options).get("launch", "queued")
    way = "" if launch == "queued" else f"-{launch}"
    return f"{device}-{setting.runtime}{way}-{setting.precision}-b{setting.batch}-t{setting.threads}"


def slim(archive: Archive) -> Archive:
    """Without the traces of whole networks, which take most of the room; every sample of a part is kept."""
    networks = tuple(replace(entry, network=replace(entry.network, trace=None)) for entry in archive.networks)
    return replace(archive, networks=networks)


def main() -> None:
    """Measures what is not known yet and writes the files."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--out", type=Path, default=Path("lathe-out"), help="workspace")
    options.add_argument("--threads", type=int, nargs="+", default=(1, 2))
    options.add_argument("--batch", type=int, nargs="+", default=(1, 8))
    options.add_argument("--minutes", type=float, default=math.inf, help="begin nothing new after so many")
    words = options.parse_args()
    until_s = time.monotonic() + 60 * words.minutes
    folder = words.out / "experiments" / "closure-short"
    terminal = Terminal()
    for threads, batch, runtime in itertools.product(words.threads, words.batch, ("onnxruntime", "eager")):
        setting = SettingChoice(runtime, threads=threads, batch=batch).make()
        complete = True
        for network in (*NETWORKS, *CIFAR):
            outline = Subject(NetworkChoice(network), batch).wide
            store = open_store(folder)
            title = f"{network}, {setting.label}"
            with Session(setting, until_s=until_s) as session, terminal.progress(title) as progress:
                done, over_widths = profile_with_widths(
                    outline, session, store, deadline_s=until_s, progress=progress
                )
            store.close()
            complete &= done.complete and over_widths.complete and not done.failed
            write_skeleton(skeleton_path(network, batch), outline.skeleton)
        if not complete:
            print(f"{setting.label}: not complete, no file written")
            continue
        store = open_store(folder)
        path = FOLDER / f"{table_name(setting)}.parquet"
        write_archive(path, slim(store.archive(setting)))
        store.close()
        size = path.stat().st_size
        print(f"{path.name}: {size / 1e6:.2f} MB{'' if size < MOST_BYTES else ', which is too large'}")


if __name__ == "__main__":
    main()
