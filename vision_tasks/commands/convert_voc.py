"""Pascal VOC: `JPEGImages/`, `Annotations/*.xml`, and a list of each split in `ImageSets/Main/`.

Corners are 1-based and inclusive, so an edge at x0 is written as x0 + 1. Where a box ends between pixels the number has
decimals, which VOC's own files don't have: how many is said, since some readers want whole numbers.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from vision_tasks.commands.conversion import WHOLE, Conversion, Item, stem_of
from vision_tasks.commands.convert_boxes import PlainBox, count_ids, plain_boxes
from vision_tasks.files import write_text


def write_voc(folder: Path, conversion: Conversion) -> None:
    """Write all images in one folder, and a list for each split."""
    count_ids(conversion)
    used: set[int] = set()
    (folder / "Annotations").mkdir()
    for item in conversion.items():
        conversion.place(item, folder / "JPEGImages")
        boxes = [box for box in plain_boxes(item, conversion) if _is_wide(box, conversion)]
        used |= {box.label for box in boxes}
        path = folder / "Annotations" / f"{stem_of(item.name)}.xml"
        path.write_text(_annotation(item, boxes, conversion.dataset.classes), encoding="utf-8")
    conversion.losses.add(
        "classes without a box, which VOC has no list of", len(conversion.dataset.classes) - len(used)
    )
    lists = folder / "ImageSets" / "Main"
    for split, items in conversion.splits.items():
        if split != WHOLE:
            lists.mkdir(parents=True, exist_ok=True)
            write_text(lists / f"{split}.txt", "".join(f"{stem_of(item.name)}\n" for item in items))


def _is_wide(box: PlainBox, conversion: Conversion) -> bool:
    """Whether inclusive corners can tell it from a click without a drag, as readers take `xmin = xmax` to be."""
    x0, y0, x1, y1 = box.edges
    wide = x1 > x0 + 1 and y1 > y0 + 1
    conversion.losses.add("boxes of one pixel or less in width or height, left out", int(not wide))
    whole = all(edge.is_integer() for edge in box.edges)
    conversion.losses.add("boxes with decimals, which some readers of VOC refuse", int(wide and not whole))
    return wide


def _annotation(item: Item, boxes: list[PlainBox], classes: tuple[str, ...]) -> str:
    height, width = item.size
    objects = "".join(_object(classes[box.label], box) for box in boxes)
    return (
        f"<annotation>\n<folder>JPEGImages</folder>\n<filename>{escape(item.name)}</filename>\n"
        f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n{objects}</annotation>\n"
    )


def _object(name: str, box: PlainBox) -> str:
    x0, y0, x1, y1 = box.edges
    corners = {"xmin": x0 + 1, "ymin": y0 + 1, "xmax": x1, "ymax": y1}
    listed = "".join(f"<{corner}>{value:.12g}</{corner}>" for corner, value in corners.items())
    return f"<object><name>{escape(name)}</name><difficult>0</difficult><bndbox>{listed}</bndbox></object>\n"
