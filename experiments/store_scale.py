"""Does a store of a million measurements stay small and quick?

    python experiments/store_scale.py [--measurements 1000000]

Fills a store in a temporary folder: 20 settings, in each the same 10,000 convolutions, each measured again and again.
Samples look like those of a profile (a floor, a tail, rare outliers, whole nanoseconds), and there are more of them than
profiles keep so far: 29 on average over the 130 cells of a first profile, here about 100, at most 500. Then opens the store
afresh, loads tables and looks for single cells. Writes docs/results/store_scale.md in about 20 minutes; the store is deleted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
from cells import RESULTS, origin

from latency_tables.archive import Archive, ArchivedCell
from latency_tables.files import write_atomically
from latency_tables.graph import Graph, Operator, TensorType, Value
from latency_tables.measurement import Measurement, Stop
from latency_tables.part import Grain, Part
from latency_tables.setting import Device, Setting
from latency_tables.store import Store

PARTS, SETTINGS = 10_000, 20
LOOKUPS = 2000
DEVICE = Device("cpu", "a made-up processor", 2, 2**34, features=("avx2", "avx512f"))


def setting(number: int) -> Setting:
    """One of many settings that share their parts."""
    version = f"1.{number % 10}.0"
    return Setting(
        DEVICE, "onnxruntime", (("onnxruntime", version),), "fp32", batch=1, threads=1 + number // 10
    )


def parts() -> list[Part]:
    """Convolutions of a hundred input and a hundred output widths."""
    widths = range(16, 1616, 16)
    return [_convolution(taken, made) for taken, made in product(widths, widths)][:PARTS]


def _convolution(taken: int, made: int) -> Part:
    out = TensorType("float32", (1, made, 28, 28))
    weights = (TensorType("float32", (made, taken, 3, 3)), TensorType("float32", (made,)))
    arguments = (("input", Value(0)), ("weight", Value(1)), ("bias", Value(2)), ("padding", (1, 1)))
    operators = (
        Operator("aten.conv2d.default", arguments, (out,)),
        Operator("aten.relu.default", (("self", Value(3)),), (out,)),
    )
    graph = Graph((TensorType("float32", (1, taken, 28, 28)),), weights, operators, (4,))
    return Part("conv2d+relu", Grain.LAYER, graph)


def measurement(rng: np.random.Generator, day: int) -> Measurement:
    """One that could have been made: samples, and what stands beside them."""
    count = int(np.clip(rng.lognormal(4.2, 0.9), 10, 500))
    inner = 1 + int(rng.integers(0, 2))
    floor = 10 ** rng.uniform(4.3, 7)
    ticks = floor * (1 + 0.01 * rng.standard_exponential(count) + 0.3 * (rng.random(count) < 0.01))
    host = {
        "window_s": float(rng.random()),
        "foreign_cores": float(rng.random() / 10),
        "steal_cores": float(rng.random() / 100),
        "disturbance": None,
        "attempts": 1,
    }
    created = (
        f"2026-{1 + day // 28:02}-{1 + day % 28:02}T12:{rng.integers(60):02}:{rng.integers(60):02}+00:00"
    )
    samples_s = tuple(float(tick) * 1e-9 / inner for tick in np.rint(ticks))
    return Measurement(samples_s, 15, Stop.PRECISION, created, {}, inner, host)


def fill(store: Store, total: int) -> tuple[int, int]:
    """Adds measurements, table by table; how many, and how many samples they hold."""
    rng = np.random.default_rng(0)
    known = parts()
    done, samples, started = 0, 0, time.monotonic()
    for day, number in product(range(total), range(SETTINGS)):
        few = known[: total - done]
        if not few:
            break
        measured = [measurement(rng, day) for _ in few]
        cells = (ArchivedCell(p.key, p.kind, p.grain.value, m) for p, m in zip(few, measured, strict=True))
        done += store.add(Archive(setting(number), tuple(cells), ())).cells
        samples += sum(len(one.samples_s) for one in measured)
        print(f"{done:,} measurements, {time.monotonic() - started:.0f} s", flush=True)
    return done, samples


def timed(what: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each of some calls."""
    return list(_times(what, repeats))


def _times(what: Callable[[], object], repeats: int) -> Iterator[float]:
    for _ in range(repeats):
        started = time.perf_counter()
        what()
        yield time.perf_counter() - started


READING = """
Reading. One look-up in a hundred took 33.8 ms or longer, over forty times the median. That is not explained: the script keeps of its look-ups these two numbers alone.
"""
"""What the run said, in plain words; goes to the top of the page."""


def main() -> None:
    """Fills, measures and writes the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measurements", type=int, default=1_000_000)
    total = parser.parse_args().measurements
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lathe.db"
        store = Store(path)
        started = time.monotonic()
        done, samples = fill(store, total)
        filled_s = time.monotonic() - started
        store.close()  # which also moves the log into the file
        size = path.stat().st_size
        store, known, rng = Store(path), parts(), np.random.default_rng(1)
        first_s = timed(lambda: store.table(setting(0)), 1)[0]
        table_s = statistics.median(timed(lambda: store.table(setting(int(rng.integers(SETTINGS)))), 7))
        cells = len(store.table(setting(0)).cells)
        unpacked_s = timed(lambda: list(store.table(setting(0)).cells.values()), 1)[0]
        found = timed(
            lambda: store.cell(setting(int(rng.integers(SETTINGS))), known[int(rng.integers(PARTS))]), LOOKUPS
        )
        put_s = statistics.median(
            timed(lambda: store.put(setting(0), known[int(rng.integers(PARTS))], measurement(rng, 300)), 200)
        )
        store.close()
    middle, late = np.quantile(found, (0.5, 0.99)) * 1e3
    lines = [
        "# A store of a million measurements",
        "",
        origin("store_scale", "full").replace("--scale full", f"--measurements {total}"),
        "",
        READING.strip(),
        "",
        f"{done:,} measurements of {PARTS:,} parts in {SETTINGS} settings, {samples / done:.0f} samples each on average and every "
        "one kept to the bit; all made up, on a disk whose pages were in memory.",
        "",
        "| quantity | wanted | measured |",
        "| --- | --- | --- |",
        f"| size of the file | under 1 GB | {size / 1e9:.2f} GB ({size / done:.0f} bytes a measurement, {samples * 8 / 1e9:.2f} GB of float64 in them) |",
        f"| a table of {cells:,} cells, loaded for the first time | under 2 s | {first_s:.2f} s |",
        f"| the same, median of 7 loads | under 2 s | {table_s:.2f} s |",
        f"| the same with every sample unpacked | | {unpacked_s:.2f} s |",
        f"| one cell found and unpacked, median of {LOOKUPS} | under 1 ms | {middle:.2f} ms (99 % within {late:.2f} ms) |",
        f"| one measurement written | | {put_s * 1e3:.2f} ms |",
        "",
        f"Filling took {filled_s / 60:.1f} minutes, {filled_s / done * 1e6:.0f} µs a measurement.",
    ]
    write_atomically(RESULTS / "store_scale.md", ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))


if __name__ == "__main__":
    main()
