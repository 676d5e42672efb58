"""The data set that a command is given: which task it is for, opened by that one's readers, introduced to the user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vision_tasks.cards import dataset_card, dataset_names
from vision_tasks.commands.given import PathLike
from vision_tasks.data.catalog import open_dataset
from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.data.flaws import in_short
from vision_tasks.data.shards.names import is_name_of_shards
from vision_tasks.download import data_path
from vision_tasks.engine.progress import downloading, say
from vision_tasks.errors import UserError, some, unknown_name
from vision_tasks.tasks import TASKS, get_task


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


def open_any(data: PathLike, task: str | None, data_format: str | None) -> tuple[str, Dataset[Any]]:
    """The data set, and the task it is read for: `task`, or the first that can read it.

    Raises UserError where nothing recognises it, and what readers raise.
    """
    able = tasks_for(data, task, data_format)
    problem: UserError | None = None
    for name in able:
        try:
            dataset = load_dataset(name, data, data_format)
        except UserError as error:
            problem = problem or error
            continue
        if others := [other for other in able if other != name]:
            say(f"read to {name}; --task {some(others)} reads it otherwise")
        return name, dataset
    assert problem is not None
    raise problem


def tasks_for(data: PathLike, task: str | None = None, data_format: str | None = None) -> list[str]:
    """The tasks with a reader for the data: one that recognises it, or that of `data_format`; `task` if it is given.

    Raises UserError where there is none.
    """
    tasks = TASKS if task is None else {task: get_task(task)}
    if str(data) in dataset_names() and not Path(data).exists():
        return [task or dataset_card(str(data)).task]
    with downloading() as report:
        path = data_path(data, report)
    there = path.exists()
    if not there and not is_name_of_shards(path):
        raise UserError(f"{path}: no such file or folder; check PATH")
    readers = [(name, reader) for name, record in tasks.items() for reader in record.readers]
    if data_format is not None:
        return _with_format(data_format, readers)
    able = [name for name, reader in readers if (there or reader.of_shards) and reader.recognises(path)]
    if not able:
        known = "; ".join(f"{reader.format}: {reader.looks_like}" for _, reader in readers)
        raise UserError(f"{path}: is not laid out in a way that is known here; expected {known}")
    return list(dict.fromkeys(able))


def require_outside(out: PathLike, data: PathLike) -> None:
    """Raises UserError where what is written would lie in the data set's own folder, and be read with it next time."""
    here, there = Path(out).resolve(), Path(data).resolve()
    if there.is_dir() and here.is_relative_to(there):
        raise UserError(f"{out}: lies in the data set's own folder {data}, which stays as it is; give another --out")


def require_new(out: PathLike) -> Path:
    """The folder that is to be written whole. Raises UserError where it is a file, or holds anything."""
    folder = Path(out)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{out}: is there already, and not empty; give another --out")
    return folder


def _with_format(data_format: str, readers: Sequence[tuple[str, Reader[Any]]]) -> list[str]:
    named = [name for name, reader in readers if reader.format == data_format]
    if not named:
        raise unknown_name("data format", data_format, {reader.format for _, reader in readers})
    return named
