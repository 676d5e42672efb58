"""COCO JSON: `annotations/instances_<split>.json` and `images/<split>/`, or `annotations.json` and `images/`.

Boxes are bbox, area and iscrowd. Of masks every class of an image becomes one outline, as run lengths; where there is
a folder `instances/` beside `images/`, with 16-bit PNGs of numbered objects, every object. A class `background` is
what is left; void pixels are a crowd, which readers here ignore again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import singledispatch
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vision_tasks.commands.conversion import WHOLE, Conversion, Item, run_lengths, stem_of
from vision_tasks.files import write_text
from vision_tasks.types import IGNORE, Boxes, Masks

_BACKGROUND = "background"
_OWN_IDS = "coco"  # the format whose class and image ids are kept

Annotation = dict[str, Any]


def write_coco(folder: Path, conversion: Conversion) -> None:
    """Write all splits; ids of annotations are unique over them."""
    numbers = count(1)
    ids = _category_ids(conversion)
    (folder / "annotations").mkdir()
    for split, items in conversion.splits.items():
        images = folder / "images" if split == WHOLE else folder / "images" / split
        path = folder / ("annotations.json" if split == WHOLE else f"annotations/instances_{split}.json")
        for item in items:
            conversion.place(item, images)
        write_text(path, json.dumps(_content(conversion, items, ids, numbers)) + "\n")
    if not any((folder / "annotations").iterdir()):
        (folder / "annotations").rmdir()


def _category_ids(conversion: Conversion) -> dict[int, int]:
    """The id of each class that is a category."""
    dataset = conversion.dataset
    kept = dataset.class_ids if dataset.format == _OWN_IDS else ()
    shown = [k for k, name in enumerate(dataset.classes) if name.casefold() != _BACKGROUND or kept]
    return {k: kept[k] if kept else number for number, k in enumerate(shown, 1)}


def _content(
    conversion: Conversion, items: Sequence[Item], ids: dict[int, int], numbers: Iterator[int]
) -> dict[str, Any]:
    image_ids = _image_ids(conversion, items)
    annotations = [
        {"id": next(numbers), "image_id": image, "category_id": ids[label], **rest}
        for image, item in zip(image_ids, items, strict=True)
        for label, rest in annotations_of(item.truth, item, conversion)
    ]
    return {
        "images": [
            {"id": image, "file_name": item.name, "width": item.size[1], "height": item.size[0]}
            for image, item in zip(image_ids, items, strict=True)
        ],
        "annotations": annotations,
        "categories": [{"id": id, "name": conversion.dataset.classes[k]} for k, id in ids.items()],
    }


def _image_ids(conversion: Conversion, items: Sequence[Item]) -> list[int]:
    """Those of the files, where they tell all images apart, else numbers from 1."""
    own = [conversion.dataset.image_ids.get(item.sample.id) for item in items]
    known = [number for number in own if number is not None]
    return known if len(set(known)) == len(items) else list(range(1, len(items) + 1))


@singledispatch
def annotations_of(truth: Any, item: Item, conversion: Conversion) -> Iterator[tuple[int, Annotation]]:
    """Class and annotation, but for ids, of each object of an image."""
    raise TypeError(f"{type(truth).__name__} has no place in COCO's files")


@annotations_of.register
def _(truth: Boxes, item: Item, conversion: Conversion) -> Iterator[tuple[int, Annotation]]:
    areas = [np.nan] * truth.label.shape[1] if truth.area is None else truth.area[0].tolist()
    rows = zip(truth.xyxy[0].tolist(), truth.label[0].tolist(), truth.crowd[0].tolist(), areas, strict=True)
    for (x0, y0, x1, y1), label, crowd, area in rows:
        width, height = x1 - x0, y1 - y0
        area = width * height if np.isnan(area) else area
        yield label, {"bbox": [x0, y0, width, height], "area": area, "iscrowd": int(crowd)}


@annotations_of.register
def _(truth: Masks, item: Item, conversion: Conversion) -> Iterator[tuple[int, Annotation]]:
    index = truth.index[0].numpy()
    classes = conversion.dataset.classes
    shown = [k for k, name in enumerate(classes) if name.casefold() != _BACKGROUND]
    objects = _instances(item)
    if objects is not None:
        yield from _numbered_objects(index, objects, shown)
    else:
        for k in shown:
            if (inside := index == k).any():
                yield k, _outline(inside, crowd=False)
    if (void := index == IGNORE).any():
        conversion.losses.add("images with void pixels, which are written as regions of a crowd")
        yield shown[0], _outline(void, crowd=True)


def _numbered_objects(
    index: NDArray[np.uint8], objects: NDArray[Any], shown: Sequence[int]
) -> Iterator[tuple[int, Annotation]]:
    """Each object, of the class that most of its pixels have."""
    for number in np.unique(objects[objects > 0]):
        inside = objects == number
        votes = np.bincount(index[inside], minlength=IGNORE + 1)[list(shown)]
        if votes.any():
            yield shown[int(votes.argmax())], _outline(inside, crowd=False)


def _instances(item: Item) -> NDArray[Any] | None:
    """The numbers of objects [H,W], from the folder beside the images, where it has them for this one."""
    path = item.sample.path.parent.parent / "instances" / f"{stem_of(item.sample.path.name)}.png"
    if item.sample.data is not None or not path.is_file():
        return None
    with Image.open(path) as opened:
        objects = np.asarray(opened)
    return objects if objects.shape == item.size else None


def _outline(inside: NDArray[np.bool_], crowd: bool) -> Annotation:
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return {
        "segmentation": {"size": [*inside.shape], "counts": run_lengths(inside)},
        "bbox": [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y],
        "area": int(inside.sum()),
        "iscrowd": int(crowd),
    }
