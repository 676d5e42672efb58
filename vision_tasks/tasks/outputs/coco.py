"""COCO JSON (https://cocodataset.org/#format-data, #format-results).

- `predictions.coco.json`, a data set: `images` numbered from 1 in the order of the lines, `categories`, and
  `annotations` with a score each.
- `results.json`, the list of results that pycocotools' `loadRes` takes, with the numbers of the first file.

A category has the id that the training data's files gave it; where they gave none, ids are 0, 1, 2, ..., as everywhere
here. Boxes are [x, y, width, height].
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

from vision_tasks.data.readers.stored_boxes import NAMED
from vision_tasks.files import replacing
from vision_tasks.tasks.base import Output, Rows, Table

_DATASET, _RESULTS = NAMED, "results.json"


def _write(rows: Rows, output: Output) -> None:
    """Image by image, so that memory does not grow with their number."""
    ids = dict(zip(output.classes, output.class_ids or count(), strict=False))
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    with replacing(output.folder / _DATASET) as temporary, temporary.open("w", encoding="ascii") as file:
        file.writelines(_array('{"images": [', _images(rows)))
        file.writelines(_array('], "categories": [', categories))
        file.writelines(_array('], "annotations": [', _annotations(rows, ids)))
        file.write("]}\n")
    with replacing(output.folder / _RESULTS) as temporary, temporary.open("w", encoding="ascii") as file:
        file.writelines(_array("[", _results(rows, ids)))
        file.write("]\n")


COCO = Table((_DATASET, _RESULTS), _write)


def _array(opening: str, items: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The opening bracket and the items of an array, a line each."""
    yield opening
    for number, item in enumerate(items):
        # Names that are no text are escaped: the file is then text, and reading it gives the same names.
        yield (",\n" if number else "\n") + json.dumps(item)


def _images(rows: Rows) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows, 1):
        yield {"id": number, "file_name": row.image, "width": row.size[1], "height": row.size[0]}


def _results(rows: Rows, ids: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows, 1):
        for each in row.predictions:
            x0, y0, x1, y1 = each["box"]
            box = [x0, y0, round(x1 - x0, 3), round(y1 - y0, 3)]
            yield {"image_id": number, "category_id": ids[each["label"]], "bbox": box, "score": each["score"]}


def _annotations(rows: Rows, ids: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    # From 1: pycocotools takes a match with annotation 0 for none.
    for number, result in enumerate(_results(rows, ids), 1):
        width, height = result["bbox"][2:]
        yield {"id": number, **result, "area": round(width * height, 3), "iscrowd": 0}
