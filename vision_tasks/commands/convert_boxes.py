"""What formats of plain boxes, YOLO and VOC, share: the boxes that they can hold, and the count of what they can't."""

from __future__ import annotations

from typing import NamedTuple

from vision_tasks.commands.conversion import Conversion, Item
from vision_tasks.types import Boxes

_RELATIVE = 1e-6  # of an area, which files round


class PlainBox(NamedTuple):
    """A box without anything else."""

    label: int
    edges: tuple[float, float, float, float]  # x0, y0, x1, y1 in pixel edges


def plain_boxes(item: Item, conversion: Conversion) -> list[PlainBox]:
    """The boxes of an image; crowds, which would pass for one object, are left out."""
    truth: Boxes = item.truth
    found = []
    areas = [float("nan")] * truth.label.shape[1] if truth.area is None else truth.area[0].tolist()
    rows = zip(truth.xyxy[0].tolist(), truth.label[0].tolist(), truth.crowd[0].tolist(), areas, strict=True)
    for (x0, y0, x1, y1), label, crowd, area in rows:
        if crowd:
            conversion.losses.add("boxes around crowds, left out")
            continue
        box = (x1 - x0) * (y1 - y0)
        conversion.losses.add("areas that aren't those of their boxes", int(abs(area - box) > _RELATIVE * box))
        found.append(PlainBox(label, (x0, y0, x1, y1)))
    return found


def count_ids(conversion: Conversion) -> None:
    """Numbers that files gave to images and classes, which have names alone from here on."""
    dataset = conversion.dataset
    conversion.losses.add("ids of images", len(dataset.image_ids))
    if dataset.class_ids and dataset.class_ids != tuple(range(len(dataset.classes))):
        conversion.losses.add("ids of classes", len(dataset.class_ids))
