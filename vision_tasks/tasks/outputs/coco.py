"""COCO JSON (https://cocodataset.org/#format-data, #format-results), made from the lines when all images are done.

- `predictions.coco.json`, a data set: `images` numbered from 1 in the order of the lines, `categories`, and
  `annotations` with a score each.
- `results.json`, the list of results that pycocotools' `loadRes` takes, with the numbers of the first file.

A category has the id that the training data's files gave it; where they gave none, ids are 0, 1, 2, ..., as everywhere
here. Boxes are [x, y, width, height].
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from vision_tasks.data.readers.stored_boxes import NAMED
from vision_tasks.files import replacing
from vision_tasks.tasks.base import Format, Output, Predicted, Write
from vision_tasks.tasks.outputs.jsonl import written_lines

_DATASET, _RESULTS = NAMED, "results.json"


@contextmanager
def _open(output: Output) -> Iterator[Write[Any]]:
    try:
        yield _nothing_yet
    finally:
        _translate(output)


COCO: Format[Any] = Format((_DATASET, _RESULTS), _open)


def _nothing_yet(image: Predicted[Any]) -> None:
    """One document can't grow in three places at once: until all images are done, the lines keep what it will hold."""


def _translate(output: Output) -> None:
    """Image by image, so that memory does not grow with their number."""
    ids = dict(zip(output.classes, output.class_ids or count(), strict=False))
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    with replacing(output.folder / _DATASET) as temporary, temporary.open("w", encoding="ascii") as file:
        file.writelines(_array('{"images": [', _images(output.folder)))
        file.writelines(_array('], "categories": [', categories))
        file.writelines(_array('], "annotations": [', _annotations(output.folder, ids)))
        file.write("]}\n")
    with replacing(output.folder / _RESULTS) as temporary, temporary.open("w", encoding="ascii") as file:
        file.writelines(_array("[", _results(output.folder, ids)))
        file.write("]\n")


def _array(opening: str, items: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The opening bracket and the items of an array, a line each."""
    yield opening
    for number, item in enumerate(items):
        # Names that are no text are escaped: the file is then text, and reading it gives the same names.
        yield (",\n" if number else "\n") + json.dumps(item)


def _images(folder: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(written_lines(folder), 1):
        yield {"id": number, "file_name": line["image"], "width": line["width"], "height": line["height"]}


def _results(folder: Path, ids: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(written_lines(folder), 1):
        for row in line["predictions"]:
            x0, y0, x1, y1 = row["box"]
            box = [x0, y0, round(x1 - x0, 3), round(y1 - y0, 3)]
            yield {"image_id": number, "category_id": ids[row["label"]], "bbox": box, "score": row["score"]}


def _annotations(folder: Path, ids: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    # From 1: pycocotools takes a match with annotation 0 for none.
    for number, result in enumerate(_results(folder, ids), 1):
        width, height = result["bbox"][2:]
        yield {"id": number, **result, "area": round(width * height, 3), "iscrowd": 0}
