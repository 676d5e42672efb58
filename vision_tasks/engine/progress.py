"""Long work shows itself: a bar with rate and time left on a terminal, else a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from vision_tasks.processes import is_first_process

_SECONDS_BETWEEN_LINES = 20.0


def say(text: str) -> None:
    """One line to the user; progress and remarks go to stderr, so that stdout holds results only."""
    if is_first_process():
        print(text, file=sys.stderr, flush=True)


class Bar:
    """Counts items done; create it by `progress`."""

    def __init__(self, what: str, total: int | None, shown: Progress | None) -> None:
        self.what, self.total, self.done = what, total, 0
        self.started = self.printed = time.monotonic()
        self._shown = shown
        self._row = shown.add_task(what, total=total, rate="", note="") if shown else None

    def advance(self, count: int, note: str = "") -> None:
        """`count` more items are done; `note` is shown beside them."""
        self.done += count
        now = time.monotonic()
        rate = self.done / max(now - self.started, 1e-9)
        if self._shown is not None and self._row is not None:
            self._shown.update(self._row, completed=self.done, rate=f"{rate:.1f}/s", note=note)
        elif now - self.printed > _SECONDS_BETWEEN_LINES:
            self.printed = now
            of = f" of {self.total}" if self.total else ""
            left = f", {(self.total - self.done) / rate:.0f} s left" if self.total and rate else ""
            say(f"{self.what}: {self.done}{of} images, {rate:.1f}/s{left}{', ' + note if note else ''}")


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Bar]:
    """A bar for `total` items (None = not known) that goes away when its block ends."""
    console = Console(stderr=True)
    if not console.is_terminal or not is_first_process():
        yield Bar(what, total, None)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as shown:
        yield Bar(what, total, shown)


@contextmanager
def downloading() -> Iterator[Callable[[str, int, int | None], None]]:
    """What to call with (file, bytes that are there, bytes in all if known) while files are fetched."""
    columns = TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    shown = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    rows: dict[str, TaskID] = {}
    printed: dict[str, float] = {}

    def report(name: str, done: int, total: int | None) -> None:
        if shown.console.is_terminal and is_first_process():
            if name not in rows:
                rows[name] = shown.add_task(name, total=total)
            shown.update(rows[name], completed=done, total=total)
        elif time.monotonic() - printed.get(name, float("-inf")) > _SECONDS_BETWEEN_LINES:
            printed[name] = time.monotonic()
            of = f" of {total / 1e6:.0f}" if total else ""
            say(f"fetching {name}: {done / 1e6:.0f}{of} MB")

    with shown if shown.console.is_terminal else nullcontext():
        yield report
