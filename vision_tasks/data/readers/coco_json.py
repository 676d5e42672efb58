"""Boxes as COCO's JSON has them: xywh in pixel edges, any number of images to a file.

- Files, images, ids and categories are those of `coco_layout`.
- Boxes are checked as in every format (`checked_boxes`). `iscrowd` and `area` are kept.
- An image without annotations is declared to show nothing; one with crowds alone gives nothing to learn from either.
- No image is opened, unless the file doesn't give its size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.readers.checked_boxes import BoxList, pixel_truth, size_of
from vision_tasks.data.readers.coco_file import CocoAnnotation, CocoCategory, CocoFile, CocoImage
from vision_tasks.data.readers.coco_layout import LOOKS_LIKE, Part, annotations_of, read_dataset, recognises
from vision_tasks.types import Boxes, Sample


def _read(path: Path) -> Dataset[Boxes]:
    return read_dataset(path, READER.format, _take)


def _take(
    part: Part[Boxes], file: CocoFile, ids: Mapping[int, str], root: Path, categories: Sequence[CocoCategory]
) -> None:
    """Fill `part` with the images `ids` of `file`."""
    label = {category.id: i for i, category in enumerate(categories)}
    boxes = {number: BoxList.in_pixels(_size(file.images[number], root / id)) for number, id in ids.items()}
    for annotation in annotations_of(file, ids, part.flaws):
        if problem := _add(annotation, boxes[annotation.image], file, label[annotation.category]):
            part.flaws.append(Flaw(file.path, f"{annotation.at}: {problem}", of_truth=True))
    for number, id in ids.items():
        image = file.images[number]
        checked = boxes[number].checked()
        truth = partial(pixel_truth, checked, f"{file.path}, {image.name}", image.size)
        part.samples.append(Sample(id, root / id, truth))
        part.numbers[id] = number
        if not checked.teaches:
            part.negatives.add(id)


def _size(image: CocoImage, path: Path) -> tuple[int, int] | None:
    return image.size or (size_of(path) if path.is_file() else None)


def _add(annotation: CocoAnnotation, boxes: BoxList, file: CocoFile, label: int) -> str:
    """Take one annotation; what is wrong with it, "" for nothing."""
    image = file.images[annotation.image].name
    if annotation.xywh is None:
        return f"its bbox for {image} isn't four numbers: dropped"
    x, y, width, height = annotation.xywh
    problem = boxes.add((x, y, x + width, y + height), label, annotation.crowd, annotation.area)
    if not problem:
        return ""
    named = ", ".join(f"{value:g}" for value in annotation.xywh)
    return f"{file.categories[annotation.category].name} box ({named}) of {image} {problem}"


READER: Reader[Boxes] = Reader(format="coco", looks_like=LOOKS_LIKE, recognises=recognises, read=_read)
