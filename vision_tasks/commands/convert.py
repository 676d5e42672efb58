"""`vision-tasks data convert PATH --to FORMAT --out DIR`: a data set in another format.

Images are linked to, or copied, and never changed. Whatever the new format can't hold is counted and said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vision_tasks.archive import appearing
from vision_tasks.commands.conversion import Conversion, Losses, collect
from vision_tasks.commands.convert_coco import write_coco
from vision_tasks.commands.convert_losses import count_unread
from vision_tasks.commands.convert_masks import write_masks
from vision_tasks.commands.convert_voc import write_voc
from vision_tasks.commands.convert_yolo import write_yolo
from vision_tasks.commands.datasets import load_dataset, require_new, require_outside, tasks_for
from vision_tasks.data.dataset import Dataset
from vision_tasks.data.flaws import in_short
from vision_tasks.engine.progress import progress, say
from vision_tasks.errors import UserError, unknown_name

_OUTLINED = "segment"  # the task whose truth keeps outlines


@dataclass(frozen=True)
class Target:
    """A format that can be written."""

    write: Callable[[Path, Conversion], None]
    tasks: tuple[str, ...]  # whose truth it holds, the usual one first
    together: bool = False  # whether all splits' images lie in one folder


TARGETS = {
    "coco": Target(write_coco, ("detect", "segment")),
    "yolo": Target(write_yolo, ("detect",)),
    "voc": Target(write_voc, ("detect",), together=True),
    "masks": Target(write_masks, ("segment",)),
}


def convert_dataset(
    data: str | Path,
    to: str,
    out: str | Path,
    *,
    task: str | None = None,
    data_format: str | None = None,
    copy: bool = False,
) -> Losses:
    """Write `data` as `to` (coco, yolo, voc or masks) into the new folder `out`; returns what that can't hold.

    Images that can't be read are left out and named. Raises UserError for a format that isn't known or can't hold the
    data's truth, a folder that isn't empty, and what readers raise.
    """
    if to not in TARGETS:
        raise unknown_name("format to convert to", to, TARGETS)
    require_outside(out, data)
    folder = require_new(out)
    name = task or _task(data, to, data_format)
    if name not in TARGETS[to].tasks:
        raise UserError(f"{to}: holds what is read to {' or '.join(TARGETS[to].tasks)}, not to {name}")
    dataset = load_dataset(name, data, data_format)
    for line in in_short(dataset.flaws, dataset.classes):
        say(f"flaw: {line}")
    return _convert(dataset, TARGETS[to], folder, copy, outlines=name == _OUTLINED)


def _task(data: str | Path, to: str, data_format: str | None) -> str:
    """What the data is read to: the first of the tasks that `to` holds."""
    able = tasks_for(data, None, data_format)
    for name in TARGETS[to].tasks:
        if name in able:
            return name
    raise UserError(
        f"{data}: can be read to {' or '.join(able)}; {to} holds what is read to {' or '.join(TARGETS[to].tasks)}"
    )


def _convert(dataset: Dataset[Any], target: Target, folder: Path, copy: bool, outlines: bool) -> Losses:
    with progress("reading", sum(map(len, dataset.splits.values()))) as bar:
        conversion, problems = collect(dataset, copy, target.together, bar.advance)
    if not any(conversion.splits.values()):
        raise UserError(f"{dataset.root}: none of its images can be read ({problems[0]}), so nothing can be written")
    for problem in problems:
        say(f"left out, cannot be read: {problem}")
    with appearing(folder) as staging:
        target.write(staging, conversion)
    count_unread(dataset, outlines, conversion.losses)
    for line in conversion.losses.as_text():
        say(f"not kept: {line}")
    say(f"{sum(1 for _ in conversion.items())} images, {len(problems)} left out; wrote {folder}")
    return conversion.losses
