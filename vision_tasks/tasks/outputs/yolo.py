"""YOLO text: a file of rows `class cx cy w h` for each image, in shares of its width and height.

    labels/<path of the image without its suffix>.txt   empty where nothing is reported
    data.yaml, classes.txt                              the names of the classes

With the images put beside it, in `images/`, the folder is a YOLO data set that people can correct and train on
(https://docs.ultralytics.com/datasets/detect/). Rows have no score, as such labels have none: scores are in the lines.
`data.yaml` calls all images train and val, which YOLO's tools both ask for: divide them before training.

Classes are numbered 0 to K-1 in the order of the weights, whatever ids the training data's files had, since YOLO's
tools count from 0 without gaps.

YOLO's tools find labels by an image's path without its suffix. An image that shares it with another keeps its suffix,
`labels/a.jpg.txt` and `labels/a.png.txt`, and is to be renamed to be found. They also replace the last folder called
`images`: give such a folder itself as the source, not the folder around it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from vision_tasks.files import write_text
from vision_tasks.tasks.base import Output, Row, Rows, Table
from vision_tasks.types import Size


def _write(rows: Rows, output: Output) -> None:
    _write_classes(output.folder, output.classes)
    numbers = {name: number for number, name in enumerate(output.classes)}
    with _replacing_folder(output.folder / "labels") as folder:
        for name, row in _named(rows):
            path = folder / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = (_line(numbers[each["label"]], each, row.size) for each in row.predictions)
            path.write_text("".join(lines), encoding="ascii")


YOLO = Table(("labels/", "data.yaml", "classes.txt"), _write)


def _named(rows: Rows) -> Iterator[tuple[str, Row]]:
    """Each image with the name of its labels: its path without suffix, unless that could mean another image, too."""
    for stem, images in groupby(rows.ordered(_stem), key=lambda row: _stem(row.image)):
        group = list(images)
        for row in group:
            shared = len(group) > 1 or (stem != row.image and stem in rows)
            yield row.image if shared else stem, row


@contextmanager
def _replacing_folder(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` when it is complete."""
    new, old = (folder.with_name(f".{folder.name}.{age}") for age in ("new", "old"))
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    new.mkdir()
    try:
        yield new
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)


def _stem(image: str) -> str:
    return os.path.splitext(image)[0]  # noqa: PTH122  # pathlib makes "." of "..jpg"


def _line(number: int, row: dict[str, Any], size: Size) -> str:
    height, width = size
    x0, y0, x1, y1 = row["box"]
    shares = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
    return f"{number} {' '.join(f'{share:.7f}' for share in shares)}\n"


def _write_classes(folder: Path, classes: Sequence[str]) -> None:
    # A JSON string is a YAML string, whatever is in it.
    names = "".join(f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(classes))
    write_text(folder / "data.yaml", f"path: .\ntrain: images\nval: images\nnc: {len(classes)}\nnames:\n{names}")
    write_text(folder / "classes.txt", "".join(f"{name}\n" for name in classes))
