"""YOLO text: `images/<split>/`, `labels/<split>/` and `data.yaml`; without splits `images/`, `labels/`, `classes.txt`.

A row is `class cx cy w h` in shares of the sides, with so many digits that no edge moves by a millionth of a pixel.
"""

from __future__ import annotations

import json
from pathlib import Path

from vision_tasks.commands.conversion import WHOLE, Conversion, Item, stem_of
from vision_tasks.commands.convert_boxes import PlainBox, count_ids, plain_boxes
from vision_tasks.files import write_text
from vision_tasks.types import Size


def write_yolo(folder: Path, conversion: Conversion) -> None:
    """Write all splits, and the names of the classes."""
    count_ids(conversion)
    classes = conversion.dataset.classes
    for split, items in conversion.splits.items():
        below = "" if split == WHOLE else split
        for item in items:
            _write_item(folder, below, item, conversion)
    if set(conversion.splits) == {WHOLE}:
        write_text(folder / "classes.txt", "".join(f"{name}\n" for name in classes))
        return
    # A JSON string is a YAML string, whatever is in it.
    splits = "".join(f"{json.dumps(split)}: {json.dumps(f'images/{split}')}\n" for split in conversion.splits)
    names = "".join(f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(classes))
    write_text(folder / "data.yaml", f"path: .\n{splits}nc: {len(classes)}\nnames:\n{names}")


def _write_item(folder: Path, split: str, item: Item, conversion: Conversion) -> None:
    conversion.place(item, folder / "images" / split)
    labels = folder / "labels" / split / f"{stem_of(item.name)}.txt"
    labels.parent.mkdir(parents=True, exist_ok=True)
    labels.write_text("".join(_row(box, item.size) for box in plain_boxes(item, conversion)), encoding="ascii")


def _row(box: PlainBox, size: Size) -> str:
    height, width = size
    x0, y0, x1, y1 = box.edges
    shares = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
    return f"{box.label} {' '.join(f'{share:.12g}' for share in shares)}\n"
