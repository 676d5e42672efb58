"""What an earlier `predict` left in the folder that is written to: it is gone on with, or removed, and never mixed.

A folder is begun only where nothing is called as an output of the task. So where `predictions.jsonl` is, or the store,
whatever has the name of an output was written by `predict`, and may be removed to begin anew; all else in the folder
stays.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vision_tasks.engine.store import STORE, empty_store, is_store, remove_store
from vision_tasks.errors import UserError, some
from vision_tasks.tasks.base import Task
from vision_tasks.tasks.outputs.jsonl import JSONL

FAILURES = "failures.jsonl"
PARTIAL = ".partial"  # a folder: files that are not yet whole


def refuse_earlier(task: Task[Any], folder: Path, restart: bool) -> None:
    """Raises UserError where outputs are in the way: unless they can be gone on with, or `restart` is wanted."""
    there = _outputs(task, folder)
    stored = is_store(folder / STORE)
    if there and not stored and not set(JSONL.writes) <= set(there):
        raise UserError(
            f"{folder} already has {some(there)}, which predict did not write and must not overwrite; "
            "give another --out"
        )
    if there and not stored and not restart:
        raise UserError(
            f"{folder} already holds predictions of an earlier version; give another --out, or --restart to remove "
            f"them ({some(there, 9)}) and begin anew"
        )


def remove_earlier(task: Task[Any], folder: Path) -> None:
    """Remove all outputs of the task, after `refuse_earlier`.

    What says whose the others are goes last, without telling of what may be gone already.
    """
    if is_store(folder / STORE):
        empty_store(folder / STORE)
    for name in sorted(_outputs(task, folder), key=lambda name: (name == STORE, name in JSONL.writes)):
        path = folder / name
        if name == STORE:
            remove_store(path)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def without_partial(task: Task[Any], folder: Path) -> Iterator[None]:
    """Before and after the block nothing is there of files that were just being written when something ended."""
    _remove_partial(task, folder)
    try:
        yield
    finally:
        _remove_partial(task, folder)


def _remove_partial(task: Task[Any], folder: Path) -> None:
    shutil.rmtree(folder / PARTIAL, ignore_errors=True)
    for name in _names(task):
        for left in folder.glob(f".{name}.*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()


def _names(task: Task[Any]) -> list[str]:
    return [name.rstrip("/") for each in task.formats.values() for name in each.writes] + [FAILURES]


def _outputs(task: Task[Any], folder: Path) -> list[str]:
    """Those that are there."""
    return [name for name in [*_names(task), STORE] if (folder / name).exists()]
