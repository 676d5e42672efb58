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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vision_tasks.files import write_text
from vision_tasks.tasks.base import Format, Output, Predicted, Write
from vision_tasks.types import Size


@contextmanager
def _open(output: Output) -> Iterator[Write[Any]]:
    _write_classes(output.folder, output.classes)
    shared = shared_stems(output.images)
    numbers = {name: number for number, name in enumerate(output.classes)}

    def write(image: Predicted[Any]) -> None:
        stem = _stem(image.image)
        path = output.folder / "labels" / f"{image.image if stem in shared else stem}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(_line(numbers[row["label"]], row, image.size) for row in image.rows), encoding="ascii")

    yield write


YOLO: Format[Any] = Format(("labels/", "data.yaml", "classes.txt"), _open)


def shared_stems(images: Sequence[str]) -> set[str]:
    """Paths without suffix that don't tell which of `images` is meant, as they belong to several or are one's path."""
    whole, seen, shared = set(images), set(), set()
    for image in images:
        stem = _stem(image)
        if stem in seen or (stem != image and stem in whole):
            shared.add(stem)
        seen.add(stem)
    return shared


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
