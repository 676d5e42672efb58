"""What an earlier `predict` left in the folder that is written to: results of two calls are never mixed.

A folder is begun only where nothing is called as an output of the task. So where `predictions.jsonl` is, whatever has
the name of an output was written by `predict`, and may be removed to begin anew; all else in the folder stays.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from vision_tasks.errors import UserError, some
from vision_tasks.tasks.base import Task
from vision_tasks.tasks.outputs.jsonl import JSONL

FAILURES = "failures.jsonl"


def refuse_earlier(task: Task[Any], folder: Path, restart: bool) -> None:
    """Raises UserError where outputs are in the way, unless they are an earlier call's and `restart` is wanted."""
    there = _outputs(task, folder)
    ours = set(JSONL.writes) <= set(there)
    if there and not ours:
        raise UserError(
            f"{folder} already has {some(there)}, which predict did not write and must not overwrite; "
            "give another --out"
        )
    if there and not restart:
        raise UserError(
            f"{folder} already holds predictions; give another --out, or --restart to remove them "
            f"({some(there, 9)}) and begin anew"
        )


def remove_earlier(task: Task[Any], folder: Path) -> None:
    """Remove all outputs of the task, after `refuse_earlier`; the lines go last, as they say whose the others are."""
    for name in sorted(_outputs(task, folder), key=lambda name: name in JSONL.writes):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _outputs(task: Task[Any], folder: Path) -> list[str]:
    """Those that are there."""
    names = [name for each in task.formats.values() for name in each.writes] + [FAILURES]
    return [name for name in names if (folder / name).exists()]
