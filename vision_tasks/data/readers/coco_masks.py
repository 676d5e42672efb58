"""A class for every pixel out of the outlines of a COCO JSON file: polygons, and run lengths in both forms.

Files, images, ids and categories are as `coco_layout` has them. What is made of outlines:

- The class 0 is `background`, every pixel without an outline; if a category has that name, it is that category. The
  others follow in the order of their ids.
- Outlines are painted by the number of their pixels, the largest first, so that what lies on something else is seen;
  of two alike the later one in the file wins.
- `iscrowd` regions are ignored (255) where no single object is painted over them: they are drawn roughly, around gaps.
  Their number is a flaw.
- An outline that is missing, has a polygon of fewer than three points, or run lengths that don't fit the image is
  dropped and told as a flaw; so is a class that no file has an outline of. A file without any outline is an error.
- Where the file doesn't give an image's size, it is that of the first run lengths.
- An image of another size than the file says is one that can't be used; so is one that is said to be larger than
  images may be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vision_tasks.data.dataset import Dataset, Reader
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.limits import most_pixels
from vision_tasks.data.readers.checked_boxes import size_of
from vision_tasks.data.readers.coco_file import CocoAnnotation, CocoCategory, CocoFile, CocoImage
from vision_tasks.data.readers.coco_layout import LOOKS_LIKE, Part, annotations_of, read_dataset, recognises
from vision_tasks.data.readers.coco_outline import Outline
from vision_tasks.data.readers.mask_files import masks, require_size
from vision_tasks.data.readers.mask_legend import MOST_CLASSES
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.errors import UserError
from vision_tasks.types import IGNORE, Masks, Sample, Size

_BACKGROUND = "background"


class _Shape(NamedTuple):
    """An outline and what its pixels become: a class index, or IGNORE."""

    outline: Outline
    value: int


@dataclass
class _Painter:
    """Makes samples of the files' annotations, and remembers the classes that occur."""

    path: Path
    names: tuple[str, ...] = ()
    seen: set[str] = field(default_factory=set)

    def take(
        self, part: Part[Masks], file: CocoFile, ids: Mapping[int, str], root: Path, categories: Sequence[CocoCategory]
    ) -> None:
        """Fill `part` with the images `ids` of `file`."""
        self.names, number = _numbered(self.path, categories)
        shapes: dict[int, list[_Shape]] = {image: [] for image in ids}
        sizes = {image: file.images[image].size for image in ids}
        crowds = 0
        for annotation in annotations_of(file, ids, part.flaws):
            outline, problem = _usable(annotation, sizes[annotation.image])
            if problem:
                said = f"{annotation.at}: {file.categories[annotation.category].name} outline of "
                said += f"{file.images[annotation.image].name} {problem}"
                part.flaws.append(Flaw(file.path, said, of_truth=True))
            if outline:
                sizes[annotation.image] = sizes[annotation.image] or outline.size
                index = number[annotation.category]
                crowds += annotation.crowd
                shapes[annotation.image].append(_Shape(outline, IGNORE if annotation.crowd else index))
                if not annotation.crowd:
                    self.seen.add(self.names[index])
        if crowds:
            part.flaws.append(Flaw(file.path, f"{crowds} regions of crowds count nowhere, but for objects within them"))
        _add_samples(part, file, ids, root, shapes, sizes, self.names)

    def unseen(self) -> list[Flaw]:
        """A flaw for each class without an outline. Raises UserError if that is every one."""
        if not self.seen:
            raise UserError(
                f"{self.path}: has no outline ('segmentation') that could be drawn; boxes are for detection"
            )
        unseen = [name for name in self.names if name not in self.seen and name.casefold() != _BACKGROUND]
        return [Flaw(self.path, f"class '{name}' has no outline: it can't be learned") for name in unseen]


def _read(path: Path) -> Dataset[Masks]:
    painter = _Painter(path)
    dataset = read_dataset(path, READER.format, painter.take, outlines=True)
    return replace(dataset, classes=painter.names, class_ids=(), flaws=(*dataset.flaws, *painter.unseen()))


def _numbered(path: Path, categories: Sequence[CocoCategory]) -> tuple[tuple[str, ...], dict[int, int]]:
    """Names of the classes, the background first, and the class of each category's id."""
    ordered = sorted(categories, key=lambda category: category.name.casefold() != _BACKGROUND)
    named = bool(ordered) and ordered[0].name.casefold() == _BACKGROUND
    names = tuple(category.name for category in ordered) if named else (_BACKGROUND, *(c.name for c in ordered))
    if len(names) > MOST_CLASSES:
        raise UserError(f"{path}: has {len(names)} classes with the background; masks hold {MOST_CLASSES} at most")
    return names, {category.id: i + (not named) for i, category in enumerate(ordered)}


def _usable(annotation: CocoAnnotation, size: Size | None) -> tuple[Outline | None, str]:
    """An annotation's outline, None if nothing can be drawn of it in an image of `size`, and what is wrong with it."""
    outline = annotation.outline
    if outline is None or not outline.usable:
        return None, outline.problem if outline else "is missing: dropped"
    if outline.size and size and outline.size != size:
        (height, width), (h, w) = outline.size, size
        return None, f"has run lengths for {width}x{height}, the image is {w}x{h}: dropped"
    return outline, outline.problem


def _add_samples(
    part: Part[Masks],
    file: CocoFile,
    ids: Mapping[int, str],
    root: Path,
    shapes: Mapping[int, Sequence[_Shape]],
    sizes: Mapping[int, Size | None],
    names: Sequence[str],
) -> None:
    for number, id in ids.items():
        image = file.images[number]._replace(size=sizes[number])
        truth = partial(_truth, tuple(shapes[number]), file.path, image, root / id, len(names))
        part.samples.append(Sample(id, root / id, truth))
        part.numbers[id] = number
        if all(shape.value == IGNORE for shape in shapes[number]):
            part.negatives.add(id)


def _truth(
    shapes: Sequence[_Shape], file: Path, image: CocoImage, path: Path, num_classes: int, size: Size | None
) -> Masks:
    """Raises DecodeError for an image of another size, or too large, and UserError where nobody knows any size."""
    if image.size:
        require_size(f"its annotation ({file}, {image.name}) is for", image.size, size)
    height, width = image.size or size or size_of(path)
    if height * width > (most := most_pixels()):
        said = f"its annotation ({file}, {image.name}) is for {width}x{height}, more than {most} pixels"
        raise DecodeError(f"{said}; mend it, or raise VISION_TASKS_MAX_PIXELS for it")
    return masks(paint(shapes, (height, width)), num_classes)


def paint(shapes: Sequence[_Shape], size: Size) -> NDArray[np.uint8]:
    """Class indices [H,W] of `shapes` on background: crowds first, then the largest first."""
    height, width = size
    index = np.zeros(width * height, np.uint8)  # down the columns, as outlines are
    drawn = [(shape.value, shape.outline.spans(size)) for shape in shapes]
    for value, spans in sorted(drawn, key=lambda one: (one[0] != IGNORE, -one[1].area)):
        index[spans.positions()] = value
    return np.ascontiguousarray(index.reshape(width, height).T)


READER: Reader[Masks] = Reader(
    format="coco", looks_like=f"{LOOKS_LIKE}; with outlines", recognises=recognises, read=_read
)
