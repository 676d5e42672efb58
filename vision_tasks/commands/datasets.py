"""The data set that a command is given: opened by the readers of its task, and introduced to the user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vision_tasks.cards import dataset_card, dataset_names
from vision_tasks.commands.given import PathLike
from vision_tasks.data.catalog import open_dataset
from vision_tasks.data.dataset import Dataset
from vision_tasks.data.flaws import in_short
from vision_tasks.download import data_path
from vision_tasks.engine.progress import downloading, say
from vision_tasks.errors import UserError
from vision_tasks.tasks import get_task


def load_dataset(task: str, data: PathLike, data_format: str | None = None) -> Dataset[Any]:
    """Read a data set of `task`: a folder or file, whose format is recognised unless given, or the name of a card.

    Raises UserError.
    """
    record = get_task(task)
    if str(data) in dataset_names() and not Path(data).exists():
        card = dataset_card(str(data))
        if task not in (card.task, *card.also):
            raise UserError(f"data set '{card.name}' is for {' and '.join((card.task, *card.also))}, not for {task}")
        data_format = data_format or card.format
    with downloading() as report:
        return open_dataset(data_path(data, report), record.readers, data_format)


def introduce(dataset: Dataset[Any], remarks: Sequence[str]) -> None:
    """Say what was recognised, what was decided, and what is wrong with the data."""
    splits = ", ".join(f"{name} {len(samples)}" for name, samples in dataset.splits.items())
    say(f"{dataset.root}: {dataset.format}, {len(dataset.classes)} classes; {splits}")
    if not dataset.exclusive:
        say("images may have several labels: each class is learned and scored for itself, by sigmoid")
    for remark in remarks:
        say(remark)
    for line in in_short(dataset.flaws, dataset.classes):
        say(f"flaw: {line}")
