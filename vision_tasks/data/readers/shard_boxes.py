"""Boxes in shards (`webdataset`): a `.json` for each sample.

    {"width": 640, "height": 480, "objects": [{"label": "car", "box": [x0, y0, x1, y1], "crowd": false, "area": 120.5}]}

- `box` is in pixel edges of the image as it is shown (EXIF applied), `label` a class's name or its number from 0;
  `crowd` (many objects in one box) and `area` (COCO's) may be left out, `width` and `height` too.
- Boxes are checked as in every format (`checked_boxes`). No objects: the image is declared to show nothing.
- Where nothing lists the classes they are the names in their order, or the numbers up to the largest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from vision_tasks.data.dataset import Dataset
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.readers.checked_boxes import BoxList, CheckedBoxes, Edges, pixel_truth
from vision_tasks.data.readers.class_names import composed
from vision_tasks.data.readers.mistakes import Mistakes
from vision_tasks.data.readers.webdataset import ShardSet, Stored, class_number, read_shards, reader
from vision_tasks.errors import UserError
from vision_tasks.types import Boxes, Size

_OBJECTS = "objects"
_FORM = '{"label": NAME, "box": [x0, y0, x1, y1]}'
_MOST_CLASSES = 1_000_000
_LARGEST = 1e300  # beyond it, whole numbers of JSON are no floats


def _read(path: Path) -> Dataset[Boxes]:
    shards = read_shards(path, lambda stored: isinstance(stored.said.get(_OBJECTS), list), f'.json with "{_OBJECTS}"')
    classes = shards.about.classes or _found_classes(path, shards)
    index = {name: i for i, name in enumerate(classes)}
    checked: dict[str, CheckedBoxes] = {}
    flaws: list[Flaw] = []
    mistakes = Mistakes()
    for id, stored in shards.stored:
        try:
            checked[id] = _boxes(stored, index, flaws)
        except UserError as error:
            mistakes.add(error)
    mistakes.check()

    def truth(id: str, stored: Stored) -> Callable[[Size | None], Boxes]:
        return partial(pixel_truth, checked[id], f"{stored.where}.json", _size(stored))

    negatives = (id for id, boxes in checked.items() if not boxes.teaches)
    return shards.dataset(classes, truth, flaws=flaws, negatives=negatives)


def _found_classes(path: Path, shards: ShardSet) -> tuple[str, ...]:
    labels = {_label(each) for _, stored in shards.stored for each in stored.said[_OBJECTS]}
    if names := {composed(label) for label in labels if isinstance(label, str)}:
        return tuple(sorted(names))
    largest = max((label for label in labels if isinstance(label, int)), default=-1)
    if not 0 <= largest < _MOST_CLASSES:
        raise UserError(f"{path}: no object has a label that is a name or a number from 0; mend the .json files")
    return tuple(map(str, range(largest + 1)))


def _label(one: Any) -> str | int | None:
    label = one.get("label") if isinstance(one, dict) else None
    return label if isinstance(label, str | int) and not isinstance(label, bool) else None


def _boxes(stored: Stored, index: Mapping[str, int], flaws: list[Flaw]) -> CheckedBoxes:
    """The usable boxes of one sample; what is wrong with others goes to `flaws`. Raises UserError."""
    boxes = BoxList.in_pixels(_size(stored))
    for number, one in enumerate(stored.said[_OBJECTS]):
        label, edges = class_number(_label(one), index), _edges(one)
        if label is None or edges is None:
            wrong = f"is none of the {len(index)} classes" if edges else f"isn't of the form {_FORM}"
            raise UserError(f"{stored.where}.json: object {number} {wrong}; mend it")
        area = one.get("area")
        problem = boxes.add(edges, label, one.get("crowd") is True, float(area) if _is_number(area) else math.nan)
        if problem:
            said = f"box ({', '.join(f'{edge:g}' for edge in edges)}) {problem}"
            flaws.append(Flaw(Path(f"{stored.where}.json"), said, of_truth=True))
    return boxes.checked()


def _edges(one: Any) -> Edges | None:
    box = one.get("box") if isinstance(one, dict) else None
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        return None
    x0, y0, x1, y1 = map(float, box)
    return x0, y0, x1, y1


def _size(stored: Stored) -> Size | None:
    sides = stored.said.get("height"), stored.said.get("width")
    height, width = (side if isinstance(side, int) and side > 0 else None for side in sides)
    return (height, width) if height and width else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


READER = reader(_read)
