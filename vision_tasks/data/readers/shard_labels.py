"""Whole-image labels in shards (`webdataset`): `.cls`, or a `.json` that says "labels", "label" or "class".

A label is a class's number, from 0, or its name; a list of them in a `.json` may hold several, or none. Where nothing
lists the classes (`dataset.json`, `classes.txt`) they are the names in their order, or the numbers up to the largest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vision_tasks.data.dataset import Dataset
from vision_tasks.data.readers.class_names import composed, require_classes, whole_image_truth
from vision_tasks.data.readers.mistakes import Mistakes
from vision_tasks.data.readers.webdataset import Stored, class_number, read_shards, reader
from vision_tasks.errors import UserError
from vision_tasks.types import Labels, Size

_KEYS = ("labels", "label", "class", "cls")
_MOST_CLASSES = 1_000_000


def _read(path: Path) -> Dataset[Labels]:
    shards = read_shards(path, lambda stored: _said_labels(stored) is not None, "label (.cls, or .json)")
    said = {id: _said_labels(stored) or [] for id, stored in shards.stored}
    classes = shards.about.classes or _found_classes(path, said.values())
    require_classes(path, classes, case_matters=True)
    numbers = _numbers({id: stored.where for id, stored in shards.stored}, said, classes)
    exclusive = shards.about.exclusive and all(len(labels) == 1 for labels in numbers.values())
    strata = {id: classes[labels[0]] for id, labels in numbers.items()} if exclusive else None

    def truth(id: str, stored: Stored) -> Callable[[Size | None], Labels]:
        return partial(whole_image_truth, numbers[id], len(classes))

    return shards.dataset(classes, truth, strata=strata, exclusive=exclusive)


def _said_labels(stored: Stored) -> list[Any] | None:
    """Numbers and names; None where nothing is said."""
    for key in _KEYS:
        if (said := stored.said.get(key)) is not None:
            return said if isinstance(said, list) else [said]
    text = stored.texts.get("cls", "").strip()
    return [int(text) if text.isascii() and text.isdigit() else text] if text else None


def _found_classes(path: Path, said: Iterable[list[Any]]) -> tuple[str, ...]:
    every = {label for labels in said for label in labels if isinstance(label, int | str)}
    if names := {composed(label) for label in every if isinstance(label, str)}:
        return tuple(sorted(names))
    largest = max((label for label in every if isinstance(label, int)), default=-1)
    if largest >= _MOST_CLASSES:
        raise UserError(f"{path}: has labels up to {largest}, which can't be counted from 0; list the classes")
    return tuple(map(str, range(largest + 1)))


def _numbers(
    where: Mapping[str, str], said: Mapping[str, list[Any]], classes: Sequence[str]
) -> dict[str, tuple[int, ...]]:
    """The labels of each sample as class indices. Raises UserError for those that are no class."""
    index = {name: i for i, name in enumerate(classes)}
    mistakes = Mistakes()
    found = {}
    for id, labels in said.items():
        numbers = [class_number(label, index) for label in labels]
        if None in numbers:
            mistakes.add(f"{where[id]}: has the label '{labels[numbers.index(None)]}', which is none of the "
                         f"{len(classes)} classes; mend it, or the list of classes")  # fmt: skip
        found[id] = tuple(number for number in numbers if number is not None)
    mistakes.check()
    return found


READER = reader(_read)
