"""Boxes as YOLO's tools have them: a text file for each image, a row `class cx cy w h` for each box.

Centre, width and height are shares of the image's sides, classes are numbered from 0. Where images and labels lie says

- `data.yaml` (or the only YAML file that has `names`; or that file itself): `train`, `val` and `test` are each a
  folder, a .txt list of images, or several of them, relative to `path`, which is relative to the file; `names` is a
  list, or names by number. Nothing may lie outside of the file's folder;
- or folders alone: `images/` and `labels/`, with or without a folder for each split in them or around them. Then
  `classes.txt` (at the root or in `labels/`) names the classes.

The labels of `images/1.jpg` are in `labels/1.txt`, those of an image that is in no folder `images` lie beside it.

- An empty label file declares that there is nothing to see. An image without one is taken to show nothing too, and the
  number of them is a flaw; a split all of whose images have none is an error.
- A row of more numbers is a polygon, of which the bounding box is taken; their number is told as a flaw.
- A class that has no name is an error, and so is a row that isn't understood; all of them are told together. Boxes are
  checked as in every format (`checked_boxes`), in shares: no image is opened before its truth is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from vision_tasks.data.dataset import Dataset, Reader, in_several_splits
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.folders import files
from vision_tasks.data.readers.checked_boxes import BoxList, Edges, share_truth
from vision_tasks.data.readers.mistakes import Mistakes
from vision_tasks.data.readers.yolo_layout import YoloLayout, find_layout, is_yolo, label_path
from vision_tasks.errors import UserError, some
from vision_tasks.types import Boxes, Sample

_NO_LABELS = "classes.txt"  # a list of names among the label files, as labelling tools leave it
_ENDLESS = (math.nan,) * 4
_FORM = "a row is 'class cx cy w h', or a class and the points of a polygon"


class _Row(NamedTuple):
    """A line of a label file."""

    line: int
    number: int  # the class, as the file calls it
    edges: Edges  # shares of the sides
    polygon: bool


Rows = Mapping[str, list[_Row] | None]  # by image; None where it has no label file


def _read(path: Path) -> Dataset[Boxes]:
    layout = find_layout(path)
    mistakes = Mistakes()
    rows = _all_rows(layout, mistakes)
    flaws = [*layout.flaws, *_oddities(layout, rows, mistakes)]
    if not layout.names:
        mistakes.check()  # the rows then say which classes there are
    names = layout.names or _invented(layout, rows, flaws)
    label = {number: i for i, number in enumerate(names)}
    boxes = {image: _boxes(layout, image, found or (), names, label, flaws, mistakes) for image, found in rows.items()}
    mistakes.check()
    samples = {
        image: Sample(image, layout.root / image, partial(share_truth, found.checked(), layout.root / image))
        for image, found in boxes.items()
    }
    splits = {split: tuple(samples[image] for image in images) for split, images in layout.splits.items()}
    return Dataset(
        layout.root,
        READER.format,
        tuple(names.values()),
        splits,
        (*flaws, *in_several_splits(layout.root, splits)),
        class_ids=tuple(names),
        negatives=frozenset(image for image, found in boxes.items() if not len(found)),
    )


def _all_rows(layout: YoloLayout, mistakes: Mistakes) -> dict[str, list[_Row] | None]:
    owner: dict[str, str] = {}
    rows: dict[str, list[_Row] | None] = {}
    for image in dict.fromkeys(image for images in layout.splits.values() for image in images):
        label = label_path(image)
        if (other := owner.setdefault(label, image)) != image:
            mistakes.add(f"{layout.root}: {other} and {image} have the same labels, {label}; rename one of them")
        rows[image] = _rows(layout.root / label, mistakes)
    return rows


def _rows(path: Path, mistakes: Mistakes) -> list[_Row] | None:
    """The lines of a label file that are understood, None without one."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (UnicodeDecodeError, OSError) as error:
        mistakes.add(f"{path}: can't be read as labels: {error}")
        return []
    found = []
    for line, content in enumerate(text.split("\n"), 1):
        if cells := content.split():
            try:
                found.append(_row(line, [float(cell) for cell in cells]))
            except ValueError as error:
                mistakes.add(f"{path}, line {line}: {error}; {_FORM}")
    return found


def _row(line: int, values: Sequence[float]) -> _Row:
    number, *shape = values
    if not number.is_integer():
        raise ValueError(f"the class {number:g} is no whole number")
    if len(shape) == 4:
        x, y, width, height = shape
        return _Row(line, int(number), (x - width / 2, y - height / 2, x + width / 2, y + height / 2), False)
    if len(shape) < 6 or len(shape) % 2:
        raise ValueError(f"{len(values)} numbers")
    x_s, y_s = shape[::2], shape[1::2]
    finite = all(map(math.isfinite, shape))
    return _Row(line, int(number), (min(x_s), min(y_s), max(x_s), max(y_s)) if finite else _ENDLESS, True)


def _oddities(layout: YoloLayout, rows: Rows, mistakes: Mistakes) -> list[Flaw]:
    """What is odd about the files as a whole; a split without labels is a mistake."""
    flaws = []
    for split, images in layout.splits.items():
        without = [image for image in images if rows[image] is None]
        if without and len(without) == len(images):
            expected = label_path(without[0])
            mistakes.add(f"{layout.root}: no image of '{split}' has a label file, such as {expected}; add them")
        elif without:
            said = f"{len(without)} of {len(images)} images of {split} have no label file: taken to show nothing"
            flaws.append(Flaw(layout.root, f"{said} ({some(without)})"))
    if polygons := sum(row.polygon for found in rows.values() for row in found or ()):
        flaws.append(Flaw(layout.root, f"{polygons} rows are polygons: read as their bounding boxes"))
    return flaws + _ownerless(layout, rows)


def _ownerless(layout: YoloLayout, rows: Rows) -> list[Flaw]:
    """Label files in folders of labels that belong to no image."""
    owned = set(map(label_path, rows))
    flaws = []
    for images in sorted(layout.folders):
        folder = label_path(f"{images}/image").rpartition("/")[0]
        if folder == images or not (layout.root / folder).is_dir():
            continue  # beside images a text may be anything
        labels = [name for name in files(layout.root / folder) if name.endswith(".txt") and name != _NO_LABELS]
        if alone := [name for name in labels if f"{folder}/{name}" not in owned]:
            said = f"{len(alone)} label files belong to no image: not read ({some(alone)})"
            flaws.append(Flaw(layout.root / folder, said))
    return flaws


def _invented(layout: YoloLayout, rows: Rows, flaws: list[Flaw]) -> dict[int, str]:
    """Names where nothing gives them, which is told."""
    last = max((row.number for found in rows.values() for row in found or ()), default=-1)
    if last < 0:
        raise UserError(f"{layout.root}: no label file has a box, and nothing names the classes; add a classes.txt")
    names = {i: f"class{i}" for i in range(last + 1)}
    flaws.append(Flaw(layout.root, f"neither data.yaml nor classes.txt names the classes: {some(names.values())}"))
    return names


def _boxes(
    layout: YoloLayout,
    image: str,
    rows: Sequence[_Row],
    names: Mapping[int, str],
    label: Mapping[int, int],
    flaws: list[Flaw],
    mistakes: Mistakes,
) -> BoxList:
    """The boxes of one image; what was dropped or clipped is added to `flaws`, classes without a name to `mistakes`."""
    boxes = BoxList.in_shares()
    path = layout.root / label_path(image)
    for row in rows:
        if row.number not in names:
            mistakes.add(
                f"{path}, line {row.line}: class {row.number} has no name: {layout.named_in} names {len(names)}, "
                f"{min(names)} to {max(names)}; mend one of them"
            )
        elif problem := boxes.add(row.edges, label[row.number]):
            flaws.append(Flaw(path, f"line {row.line}: {names[row.number]} box {problem}", of_truth=True))
    return boxes


READER: Reader[Boxes] = Reader(
    format="yolo",
    looks_like="data.yaml, or images/ and labels/ of the same names (with train/, val/ and test/ in or around them)",
    recognises=is_yolo,
    read=_read,
)
