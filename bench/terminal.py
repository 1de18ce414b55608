"""What a person sees: progress with an estimate, tables, numbers in human units. Nothing here computes."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from latency_tables.estimate import Estimate
from pruning.search import Progress as Report

#: Columns of the terminal that a shortened column leaves to the others.
_BESIDE = 104
_EVERY_S = 60.0
_NO_INTERVAL = "(no interval is known)"
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def time_text(estimate: Estimate | float) -> str:
    """Seconds in a fitting unit, as in "1.27 ms (1.25 to 1.30)"; an interval without ends is none."""
    value = estimate.value if isinstance(estimate, Estimate) else estimate
    scale, unit = next((entry for entry in _UNITS if abs(value) >= entry[0]), _UNITS[-1])
    if not isinstance(estimate, Estimate):
        return f"{value / scale:.3g} {unit}"
    if _unbounded(estimate):
        return f"{value / scale:.3g} {unit} {_NO_INTERVAL}"
    low, high = estimate.low / scale, estimate.high / scale
    return f"{value / scale:.3g} {unit} ({low:.3g} to {high:.3g})"


def ratio_text(ratio: Estimate) -> str:
    """A ratio as in "0.701 (0.697 to 0.704)"; an interval without ends is none."""
    if _unbounded(ratio):
        return f"{ratio.value:.3f} {_NO_INTERVAL}"
    return f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"


def _unbounded(estimate: Estimate) -> bool:
    return math.isinf(estimate.low) and math.isinf(estimate.high)


def percent_text(estimate: Estimate | None) -> str:
    """A fraction as in "66.2 % (64.1 to 68.2)"; "unknown" for None."""
    if estimate is None:
        return "unknown"
    return f"{estimate.value:.1%} ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})".replace("%", " %")


class Terminal:
    """Writes for people on standard error, so that standard output carries results only.

    Args:
        quiet: no progress and no remarks; errors are still shown.
        now_s: a monotonic clock.
    """

    def __init__(self, *, quiet: bool = False, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        # Names of networks and files stand in what is printed, and may hold brackets.
        self.quiet = quiet
        self.console = Console(file=sys.stderr, highlight=False, markup=False, soft_wrap=True)
        self.results = Console(file=sys.stdout, highlight=False, markup=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """A remark, on a line of its own."""
        if not self.quiet:
            self.console.print(text)

    def show(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        shorten: Collection[str] = (),
    ) -> None:
        """A table of results; columns after the first are aligned to the right where they hold numbers.

        Args:
            title: above it.
            columns: their heads.
            rows: cells as they are shown.
            shorten: columns that are cut to the width of the terminal instead of folded.
        """
        table = Table(title=title, title_justify="left", show_edge=False, box=None, pad_edge=False)
        for index, column in enumerate(columns):
            numeric = index > 0 and all(row[index][:1].isdigit() or row[index][:1] in "-+" for row in rows)
            cut = column in shorten
            justify: Literal["left", "right"] = "right" if numeric else "left"
            width = max(16, self.results.width - _BESIDE) if cut else None
            overflow: Literal["ellipsis", "fold"] = "ellipsis" if cut else "fold"
            table.add_column(column, justify=justify, overflow=overflow, no_wrap=cut, max_width=width)
        for row in rows:
            table.add_row(*row)
        self.results.print(table)

    def _lines(self, title: str) -> Report:
        started_s = said_s = self._now_s()
        begun: int | None = None
        before = 0

        def report(done: int, total: int, what: str) -> None:
            nonlocal started_s, said_s, begun, before
            now_s = self._now_s()
            if (
                begun is None or done < before
            ):  # the next of several things under one title, or one that goes on
                started_s, begun = now_s, done
            before = done
            if now_s - said_s < _EVERY_S:
                return
            said_s = now_s
            left = ""
            if begun < done <= total:
                left_s = (now_s - started_s) / (done - begun) * (total - done)
                left = f"; {done / total:.0%}, about {left_s / 60:.0f} minutes left"
            self.say(f"  {title}: {what}{left}")

        return report

    @contextmanager
    def progress(self, title: str) -> Iterator[Report]:
        """A progress bar with the time left; yields what to call with (done, total, what is being done).

        Where standard error is no terminal, as in a log, a line in a minute takes its place; quiet says nothing.
        """
        if self.quiet:
            yield lambda _done, _total, _what: None
            return
        if not self.console.is_terminal:
            yield self._lines(title)
            return
        bar = Progress(
            TextColumn("{task.fields[title]}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.description}", markup=False),
            console=self.console,
            transient=True,
        )
        with bar:
            task = bar.add_task("", total=None, title=title)

            def report(done: int, total: int, what: str) -> None:
                bar.update(task, completed=done, total=total, description=what)

            yield report
